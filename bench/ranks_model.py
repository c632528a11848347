#!/usr/bin/env python3
"""usage: bench/ranks_model.py ZEROTH CONFIG.json [--save FILE] [ASSUMPTION..]    measures (some minutes), then simulates
       bench/ranks_model.py --constants FILE [ASSUMPTION..]                   simulates from what --save has written

A GRPO step of 1 to 1,000 ranks from constants that `zeroth bench` measures on this machine, one rank a machine like
it. ASSUMPTION (with its default):
  --gigabit 10        of every rank's network, each way at once, and no slower in the middle (full bisection)
  --latency_us 30     of a message; a rank handles its messages to R - 1 others one by one
  --spread 0.5        lengths of responses are log-normal with this standard deviation of the logarithm, cut at --tokens
  --tokens 256        longest response; the median is half of it
  --jitter 0.03       a rank's times vary by this share from step to step (normal)
  --prompts 4096      of a step, whatever R is (strong scaling), or
  --per_rank 0        prompts of a step for each rank (weak scaling)
  --samples 16        of a prompt
  --branches 0        trainer.branches; 0: the power of two from 8 R up, for all R
  --seed 1
Measured are a decoding step's time by batch (two sizes), time per trained token, and bytes a second from memory, at
which AdamW, packing weights and adding gradients run here. What every rank does for
itself over all samples (advantages, losses, metrics) is counted at --serial_ns 200 a token.
`zeroth bench --config CONFIG.json --ranks 2` measures the row of 2 ranks on one machine, over its loopback.
"""
import argparse
import json
import random
import statistics
import subprocess
import sys

RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
STEPS = 5


def measure(zeroth, config):
    """What the simulation takes from this machine."""
    def bench(*more):
        return json.loads(subprocess.run([zeroth, "bench", "--config", config, "--tokens", "128", "--json", *more], check=True,
                                         stdout=subprocess.PIPE, text=True).stdout)
    alone = bench("--batch", "8,64", "--seconds", "1")
    few, many = alone["decode"]
    step = {row["batch"]: row["batch"] / row["tokens_per_s"] for row in (few, many)}
    per_token = (step[64] - step[8]) / 56
    return {"parameters": alone["parameters"], "element_bytes": 4 if alone["weights"] == "float32" else 2,
            "decode_step_s": max(0.0, step[8] - 8 * per_token), "decode_token_s": per_token,
            "train_token_s": 1 / alone["train"]["tokens_per_s"], "memory_bytes_per_s": 1e9 * alone["read_bandwidth_gbs"]}


def nodes_of(branches, begin, end):
    """How many largest nodes of the tree over the branches hold [begin, end) (learn/gradient_tree.h)."""
    def count(a, b):
        if end <= a or b <= begin:
            return 0
        if begin <= a and b <= end:
            return 1
        middle = (a + b) // 2
        return count(a, middle) + count(middle, b)
    return count(0, branches)


