#!/usr/bin/env python3
"""usage: bench/fleet_cost.py [ZEROTH] [--rounds N] [--part worker|audit|lag|serve]..

What a fleet costs on this machine, against its bars, in about five minutes on two quiet cores. Parts:
  worker  a run whose one worker shares the cores, against the run in one process with trainer.reuse_mb=0
  audit   fleet.audit_rate=0.05 against 0, in the same run
  lag     async.lag=1 with one core for the trainer and one for the worker: a step against the longer one of
          sampling and updating, each measured alone on one core
  serve   64 completions at a time from `zeroth serve` against `zeroth sample --batch 64`; streams give the same bytes
What is compared runs in turns, and a figure is the median of the rounds. Ends with 1 when a bar is missed. Run from
the project's root; nothing else may run meanwhile."""
import argparse
import hashlib
import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

CONFIG = "configs/countdown.json"
COMMON = ["record.progress=false", "probe.every=0", "checkpoint_every=1000", "evaluation.every=0"]
work = tempfile.mkdtemp(prefix="zeroth-fleet-cost-")
count = 0
failed = []


def bar(fine, text):
    print(("  " if fine else "  MISSED: ") + text, flush=True)
    if not fine:
        failed.append(text)


def sets(*fields):
    return [word for field in fields for word in ("--set", field)]


def on_core(core, command):
    return command if core is None else ["taskset", "-c", str(core), *command]


def rows_of(folder):
    with open(os.path.join(folder, "metrics.jsonl")) as file:
        return [json.loads(line) for line in file]


def train(zeroth, fields, workers=0, threads=None, cores=(None, None)):
    """Runs a training and its workers to their end; the rows of metrics."""
    global count
    count += 1
    out = os.path.join(work, f"run{count}")
    environment = dict(os.environ, **({"ZEROTH_THREADS": str(threads)} if threads else {}))
    fleet = ["fleet.listen=127.0.0.1:0"] if workers else []
    log = open(out + ".log", "w+")
    trainer = subprocess.Popen(on_core(cores[0], [zeroth, "train", CONFIG, "--out", out, *sets(*COMMON, *fields, *fleet)]),
                               stdout=subprocess.DEVNULL, stderr=log, env=environment)
    crowd = []
    try:
        while workers and not crowd:
            time.sleep(0.05)
            text = open(out + ".log").read()
            if trainer.poll() is not None:
                raise RuntimeError(text)
            if "--token-file " in text and "http://" in text:
                url = "http://" + text.split("http://")[1].split()[0]
                token = text.split("--token-file ")[1].split("\n")[0].strip()
                for i in range(workers):
                    command = [zeroth, "worker", url, "--token-file", token, "--name", f"w{i}", "--quiet"]
                    command += ["--threads", str(threads)] if threads else []
                    crowd.append(subprocess.Popen(on_core(cores[1], command), stdout=subprocess.DEVNULL, stderr=log))
        if trainer.wait() != 0:
            raise RuntimeError(open(out + ".log").read())
        for worker in crowd:
            worker.wait(30)
    finally:
        for process in [trainer, *crowd]:
            if process.poll() is None:
                process.kill()
    rows = rows_of(out)
    shutil.rmtree(out)
    return rows


def seconds(rows, name="step_time"):
    """Of all steps but the first, in which workers join and memory is touched for the first time."""
    return sum(value_of(row, name) for row in rows[1:])


def value_of(row, name):
    return row["timing"][name] if name in row.get("timing", {}) else row[name]


def part_worker(zeroth, rounds, steps=7):
    print("one worker on the same cores, against one process without reuse:")
    fields = [f"steps={steps}", "trainer.reuse_mb=0"]
    ratios, alone, fleet = [], [], []
    for _ in range(rounds):
        alone.append(seconds(train(zeroth, fields)))
        fleet.append(seconds(train(zeroth, [*fields, "fleet.audit_rate=0"], workers=1)))
        ratios.append(fleet[-1] / alone[-1])
    reuse = seconds(train(zeroth, [f"steps={steps}"]))
    ratio = statistics.median(ratios)
    print(f"  {steps - 1} steps: {statistics.median(alone):.2f} s in one process, {statistics.median(fleet):.2f} s with a worker "
          f"({reuse:.2f} s in one process that takes activations over)")
    bar(ratio <= 1.05, f"{ratio:.3f} of one process, at most 1.05 (pairs: {', '.join(f'{r:.3f}' for r in ratios)})")


