#!/usr/bin/env python3
"""usage: bench/pairs.py BEFORE AFTER --config FILE [--pairs 10] [--core 0] [BENCH OPTION..]

Two builds of zeroth, `zeroth bench` of each at the same time on one core with one thread: the scheduler hands the core to one
and the other every few milliseconds, so whatever the machine does besides slows both alike. Seconds are those of the process
(steady_clock is made to show its processor time by a library that cc compiles first). Prints AFTER / BEFORE of each pair and
the medians: above 1 AFTER is slower. Good to about 1% beside other work, where runs in turns swing by 20%; what two threads or
a whole cache would change it does not see. Peaks that bench prints are of half a core. Other options go to bench."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

CLOCK = """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *t) {
  return syscall(SYS_clock_gettime, id == CLOCK_MONOTONIC ? CLOCK_PROCESS_CPUTIME_ID : id, t);
}
"""


def seconds_of(result):
    step = result["step"]
    return {"decode": 1 / result["decode"][0]["tokens_per_s"], "sampling": step["sample_seconds"], "step": step["seconds"]}


def main():
    parser = argparse.ArgumentParser(usage=__doc__, add_help=False)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--config", required=True)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--core", default="0")
    args, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as work:
        library = work + "/clock.so"
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=CLOCK, text=True, check=True)
        environment = dict(os.environ, LD_PRELOAD=library, ZEROTH_THREADS="1")
        ratios = {}
        for pair in range(args.pairs):
            running = {}
            for name in ("before", "after") if pair % 2 == 0 else ("after", "before"):
                command = ["taskset", "-c", args.core, getattr(args, name), "bench", "--config", args.config, "--json", *rest]
                running[name] = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            result = {}
            for name, process in running.items():
                out, err = process.communicate()
                if process.returncode != 0:
                    sys.exit(f"{name}: {err}")
                result[name] = seconds_of(json.loads(out.strip().splitlines()[-1]))
            for key, before in result["before"].items():
                ratios.setdefault(key, []).append(result["after"][key] / before)
            print(pair, *(f"{key} {values[-1]:.4f}" for key, values in ratios.items()), flush=True)
        for key, values in ratios.items():
            print(f"{key}: median {statistics.median(values):.4f} ({min(values):.4f} to {max(values):.4f})")


if __name__ == "__main__":
    main()
