"""Opens every view of the inspector in headless Chromium: by mouse and by keys, narrow and wide, served and exported.

Usage: page_test.py ZEROTH_COMMAND.. -- RUN [SCREENSHOT_FOLDER]
ZEROTH_COMMAND is what starts the program, for example "build/zeroth". Exit code 77 (skipped) without the playwright package
or Chromium. RUN is only read, except for its index.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request


class Checks:
    def __init__(self):
        self.failed = 0
        self.passed = 0

    def __call__(self, good, what):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print("FAILED: " + what, flush=True)


def start(command, run, *options):
    process = subprocess.Popen(command + ["inspect", run, "--port", "0", *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return process, process.stdout.readline().strip()


def status(url, headers):
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code


def check_refusals(check, url):
    check(status(url + "api/info", {}) == 200, "a plain request is answered")
    check(status(url + "api/info", {"Host": "evil.example"}) == 403, "a foreign Host is refused")
    check(status(url + "api/info", {"Origin": "http://evil.example"}) == 403, "a foreign Origin is refused")
    check(status(url + "api/info", {"Sec-Fetch-Site": "cross-site"}) == 403, "a cross-site fetch is refused")
    check(status(url + "api/nothing", {}) == 404, "an unknown path is not found")
    check(status(url + "api/trace?at=999999.0.0", {}) == 404, "an unknown sample is not found")
    check(status(url + "api/trace?at=%00'", {}) == 404, "a malformed sample is not found")
    metrics = urllib.request.urlopen(url + "metrics").read().decode()
    check(re.search(r"^zeroth_reward [0-9.e+-]+$", metrics, re.M) is not None, "/metrics has the reward")


def watch_errors(page, errors):
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: (errors.append("a dialog opened: " + dialog.message), dialog.dismiss()))
    page.on("request", lambda request: errors.append("outside request: " + request.url)
            if not re.match(r"(http://127\.0\.0\.1|file://|data:|blob:)", request.url) else None)


def by_mouse(check, page, url, shot):
    page.goto(url)
    page.wait_for_selector('[data-chart="Reward"] svg')
    page.wait_for_timeout(300)
    shot(page, "timeline")
    page.locator('[data-chart="Solve rate"] svg').scroll_into_view_if_needed()
    page.wait_for_timeout(200)
    box = page.locator('[data-chart="Solve rate"] svg').bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 60)
    check(page.locator("#tip").is_visible(), "pointing at a chart shows the step")
    page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + 60)
    page.wait_for_selector(".card")
    check("#/step/" in page.url, "a click on a curve opens the step")
    shot(page, "step")
    before = page.locator(".card").count()
    bar = page.locator('[data-hist="Length"] button:not([disabled])').last
    bar.click()
    page.wait_for_selector("#kept")
    kept = int(page.locator("#kept").inner_text().split()[0])
    check(0 < kept < before or before == kept == 1, "a histogram bar filters")
    check(page.locator(".card").count() <= before, "cards follow the filter")
    shot(page, "step-filtered")
    page.get_by_text("clear filter").click()
    check(page.locator(".card").count() == before, "the filter can be taken back")
    page.locator(".card").first.click()
    page.wait_for_selector("#tokens .tok")
    check("#/trace/" in page.url, "a card opens its trace")
    page.locator("#tokens .tok").nth(3).hover()
    check("id " in page.locator("#tip").inner_text(), "hovering a token shows its id")
    shot(page, "trace")
    for button in page.locator('.seg[aria-label="colour of tokens"] button').all_inner_texts():
        page.get_by_role("button", name=button, exact=True).first.click()
    tokens = page.locator("#tokens .tok").count()
    page.locator("#fold").click()
    check(page.locator("#tokens .tok").count() < tokens, "thinking folds")
    shot(page, "trace-folded")
    page.locator("#fold").click()
    check(page.locator("#tokens .tok").count() == tokens, "and opens")
    page.locator("#search").fill('flips>0')
    page.locator("#search").press("Enter")
    page.wait_for_selector("tr.item")
    shot(page, "search")
    check(page.locator("tr.item").count() > 0, "the search finds flips")
    page.locator("#search").fill('step>1 rewrd=1')
    page.locator("#search").press("Enter")
    page.wait_for_selector(".queryerr")
    check("^" in page.locator(".queryerr").inner_text(), "a syntax error is pointed at")
    shot(page, "search-error")
    page.locator('#tabs a:text("Problems")').click()
    page.wait_for_selector("tr.item")
    shot(page, "problems")
    page.locator("tr.item").first.click()
    page.wait_for_selector(".diff")
    check(page.locator(".diff").count() == 2, "a problem shows two steps side by side")
    shot(page, "diff")
    page.locator('#tabs a:text("First ahas")').click()
    page.wait_for_selector("tr.item")
    shot(page, "ahas")
    page.locator('#tabs a:text("Experts")').click()
    page.wait_for_selector(".heat canvas, .empty")
    shot(page, "experts")
    page.locator("#theme").click()
    page.wait_for_timeout(200)
    page.goto(url)
    page.wait_for_selector('[data-chart="Reward"] svg')
    page.wait_for_timeout(300)
    shot(page, "timeline-other-theme")


def by_keys(check, page, url):
    page.goto(url)
    page.wait_for_selector('[data-chart="Reward"] svg')
    press = page.keyboard.press
    press("2")
    page.wait_for_selector(".card")
    last = page.url
    press("h")
    page.wait_for_url(lambda url: url != last)
    check("#/step/" in page.url, "h goes to the step before")
    page.wait_for_selector(".card")
    press("j")
    press("j")
    check(page.locator(".card.at").count() == 1, "j marks a card")
    press("Enter")
    page.wait_for_selector("#tokens .tok")
    check("#/trace/" in page.url, "Enter opens it")
    press("c")
    press("f")
    press("f")
    press("n")
    here = page.url
    press("l")
    page.wait_for_url(lambda url: not url.startswith(here.split("?")[0]))
    check(True, "l goes to the next sibling")
    press("Escape")
    page.wait_for_selector(".card")
    press("/")
    page.keyboard.type('text~"wait" len>5')
    press("Enter")
    page.wait_for_selector("tr.item, .empty")
    check("#/search" in page.url, "the search works by keys")
    press("?")
    check(page.locator("#keys").is_visible(), "? lists the keys")
    press("Escape")
    for key, view in (("3", "ahas"), ("5", "problems"), ("6", "experts"), ("1", "timeline")):
        press(key)
        page.wait_for_selector("body[data-view='%s']" % view)
    theme = page.evaluate("document.documentElement.dataset.theme")
    press("t")
    check(page.evaluate("document.documentElement.dataset.theme") != theme, "t changes the theme")


def check_exported(check, context, command, run, shot, errors):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "run.html")
        subprocess.run(command + ["inspect", run, "--export", path], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        size = os.path.getsize(path)
        check(size < 5_000_000, "the exported file is under 5 MB (%d)" % size)
        print("exported file: %.2f MB" % (size / 1e6))
        context.set_offline(True)
        page = context.new_page()
        watch_errors(page, errors)
        page.goto("file://" + path)
        page.wait_for_selector('[data-chart="Reward"] svg')
        shot(page, "exported")
        page.keyboard.press("2")
        page.wait_for_selector(".card")
        page.locator(".card").first.click()
        page.wait_for_selector("#tokens .tok")
        page.locator("#search").fill("flips>0 or correct=1")
        page.locator("#search").press("Enter")
        page.wait_for_selector("tr.item")
        check(page.locator("tr.item").count() > 0, "the exported file can be searched")
        page.locator("#search").fill("step>")
        page.locator("#search").press("Enter")
        page.wait_for_selector(".queryerr")
        page.keyboard.press("3")
        page.wait_for_selector("body[data-view='ahas']")
        page.close()
        context.set_offline(False)


def no_sideways_scroll(page):
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def main(arguments):
    split = arguments.index("--")
    command, run = arguments[:split], arguments[split + 1]
    shots = arguments[split + 2] if len(arguments) > split + 2 else None
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("skipped: the playwright package is not installed")
        return 77
    chromium = os.environ.get("ZEROTH_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        print("skipped: Chromium is not installed")
        return 77
    check = Checks()
    errors = []
    process, url = start(command, run)
    try:
        check_refusals(check, url)
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for name, width, height, theme in (("wide", 1440, 900, "dark"), ("narrow", 390, 844, "light")):
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
                page = context.new_page()
                watch_errors(page, errors)

                def shot(page, view):
                    check(no_sideways_scroll(page), view + " fits into %d pixels" % width)
                    if shots:
                        os.makedirs(shots, exist_ok=True)
                        page.screenshot(path=os.path.join(shots, "%s-%s.png" % (view, name)), full_page=False)

                for part in (lambda: by_mouse(check, page, url, shot), lambda: by_keys(check, page, url),
                             lambda: check_exported(check, context, command, run, shot, errors)):
                    try:
                        part()
                    except Exception as error:  # the other parts still tell something
                        check(False, "%s, at %s: %s" % (name, page.url, str(error).splitlines()[0]))
                context.close()
            browser.close()
    finally:
        process.terminate()
        process.wait(20)
    for error in errors:
        check(False, "console: " + error)
    print("%d checks passed, %d failed" % (check.passed, check.failed))
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
