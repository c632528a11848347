#!/usr/bin/env python3
"""What metrics, scanners and traces cost a training run: the same steps with and without them, in turns.

usage: bench/overhead.py [--pairs N] [--steps N] [--config FILE] [--set a.b=v].. [--build FOLDER] [--prefix COMMAND] [--rest S]

Both runs of a pair compute the same tokens, bit for bit, so their seconds differ by the store and by the machine's noise
alone; which goes first alternates. Prints one JSON object: per pair the share of time that recording adds, their median
with the order statistics that hold it with at least 95%, and the share by the run's own clock (timing/record_before).
--prefix puts a command such as "chrt -f 5" in front of each run; --rest lets the machine breathe between pairs.
"""
import argparse
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

WITHOUT = ["--set", "record.traces=false", "--set", "record.scan=false"]


def train(options, folder, extra):
    command = shlex.split(options.prefix) + [os.path.join(options.build, "zeroth"), "train", options.config, "--out", folder, "--set", "steps=%d" % options.steps,
                                             "--set", "checkpoint_every=1000000", "--set", "record.progress=false", "--set", "record.print_every=0"]
    for setting in options.set:
        command += ["--set", setting]
    out = subprocess.run(command + extra, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    with open(os.path.join(folder, "metrics.jsonl")) as file:
        rows = [json.loads(line) for line in file]
    return json.loads(out.splitlines()[-1])["seconds"], rows


def own_clock(rows):
    """Share of recording by the run itself; a row knows what the row before it took."""
    recording = sum(row["timing"]["record_before"] for row in rows[1:])
    return recording / (recording + sum(row["timing"]["step_time"] for row in rows[:-1]))


def interval(values):
    """The innermost order statistics that hold the median with at least 95%."""
    n, ordered = len(values), sorted(values)
    outside, k = 0.0, 0
    while k < n // 2 and outside + math.comb(n, k) / 2 ** (n - 1) <= 0.05:
        outside += math.comb(n, k) / 2 ** (n - 1)
        k += 1
    return [ordered[k - 1], ordered[n - k]] if k else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--config", default="configs/countdown.json")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--build", default="build")
    parser.add_argument("--prefix", default="")
    parser.add_argument("--rest", type=float, default=0)
    options = parser.parse_args()
    added, clock, seconds = [], [], []
    for pair in range(options.pairs):
        with tempfile.TemporaryDirectory() as folder:
            order = [("with", []), ("without", WITHOUT)]
            took = {}
            for name, extra in order if pair % 2 == 0 else reversed(order):
                took[name], rows = train(options, os.path.join(folder, name), extra)
                if name == "with":
                    clock.append(own_clock(rows))
        added.append(took["with"] / took["without"] - 1)
        seconds.append(took["without"])
        print("pair %d: %.3f s with, %.3f s without: %+.2f%%" % (pair, took["with"], took["without"], 100 * added[-1]), file=sys.stderr, flush=True)
        time.sleep(options.rest)
    print(json.dumps({"pairs": options.pairs, "steps": options.steps, "seconds_without": round(statistics.median(seconds), 3), "added": [round(x, 5) for x in added],
                      "median": round(statistics.median(added), 5), "interval95": interval(added), "by_own_clock": round(statistics.median(clock), 5)}))


if __name__ == "__main__":
    sys.exit(main())
