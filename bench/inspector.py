#!/usr/bin/env python3
"""Times the inspector on a run of many samples: makes the run, indexes it, serves it, and asks what the page asks.

usage: bench/inspector.py [--samples N] [--tokens N] [--build FOLDER] [--folder FOLDER] [--keep]

Prints one JSON object: bytes of stream and index, seconds to index, peak memory of the server, milliseconds of the step
view and of searches (each the slowest and the median of 5 requests of different steps; the first search of each kind
is cold, that is, never asked before); where a Chromium is installed, the memory of the page (JavaScript heap and
resident memory of its process) after every view was opened, and milliseconds from a click to the step on the screen. The run takes about 1.4 kB a sample and is deleted afterwards.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/inspect"))
from browser import Browser, find_chromium  # noqa: E402

SEARCHES = [
    "", "flips>0", "aha>0 correct=1", 'text~"wait"', 'text~"wait" reward<1', 'text~"wait check" len>200', "step>80 reward=1 flips>0 text~\"wait\" len>200 task=countdown",
    "finish=length or loop=1", "not zero=1 solved<0.3", "r1-nature>2 entropy>0.1", "no such words here", "babu fovi*",
]


def peak_mb(pid):
    with open("/proc/%d/status" % pid) as status:
        return max(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def cpu_ms(pid):
    with open("/proc/%d/stat" % pid) as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return 1000 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(url, path):
    begin = time.monotonic()
    with urllib.request.urlopen(url + path, timeout=120) as answer:
        body = answer.read()
    return 1000 * (time.monotonic() - begin), len(body), json.loads(body)


def summary(rows):
    times = [row[0] for row in rows]
    return {"median_ms": round(statistics.median(times), 1), "slowest_ms": round(max(times), 1), "bytes": max(row[1] for row in rows)}


def measure(url, steps, pid):
    chosen = [steps[i * (len(steps) - 1) // 4] for i in range(5)]
    out = {"step": summary([ask(url, "api/step?step=%d" % step) for step in chosen]),
           "trace": summary([ask(url, "api/trace?at=%d.0.%d" % (step, i)) for i, step in enumerate(chosen)]),
           "timeline": summary([ask(url, "api/timeline") for _ in range(3)]),
           "steps": summary([ask(url, "api/steps") for _ in range(3)]),
           "problems": summary([ask(url, "api/probes") for _ in range(3)]), "search": {}}
    for query in SEARCHES:
        for order in ("step", "-step", "-flips") if query in ("", 'text~"wait"') else ("step",):
            before = cpu_ms(pid)
            rows = [ask(url, "api/search?" + urllib.parse.urlencode({"q": query, "order": order})) for _ in range(3)]
            out["search"][query + (" by " + order if order != "step" else "")] = {
                "first_ms": round(rows[0][0], 1), "slowest_ms": round(max(row[0] for row in rows), 1), "cpu_ms": round((cpu_ms(pid) - before) / 3), "total": rows[0][2]["total"], "exact": rows[0][2]["exact"]}
    out["slowest_search_ms"] = max(row["slowest_ms"] for row in out["search"].values())
    return out


def renderer_mb(group):
    """Largest resident memory now of a renderer among the processes of a group."""
    largest = 0
    for name in os.listdir("/proc"):
        try:
            if not name.isdigit() or os.getpgid(int(name)) != group:
                continue
            with open("/proc/%s/cmdline" % name) as file:
                if "--type=renderer" not in file.read():
                    continue
            with open("/proc/%s/status" % name) as file:
                largest = max([largest] + [int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS")])
        except OSError:
            pass
    return largest


def measure_page(url, steps):
    """Every view, one after the other in one tab; None without a Chromium."""
    program = find_chromium()
    if program is None:
        return None
    browser = Browser(program)
    out = {"heap_mb": {}, "resident_mb": {}}
    views = [("timeline", "#/timeline", "[data-chart=Reward] svg path"), ("step", "#/step/%d" % steps[len(steps) // 2], ".card"), ("search", "#/search?q=flips%3E0", "tr.item"), ("ahas", "#/ahas", "tr.item"),
             ("problems", "#/problems", "tr.item"), ("trace", "#/trace/%d.0.0" % steps[-1], "#tokens .tok"), ("timeline again", "#/timeline", "[data-chart=Reward] svg path")]
    try:
        page = browser.page(1440, 900)
        page.goto(url)
        for name, address, there in views:
            page.js("location.hash = %r" % address)
            page.until("document.body.dataset.view === %r && !!document.querySelector(%r)" % (name.split()[0], there))
            page.js("new Promise((done) => setTimeout(done, 500))")
            out["heap_mb"][name] = round(page.js("performance.memory.usedJSHeapSize") / 1e6, 1)
            out["resident_mb"][name] = round(renderer_mb(browser.process.pid), 1)
        times = []
        for i in range(5):
            step = steps[(i + 1) * (len(steps) - 1) // 6]
            times.append(page.js("new Promise((done) => { const begin = performance.now(); location.hash = '#/step/%d';"
                                 "const look = () => (document.querySelector('h1')?.textContent === 'Step %d' ? requestAnimationFrame(() => done(performance.now() - begin)) : setTimeout(look, 1)); look(); })" % (step, step)))
        out["step_on_screen_ms"] = {"median": round(statistics.median(times)), "slowest": round(max(times))}
        out["errors"] = page.errors
    finally:
        browser.close()
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--build", default="build")
    parser.add_argument("--folder", help="where the run is made; one that is there is used")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    folder = options.folder or os.path.join(tempfile.mkdtemp(prefix="zeroth-bench-"), "run")
    if not os.path.exists(folder):
        subprocess.run([os.path.join(options.build, "inspect_make_run"), folder, "--steps", str(-(-options.samples // 256)), "--groups", "16", "--samples", "16",
                        "--tokens", str(options.tokens), "--scan", "false", "--experts", "false", "--probe_every", "100"], check=True)
    traces = os.path.join(folder, "traces")
    result = {"samples": 0, "tokens": options.tokens, "stream_mb": round(os.path.getsize(traces + "/stream.zst") / 1e6, 1)}
    begin = time.monotonic()
    server = subprocess.Popen([os.path.join(options.build, "zeroth"), "inspect", folder, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        url = server.stdout.readline().strip()
        worst = 0
        while True:
            info = ask(url, "api/info")
            worst = max(worst, info[0])
            if info[2]["to_index"] > 0 and info[2]["indexed"] == info[2]["to_index"]:
                break
            time.sleep(0.5)
        result["index_seconds"] = round(time.monotonic() - begin, 1)
        result["slowest_answer_while_indexing_ms"] = round(worst, 1)
        result["samples"] = info[2]["samples"]
        time.sleep(3)
        result["index_share"] = round(sum(os.path.getsize(os.path.join(traces, name)) for name in os.listdir(traces) if name.startswith("index.sqlite") and not name.endswith("-shm"))
                                      / os.path.getsize(traces + "/stream.zst"), 4)
        result["peak_mb_indexing"] = round(peak_mb(server.pid), 1)
        steps = sorted({row["step"] for row in ask(url, "api/steps")[2] if row["source"] == "train"})
        result.update(measure(url, steps, server.pid))
        result["peak_mb"] = round(peak_mb(server.pid), 1)
        result["page"] = measure_page(url, steps)
    finally:
        server.terminate()
        server.wait(30)
        if not options.keep:
            shutil.rmtree(folder)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    sys.exit(main())
