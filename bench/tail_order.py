#!/usr/bin/env python3
"""usage: bench/tail_order.py [ZEROTH] [--batch N] [--steps N] [--model DIR]

What engine.longest_first saves: forward calls of sampling over a file of 64 Countdown problems that come again every
4 steps, with the field and without, and the mean number of sequences of a call. Both runs must leave the same weights.
The first 4 steps, in which nothing is known of the problems, are shown by themselves. Counts only, so the machine need
not be quiet; about two minutes on two cores for each batch. Run from the project's root. Ends with 1 when the weights
differ or the field costs calls."""
import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

EPOCH = 4  # steps


def problems(count):
    """Rows whose target some expression reaches."""
    rng = random.Random(7)
    rows = []
    while len(rows) < count:
        a, b, c = (rng.randint(1, 16) for _ in range(3))
        target = rng.choice([a + b + c, a + b - c, a * b - c, a * b + c, (a - b) * c])
        if 1 <= target <= 40:
            rows.append({"nums": [a, b, c], "target": target})
    return rows


def run(zeroth, folder, data, arguments, longest_first):
    out = os.path.join(folder, "first" if longest_first else "given")
    fields = ["steps=%d" % arguments.steps, "task.options.data=" + data, "record.progress=false", "probe.every=0",
              "checkpoint_every=1000", "engine.max_batch=%d" % arguments.batch,
              "engine.longest_first=" + ("true" if longest_first else "false")]
    if arguments.model:
        fields.append("model=" + arguments.model)
    subprocess.run([zeroth, "train", "configs/countdown.json", "--out", out]
                   + [word for field in fields for word in ("--set", field)], check=True, stdout=subprocess.DEVNULL)
    with open(os.path.join(out, "metrics.jsonl")) as file:
        rows = [json.loads(line) for line in file]
    with open(os.path.join(out, "checkpoints", "latest", "model.safetensors"), "rb") as file:
        weights = hashlib.sha256(file.read()).hexdigest()
    return rows, weights


def calls_and_batch(rows):
    tokens = [row["completions/mean_length"] * 256 for row in rows]
    calls = sum(n / row["timing"]["mean_batch"] for n, row in zip(tokens, rows))
    return calls, sum(tokens) / calls


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("zeroth", nargs="?", default="build/zeroth")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--model", default="")
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="zeroth-tail-order-")
    data = os.path.join(folder, "problems.jsonl")
    with open(data, "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in problems(16 * EPOCH))
    given, weights = run(arguments.zeroth, folder, data, arguments, False)
    first, again = run(arguments.zeroth, folder, data, arguments, True)
    shutil.rmtree(folder)
    failed = weights != again
    if failed:
        print("MISSED: the weights differ")
    for name, part in (("nothing known", slice(0, EPOCH)), ("known", slice(EPOCH, None))):
        before, after = calls_and_batch(given[part]), calls_and_batch(first[part])
        print("batch %d, %s: %.0f calls of %.1f sequences as given, %.0f of %.1f longest first: %.1f%% fewer"
              % (arguments.batch, name, *before, *after, 100 * (1 - after[0] / before[0])))
        failed = failed or after[0] > before[0]
    return failed


if __name__ == "__main__":
    sys.exit(main())
