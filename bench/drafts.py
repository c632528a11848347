#!/usr/bin/env python3
"""usage: bench/drafts.py [ZEROTH] [--model DIR] [--prompt TEXT] [--temperature T] [--rounds N] [--cpu] [PART..]

What speculative drafts (engine.draft_tokens) save on this machine. Parts:
  sample  a group of 64 completions of one prompt by `zeroth sample`, 1, 2, 4 or 8 of them at a time
  train   steps of configs/countdown.json: drafts for the last samples of a step, from their group and earlier steps;
          --set FIELD=VALUE goes to both
With and without drafts run in turns, and a ratio is the median of the rounds (above 1: drafts are faster). Bytes are
compared, and other ones end it with 1. --cpu: by the process's CPU clock, for machines that are not quiet
(ZEROTH_THREADS=1 then, or threads that wait count). Run from the project's root; nothing else may run meanwhile."""
import argparse
import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

COUNTDOWN = "Using the numbers [19, 36, 55, 7], create an equation that equals 65."
work = tempfile.mkdtemp(prefix="zeroth-drafts-")


def fail(text):
    print(text)
    sys.exit(1)


def median_row(name, ratios, plain, drafted, note):
    print(f"{name:10}  {statistics.median(plain):9.1f}  {statistics.median(drafted):9.1f}  {statistics.median(ratios):5.2f}"
          f"  ({min(ratios):.2f} to {max(ratios):.2f})  {note}", flush=True)


def sample(args, n, batch, temperature, draft_tokens, seed, max_tokens):
    """Seconds, the output, tokens, [accepted, drafted, forward calls]."""
    before = os.times()
    done = subprocess.run([args.zeroth, "sample", "--model", args.model, "--prompt", args.prompt, "--n", str(n), "--batch", str(batch),
                           "--max-tokens", str(max_tokens), "--temperature", str(temperature), "--seed", str(seed), "--json",
                           "--draft-tokens", str(draft_tokens)], capture_output=True, text=True)
    if done.returncode != 0:
        fail(done.stderr)
    after = os.times()
    tokens, seconds = re.search(r"(\d+) tokens in ([0-9.]+) s", done.stderr).groups()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    drafts = re.search(r"(\d+) of (\d+) drafted tokens accepted, (\d+) forward calls", done.stderr)
    return cpu if args.cpu else float(seconds), done.stdout, int(tokens), [int(x) for x in drafts.groups()] if drafts else [0, 0, 0]


def samples(args):
    print("together    tokens/s    drafted  ratio")
    for batch in (1, 2, 4, 8):
        plain, drafted, ratios, counts = [], [], [], [0, 0, 0]
        n = max(batch, args.group)
        for i in range(args.rounds):
            start = sample(args, 1, 1, args.temperature, 0, i, 1)[0] if args.cpu else 0
            runs = [sample(args, n, batch, args.temperature, tokens, i, args.max_tokens) for tokens in (0, args.draft_tokens)]
            if runs[0][1] != runs[1][1]:
                fail(f"{batch} together, seed {i}: drafts have changed the samples")
            rates = [run[2] / max(1e-3, run[0] - start) for run in runs]
            plain.append(rates[0])
            drafted.append(rates[1])
            ratios.append(rates[1] / rates[0])
            counts = [x + y for x, y in zip(counts, runs[1][3])]
        median_row(str(batch), ratios, plain, drafted, f"accepted {counts[0]} of {counts[1]}, {counts[0] / max(1, counts[2]):.2f} a call")


def train(args, draft_tokens):
    out = os.path.join(work, str(draft_tokens))
    fields = ["record.progress=false", "probe.every=0", "evaluation.every=0", f"steps={args.steps}", f"engine.draft_tokens={draft_tokens}",
              *args.set]
    done = subprocess.run([args.zeroth, "train", "configs/countdown.json", "--out", out, *(w for f in fields for w in ("--set", f))],
                          capture_output=True, text=True)
    if done.returncode != 0:
        fail(done.stderr)
    rows = [json.loads(line) for line in open(os.path.join(out, "metrics.jsonl"))]
    traces = hashlib.sha256()
    for name in sorted(os.listdir(os.path.join(out, "traces"))):
        traces.update(open(os.path.join(out, "traces", name), "rb").read())
    shutil.rmtree(out)
    return rows, traces.hexdigest()


def trains(args):
    plain, drafted, ratios, note = [], [], [], ""
    for _ in range(args.rounds):
        (a, a_bytes), (b, b_bytes) = train(args, 0), train(args, args.draft_tokens)
        if a_bytes != b_bytes:
            fail("drafts have changed the traces")
        times = [[row["timing"]["generate"] for row in rows] for rows in (a, b)]
        plain.append(sum(times[0]))
        drafted.append(sum(times[1]))
        ratios.append(plain[-1] / drafted[-1])
        accepted, tried = (sum(row["timing"][name] for row in b) for name in ("draft_accepted", "draft_tokens"))
        late = sum(times[0][len(a) // 2:]) / sum(times[1][len(b) // 2:])
        note = f"accepted {accepted} of {tried}; second half of the steps {late:.2f}"
    print("steps      without, s   drafted   ratio of the time to sample")
    median_row(str(args.steps), ratios, plain, drafted, note)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("zeroth", nargs="?", default="build/zeroth")
parser.add_argument("parts", nargs="*", default=[])
parser.add_argument("--model", default="models/base")
parser.add_argument("--prompt", default=COUNTDOWN)
parser.add_argument("--temperature", type=float, default=1)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--max-tokens", type=int, default=224)
parser.add_argument("--group", type=int, default=64)
parser.add_argument("--cpu", action="store_true")
parser.add_argument("--draft-tokens", type=int, default=8)
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--set", action="append", default=[])
arguments = parser.parse_args()
try:
    for part in arguments.parts or ["sample", "train"]:
        print(f"{part}:")
        {"sample": samples, "train": trains}[part](arguments)
finally:
    shutil.rmtree(work, ignore_errors=True)
