#!/usr/bin/env python3
"""What clients that ask for exported files without end cost the training beside the inspector.

usage: bench/exports.py [--clients N] [--window S] [--windows N] [--config FILE] [--build FOLDER] [--prefix COMMAND]

One run trains while an inspector serves it. Windows in which N clients ask for api/export one after the other without a
pause take turns with windows in which nobody asks. Prints one JSON object: the steps in each kind of window, the median
of their seconds, the ratio of the two medians, exports answered and their bytes. --prefix puts a command such as
"chrt -f 5" in front of the training and the inspector, so that what else the machine does is not measured.
"""
import argparse
import json
import os
import re
import shlex
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request


def start_inspector(options, run):
    process = subprocess.Popen(shlex.split(options.prefix) + [options.zeroth, "inspect", run, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        found = re.search(r"http://\S+", line)
        if found:
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return process, found.group(0)
    raise SystemExit("the inspector did not start")


def ask(url, until, answered):
    while time.time() < until:
        try:
            with urllib.request.urlopen(url + "api/export", timeout=30) as reply:
                answered.append(len(reply.read()))
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)


def lines_of(run):
    try:
        with open(os.path.join(run, "metrics.jsonl")) as file:
            return [json.loads(line) for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--window", type=float, default=15)
    parser.add_argument("--windows", type=int, default=12, help="windows of both kinds together")
    parser.add_argument("--config", default="configs/countdown.json")
    parser.add_argument("--build", default="build")
    parser.add_argument("--prefix", default="")
    options = parser.parse_args()
    options.zeroth = os.path.join(options.build, "zeroth")
    with tempfile.TemporaryDirectory() as folder:
        run = os.path.join(folder, "run")
        training = subprocess.Popen(shlex.split(options.prefix) + [options.zeroth, "train", options.config, "--out", run, "--set", "steps=100000", "--set", "record.progress=false",
                                                                   "--set", "record.print_every=0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        inspector = None
        try:
            while len(lines_of(run)) < 3 and training.poll() is None:
                time.sleep(0.2)
            inspector, url = start_inspector(options, run)
            seconds, answered = {"quiet": [], "asked": []}, []
            for window in range(options.windows):
                kind = ("quiet", "asked")[window % 2]
                before, until = len(lines_of(run)), time.time() + options.window
                clients = [threading.Thread(target=ask, args=(url, until, answered)) for _ in range(options.clients if kind == "asked" else 0)]
                for client in clients:
                    client.start()
                time.sleep(max(0.0, until - time.time()))
                rows = lines_of(run)
                for client in clients:
                    client.join()
                # The first step of a window began in the one before.
                seconds[kind] += [row["timing"]["step_time"] for row in rows[before + 1:]]
            medians = {kind: statistics.median(values) for kind, values in seconds.items()}
            print(json.dumps({"steps": {kind: len(values) for kind, values in seconds.items()}, "median_step_s": medians, "ratio": round(medians["asked"] / medians["quiet"], 3),
                              "exports": len(answered), "export_bytes": statistics.median(answered) if answered else 0}))
        finally:
            for process in (training, inspector):
                if process is not None and process.poll() is None:
                    process.terminate()
                    process.wait()


if __name__ == "__main__":
    main()
