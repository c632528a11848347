#!/usr/bin/env python3
"""usage: ranks.py ZEROTH bits MODEL [FIELD=VALUE..]     1, 2, 3 and 4 ranks leave the same bytes; saved by 2, resumed by 4, then 1
       ranks.py ZEROTH fleet MODEL [FIELD=VALUE..]     ranks that feed from workers leave the bytes of one process without
       ranks.py ZEROTH kills N [FIELD=VALUE..]         ranks are killed or told to stop at random; what resumes leaves the same bytes
       ranks.py ZEROTH refuse                          ranks that cannot be one job say why and write nothing
Compared are the newest checkpoint, the traces, and the metrics without timings. MODEL: dense, moe or mla, tiny random ones.
Run from the project's root. All on 127.0.0.1."""
import hashlib, json, os, pathlib, random, re, shutil, signal, socket, subprocess, sys, tempfile, time

zeroth = str(pathlib.Path(sys.argv[1]).resolve())
root = pathlib.Path(tempfile.mkdtemp())
LAUNCHERS = ("torchrun", "Open MPI", "Slurm", "Kubernetes")
NAMES = [r for r in os.environ if re.match(r"(RANK|WORLD_SIZE|LOCAL_|MASTER_|OMPI_|SLURM_|JOB_COMPLETION|TORCHELASTIC)", r)]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def variables(launcher, rank, size, port):
    """As the launcher would set them on one machine."""
    own = {"torchrun": {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1"},
           "Open MPI": {"OMPI_COMM_WORLD_RANK": rank, "OMPI_COMM_WORLD_SIZE": size, "OMPI_COMM_WORLD_LOCAL_SIZE": size},
           "Slurm": {"SLURM_JOB_ID": 7, "SLURM_STEP_ID": 0, "SLURM_PROCID": rank, "SLURM_NTASKS": size, "SLURM_STEP_NUM_TASKS": size,
                     "SLURM_STEP_TASKS_PER_NODE": size, "SLURM_STEP_NODELIST": "nowhere[1-2]"},
           "Kubernetes": {"JOB_COMPLETION_INDEX": rank, "WORLD_SIZE": size, "MASTER_ADDR": "localhost"}}[launcher]
    environment = {k: v for k, v in os.environ.items() if k not in NAMES}
    environment.update({k: str(v) for k, v in own.items()}, MASTER_PORT=str(port), ZEROTH_THREADS="1")
    return environment


def start(arguments, size, launcher="torchrun", port=None, ranks=None, log=None, extra=None, cwd=None, binaries=None, changed=None):
    """One process a rank; `extra`: more arguments by rank; `binaries`: other programs by rank; `changed`: other variables by rank."""
    port = port or free_port()
    processes = []
    for position, rank in enumerate(range(size) if ranks is None else ranks):
        environment = variables(launcher, rank, size, port)
        if size == 1:
            environment = {k: v for k, v in os.environ.items() if k not in NAMES}
        environment.update((changed or {}).get(position, {}))
        errors = open(root / f"{log or 'rank'}.{position}", "w+")
        processes.append((subprocess.Popen([(binaries or {}).get(position, zeroth), "train", *arguments, *((extra or {}).get(position, []))], env=environment,
                                           cwd=(cwd or {}).get(position), stdout=subprocess.DEVNULL, stderr=errors), errors))
    return processes


def finish(processes, seconds=300):
    """Exit codes and what each wrote on stderr."""
    end = time.time() + seconds
    codes, texts = [], []
    for process, errors in processes:
        try:
            codes.append(process.wait(max(0.1, end - time.time())))
        except subprocess.TimeoutExpired:
            process.kill()
            codes.append("hangs")
        errors.seek(0)
        texts.append(errors.read())
        errors.close()
    return codes, texts


def run(arguments, size, **more):
    codes, texts = finish(start(arguments, size, **more))
    if any(codes):
        sys.exit(f"{size} ranks, {arguments}: exit codes {codes}\n" + "\n".join(texts))
    return texts


def base(kind, seed=5):
    folder = root / f"base-{kind}-{seed}"
    if folder.exists():
        return folder
    tiny = pathlib.Path("tests/data/tiny_base")
    if kind == "moe":
        config = json.loads((tiny / "config.json").read_text())
    else:
        config = json.loads(pathlib.Path("tests/data/parity", {"dense": "qwen3", "mla": "deepseek_v3"}[kind], "config.json").read_text())
        config.update(vocab_size=264, bos_token_id=None, eos_token_id=1, pad_token_id=0, max_position_embeddings=512, initializer_range=0.15)
    (root / f"{kind}.json").write_text(json.dumps(config))
    subprocess.run([zeroth, "init", "--config", root / f"{kind}.json", "--seed", str(seed), "--out", folder], check=True, stdout=subprocess.DEVNULL)
    for name in ("tokenizer.json", "generation_config.json"):
        shutil.copy(tiny / name, folder)
    return folder


def config_of(kind, overrides=(), steps=8):
    config = {
        "model": str(base(kind)), "task": {"name": "parity", "options": {"bits": 4}},
        "seed": 3, "steps": steps, "prompts_per_step": 5, "samples_per_prompt": 6,
        "sampling": {"max_tokens": 24, "stop": list("abcdefghijklm")}, "overlong": {"buffer": 23},
        "optimizer": {"lr": 1e-3}, "trainer": {"branches": 8, "leaf_tokens": 64, "micro_batch_tokens": 256, "mini_batches": 2},
        "dynamic_sampling": {"max_rounds": 1}, "curriculum": {"mode": "prioritised"},
        "evaluation": {"every": 3, "problems": 7}, "keep_best": "eval/mean_length", "probe": {"every": 2, "problems": 2, "samples": 2},
        "checkpoint_every": 2, "record": {"progress": False}, "ranks": {"timeout_s": 60}}
    file = root / "config.json"
    file.write_text(json.dumps(config))
    sets = [argument for field in overrides for argument in ("--set", field)]
    return [str(file), *sets]


def fingerprint(folder):
    found = {}
    for part, files in (("checkpoint", (folder / "checkpoints/latest").resolve().rglob("*")), ("traces", (folder / "traces").rglob("*"))):
        for file in sorted(files):
            if file.is_file() and not file.name.startswith("index.sqlite"):
                found[f"{part}/{file.name}"] = hashlib.sha256(file.read_bytes()).hexdigest()
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("timing", None)
        row.pop("sampling/recalled_share", None)  # a call over the border of two ranks' samples computes what one process has kept
    found["metrics"] = rows
    return found


def compare(expected, folder, what):
    found = fingerprint(folder)
    if found == expected:
        return
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) == found.get(name):
            continue
        print(f"{what}: {name} differs")
        if name == "metrics":
            for a, b in zip(expected[name], found[name]):
                print("  step", a["step"], {k: (a.get(k), b.get(k)) for k in a.keys() | b.keys() if a.get(k) != b.get(k)})
    sys.exit(1)


