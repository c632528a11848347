"""A headless Chromium driven over its DevTools protocol through a pipe: needs nothing but Python and the browser.

Protocol: https://chromedevtools.github.io/devtools-protocol/. Selectors are CSS; every wait polls the page.
"""
import base64
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

PATIENCE = 60  # seconds; a wait that takes longer is an error, whatever the machine is doing


def find_chromium():
    """The browser's program, or None. ZEROTH_CHROMIUM names another one."""
    names = [os.environ.get("ZEROTH_CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
    return next((path for path in (name and shutil.which(name) for name in names) if path), None)


class Browser:
    def __init__(self, program):
        self.folder = tempfile.mkdtemp(prefix="zeroth-browser-")
        from_us, self.to_browser = os.pipe()
        self.from_browser, from_browser = os.pipe()

        def take_pipes():  # the browser reads from descriptor 3 and writes to 4
            read, write = os.dup(from_us), os.dup(from_browser)
            os.dup2(read, 3)
            os.dup2(write, 4)

        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
             "--disable-background-networking", "--user-data-dir=" + self.folder + "/profile", "about:blank"],
            preexec_fn=take_pipes, close_fds=False, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(from_us)
        os.close(from_browser)
        self.buffer = b""
        self.last_id = 0
        self.sessions = {}

    def close(self):
        for end in (self.to_browser, self.from_browser):
            os.close(end)
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # its own session: the browser and its helpers
        except ProcessLookupError:
            pass
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def receive(self, deadline):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.from_browser], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError("the browser does not answer")
            part = os.read(self.from_browser, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self.buffer += part
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, session=None, **parameters):
        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to_browser, data):]
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self.receive(deadline)
            if answer.get("id") == self.last_id:
                if "error" in answer:
                    raise RuntimeError(method + ": " + answer["error"]["message"])
                return answer["result"]
            if "method" in answer and answer.get("sessionId") in self.sessions:
                self.sessions[answer["sessionId"]].event(answer["method"], answer["params"])

    def page(self, width, height, theme="dark", downloads=None):
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.sessions[session] = Page(self, session, context)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(domain + ".enable")
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        if downloads:
            self.call("Browser.setDownloadBehavior", behavior="allow", browserContextId=context, downloadPath=downloads)
        return page


KEYS = {"Enter": ("\r", 13), "Escape": ("", 27), "Tab": ("\t", 9), "ArrowLeft": ("", 37), "ArrowUp": ("", 38), "ArrowRight": ("", 39), "ArrowDown": ("", 40)}


class Page:
    """One tab. `errors` collects what went wrong in it: exceptions, console errors, dialogs, requests to other hosts."""

    def __init__(self, browser, session, context):
        self.browser, self.session, self.context = browser, session, context
        self.errors = []
        self.requests = []  # addresses, without what is inside the page itself (data:, blob:)
        self.forgiven = ()  # parts of console messages that are expected
        self.dialog = False

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def event(self, method, params):
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append("console: " + str([a.get("value", a.get("description")) for a in params["args"]]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            text = params["entry"]["text"] + " " + params["entry"].get("url", "")
            if not any(part in text for part in self.forgiven):
                self.errors.append("log: " + text)
        elif method == "Page.javascriptDialogOpening":
            self.errors.append("a dialog opened: " + params["message"])
            self.dialog = True
        elif method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith(("data:", "blob:", "about:")):
                self.requests.append(url)
                if not url.startswith(("http://127.0.0.1:", "file://")):
                    self.errors.append("request to " + url)

    def close(self):
        self.call("Page.close")
        del self.browser.sessions[self.session]

    def js(self, expression):
        """The value of a JavaScript expression."""
        if self.dialog:
            self.call("Page.handleJavaScriptDialog", accept=False)
            self.dialog = False
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(expression + ": " + answer["exceptionDetails"].get("exception", {}).get("description", "threw"))
        return answer["result"].get("value")

    def holds(self, expression):
        """Whether an expression is true; not while the page is on its way to another address."""
        try:
            return self.js(expression)
        except RuntimeError as error:
            if "navigated" not in str(error):
                raise
            return False

    def until(self, expression, what=None):
        deadline = time.monotonic() + PATIENCE
        while not self.holds(expression):
            if time.monotonic() > deadline:
                raise TimeoutError("waited in vain for " + (what or expression) + " at " + self.url())
            time.sleep(0.03)

    def goto(self, url):
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def url(self):
        return self.js("location.href")

    def all(self, selector, text=None):
        """JavaScript of the elements that match; with `text`, of those whose text holds it."""
        found = "[...document.querySelectorAll(%s)]" % json.dumps(selector)
        return found + (".filter((e) => e.textContent.includes(%s))" % json.dumps(text) if text else "")

    def count(self, selector, text=None):
        return self.js(self.all(selector, text) + ".length")

    def text(self, selector):
        return self.js(self.all(selector) + "[0].innerText")

    def wait(self, selector, text=None):
        self.until(self.all(selector, text) + ".length > 0", selector + (" with " + text if text else ""))

    def point(self, selector, index=0, text=None, x=0.5, y=0.5):
        """Scrolls an element to the middle and returns where in the window it is."""
        self.wait(selector, text)
        element = self.all(selector, text) + ".at(%d)" % index
        return self.js("(() => { const e = %s; e.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'}); const b = e.getBoundingClientRect();"
                       "return [b.left + b.width * %f, b.top + b.height * %f]; })()" % (element, x, y))

    def mouse(self, kind, at):
        self.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="none" if kind == "mouseMoved" else "left", clickCount=0 if kind == "mouseMoved" else 1)

    def hover(self, selector, index=0, **where):
        self.mouse("mouseMoved", self.point(selector, index, **where))

    def hover_until(self, selector, expression, what, index=0, x=0.5, y=0.5):
        """Moves the mouse about a place until something is so: what was below it may just be drawn anew."""
        deadline = time.monotonic() + PATIENCE
        for turn in itertools.count():
            self.hover(selector, index, x=x - 0.002 * (turn % 2), y=y)
            for _ in range(10):
                if self.js(expression):
                    return
                time.sleep(0.03)
            if time.monotonic() > deadline:
                raise TimeoutError("waited in vain for " + what + " at " + self.url())

    def click(self, selector, index=0, text=None, **where):
        at = self.point(selector, index, text, **where)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.mouse(kind, at)

    def press(self, key):
        text, code = KEYS.get(key, (key, ord(key[0].upper())))
        named = {"key": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **named, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def type(self, text):
        for character in text:
            self.press(character)

    def tab_to(self, selector, text=None, most=400):
        """Presses Tab until the focus is on a matching element."""
        for _ in range(most):
            if self.js(self.all(selector, text) + ".includes(document.activeElement)"):
                return
            self.press("Tab")
        raise RuntimeError("Tab never reaches " + selector)

    def offline(self, off):
        self.call("Network.emulateNetworkConditions", offline=off, latency=0, downloadThroughput=-1, uploadThroughput=-1)

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))
