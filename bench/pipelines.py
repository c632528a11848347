#!/usr/bin/env python3
"""A table over several runs of one pipeline: usage: pipelines.py DIR DIR .. (folders of zeroth pipeline --out)

A row a measured stage: the mean over the runs and, in brackets, from the lowest lower to the highest upper end of the
runs' own 95% intervals, which holds what differs between seeds as well as what a run's problems leave open.
"""
import json
import pathlib
import sys

COLUMNS = [("accuracy", "accuracy", 100, "%"), ("format", "format", 100, "%"), ("language", "language", 100, "%"),
           ("tokens", "length", 1, ""), ("tokens of right answers", "right_length", 1, "")]


def stages(folder):
    """Measured stages in their order: (name, result)."""
    finished = json.loads((folder / "finished.json").read_text())["finished"]
    for name in finished:
        result = folder / name / "result.json"
        if result.exists():
            yield name.removesuffix("_eval"), json.loads(result.read_text())


def cell(results, measure, scale, unit):
    found = [result["measures"].get(measure) for result in results]
    if not all(found):
        return "-"
    means = [scale * m["mean"] for m in found]
    low, high = min(scale * m["ci95"][0] for m in found), max(scale * (m["ci95"][1] or float("inf")) for m in found)
    return f"{sum(means) / len(means):.1f}{unit} ({low:.1f} to {high:.1f})"


def main(folders):
    runs = [dict(stages(pathlib.Path(folder))) for folder in folders]
    names = [name for name in runs[0] if all(name in run for run in runs)]
    rows = [["after"] + [title for title, *_ in COLUMNS] + ["accuracy of each"]]
    for name in names:
        results = [run[name] for run in runs]
        rows.append([name] + [cell(results, *column) for _, *column in COLUMNS] +
                    [", ".join(f"{100 * r['pass@1']:.1f}" for r in results)])
    for i, row in enumerate(rows):
        print("| " + " | ".join(row) + " |")
        if i == 0:
            print("|" + "---|" * len(row))


if len(sys.argv) < 2:
    sys.exit(__doc__)
main(sys.argv[1:])
