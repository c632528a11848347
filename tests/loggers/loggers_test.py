"""examples/loggers: what the tool's own client reads back is what metrics.jsonl holds, each step once.

Usage: loggers_test.py wandb|mlflow|trackio ZEROTH MAKE_RUN, from the project's root. 77 (skipped) without the tool's package.
"""
import glob
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.getcwd()
PATIENCE = 300  # seconds


def row(step, reward=None, **more):
    return {"step": step, "reward": step / 7 if reward is None else reward, "entropy": None, "kl": float("nan"), "grad_norm": float("inf"),
            "completions/mean_length": 10.5 + step, "alarms": ["all_groups_equal"] if step == 2 else [],
            "moe/load": [[1, 2]], "timing": {"step_time": time.time()}, **more}


class Run:
    """A run's folder as training leaves it, and the follower beside it."""

    def __init__(self, tool, folder, zeroth, name="run"):
        self.tool, self.folder, self.zeroth, self.path = tool, folder, zeroth, os.path.join(folder, name)
        os.makedirs(self.path, exist_ok=True)
        with open(os.path.join(self.path, "config.json"), "w") as file:
            json.dump({"seed": 1, "loss": {"type": "dapo"}, "history": [{"event": "started", "step": 0, "time": name}]}, file)
        self.state("running")

    def state(self, state):
        with open(os.path.join(self.path, "state.json"), "w") as file:
            json.dump({"state": state}, file)

    def append(self, *rows, torn=""):
        with open(os.path.join(self.path, "metrics.jsonl"), "a") as file:
            file.write("".join(json.dumps(r) + "\n" for r in rows) + torn)

    def cut_behind(self, step):
        """As resuming does: in place."""
        path = os.path.join(self.path, "metrics.jsonl")
        kept = b"".join(line for line in open(path, "rb") if line.endswith(b"\n") and json.loads(line)["step"] <= step)
        with open(path, "r+b") as file:
            file.truncate(len(kept))

    def command(self, *more):
        where = {"wandb": ["--dir", self.folder], "mlflow": ["--uri", self.store()], "trackio": []}[self.tool]
        return [sys.executable, os.path.join(ROOT, "examples/loggers/%s_log.py" % self.tool), self.path, "--zeroth", self.zeroth, *where, *more]

    def store(self):
        return "sqlite:///" + os.path.join(self.folder, "mlflow.db") if os.environ.get("MLFLOW_BY_SQLITE") else os.path.join(self.folder, "mlruns")

    def log(self, *more):
        done = subprocess.run(self.command("--table-every", "0", *more), capture_output=True, text=True, timeout=PATIENCE, cwd=self.folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip().splitlines()[-1]

    def read(self, name="run", metric="reward"):
        """[(step, value)] of a run in the tool, as its client gives them."""
        return sorted(READERS[self.tool](self, name, metric))


def read_wandb(run, name, metric):
    sys.path.insert(0, os.path.join(ROOT, "examples/loggers"))
    from wandb_log import offline_records, offline_rows
    for path in glob.glob(os.path.join(run.folder, "wandb", "offline-run-*", "run-*.wandb")):
        if name in {record.run.display_name for record in offline_records(path)}:
            for items in offline_rows(path):
                if metric in items:
                    yield int(items["_step"]), json.loads(items[metric])


def read_mlflow(run, name, metric):
    import mlflow
    client = mlflow.MlflowClient(tracking_uri=run.store())
    experiment = client.get_experiment_by_name("zeroth")
    for found in client.search_runs([experiment.experiment_id]):
        if found.info.run_name == name:
            yield from ((m.step, m.value) for m in client.get_metric_history(found.info.run_id, metric))


def read_trackio(run, name, metric):
    from trackio.sqlite_storage import SQLiteStorage
    yield from ((row["step"], row[metric]) for row in SQLiteStorage.get_logs("zeroth", name) if metric in row)


READERS = {"wandb": read_wandb, "mlflow": read_mlflow, "trackio": read_trackio}


def rewards(*steps, other=()):
    return sorted([(s, s / 7) for s in steps] + [(s, -1.0 - s) for s in other])


def check_resume(run):
    """Torn lines, null, a run that goes back and makes the same rows, one that makes others."""
    run.append(*(row(s) for s in range(5)), torn='{"step": 5, "rew')
    run.log()
    assert run.read() == rewards(*range(5)), run.read()
    assert run.read(metric="timing/step_time") and run.read(metric="alarms/all_groups_equal") == [(2, 1)]
    for left_out in ("entropy", "kl", "grad_norm", "moe/load"):
        assert run.read(metric=left_out) == [], left_out
    run.cut_behind(4)
    run.append(*(row(s) for s in (5, 6, 7)))
    run.log()
    run.log()
    assert run.read() == rewards(*range(8)), run.read()
    run.cut_behind(5)  # a kill, and --resume from the checkpoint of step 5
    run.append(*(row(s) for s in (6, 7, 8)))
    run.log()
    assert run.read() == rewards(*range(9)), run.read()
    run.cut_behind(6)  # --resume --change: other rows from step 7 on
    run.append(*(row(s, reward=-1.0 - s) for s in (7, 8, 9)))
    run.log()
    run.log()
    assert run.read() == rewards(*range(9)), run.read()
    assert run.read("run-2") == rewards(*range(7), other=(7, 8, 9)), run.read("run-2")


def check_kill(run):
    """A follower that is killed again and again loses no step and doubles none."""
    follower, steps = None, 24
    for step in range(steps):
        run.append(row(step))
        if follower is None or follower.poll() is not None:
            follower = subprocess.Popen(run.command("--follow", "--poll", "0.02", "--table-every", "0"), stdout=subprocess.DEVNULL, cwd=run.folder)
        if step % 8 == 7:
            deadline = time.monotonic() + PATIENCE
            while len(run.read("killed")) <= step // 2:
                assert time.monotonic() < deadline and follower.poll() is None, "the follower logs nothing"
                time.sleep(0.2)
            follower.send_signal(signal.SIGKILL)
            follower.wait()
    if follower.poll() is None:
        follower.kill()
        follower.wait()
    time.sleep(3)  # wandb's own process writes what it was given
    run.state("finished")
    run.log("--follow")
    assert run.read("killed") == rewards(*range(steps)), run.read("killed")


def check_completions(run, make_run):
    """The table of a real run's samples."""
    made = os.path.join(run.folder, "made")
    subprocess.run([make_run, made, "--steps", "2", "--groups", "2", "--samples", "4"], check=True, stdout=subprocess.DEVNULL)
    exported = subprocess.run([run.zeroth, "traces", "export", "--jsonl", made, "--query", "step=2 source=train"], capture_output=True, text=True, check=True)
    samples = [json.loads(line) for line in exported.stdout.splitlines()]
    assert samples
    run.path = made
    done = subprocess.run(run.command("--table-every", "2", "--table-rows", "3"), capture_output=True, text=True, timeout=PATIENCE, cwd=run.folder)
    assert done.returncode == 0, done.stderr
    rows = TABLES[run.tool](run)
    assert len(rows) == 3, rows
    assert [r["completion"] for r in rows] == [s["text"] for s in samples[:3]] and [r["reward"] for r in rows] == [s["reward"] for s in samples[:3]], rows


def table_wandb(run):
    files = glob.glob(os.path.join(run.folder, "wandb", "offline-run-*", "files", "media", "table", "completions*.json"))
    table = json.load(open(max(files, key=os.path.getmtime)))
    return [dict(zip(table["columns"], r)) for r in table["data"]]


def table_mlflow(run):
    import mlflow
    client = mlflow.MlflowClient(tracking_uri=run.store())
    found = [r for r in client.search_runs([client.get_experiment_by_name("zeroth").experiment_id]) if r.info.run_name == "made"][0]
    table = json.load(open(client.download_artifacts(found.info.run_id, "completions/step-000002.json")))
    return [dict(zip(table["columns"], r)) for r in table["data"]]


def table_trackio(run):
    [(step, table)] = read_trackio(run, "made", "completions")
    assert step == 2
    return table["_value"]


TABLES = {"wandb": table_wandb, "mlflow": table_mlflow, "trackio": table_trackio}


def main(tool, zeroth, make_run):
    if importlib.util.find_spec(tool) is None:
        print("skipped: %s is not installed (scripts/setup --loggers)" % tool)
        return 77
    folder = tempfile.mkdtemp()
    os.environ.update(TRACKIO_DIR=os.path.join(folder, "trackio"), WANDB_CACHE_DIR=folder, WANDB_CONFIG_DIR=folder, WANDB_DATA_DIR=folder,
                      WANDB_SILENT="true", HF_HUB_OFFLINE="1", TRACKIO_TELEMETRY="0", MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="1")
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    try:
        check_resume(Run(tool, folder, zeroth))
        print("resumed: every step once", flush=True)
        check_kill(Run(tool, folder, zeroth, "killed"))
        print("killed: every step once", flush=True)
        check_completions(Run(tool, folder, zeroth, "table"), make_run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("%s holds every step once" % tool)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], os.path.abspath(sys.argv[2]), os.path.abspath(sys.argv[3])))