class Model:
    SAMPLE_BYTES, SCORE_BYTES = 12, 8  # of a token on the wire: id, log-prob and what MessagePack adds; log-prob and entropy

    def __init__(self, constants, given):
        self.c, self.g = constants, given
        self.network = given.gigabit * 1e9 / 8
        self.latency = given.latency_us * 1e-6

    def lengths(self, draw, prompts):
        def one():
            return max(1, min(self.g.tokens, int(self.g.tokens / 2 * draw.lognormvariate(0, self.g.spread))))
        return [[one() for _ in range(self.g.samples)] for _ in range(prompts)]

    def slowest(self, draw, times):
        return max(t * max(0.0, draw.gauss(1, self.g.jitter)) for t in times)

    def wire(self, ranks, most_bytes):
        """An exchange in which no rank sends or receives more than so many bytes."""
        return 0.0 if ranks == 1 else (ranks - 1) * self.latency + most_bytes / self.network

    def step(self, ranks, branches, draw):
        c, groups = self.c, self.lengths(draw, self.g.per_rank * ranks or self.g.prompts)
        share = [groups[len(groups) * r // ranks:len(groups) * (r + 1) // ranks] for r in range(ranks)]
        total = sum(map(sum, groups))
        # A rank decodes its sequences together; one step reads the weights and computes what is still going on.
        sampling = self.slowest(draw, (c["decode_step_s"] * max(map(max, own), default=0) + c["decode_token_s"] * sum(map(sum, own))
                                       for own in share if own) if len(groups) >= ranks else [0])
        samples = self.wire(ranks, total * self.SAMPLE_BYTES)
        # Branches are of neighbouring leaves (here: a leaf a group), ranks of neighbouring branches.
        tokens = [sum(map(sum, groups[len(groups) * b // branches:len(groups) * (b + 1) // branches])) for b in range(branches)]
        bounds = [branches * r // ranks for r in range(ranks + 1)]
        update = self.slowest(draw, (c["train_token_s"] * sum(tokens[bounds[r]:bounds[r + 1]]) for r in range(ranks)))
        scores = self.wire(ranks, total * self.SCORE_BYTES)
        bytes_of_all = 4 * c["parameters"]
        nodes = [nodes_of(branches, bounds[r], bounds[r + 1]) for r in range(ranks)]
        others = (ranks - 1) / ranks
        sends = max(nodes) * bytes_of_all * others
        receives = (sum(nodes) - min(nodes)) * bytes_of_all / ranks
        reduce = self.wire(ranks, max(sends, receives))
        adding = 3 * sum(nodes) * bytes_of_all / ranks / c["memory_bytes_per_s"]
        adamw = 7 * bytes_of_all / ranks / c["memory_bytes_per_s"]
        gather = self.wire(ranks, bytes_of_all * others)
        publish = (4 + c["element_bytes"]) * c["parameters"] / c["memory_bytes_per_s"]
        serial = total * self.g.serial_ns * 1e-9
        exchange = samples + scores + reduce + gather
        return {"sampling": sampling, "update": update, "exchange": exchange, "rest": adding + adamw + publish + serial,
                "step": sampling + update + exchange + adding + adamw + publish + serial, "tokens": total,
                "sent_mb": (sends + bytes_of_all * others) / 1e6 if ranks > 1 else 0.0}


def simulate(constants, given):
    model = Model(constants, given)
    draw = random.Random(given.seed)
    branches = given.branches or 1 << (8 * max(RANKS) - 1).bit_length()
    prompts = f"{given.per_rank} prompts a rank" if given.per_rank else f"{given.prompts} prompts"
    print(f"{constants['parameters'] / 1e6:.1f} M parameters, {given.gigabit:g} Gbit/s, {given.latency_us:g} us, "
          f"{prompts} x {given.samples} samples, {branches} branches")
    print(f"{'ranks':>5} {'step s':>9} {'sampling':>9} {'update':>9} {'exchange':>9} {'rest':>7} {'exchanging':>11} {'tokens/s':>10} "
          f"{'efficiency':>10} {'MB sent':>9} {'moments MB':>10}")
    first = None
    for ranks in RANKS:
        if ranks > branches or (given.prompts < ranks and not given.per_rank):
            continue
        rows = [model.step(ranks, branches, draw) for _ in range(STEPS)]
        row = {name: statistics.median(r[name] for r in rows) for name in rows[0]}
        rate = row["tokens"] / row["step"]
        first = first or rate
        print(f"{ranks:5d} {row['step']:9.2f} {row['sampling']:9.2f} {row['update']:9.2f} {row['exchange']:9.2f} {row['rest']:7.2f} "
              f"{100 * row['exchange'] / row['step']:10.1f}% {rate:10.0f} {100 * rate / first / ranks:9.1f}% {row['sent_mb']:9.1f} "
              f"{8 * constants['parameters'] / ranks / 1e6:10.1f}")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("what", nargs="*")
    parser.add_argument("--constants")
    parser.add_argument("--save")
    for name, default in (("gigabit", 10.0), ("latency_us", 30.0), ("spread", 0.5), ("jitter", 0.03), ("serial_ns", 200.0)):
        parser.add_argument(f"--{name}", type=float, default=default)
    for name, default in (("tokens", 256), ("prompts", 4096), ("per_rank", 0), ("samples", 16), ("branches", 0), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    if (len(given.what) != 2) == (given.constants is None):
        sys.exit(__doc__)
    constants = json.load(open(given.constants)) if given.constants else measure(*given.what)
    if given.save:
        with open(given.save, "w") as file:
            json.dump(constants, file, indent=2)
    print(json.dumps(constants))
    simulate(constants, given)


if __name__ == "__main__":
    main()
