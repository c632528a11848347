"""Every metric that examples/grafana/zeroth.json asks for is one that a run and its fleet serve; a run serves its newest row while it trains.

Usage: grafana_test.py ZEROTH, from the project's root.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

PATIENCE = 300  # seconds: a loaded machine's
SMALL = ["prompts_per_step=2", "samples_per_prompt=4", "sampling.max_tokens=24", "evaluation.every=1", "evaluation.problems=4", "evaluation.samples=1"]


def asked_for(dashboard):
    return set(re.findall(r"zeroth_\w+", json.dumps(dashboard)))


def values(url, token=None):
    """{name: value} of what is served there."""
    request = urllib.request.Request(url, headers={"Authorization": "Bearer " + token} if token else {})
    text = urllib.request.urlopen(request, timeout=PATIENCE).read().decode()
    return {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line and not line.startswith("#")}


def served(address, token=None):
    return set(values(address + "/metrics", token))


def train(zeroth, out, *settings, more=()):
    command = [zeroth, "train", "configs/countdown.json", "--out", out, *more]
    for setting in [*SMALL, *settings]:
        command += ["--set", setting]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def until(find, process):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        found = find()
        if found:
            return found
        time.sleep(0.1)
    raise TimeoutError("waited in vain; the process says: " + process.stderr.read() if process.poll() is not None else "waited in vain")


def metrics_of_run(zeroth, folder):
    run = os.path.join(folder, "run")
    trainer = train(zeroth, run, "steps=2")
    _, errors = trainer.communicate(timeout=PATIENCE)
    assert trainer.returncode == 0, errors
    page = subprocess.Popen([zeroth, "inspect", run, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = page.stdout.readline().strip().rstrip("/")
        return until(lambda: served(address), page)
    finally:
        page.terminate()
        page.wait(PATIENCE)


def metrics_while_training(zeroth, folder):
    run = os.path.join(folder, "training")
    trainer = train(zeroth, run, "steps=500", more=["--metrics-listen", "127.0.0.1:0"])
    try:
        line = ""
        while "metrics at http://" not in line:
            line = trainer.stderr.readline()
            assert line, "the trainer ended"
        url = line.split()[-1]
        first = until(lambda: values(url), trainer)
        step = first["zeroth_step"]
        later = until(lambda: max(values(url)["zeroth_step"] - step, 0), trainer)
        assert later >= 1
        with open(os.path.join(run, "metrics.jsonl")) as file:
            rows = {row["step"]: row for row in map(json.loads, filter(lambda line: line.endswith("\n"), file))}
        flat = {**rows[step], **{"timing_" + name: value for name, value in rows[step]["timing"].items()}}
        row = {"zeroth_" + re.sub("[^0-9A-Za-z]", "_", name): value for name, value in flat.items() if type(value) in (int, float)}
        assert first == row and {"zeroth_step", "zeroth_reward", "zeroth_timing_step_time"} <= set(row), (first, row)
        try:
            values(url.replace("/metrics", "/secrets"))
        except urllib.error.HTTPError as error:
            assert error.code == 404
        else:
            raise AssertionError("only /metrics is served")
        return set(first)
    finally:
        trainer.kill()
        trainer.wait(PATIENCE)


def metrics_of_fleet(zeroth, folder):
    run = os.path.join(folder, "fleet")
    trainer = train(zeroth, run, "steps=2", "fleet.listen=127.0.0.1:0")  # no worker comes: it waits
    try:
        line = ""
        while "http://" not in line:
            line = trainer.stderr.readline()
            assert line, "the trainer ended"
        address = re.search(r"http://[\d.:]+", line)[0]
        with open(os.path.join(run, "fleet", "token")) as file:
            token = file.read().split()[0]
        return served(address, token)
    finally:
        trainer.kill()
        trainer.wait(PATIENCE)


def main(zeroth):
    with open("examples/grafana/zeroth.json") as file:
        dashboard = json.load(file)
    asked = asked_for(dashboard)
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)) and len(asked) > 30
    with tempfile.TemporaryDirectory() as folder:
        there = metrics_of_run(zeroth, folder) | metrics_while_training(zeroth, folder) | metrics_of_fleet(zeroth, folder)
    missing = sorted(asked - there)
    if missing:
        print("the dashboard asks for metrics that nobody serves: " + ", ".join(missing))
        return 1
    print("%d metrics, each is served" % len(asked))
    return 0


if __name__ == "__main__":
    sys.exit(main(os.path.abspath(sys.argv[1])))