def check_bits(kind, overrides):
    config = config_of(kind, overrides)
    run([*config, "--out", str(root / "one")], 1)
    expected = fingerprint(root / "one")
    trained = [row.get("grad_norm", 0) for row in expected["metrics"]]
    assert max(trained) > 0, f"nothing was learnt: {trained}"
    for size, launcher in zip((2, 3, 4), LAUNCHERS):
        run([*config, "--out", str(root / f"of{size}")], size, launcher=launcher)
        compare(expected, root / f"of{size}", f"{size} ranks by {launcher}")
    for size, steps, launcher in ((2, 3, "Kubernetes"), (4, 5, "torchrun"), (1, 8, "torchrun")):
        # A schedule would see the number of steps; this one is constant.
        texts = run([*config, "--resume", str(root / "mixed"), "--set", f"steps={steps}", "--set", "evaluation.every=0", "--set", "keep_best="],
                    size, launcher=launcher)
        assert size == 1 or f"{size} ranks, started by {launcher}" in texts[0], texts[0]
        assert all("run " not in text and "ranks," not in text for text in texts[1:]), texts[1:]
    found = fingerprint(root / "mixed")
    for name in expected:
        if name.startswith("checkpoint/") and name != "checkpoint/trainer_state.json" and found[name] != expected[name]:
            sys.exit(f"saved by 2, resumed by 4, then 1: {name} differs")
    print(f"{kind} {' '.join(overrides)}: 1, 2, 3 and 4 ranks, and 2 then 4 then 1, leave the same bytes")


