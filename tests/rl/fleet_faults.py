#!/usr/bin/env python3
"""usage: fleet_faults.py ZEROTH [FAULTS [WORKERS]]. A run whose workers reach it through a proxy that cuts, delays,
throttles, leaves half open and flips bytes must leave the bytes of a run in one process, without a stall."""
import asyncio
import hashlib
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

zeroth = os.path.realpath(sys.argv[1])
wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 60
workers = int(sys.argv[3]) if len(sys.argv) > 3 else 2
seed = int(os.environ.get("SEED", time.time()))
dice = random.Random(seed)
work = tempfile.mkdtemp()
faults = {}
LEASE = 1.0


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


KINDS = ["cut", "delay", "throttle", "half-open", "flip"]


async def strike(kind, data, cut, writer):
    """What is left to be written of `data`, whose byte `cut` the fault strikes; None: the connection ends."""
    if kind == "delay":
        await asyncio.sleep(dice.uniform(0.01, 0.5))
    elif kind == "flip":
        return data[:cut] + bytes([data[cut] ^ (1 << dice.randrange(8))]) + data[cut + 1:]
    elif kind == "throttle":
        for i in range(0, min(len(data), 40000), 2000):
            writer.write(data[i:i + 2000])
            await writer.drain()
            await asyncio.sleep(0.01)
        return data[40000:]
    else:
        writer.write(data[:cut])
        if kind == "half-open":
            await asyncio.sleep(dice.uniform(2, 4) * LEASE)
        return None
    return data


async def pump(reader, writer):
    """Copies one direction; faults strike every some bytes to some ten thousand."""
    left = int(10 ** dice.uniform(1, 4.3))
    try:
        while data := await reader.read(1 << 16):
            left -= len(data)
            if left < 0 and sum(faults.values()) < wanted:
                kind, cut = dice.choice(KINDS), left + len(data)
                left = int(10 ** dice.uniform(2, 4.3))
                faults[kind] = faults.get(kind, 0) + 1
                data = await strike(kind, data, cut, writer)
                if data is None:
                    break
            writer.write(data)
            await writer.drain()
    except (ConnectionError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


async def proxy(port):
    async def serve(reader, writer):
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))
    return await asyncio.start_server(serve, "127.0.0.1", 0)


def run(*args):
    subprocess.run([zeroth, *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def fingerprint(folder):
    out = []
    latest = os.path.join(folder, "checkpoints", "latest")
    for base in (latest, os.path.join(folder, "traces")):
        for root, _, names in os.walk(base, followlinks=True):
            for name in sorted(names):
                path = os.path.join(root, name)
                with open(path, "rb") as file:
                    out.append((os.path.relpath(path, base), hashlib.sha256(file.read()).hexdigest()))
    with open(os.path.join(folder, "metrics.jsonl")) as file:
        rows = re.sub(r',"timing":\{[^}]*\}', "", file.read())
    return sorted(out), re.sub(r',"[a-z_/]*(recalled|reuse)[a-z_]*":[^,}]*', "", rows)


async def main():
    base = os.path.join(work, "base")
    run("init", "--config", "tests/data/tiny_base/config.json", "--seed", "5", "--out", base)
    for name in ("tokenizer.json", "generation_config.json"):
        shutil.copy(os.path.join("tests/data/tiny_base", name), base)
    config = {"model": base, "task": {"name": "parity", "options": {"bits": 4}}, "seed": 3, "steps": max(20, wanted // 4),
              "prompts_per_step": 4, "samples_per_prompt": 6, "sampling": {"max_tokens": 24, "stop": list("abcdefghijklm")},
              "overlong": {"buffer": 23}, "optimizer": {"lr": 1e-3}, "checkpoint_every": 1000, "record": {"progress": False}}
    with open(os.path.join(work, "config.json"), "w") as file:
        json.dump(config, file)
    token = os.path.join(work, "token")
    with open(token, "w") as file:
        file.write("%064x\n" % random.SystemRandom().getrandbits(256))
    run("train", os.path.join(work, "config.json"), "--out", os.path.join(work, "straight"))

    port = free_port()
    log = open(os.path.join(work, "log"), "w")
    trainer = await asyncio.create_subprocess_exec(
        zeroth, "train", os.path.join(work, "config.json"), "--out", os.path.join(work, "fleet"), "--set", f"fleet.listen=127.0.0.1:{port}",
        "--set", f"fleet.token_file={token}", "--set", f"fleet.lease_s={LEASE}", "--set", "fleet.audit_rate=0.3", stdout=log, stderr=log)
    server = await proxy(port)
    address = "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]
    crowd = [await asyncio.create_subprocess_exec(zeroth, "worker", address, "--token-file", token, "--name", f"w{i}", "--threads", "1",
                                                  "--batch", "16", "--quiet", stdout=log, stderr=log) for i in range(workers)]
    start = time.time()
    try:
        code = await asyncio.wait_for(trainer.wait(), 60 + 4 * LEASE * wanted)
    except asyncio.TimeoutError:
        trainer.kill()
        code = "no end"
    seconds = time.time() - start
    for worker in crowd:
        if worker.returncode is None:
            worker.terminate()
            await worker.wait()
    server.close()
    status = json.load(open(os.path.join(work, "fleet", "fleet", "status.json")))
    print(f"seed {seed}: {sum(faults.values())} faults {faults}, {config['steps']} steps in {seconds:.0f} s, "
          f"{status['leases']}, {status['counts']}")
    fine = code == 0 and fingerprint(os.path.join(work, "fleet")) == fingerprint(os.path.join(work, "straight"))
    fine = fine and not status["quarantined"]
    if not fine:
        print(open(os.path.join(work, "log")).read()[-3000:])
        print("the run ended with", code, "; quarantined:", status["quarantined"])
    return 0 if fine else 1

try:
    result = asyncio.run(main())
finally:
    shutil.rmtree(work, ignore_errors=True)
sys.exit(result)