def part_audit(zeroth, rounds, steps=7):
    print("audit rate 0.05 against 0:")
    fields = [f"steps={steps}", "trainer.reuse_mb=0"]
    ratios = []
    for _ in range(rounds):
        none = seconds(train(zeroth, [*fields, "fleet.audit_rate=0"], workers=1))
        some = seconds(train(zeroth, [*fields, "fleet.audit_rate=0.05"], workers=1))
        ratios.append(some / none)
    ratio = statistics.median(ratios)
    bar(ratio <= 1.05, f"{ratio:.3f} of the time without, at most 1.05 (pairs: {', '.join(f'{r:.3f}' for r in ratios)})")


def part_lag(zeroth, rounds, steps=7):
    print("lag 1, one core each:")
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        print("  left out: it needs two cores")
        return
    fields = [f"steps={steps}", "prompts_per_step=8", "trainer.reuse_mb=0"]
    ratios = []
    for _ in range(rounds):
        alone = train(zeroth, fields, threads=1, cores=(available[0], None))
        longer = max(seconds(alone, "generate"), seconds(alone, "update"))
        both = train(zeroth, [*fields, "async.lag=1"], workers=1, threads=1, cores=available[:2])
        # The first two steps train on samples of the first weights; the last one has nothing beside it.
        took = statistics.mean(value_of(row, "step_time") for row in both[2:-1]) * (steps - 1)
        ratios.append(took / longer)
        print(f"  {steps - 1} steps: sampling {seconds(alone, 'generate'):.2f} s, updating {seconds(alone, 'update'):.2f} s, "
              f"both at once {took:.2f} s")
    ratio = statistics.median(ratios)
    bar(ratio <= 1.10, f"{ratio:.3f} of the longer one, at most 1.10")


PROMPT = "Numbers 3 5 7 25 50 target 883\n"
STREAMS = 64


def ask(port, body, results, index):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    results[index] = answer.read() if answer.status == 200 else None
    connection.close()


def crowd(port, bodies):
    results = [None] * len(bodies)
    threads = [threading.Thread(target=ask, args=(port, body, results, i)) for i, body in enumerate(bodies)]
    start = time.time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results, time.time() - start


def text_of(stream):
    out = ""
    for line in stream.decode().split("\n"):
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                out += choice["text"]
    return out


def part_serve(zeroth, rounds, tokens=224, each=48):
    print(f"serve, {STREAMS} requests at a time:")
    server = subprocess.Popen([zeroth, "serve", "--model", "models/base", "--listen", "127.0.0.1:0", "--batch", "64",
                               "--queue", str(STREAMS * each)],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        port = int(server.stdout.readline().split(":")[2].split("/")[0])
        body = {"prompt": PROMPT, "max_tokens": tokens, "return_token_ids": True}
        ratios = []
        for r in range(rounds):
            done = subprocess.run([zeroth, "sample", "--model", "models/base", "--prompt", PROMPT, "--n", str(STREAMS * each),
                                   "--batch", "64", "--max-tokens", str(tokens), "--seed", str(r), "--json"],
                                  capture_output=True, text=True, check=True)
            sample_rate = rate_said(done.stderr)
            results, took = crowd(port, [{**body, "seed": 1000 * r + i, "n": each} for i in range(STREAMS)])
            if None in results:
                raise RuntimeError("a request was refused")
            served = sum(json.loads(result)["usage"]["completion_tokens"] for result in results)
            ratios.append(served / took / sample_rate)
            print(f"  sample {sample_rate:.0f} tokens/s, serve {served / took:.0f} tokens/s")
        ratio = statistics.median(ratios)
        bar(ratio >= 0.9, f"{ratio:.3f} of sample, at least 0.9")
        streams = [{**body, "seed": 7, "n": 1, "stream": True}] * STREAMS
        alone = [None]
        ask(port, {**body, "seed": 7, "n": 1}, alone, 0)
        texts = {hashlib.sha256(text_of(result).encode()).hexdigest() if result else "refused" for result in crowd(port, streams)[0]}
        wanted = hashlib.sha256(json.loads(alone[0])["choices"][0]["text"].encode()).hexdigest()
        bar(texts == {wanted}, f"{STREAMS} streams of one seed: the bytes of one that is alone")
    finally:
        server.terminate()
        server.wait(30)


def rate_said(text):
    """What `sample` says at its end; loading the model does not count."""
    return float(re.search(r"([0-9.]+) tokens/s", text).group(1))


def main():
    parts = {"worker": part_worker, "audit": part_audit, "lag": part_lag, "serve": part_serve}
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("zeroth", nargs="?", default="build/zeroth")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", action="append", choices=list(parts))
    options = parser.parse_args()
    start = time.time()
    for name in options.part or parts:
        parts[name](os.path.realpath(options.zeroth), options.rounds)
    print(f"{time.time() - start:.0f} s")
    return 1 if failed else 0


try:
    code = main()
finally:
    shutil.rmtree(work, ignore_errors=True)
sys.exit(code)
