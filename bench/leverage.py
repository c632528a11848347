#!/usr/bin/env python3
"""usage: bench/leverage.py RUN DENSE_RUN.. [--zeroth BINARY] [--key accuracy] [--tokens N] [--window 5] [--json]

Leverage of a mixture-of-experts policy: how many active parameters a dense policy needs to reach, after as many tokens,
the reward that RUN has reached, over the active parameters of RUN's own. (Efficiency leverage: Ling team, arXiv 2507.17702,
there of pretraining FLOPs at equal loss.) The dense runs, of the same task and settings, are three or more sizes.
A run's reward at N tokens is the mean of the last --window steps that end at or before N; N is what the shortest of the runs
has sampled. Between sizes the reward is interpolated over the logarithm of active parameters; a reward that no dense run
reaches, or that all pass, gives a bound (> or <), never a number beyond the sizes that ran."""
import argparse
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

KEYS = {"accuracy": "rewards/accuracy/mean", "reward": "reward"}


def fail(text):
    print("leverage: " + text, file=sys.stderr)
    sys.exit(1)


def read(run, key):
    """[(tokens so far, value)], step by step."""
    path = Path(run, "metrics.jsonl")
    if not path.exists():
        fail(f"{run} has no metrics.jsonl: give folders of runs")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    values = [(row["num_tokens"], row[key]) for row in rows if key in row and "num_tokens" in row]
    if not values:
        fail(f"{path} has no {key}; --key takes a field of its rows")
    return values


def active(run, zeroth):
    model = Path(run, "checkpoints", "latest")
    done = subprocess.run([zeroth, "describe", str(model), "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        fail(f"zeroth describe {model}: {done.stderr.strip()}")
    return json.loads(done.stdout)["active_parameters"]


def at(values, tokens, window):
    reached = [value for sampled, value in values if sampled <= tokens]
    if not reached:
        fail(f"a run has no step that ends at or before {tokens} tokens: give a larger --tokens")
    return statistics.mean(reached[-window:])


def dense_equivalent(dense, wanted):
    """(sign, active parameters): the smallest size from which on the interpolated reward reaches `wanted`."""
    dense = sorted(dense)
    if dense[0][1] >= wanted:
        return "<", dense[0][0]
    for (low, a), (high, b) in zip(dense, dense[1:]):
        if a < wanted <= b:
            share = (wanted - a) / (b - a)
            return "=", math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    return ">", dense[-1][0]


def main():
    parser = argparse.ArgumentParser(usage=__doc__, add_help=False)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--zeroth", default="build/zeroth")
    parser.add_argument("--key", default="accuracy")
    parser.add_argument("--tokens", type=int, default=0)
    parser.add_argument("--window", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if len(args.runs) < 3:
        fail("give the run of the mixture and at least two dense ones")
    key = KEYS.get(args.key, args.key)
    curves = [read(run, key) for run in args.runs]
    tokens = args.tokens or min(values[-1][0] for values in curves)
    sizes = [active(run, args.zeroth) for run in args.runs]
    rewards = [at(values, tokens, args.window) for values in curves]
    sign, equal = dense_equivalent(list(zip(sizes[1:], rewards[1:])), rewards[0])
    result = {"tokens": tokens, "key": key, "active_parameters": sizes[0], "value": rewards[0],
              "dense": [{"run": run, "active_parameters": size, "value": value} for run, size, value in zip(args.runs[1:], sizes[1:], rewards[1:])],
              "dense_equivalent": equal, "sign": sign, "leverage": equal / sizes[0]}
    if args.json:
        print(json.dumps(result))
        return
    print(f"{key} after {tokens:,} tokens, mean of {args.window} steps")
    for run, size, value in zip(args.runs, sizes, rewards):
        print(f"  {Path(run).name:20} {size:>12,} active parameters  {value:.3f}")
    print(f"a dense policy needs {'' if sign == '=' else sign + ' '}{equal:,.0f} active parameters: leverage {'' if sign == '=' else sign + ' '}{equal / sizes[0]:.2f}")


if __name__ == "__main__":
    main()