def check_fleet(kind, overrides):
    config = config_of(kind, overrides)
    run([*config, "--out", str(root / "one")], 1)
    expected = fingerprint(root / "one")
    token = root / "token"
    token.write_text(os.urandom(32).hex())
    for size in (1, 2, 3):
        port, out = free_port(), root / f"fleet{size}"
        fleet = ["--set", f"fleet.listen=127.0.0.1:{port}", "--set", f"fleet.token_file={token}"]
        processes = start([*config, *fleet, "--out", str(out)], size, log="fleet")
        with open(root / "worker.log", "w+") as log:
            workers = [subprocess.Popen([zeroth, "worker", f"http://127.0.0.1:{port}", "--token-file", token, "--name", f"w{i}", "--batch", "16"],
                                        env={**os.environ, "ZEROTH_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=log) for i in range(2)]
            codes, texts = finish(processes)
            for worker in workers:
                worker.terminate()
                worker.wait(60)
            log.seek(0)
            assert not any(codes), (codes, texts, log.read())
        compare(expected, out, f"{size} ranks that feed from 2 workers")
        leases = json.loads(subprocess.run([zeroth, "fleet", "status", "--json", out], check=True, capture_output=True, text=True).stdout)
        assert leases, "no worker did anything"
    print(f"{kind} {' '.join(overrides)}: 1, 2 and 3 ranks that feed from 2 workers leave the bytes of one process")


def check_kills(kills, overrides):
    config = config_of("moe", ["ranks.timeout_s=10", *overrides], steps=30)
    began = time.time()
    run([*config, "--out", str(root / "straight")], 1)
    expected = fingerprint(root / "straight")
    whole = time.time() - began
    seed = int(os.environ.get("SEED", os.getpid()))
    draw = random.Random(seed)
    print(f"seed {seed}")
    done, latest, slowest = 0, 0, 0.0
    while True:
        size = draw.choice((2, 3, 4))
        processes = start([*config, "--resume", str(root / "killed")], size, launcher=draw.choice(LAUNCHERS), log="killed")
        if done == kills:
            codes, texts = finish(processes)
            assert not any(codes), (codes, texts)
            break
        time.sleep(draw.random() * whole * 3 / kills + 0.3)
        victim, how = draw.randrange(size), draw.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
        if processes[victim][0].poll() is not None:
            codes, texts = finish(processes)
            assert not any(codes), (codes, texts)
            break  # it was faster
        processes[victim][0].send_signal(how)
        began = time.time()
        codes, texts = finish(processes, 120)
        took = time.time() - began
        if not any(codes):
            break  # all was done already
        done += 1
        others = [(code, text) for i, (code, text) in enumerate(zip(codes, texts)) if i != victim]
        if how == signal.SIGTERM and codes[victim] == 143:
            assert all(code == 143 for code, _ in others), (codes, texts)
            continue
        assert all(code == 1 for code, _ in others), (codes, texts)
        named = re.compile(rf"rank {victim} of {size}|no rank 0|is not rank 0")
        assert all(named.search(text) for _, text in others), (victim, codes, texts)
        if not any("did not come" in text or "no rank 0" in text for _, text in others):
            slowest = max(slowest, took)
    compare(expected, root / "killed", f"after {done} kills")
    print(f"{done} ends of random ranks, same bytes; after a lost rank the last of the others had ended within {slowest:.1f} s")


def patched(name, old, new):
    """A copy of the program in which some bytes are others."""
    assert len(old) == len(new)
    program = pathlib.Path(zeroth).read_bytes()
    assert old in program, f"{old} is not in the program"
    copy = root / name
    copy.write_bytes(program.replace(old, new))
    copy.chmod(0o755)
    return str(copy)


def check_strangers(config):
    """Whoever says nothing, or anything, at rank 0's port does no harm: before all ranks are there, and while they work."""
    port, folder, held = free_port(), root / "strangers", []

    def visit():
        try:
            visitor = socket.create_connection(("127.0.0.1", port), 1)
            visitor.settimeout(1)
            if len(held) % 3:
                visitor.sendall(random.randbytes(4000) if len(held) % 3 == 1 else b"\xff" * 4000)
        except OSError:
            return  # nobody listens any more, or it was sent away
        held.append(visitor)

    first = start([*config, "--out", str(folder)], 2, ranks=(0,), port=port, log="first")
    until = time.time() + 3
    while time.time() < until:
        visit()
        time.sleep(0.05)
    second = start([*config, "--out", str(folder)], 2, ranks=(1,), port=port, log="second")
    while any(process.poll() is None for process, _ in first + second):
        visit()
        time.sleep(0.05)
    codes, texts = finish(first + second)
    assert codes == [0, 0], (codes, texts)
    assert len(held) > 20, f"only {len(held)} visitors"


def check_refused():
    config = config_of("dense")
    out = root / "refused"
    version = subprocess.run([zeroth, "--version"], check=True, capture_output=True, text=True).stdout
    revision = re.search(r"git ([^)]+)\)", version)[1].encode()
    contract = re.search(rb"zeroth numeric contract \d+\narithmetic", pathlib.Path(zeroth).read_bytes())[0]

    def expect(what, processes, words, ranks=None):
        codes, texts = finish(processes, 60)
        for position, (code, text) in enumerate(zip(codes, texts)):
            if ranks is None or position in ranks:
                assert code not in (0, "hangs"), f"{what}: rank {position} ended with {code}\n{text}"
                assert re.search(words, text), f"{what}: rank {position} does not say {words}\n{text}"
        assert not out.exists() or not any(out.iterdir()), f"{what}: something was written: {list(out.iterdir())}"

    at = [*config, "--out", str(out)]
    expect("another config", start(at, 2, extra={1: ["--set", "seed=4"]}), "rank 1 of 2 .* has .* as the config's hash, rank 0 has")
    # A short text may stand in the program by words of the processor.
    revision = next(revision[:n] for n in (len(revision), 8, 4) if revision[:n] in pathlib.Path(zeroth).read_bytes())
    binaries = {"version": patched("revised", revision, b"x" * len(revision)),
                "numeric contract": patched("other-bits", contract, contract.replace(b"arithmetic", b"arithmetics"[1:]))}
    longer = pathlib.Path(shutil.copy(zeroth, root / "longer"))
    with open(longer, "ab") as program:
        program.write(b"\0")
    binaries["binary's hash"] = str(longer)
    for what, program in binaries.items():
        expect(f"another {what}", start(at, 3, binaries={2: program}), f"rank 2 of 3 .* has .* as (the )?{what}, rank 0 has")
    expect("two ranks of one number", start(at, 3, ranks=(0, 1, 1)), "two processes say that they are rank 1")
    expect("two ranks 0", start(at, 3, ranks=(0, 0, 1)), "a second process .* says that it is rank 0 of 3")
    expect("a rank that never comes", start([*at, "--set", "ranks.timeout_s=2"], 3, ranks=(0, 2)), "rank 1 of 3 did not come")
    expect("no rank 0", start([*at, "--set", "ranks.timeout_s=1"], 2, ranks=(1,)), "found no rank 0 at 127.0.0.1:")
    expect("another number of ranks", start(at, 3, changed={2: {"WORLD_SIZE": "4"}}), "rank 2 .* was told of 4 ranks, rank 0 of 3")
    nowhere = {"MASTER_ADDR": "no-such-host.invalid"}
    expect("an address that is none", start([*at, "--set", "ranks.timeout_s=1"], 2, changed={0: nowhere, 1: nowhere}),
           "(cannot listen on|found no rank 0 at) no-such-host.invalid:.*is no address")
    (root / "file").write_text("")
    codes, texts = finish(start([*config, "--out", str(root / "file/run")], 2), 60)
    assert codes == [1, 1] and "rank 0 of 2" in texts[1] and all(str(root / "file") in text for text in texts), (codes, texts)
    expect("a wrong number", start(at, 2, ranks=(2,)), "RANK=2")
    expect("too few branches", start([*at, "--set", "trainer.branches=2"], 3), "trainer.branches is 2 for 3 ranks")
    for field in ("lora.rank=2", "fleet.listen=127.0.0.1:1"):
        expect(f"experts and {field}", start([*at, "--set", "ranks.expert_parallel=true", "--set", field], 2), "ranks.expert_parallel with")
    expect("sampling ahead", start([*at, "--set", "async.lag=1"], 2), "async.lag = 1 .*with 2 ranks")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        expect("a port in use", start([*at, "--set", "ranks.timeout_s=2"], 2, port=port),
               f"cannot listen on 127.0.0.1:{port}|what listens at 127.0.0.1:{port} is not rank 0")
    shutil.rmtree(out, ignore_errors=True)
    # What only the model tells. The folder has the lock of rank 0 by then.
    codes, texts = finish(start([*at, "--set", "ranks.expert_parallel=true"], 2), 60)
    assert all(code not in (0, "hangs") for code in codes), (codes, texts)
    assert all("ranks.expert_parallel is set, but a qwen3 model has no experts" in text for text in texts), texts
    shutil.rmtree(out)
    # One rank cannot load what the others can: all say whose fault it is.
    shutil.copytree(base("dense"), root / "model")
    codes, texts = finish(start([*at, "--set", "model=model"], 2, cwd={0: root}), 60)
    assert codes[0] == 1 and codes[1] not in (0, "hangs"), (codes, texts)
    assert "rank 1 of 2" in texts[0] and "failed:" in texts[0], texts
    assert not (out / "metrics.jsonl").exists() or not (out / "metrics.jsonl").read_text(), "something was recorded"
    # Machines that have other files under one name.
    tokenizer = json.loads((base("dense") / "tokenizer.json").read_text())
    for what, words in (("weights", "rank 1 has loaded other weights than rank 0"), ("tokenizer", "rank 1 reads other files than rank 0: tokenizer")):
        shutil.rmtree(out, ignore_errors=True)
        for rank in range(2):
            shutil.copytree(base("dense"), root / f"{what}{rank}/model")
        if what == "weights":
            shutil.copy(base("dense", seed=6) / "model.safetensors", root / "weights1/model")
        else:
            (root / "tokenizer1/model/tokenizer.json").write_text(json.dumps(tokenizer, indent=7))
        codes, texts = finish(start([*at, "--set", "model=model"], 2, cwd={r: root / f"{what}{r}" for r in range(2)}), 60)
        assert codes == [1, 1] and all(words in text for text in texts), (codes, texts)
        assert not (out / "metrics.jsonl").exists() or not (out / "metrics.jsonl").read_text(), "something was recorded"
    check_strangers(config)
    print("refused as they should be")



if __name__ == "__main__":
    try:
        if sys.argv[2] == "bits":
            check_bits(sys.argv[3], sys.argv[4:])
        elif sys.argv[2] == "fleet":
            check_fleet(sys.argv[3], sys.argv[4:])
        elif sys.argv[2] == "kills":
            check_kills(int(sys.argv[3]), sys.argv[4:])
        else:
            check_refused()
    finally:
        shutil.rmtree(root, ignore_errors=True)
