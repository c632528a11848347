#!/usr/bin/env python3
"""What reflection did over the course of runs that differ in their seed: the tables of docs/aha.md.

usage: bench/aha_report.py ZEROTH RUN [RUN ..]

Counts come from `zeroth traces export`, so every candidate answer was graded by the task. "First" is step 0, the base
policy; "last" the last five steps. An entry is the mean over the runs with a 95% interval of Student's t over them.
"""
import collections
import json
import math
import subprocess
import sys

STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365}  # 97.5% points for n runs


def rows(zeroth, run, query):
    out = subprocess.run([zeroth, "traces", "export", "--jsonl", run, "--query", "source=train " + query], check=True, stdout=subprocess.PIPE).stdout
    return [json.loads(line) for line in out.splitlines()]


def share(hits, of):
    return sum(map(bool, hits)) / of if of else float("nan")


def measures(traces):
    n = len(traces)
    reflected = [t for t in traces if t["reflection"] > 0]
    silent = [t for t in traces if t["reflection"] == 0]
    wrong_once = [t for t in traces if t["flips"][0] + t["flips"][3] > 0 or not t["correct"]]
    out = collections.OrderedDict()
    out["right"] = share((t["correct"] for t in traces), n)
    groups = collections.defaultdict(list)
    for t in traces:
        groups[t["step"], t["group"]].append(t["correct"])
    for k in (4, 8, 16):  # unbiased, of all ways to choose k of a group's samples
        known = [1 - math.comb(len(g) - sum(g), k) / math.comb(len(g), k) for g in groups.values() if len(g) >= k]
        out["one of %d right" % k] = sum(known) / len(known) if known else float("nan")
    out["tokens"] = sum(t["tokens"] for t in traces) / n
    out["traces with a reflection word"] = len(reflected) / n
    out["reflection words per 1,000 tokens"] = 1000 * sum(t["reflection"] for t in traces) / sum(t["tokens"] for t in traces)
    out["traces that turn wrong into right"] = share((t["flips"][0] for t in traces), n)
    out["the same with a reflection word between (aha)"] = share((t["aha"] for t in traces), n)
    out["traces that turn right into wrong"] = share((t["flips"][1] for t in traces), n)
    out["right, of traces with a reflection word"] = share((t["correct"] for t in reflected), len(reflected))
    out["right, of those without"] = share((t["correct"] for t in silent), len(silent))
    out["the difference"] = out["right, of traces with a reflection word"] - out["right, of those without"]
    out["an aha, of traces with a reflection word"] = share((t["aha"] for t in reflected), len(reflected))
    out["a reflection word, of traces that were wrong at least once"] = share((t["reflection"] for t in wrong_once), len(wrong_once))
    out["truncated"] = share((t["finish"] == "length" for t in traces), n)
    out["ends in a loop"] = share((t["loop"] for t in traces), n)
    return out


def entry(name, values):
    known = [v for v in values if not math.isnan(v)]
    if not known:
        return "-"
    mean = sum(known) / len(known)
    scale, unit = (1, "") if name.startswith(("tokens", "reflection words")) else (100, "%")
    if len(known) < 2:
        return "%.1f%s" % (scale * mean, unit)
    half = STUDENT[len(known)] * math.sqrt(sum((v - mean) ** 2 for v in known) / (len(known) - 1) / len(known))
    return "%.1f%s ± %.1f" % (scale * mean, unit, scale * half)


def main(zeroth, runs):
    first, last = [], []
    for run in runs:
        steps = [json.loads(line)["step"] for line in open(run + "/metrics.jsonl")]
        first.append(measures(rows(zeroth, run, "step=0")))
        last.append(measures(rows(zeroth, run, "step>%d" % (steps[-1] - 5))))
    print("| | step 0 | last five steps |\n|---|---|---|")
    for name in first[0]:
        print("| %s | %s | %s |" % (name, entry(name, [m[name] for m in first]), entry(name, [m[name] for m in last])))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
