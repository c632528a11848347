"""examples/loggers/follow.py with a logger that keeps rows in memory: no package is needed.

Usage: follow_test.py, from the project's root.
"""
import contextlib
import io
import json
import os
import sys
import tempfile
import threading
import time
import types

sys.path.insert(0, os.path.abspath("examples/loggers"))
import follow  # noqa: E402


class Tool:
    """What a tool keeps: {attempt: [(step, metrics)]}. Dies in the middle of a row when told to."""

    def __init__(self):
        self.stored, self.tables, self.closed, self.dies_at = {}, [], 0, None

    def __call__(self, args, attempt):
        tool, rows = self, self.stored.setdefault(attempt, [])

        class Logger:
            def held(self):
                return {step: metrics[follow.FINGERPRINT] for step, metrics in rows if follow.FINGERPRINT in metrics}

            def table(self, step, columns, table):
                tool.tables.append((step, columns, table))

            def log(self, step, metrics):
                if step == tool.dies_at:
                    tool.dies_at = None
                    raise ConnectionError("the follower dies")
                assert not rows or step > rows[-1][0], "tools take steps upwards only"
                rows.append((step, metrics))

            def close(self):
                tool.closed += 1

            def where(self):
                return "memory"

        return Logger()

    def rewards(self, attempt=1):
        return [(step, metrics.get("reward")) for step, metrics in self.stored[attempt]]


def row(step, reward=None, **more):
    return {"step": step, "reward": step / 7 if reward is None else reward, "timing": {"step_time": time.time()}, "sampling/recalled_share": time.time(), **more}


class Run:
    def __init__(self, folder):
        self.path = folder
        self.file = os.path.join(folder, "metrics.jsonl")

    def write(self, *rows, torn="", mode="a"):
        with open(self.file, mode) as file:
            file.write("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows) + torn)

    def cut_behind(self, step):
        with open(self.file) as file:
            kept = "".join(line for line in file if line.endswith("\n") and json.loads(line)["step"] <= step)
        os.truncate(self.file, len(kept.encode()))

    def state(self, state):
        with open(os.path.join(self.path, "state.json"), "w") as file:
            json.dump({"state": state}, file)

    def args(self, **more):
        return types.SimpleNamespace(**{"run": self.path, "follow": False, "poll": 0.01, "table_every": 0, "table_rows": 4, "zeroth": "zeroth", "name": "run", **more})

    def follow(self, tool, **more):
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            follow.follow(self.args(**more), tool)
        return said.getvalue()


def with_run(test):
    with tempfile.TemporaryDirectory() as folder:
        test(Run(folder), Tool())


def torn_and_damaged(run, tool):
    assert "0 steps" in run.follow(tool)  # no file yet
    run.write(row(0), row(1), torn='{"step": 2, "rew')
    run.follow(tool)
    assert tool.rewards() == [(0, 0), (1, 1 / 7)]
    run.write('ard": 9}', "no json", '["a list"]', '{"step": true}', "", row(3))
    said = run.follow(tool)
    assert tool.rewards() == [(0, 0), (1, 1 / 7), (2, 9), (3, 3 / 7)] and said.count("damaged") == 3, said


def values(run, tool):
    run.write(row(0, entropy=None, kl=float("nan"), grad_norm=float("-inf"), alarms=["kl_high"], load=[1], text="x", deep={"a": {"b": 2}}, flag=True))
    run.follow(tool)
    [(_, metrics)] = tool.stored[1]
    assert set(metrics) == {"reward", "timing/step_time", "sampling/recalled_share", "alarms/kl_high", "deep/a/b", "flag", follow.FINGERPRINT}, metrics
    assert metrics["alarms/kl_high"] == 1 and metrics["deep/a/b"] == 2 and metrics[follow.FINGERPRINT] == int(float(metrics[follow.FINGERPRINT]))


def goes_back(run, tool):
    run.write(*map(row, range(8)))
    run.follow(tool)
    run.cut_behind(5)
    run.write(*map(row, (6, 7, 8)))  # the same but for the clock
    run.follow(tool)
    assert tool.rewards() == [(s, s / 7) for s in range(9)]
    run.cut_behind(6)
    run.write(row(7, reward=-1), row(8, reward=-2), row(9, reward=-3))
    run.follow(tool)
    run.follow(tool)
    assert tool.rewards() == [(s, s / 7) for s in range(9)], "the first history stays as it was"
    assert tool.rewards(2) == [(s, s / 7) for s in range(7)] + [(7, -1), (8, -2), (9, -3)]
    run.cut_behind(4)
    run.write(row(5, reward=5))
    run.follow(tool)
    assert tool.rewards(3) == [(s, s / 7) for s in range(5)] + [(5, 5)]


def dies(run, tool):
    run.write(*map(row, range(6)))
    for at in (0, 3, 5):
        tool.dies_at = at
        try:
            run.follow(tool)
        except ConnectionError:
            continue
        raise AssertionError("the follower lived")
    run.follow(tool)
    assert tool.rewards() == [(s, s / 7) for s in range(6)] and tool.closed == 4


def follows(run, tool):
    """A live run that is cut back while it is followed, then finishes."""
    run.state("running")
    follower = threading.Thread(target=run.follow, args=(tool,), kwargs={"follow": True})
    follower.start()
    for step in range(40):
        line = json.dumps(row(step))
        run.write(torn=line[:len(line) // 2])  # a look may come in the middle of a line
        time.sleep(0.003)
        run.write(line[len(line) // 2:])
        if step in (11, 29):
            run.cut_behind(step - 4)
            run.write(*map(row, range(step - 3, step + 1)))
        time.sleep(0.003)
    assert follower.is_alive(), "it waits while the run is running"
    run.state("finished")
    follower.join(60)
    assert not follower.is_alive() and tool.rewards() == [(s, s / 7) for s in range(40)] and set(tool.stored) == {1}


def many(run, tool):
    """More rows than are read at a time."""
    run.write(*map(row, range(2500)))
    run.follow(tool)
    assert len(tool.rewards()) == 2500


def tables(run, tool):
    script = os.path.join(run.path, "zeroth")
    sample = {"prompt": "p", "text": "t\u2028", "reward": 1.5, "advantage": -0.5, "finish": "stop", "verdicts": [{"name": "accuracy", "score": 1, "reason": "correct"}]}
    with open(script, "w") as file:
        file.write("#!/bin/sh\n[ \"$6\" != 'step=4 source=train' ] || { echo broken >&2; exit 1; }\ncat <<'END'\n%s\nEND\n" % json.dumps(sample))
    os.chmod(script, 0o755)
    run.write(*map(row, range(5)))
    said = run.follow(tool, table_every=2, zeroth=script)
    assert [t[0] for t in tool.tables] == [0, 2] and "no completions of step 4: broken" in said, said
    assert tool.tables[1][2] == [[2, "p", "t\u2028", 1.5, -0.5, "stop", "accuracy 1 (correct)"]]


def identity(run, tool):
    with open(os.path.join(run.path, "config.json"), "w") as file:
        json.dump({"history": [{"event": "started", "time": "a"}, {"event": "resumed"}]}, file)
    first = follow.run_id(run.path, 1)
    assert first == follow.run_id(run.path + "/.", 1) != follow.run_id(run.path, 2)
    with open(os.path.join(run.path, "config.json"), "w") as file:
        json.dump({"history": [{"event": "started", "time": "b"}]}, file)
    assert first != follow.run_id(run.path, 1), "another run in the same folder"


for test in (torn_and_damaged, values, goes_back, dies, follows, many, tables, identity):
    with_run(test)
print("rows are logged once, whatever happens")
