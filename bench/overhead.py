#!/usr/bin/env python3
"""What metrics, scanners and traces cost a training run: the same steps with and without them, in turns.

usage: bench/overhead.py [--pairs N] [--steps N] [--config FILE] [--set a.b=v].. [--build FOLDER] [--prefix COMMAND] [--rest S]

Both runs of a pair compute the same tokens, bit for bit, so their steps differ by the store and by the machine's noise
alone; which goes first alternates. Prints one JSON object: per pair the share of time that recording adds to the steps,
the median of those with the order statistics that hold it with at least 95%, and the share by the run's own clock
(timing/record_before). --prefix puts a command such as "taskset -c 0" in front of each run (a core of its own is quieter
than all of them); --rest lets others work between pairs.
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
    subprocess.run(command + extra, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return rows_of(folder)


def rows_of(folder):
    with open(os.path.join(folder, "metrics.jsonl")) as file:
        return [json.loads(line) for line in file]


def step_seconds(rows):
    """Seconds of every step but the last, recording included; a row knows what recording the row before it took."""
    return [row["timing"]["step_time"] + after["timing"]["record_before"] for row, after in zip(rows, rows[1:])]


def own_clock(rows):
    return sum(row["timing"]["record_before"] for row in rows[1:]) / sum(step_seconds(rows))


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
    parser.add_argument("--steps", type=int, default=12)
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
            rows = {name: train(options, os.path.join(folder, name), extra) for name, extra in (order if pair % 2 == 0 else reversed(order))}
        added.append(round(sum(step_seconds(rows["with"])) / sum(step_seconds(rows["without"])) - 1, 5))
        clock.append(own_clock(rows["with"]))
        seconds.append(statistics.median(step_seconds(rows["without"])))
        print("pair %2d: %+.2f%%, by its own clock %.2f%%" % (pair, 100 * added[-1], 100 * clock[-1]), file=sys.stderr, flush=True)
        time.sleep(options.rest)
    print(json.dumps({"pairs": options.pairs, "steps": options.steps, "step_seconds_without": round(statistics.median(seconds), 3), "added": added,
                      "median": round(statistics.median(added), 5), "interval95": interval(added), "by_own_clock": round(statistics.median(clock), 5)}))


if __name__ == "__main__":
    sys.exit(main())
