"""Opens every view of the inspector in a headless Chromium: by mouse and by keys, wide and narrow, served and exported.

Usage: page_test.py ZEROTH_COMMAND.. -- RUN [HOSTILE_RUN [RUNS [SCREENSHOT_FOLDER]]]
RUN has probe problems, recorded experts and flips; a trace of HOSTILE_RUN holds markup; RUNS holds three made runs, of
which "failing" was stopped by an alarm. All are only read, except for their index. Exit code 77 (skipped) when there is no Chromium.
"""
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request

from browser import Browser, find_chromium

CURVES = "[data-chart=\"Solve rate\"] svg"
BARS = "[data-hist=\"Length\"] button:not([disabled])"


class Checks:
    def __init__(self):
        self.failed = self.passed = 0

    def __call__(self, good, what):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print("FAILED: " + what, flush=True)


def start(command, run, *options):
    process = subprocess.Popen(command + ["inspect", run, "--port", "0", *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return process, process.stdout.readline().strip()


def wait_until_indexed(page):
    page.until("fetch('api/info').then((r) => r.json()).then((i) => i.samples > 0 && i.indexed === i.to_index)", "the index")


def drawn(page):
    page.wait("[data-chart=\"Reward\"] svg path")


def by_mouse(check, page, url, shot):
    page.goto(url)
    drawn(page)
    wait_until_indexed(page)
    page.goto(url + "#/timeline")
    drawn(page)
    shot("timeline")
    page.hover_until(CURVES, "!document.getElementById('tip').hidden", "the tip of a chart", x=0.97, y=0.4)
    check("step" in page.text("#tip"), "pointing at a chart names the step")
    page.click(CURVES, x=0.97, y=0.4)
    page.wait(".card")
    check("#/step/" in page.url(), "a click on a curve opens the step")
    shot("step")
    before = page.count(".card")
    page.click(BARS, -1)
    page.wait("#kept")
    kept = int(page.text("#kept").split()[0])
    check(0 < kept < before, "a histogram bar filters: %d of %d" % (kept, before))
    check(page.count(".card") == kept, "cards follow the filter")
    shot("step-filtered")
    page.click("button", text="clear filter")
    page.until("!document.querySelector('#kept')")
    check(page.count(".card") == before, "the filter can be taken back")
    page.click(".card")
    page.wait("#tokens .tok")
    check("#/trace/" in page.url(), "a card opens its trace")
    page.hover_until("#tokens .tok", "document.getElementById('tip').innerText.includes('id ')", "the tip of a token", 3)
    check("log-prob" in page.text("#tip"), "hovering a token shows its log-prob")
    shot("trace")
    modes = page.js("[...document.querySelectorAll('.seg[aria-label=\"colour of tokens\"] button')].map((b) => b.innerText)")
    check({"log-prob", "entropy", "advantage", "expert", "router confidence"} <= set(modes), "tokens can be coloured by %s" % modes)
    for mode in modes:
        page.click(".seg[aria-label=\"colour of tokens\"] button", text=mode)
        page.until("[...document.querySelectorAll('.seg[aria-label=\"colour of tokens\"] button[aria-pressed=true]')].some((b) => b.innerText === %r)" % mode, mode + " is chosen")
        if mode == "expert":
            check(page.count("#tokens .tok[style*=background]") > 0, "experts colour the tokens")
            shot("trace-experts")
        if mode == "router confidence":
            colours = "JSON.stringify([...document.querySelectorAll('#tokens .tok')].map((t) => t.style.backgroundColor))"
            check(page.js("new Set(%s).size" % colours[len("JSON.stringify("):-1]) > 3, "router confidence colours the tokens by degrees")
            over_all = page.js(colours)
            page.js("{ const s = document.querySelector('select[aria-label=layer]'); s.value = '0'; s.dispatchEvent(new Event('change')); }")
            check(page.js(colours) != over_all, "a layer's confidence differs from the mean of all")
            page.hover_until("#tokens .tok", "document.getElementById('tip').innerText.includes('experts, layer 0')", "the experts of a token", 3)
            check(re.search(r"experts, layer 0\s+\d+ \(\d+%\)", page.text("#tip")), "hovering a token shows experts with the router's confidence: " + page.text("#tip"))
            shot("trace-confidence")
    page.goto(re.sub(r"\?.*", "", page.url()))
    page.wait("#fold")
    tokens = page.count("#tokens .tok")
    page.click("#fold")
    page.until("document.querySelectorAll('#tokens .tok').length < %d" % tokens, "folding")
    shot("trace-folded")
    page.click("#fold")
    page.until("document.querySelectorAll('#tokens .tok').length === %d" % tokens, "unfolding")


def lists_by_mouse(check, page, url, shot):
    page.js("document.getElementById('search').value = 'flips>0'; document.getElementById('searchbox').requestSubmit()")
    page.wait("tr.item")
    shot("search")
    page.click("tr.item")
    page.wait("#tokens .cand-right")
    check(page.count(".mk", "W→R") > 0, "the flip is marked in the trace")
    shot("trace-flip")
    page.js("document.getElementById('search').value = 'step>1 rewrd=1'; document.getElementById('searchbox').requestSubmit()")
    page.wait(".queryerr")
    error = page.text(".queryerr").split("\n")
    check(error[1].index("^") == error[0].index("rewrd"), "a syntax error is pointed at")
    check("reward" in error[2], "and a near name is offered")
    shot("search-error")
    trained = page.js("fetch('api/search?limit=1&q=source%3Dtrain%20zero%3D0%20masked%3D0').then((r) => r.json())")["hits"][0]["at"]
    page.goto(url + "#/trace/" + trained + "?color=log_ratios")
    page.wait("#tokens .tok")
    check(page.count("#tokens .tok[style*=background]") > 0, "ratios of a second pass over the samples colour the tokens")
    page.hover_until("#tokens .tok", "/ratio\\s+[01]\\.\\d{4}/.test(document.getElementById('tip').innerText)", "the ratio of a token", 3)
    check("share of the loss" in page.text(".side"), "the sample's share of the loss is shown")
    page.click("#tabs a", text="Problems")
    page.wait("tr.item")
    check(page.count("tr.item", "probe") >= 2, "probe problems are listed")
    shot("problems")
    page.click("tr.item")
    page.wait(".diff")
    check(page.count(".diff") == 2, "a problem shows two steps side by side")
    shot("diff")
    page.click("#tabs a", text="First ahas")
    page.until("document.body.dataset.view === 'ahas'")
    shot("ahas")
    page.click("#tabs a", text="Experts")
    page.wait(".heat canvas")
    shot("experts")
    page.click("#theme")
    page.goto(url + "#/timeline")
    drawn(page)
    shot("timeline-other-theme")
    page.click("#theme")


def focus(page):
    return page.js("document.activeElement.outerHTML.slice(0, 120)")


def by_keys(check, page, url, downloads):
    """The same way without a mouse."""
    page.goto(url + "#/timeline")
    drawn(page)
    page.tab_to(CURVES)
    page.press("ArrowLeft")
    page.press("Enter")
    page.wait(".card")
    check("#/step/" in page.url(), "Enter on a curve opens the step")
    last = page.url()
    page.press("h")
    # Cards alone could be those of the view that is about to be replaced.
    page.until("location.href !== %r && !!document.querySelector('.card') && document.querySelector('h1').textContent === 'Step ' + location.hash.split('/')[2]" % last, "the step before")
    page.tab_to(BARS)
    page.press("Enter")
    page.wait("#kept")
    check(page.js("document.activeElement.matches('[data-hist=Length] button[aria-pressed=true]')"), "the focus stays on the bar that filters: " + focus(page))
    page.press("Enter")
    page.until("!document.querySelector('#kept')")
    check(page.js("document.activeElement.matches('[data-hist=Length] button')"), "and on the bar that stops to filter: " + focus(page))
    page.press("Enter")
    page.wait("#kept")
    page.tab_to("button", "clear filter")
    page.press("Enter")
    page.until("!document.querySelector('#kept')")
    check(page.js("document.activeElement.matches('.seg[aria-label=filter] button')"), "clearing the filter leaves the focus beside it: " + focus(page))
    page.press("j")
    page.press("j")
    check(page.count(".card.at") == 1, "j marks a card")
    check(page.js("document.activeElement.matches('.card.at')"), "and moves the focus to it: " + focus(page))
    page.press("Enter")
    page.wait("#tokens .tok")
    check("#/trace/" in page.url(), "Enter opens it")
    tokens = page.count("#tokens .tok")
    page.press("c")
    if page.count("#fold"):
        page.press("f")
        page.until("document.querySelectorAll('#tokens .tok').length < %d" % tokens, "f folds")
        page.press("f")
        page.tab_to("#fold")
        page.press("Enter")
        page.until("document.querySelectorAll('#tokens .tok').length < %d" % tokens, "Enter folds")
        check(page.js("document.activeElement.id") == "fold", "the focus stays on the button that folds: " + focus(page))
        page.press("Enter")
    page.press("n")
    check(page.count(".tok.at") == 1, "n goes to a candidate answer")
    here = page.url().split("?")[0]
    page.press("h" if here.endswith(".15") else "l")
    page.until("!location.href.startsWith(%r)" % here, "the next sibling")
    page.press("Escape")
    page.wait(".card")
    page.press("/")
    page.type('text~"wait" len>5')
    page.press("Enter")
    page.wait("tr.item")
    check("#/search" in page.url(), "the search works by keys")
    page.press("j")
    page.press("Enter")
    page.wait("#tokens .tok.mark")
    page.press("?")
    check(page.js("document.getElementById('keys').open"), "? lists the keys")
    page.press("Escape")
    page.until("!document.getElementById('keys').open")
    page.press("5")
    page.until("document.body.dataset.view === 'problems'")
    page.wait("tr.item")
    page.press("j")
    page.press("Enter")
    page.wait(".diff del, .diff ins")
    check(page.count(".diff") == 2, "the diff opens by keys")
    for key, view in (("3", "ahas"), ("6", "experts"), ("4", "search"), ("1", "timeline")):
        page.press(key)
        page.until("document.body.dataset.view === '%s'" % view)
    theme = page.js("document.documentElement.dataset.theme")
    page.press("t")
    check(page.js("document.documentElement.dataset.theme") != theme, "t changes the theme")
    page.tab_to("a", "Export one file")
    page.js("document.getElementById('main').firstChild.dataset.before = '1'")
    page.press("t")
    page.until("!document.querySelector('[data-before]')", "the timeline drawn anew")
    check(page.js("document.activeElement.textContent === 'Export one file'"), "a change of theme leaves the focus where it was: " + focus(page))
    page.press("Enter")
    for _ in range(600):
        page.js("new Promise((done) => setTimeout(done, 50))")
        if "run.html" in os.listdir(downloads):
            break
    check("run.html" in os.listdir(downloads), "Enter on the export link downloads the file")


def check_exported(check, page, command, run, shot):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "run.html")
        subprocess.run(command + ["inspect", run, "--export", path], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        size = os.path.getsize(path)
        check(size < 5_000_000, "the exported file is under 5 MB (%d)" % size)
        page.offline(True)
        page.requests.clear()
        page.goto("file://" + path)
        drawn(page)
        samples = page.js("ZEROTH_EXPORT.timeline.scan.reduce((sum, row) => sum + row.samples, 0)")
        traces = page.js("Object.keys(ZEROTH_EXPORT.traces).length")
        check(0 < traces <= 200 and (traces == 200 or samples < 200), "the file holds 200 traces: %d of %d" % (traces, samples))
        print("exported file: %.2f MB, %d of %d traces" % (size / 1e6, traces, samples))
        shot("exported")
        page.press("2")
        page.wait(".card")
        page.click(".card")
        page.wait("#tokens .tok")
        page.js("document.getElementById('search').value = 'flips>0 or correct=1'; document.getElementById('searchbox').requestSubmit()")
        page.wait("tr.item")
        page.js("document.getElementById('search').value = 'step>'; document.getElementById('searchbox').requestSubmit()")
        page.wait(".queryerr")
        page.press("5")
        page.wait("tr.item")
        page.press("j")
        page.press("Enter")
        page.wait(".diff")
        page.press("3")
        page.until("document.body.dataset.view === 'ahas'")
        check(page.requests == ["file://" + path], "the file loads nothing but itself: " + str(page.requests))
        page.offline(False)


@contextlib.contextmanager
def shown(check, browser, title, *arguments, size=(1440, 900, "dark")):
    """A page on a server of its own, once the run is indexed; errors of the console fail."""
    process, url = start(*arguments)
    page = browser.page(*size)
    try:
        page.goto(url)
        drawn(page)
        wait_until_indexed(page)
        yield page, url
        for error in page.errors:
            check(False, title + ": " + error)
    except (RuntimeError, TimeoutError, ValueError) as error:  # the other parts still tell something
        check(False, "%s: %s" % (title, str(error).splitlines()[0]))
    finally:
        page.close()
        process.terminate()
        process.wait(60)


def check_hostile(check, browser, command, run, shots):
    with shown(check, browser, "hostile trace", command, run) as (page, url):
        steps = page.js("fetch('api/steps').then((r) => r.json())")
        page.goto(url + "#/step/%d" % steps[0]["step"])
        page.wait(".card")
        page.goto(url + "#/trace/%d.0.0" % steps[0]["step"])
        page.wait("#tokens .vis")
        check("<script>alert" in page.text("#tokens"), "markup is shown as text")
        check(page.count("#tokens script, #tokens img") == 0, "and is none")
        labels = page.js("[...document.querySelectorAll('#tokens .vis')].map((e) => e.innerText).join(' ')")
        check("U+202E" in labels and "U+001B" in labels, "steering characters are labels: " + labels)
        check("characters" in labels, "a huge token is cut")
        check(page.js("document.documentElement.scrollWidth <= innerWidth"), "and does not break the page")
        if shots:
            page.screenshot(os.path.join(shots, "hostile.png"))


def chart_path(page, title):
    """The drawn line of a chart, its widest path."""
    return page.js("[...document.querySelectorAll('[data-chart=%s] svg path[stroke]')].map((p) => p.getAttribute('d')).sort((a, b) => b.length - a.length)[0] || ''" % json.dumps(title))


def check_charts(check, browser, command, run, shots, width, height, theme):
    """Curves with gaps, the controls of all charts, groups, state, alarms, config."""
    with shown(check, browser, "charts at %d" % width, command, run, size=(width, height, theme)) as (page, url):
        def shot(name):
            check(page.js("document.documentElement.scrollWidth <= innerWidth"), "%s fits into %d pixels" % (name, width))
            if shots:
                page.js("document.fonts.ready.then(() => new Promise((done) => setTimeout(done, 200)))")
                page.screenshot(os.path.join(shots, "%s-%d.png" % (name, width)))

        page.goto(url + "#/timeline")
        drawn(page)
        first = page.js("document.querySelector('.grid [data-chart]').dataset.chart")
        check(first == "Held-out accuracy", "held-out accuracy is the first chart: " + first)
        points = page.js("fetch('api/timeline').then((r) => r.json()).then((t) => t.series['eval/pass@1'].filter((v) => v !== null).length)")
        check(chart_path(page, "Held-out accuracy").count("L") == points - 1, "a curve with gaps goes through its %d points: %s" % (points, chart_path(page, "Held-out accuracy")))
        check(page.count("[data-chart='Held-out accuracy'] circle.dot") >= points, "and each of them is marked")
        check(page.text(".tile .label") == "Held-out accuracy", "held-out accuracy is the first tile")
        check("checker errors" in page.text(".note.alarm") and "could not be graded" in page.text(".note.alarm"), "the alarm is shown with its message: " + page.text(".note.alarm"))
        check("stopped by alarm checker_errors" in page.text(".pill.state"), "and that it stopped the run: " + page.text(".pill.state"))
        check(page.text("#live") .strip()== "stopped" or width < 700, "the light in the bar says so too: " + page.text("#live"))
        check("of" in page.text(".progress") and page.js("Number(document.querySelector('.progress').getAttribute('aria-valuenow')) > 0"), "progress is shown: " + page.text(".progress"))
        check(page.count("[data-chart='Grading failures'] svg path") > 0, "failures of grading have a curve")
        shot("charts")
        reward = chart_path(page, "Reward")
        page.click(".seg[aria-label='x axis'] button", text="tokens")
        page.until("[...document.querySelectorAll('[aria-label=\"x axis\"] button[aria-pressed=true]')].some((b) => b.innerText === 'tokens')", "the axis of tokens")
        drawn(page)
        check("x=tokens" in page.url(), "the axis is part of the address")
        check(any("k" in t for t in page.js("[...document.querySelectorAll('[data-chart=Reward] svg text')].map((t) => t.textContent)")), "ticks count tokens")
        page.click(".seg[aria-label='x axis'] button", text="time")
        page.until("[...document.querySelectorAll('[aria-label=\"x axis\"] button[aria-pressed=true]')].some((b) => b.innerText === 'time')", "the axis of time")
        drawn(page)
        check(any(re.search(r"\d (s|min|h)$", t) for t in page.js("[...document.querySelectorAll('[data-chart=Reward] svg text')].map((t) => t.textContent)")), "ticks are durations")
        page.click(".seg[aria-label='x axis'] button", text="step")
        page.until("document.querySelector('[aria-label=\"x axis\"] button').getAttribute('aria-pressed') === 'true'", "the axis of steps")
        drawn(page)
        check(chart_path(page, "Reward") == reward, "and back")
        page.js("{ const s = document.getElementById('smooth'); s.value = 0.8; s.dispatchEvent(new Event('change')); }")
        page.until("document.querySelectorAll('[data-chart=Reward] svg path').length === 2", "the raw curve behind the smoothed one")
        check(chart_path(page, "Reward") != reward, "smoothing changes the curve")
        shot("charts-smoothed")
        page.js("{ const s = document.getElementById('smooth'); s.value = 0; s.dispatchEvent(new Event('change')); }")
        page.until("document.querySelectorAll('[data-chart=Reward] svg path').length === 1", "no smoothing")
        page.click("#log")
        page.until("document.getElementById('log').getAttribute('aria-pressed') === 'true'", "the logarithmic scale")
        drawn(page)
        check(chart_path(page, "Length") != "" and chart_path(page, "Reward") != reward, "a logarithmic scale changes the curve")
        page.click("#log")
        page.until("document.getElementById('log').getAttribute('aria-pressed') === 'false'", "the linear scale")
        drawn(page)
        page.click("[data-group='metrics-held-out'] summary")
        page.wait("[data-group='metrics-held-out'] [data-chart='eval/pass@K'] svg path")
        groups = page.js("[...document.querySelectorAll('.groups summary b')].map((b) => b.innerText)")
        check({"Held out", "Loss and optimization", "Policy and completions", "Progress and time"} <= set(groups), "metrics are in groups: %s" % groups)
        page.click("[data-group='config'] summary")
        page.wait("[data-group='config'] table.fields tr")
        check("task.options.count" in page.text("[data-group='config']"), "the config is shown field by field")
        page.click("[data-group='history'] summary")
        page.wait("[data-group='history'] li")
        check("optimizer.lr" in page.text("[data-group='history']") and "0.0001" in page.text("[data-group='history']"), "what was changed is shown: " + page.text("[data-group='history']"))
        shot("charts-groups")
        page.js("{ const f = document.getElementById('chart-filter'); f.value = 'grad'; f.dispatchEvent(new Event('input', {bubbles: true})); }")
        page.wait("#found [data-chart='grad_norm'] svg path")
        check(page.js("document.querySelectorAll('#found [data-chart]').length") >= 1 and page.js("document.querySelector('.grid:not(#found)').hidden"), "the filter leaves what it names")
        shot("charts-found")
        page.js("{ const f = document.getElementById('chart-filter'); f.value = ''; f.dispatchEvent(new Event('input', {bubbles: true})); }")
        page.until("document.getElementById('found').hidden", "all charts again")
        # What could not be graded is grey and has its reason.
        steps = page.js("fetch('api/steps').then((r) => r.json())")
        hit = page.js("fetch('api/search?limit=1&q=failed%3D1').then((r) => r.json())")["hits"][0]
        step = [row for row in steps if row["step"] == hit["step"] and row["source"] == "train"][0]
        check(step["failed"] > 0, "failures are counted")
        page.goto(url + "#/step/%d" % hit["step"])
        page.wait(".card.failed")
        cards = page.js("[...document.querySelectorAll('.card.failed')].map((c) => c.innerText)")
        check(all("not graded" in text and "garbage" in text and "wrong" not in text for text in cards), "a failed grading has its reason and is not called wrong: %s" % cards[:1])
        check("not graded" in page.text(".head"), "the step says how many")
        shot("step-failed")
        page.goto(url + "#/trace/" + hit["at"])
        page.wait("#tokens .tok")
        check("not graded" in page.text(".head") and "wrong" not in page.text(".head"), "nor in its trace: " + page.text(".head"))
        check("<b>debug print</b>" in page.text(".side") and page.count(".side b b") == 0, "the reason is text")
        check("Reference answer" in page.text(".side") and page.count(".reference .answer") == 1, "the reference answer is shown")
        check("nums" in page.text(".reference"), "with the fields of the row")
        shot("trace-failed")
        page.goto(url + "#/problem/countdown/" + hit["problem"])
        page.wait(".problem-grid .prompt")
        check("Numbers" in page.text(".problem-grid .prompt"), "the problem shows its prompt: " + page.text(".problem-grid .prompt"))
        check(page.count(".reference .answer") == 1, "and its reference answer")
        shot("problem")
        page.forgiven = ("api/problem",)  # there is no such problem
        page.goto(url + "#/problem/%E0%A4%A/%ZZ")
        page.wait(".note.alert")
        shot("address-that-is-none")


def check_runs(check, browser, command, folder, shots, width, height, theme):
    """A folder of runs: the list, one drawn over the other, another one shown."""
    with shown(check, browser, "runs at %d" % width, command, folder, size=(width, height, theme)) as (page, url):
        page.goto(url + "#/runs")
        page.wait("tr.item")
        check(page.count("tr.item") == 3, "all runs are listed")
        states = page.js("[...document.querySelectorAll('table.runs .pill.state')].map((p) => p.innerText)")
        check({"finished", "killed"} <= set(states) and any(s.startswith("stopped by") for s in states), "with their states: %s" % states)
        if shots:
            page.screenshot(os.path.join(shots, "runs-%d.png" % width))
        check(page.js("document.documentElement.scrollWidth <= innerWidth"), "the list of runs fits into %d pixels" % width)
        page.js("document.querySelector('table.runs input[type=checkbox]').click()")
        page.until("location.search.includes('over=') && !!document.querySelector('a.btn.on')", "a run that is chosen")
        page.js("document.querySelectorAll('table.runs input[type=checkbox]:not(:checked)')[0].click()")
        page.until("document.querySelectorAll('table.runs input[type=checkbox]:checked').length === 2", "another run that is chosen")
        page.click("a.btn.on")
        page.wait("[data-chart='Held-out accuracy'] svg path[stroke-dasharray]")
        check(page.count("[data-chart='Reward'] svg path[stroke-dasharray]") == 2, "two runs are drawn over the first")
        check(page.count("[data-chart='Reward'] .legend span") == 3, "and the legend names them")
        if shots:
            page.screenshot(os.path.join(shots, "runs-together-%d.png" % width))
        check(page.js("document.documentElement.scrollWidth <= innerWidth"), "runs drawn together fit into %d pixels" % width)
        shown_run = page.text("#run-name")
        page.goto(url + "#/runs")
        page.wait("tr.item")
        page.js("[...document.querySelectorAll('table.runs a')].find((a) => a.innerText !== %s).click()" % json.dumps(shown_run))
        # The page is loaded anew meanwhile, and for a moment there is none.
        page.until("!['', 'zeroth', %s].includes((document.getElementById('run-name') || {}).innerText || '')" % json.dumps(shown_run), "the other run")
        drawn(page)


def check_compared(check, browser, command, run, other, shots):
    with shown(check, browser, "two runs", command, run, "--compare", other) as (page, url):
        page.goto(url + "#/timeline")
        for chart in ("Reward", "Solve rate"):
            page.wait("[data-chart='%s'] svg path[stroke-dasharray]" % chart)
            check(os.path.basename(other) in page.text("[data-chart='%s'] .legend" % chart), "the second run is named in the legend of " + chart)
        if shots:
            page.screenshot(os.path.join(shots, "compared.png"))


def at_size(check, browser, command, run, url, name, width, height, theme, shots):
    with tempfile.TemporaryDirectory() as downloads:
        page = browser.page(width, height, theme, downloads)
        page.forgiven = ("api/search",)  # a query with a syntax error may be answered as one

        def shot(view):
            check(page.js("document.documentElement.scrollWidth <= innerWidth"), "%s fits into %d pixels" % (view, width))
            if shots:
                page.js("document.fonts.ready.then(() => new Promise((done) => setTimeout(done, 200)))")
                page.screenshot(os.path.join(shots, "%s-%s.png" % (view, name)))

        for part in (lambda: by_mouse(check, page, url, shot), lambda: lists_by_mouse(check, page, url, shot), lambda: by_keys(check, page, url, downloads),
                     lambda: check_exported(check, page, command, run, shot)):
            try:
                part()
            except (RuntimeError, TimeoutError, ValueError) as error:  # the other parts still tell something
                check(False, "%s: %s" % (name, str(error).splitlines()[0]))
        for error in page.errors:
            check(False, name + ": " + error)
        page.close()


def main(arguments):
    split = arguments.index("--")
    command, run = arguments[:split], arguments[split + 1]
    hostile = arguments[split + 2] if len(arguments) > split + 2 else None
    runs = arguments[split + 3] if len(arguments) > split + 3 else None
    shots = arguments[split + 4] if len(arguments) > split + 4 else None
    program = find_chromium()
    if program is None:
        print("skipped: there is no Chromium; install Debian's package chromium, or set ZEROTH_CHROMIUM")
        return 77
    if shots:
        os.makedirs(shots, exist_ok=True)
    check = Checks()
    process, url = start(command, run)
    browser = Browser(program)
    try:
        for name, width, height, theme in (("wide", 1440, 900, "dark"), ("narrow", 390, 844, "light")):
            at_size(check, browser, command, run, url, name, width, height, theme, shots)
            if runs:
                check_charts(check, browser, command, os.path.join(runs, "failing"), shots, width, height, theme)
                check_runs(check, browser, command, runs, shots, width, height, theme)
        if hostile:
            check_hostile(check, browser, command, hostile, shots)
            check_compared(check, browser, command, run, hostile, shots)
    finally:
        browser.close()
        process.terminate()
        process.wait(60)
    print("%d checks passed, %d failed" % (check.passed, check.failed))
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
