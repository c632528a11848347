"""Follows RUN/metrics.jsonl and hands every step to a logger once, whatever happens to the run or to the follower.

What a logger has to offer (see wandb_log.py): `held()`, {step: fingerprint} of what it already holds; `begin_again(attempt)`,
a new run beside the old one; `log(step, metrics)`; `table(step, columns, rows)`; `close()`.

- A row is logged once: its fingerprint travels with it as the metric `zeroth/row`, and a follower that starts again asks the
  logger's own store what is there. So no file of ours can disagree with it.
- A run that is killed and resumed goes back to its checkpoint and makes the same rows again: they are passed over.
- A run that is resumed with --change makes other rows for steps that are logged. Loggers cannot take a step back, so a new
  run NAME-2 begins in the logger, and holds the whole history as metrics.jsonl has it.
- A half-written last line waits; a damaged line is named and passed over; null, NaN and infinity are no values and left out.
"""
import argparse
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import time
import zlib

FINGERPRINT = "zeroth/row"
COLUMNS = ["step", "prompt", "completion", "reward", "advantage", "finish", "verdicts"]


def say(text):
    print(text, file=sys.stderr, flush=True)


def fingerprint(row):
    """A number that a double holds, of all that a resumed run repeats: everything but the clock's figures."""
    lasting = {name: value for name, value in row.items() if name != "timing" and "recalled" not in name and "reuse" not in name}
    return zlib.crc32(json.dumps(lasting, sort_keys=True).encode())


def numbers_of(row):
    """Every number of a row by name: nested objects joined by '/', lists left to the traces, alarms as 1."""
    found = {}

    def put(name, value):
        if isinstance(value, bool) or isinstance(value, (int, float)):
            if math.isfinite(value):
                found[name] = value
        elif isinstance(value, dict):
            for inner, of in value.items():
                put(name + "/" + inner, of)

    for name, value in row.items():
        if name == "alarms" and isinstance(value, list):
            found.update(("alarms/%s" % alarm, 1) for alarm in value if isinstance(alarm, str))
        elif name != "step":
            put(name, value)
    return found


class MetricsFile:
    """The rows of metrics.jsonl as they come. Begins anew when the file was cut back, as resuming does."""

    def __init__(self, path):
        self.path = path
        self.rewind()

    def rewind(self):
        self.offset, self.last = 0, b""  # what was read, and its last line

    def new_rows(self, most=1000):
        """The next whole lines as objects, at most `most`."""
        try:
            file = open(self.path, "rb")
        except FileNotFoundError:
            return []
        rows = []
        with file:
            file.seek(self.offset - len(self.last))
            if file.read(len(self.last)) != self.last:
                self.rewind()
                file.seek(0)
            for line in file:
                if not line.endswith(b"\n") or len(rows) == most:
                    break  # it is still being written
                self.offset += len(line)
                self.last = line
                try:
                    row = json.loads(line)
                    if not isinstance(row, dict) or type(row.get("step")) is not int:
                        raise ValueError("no object with a step")
                except ValueError as error:
                    if line.strip():
                        say("%s: a damaged line before byte %d is passed over: %s" % (self.path, self.offset, error))
                    continue
                rows.append(row)
        return rows


class Completions:
    """Samples of a step, from the run's traces by `zeroth traces export`."""

    def __init__(self, zeroth, run, every, rows):
        self.zeroth, self.run, self.every, self.rows = zeroth, run, every, rows

    def of(self, step):
        if not self.every or step % self.every:
            return None
        command = [self.zeroth, "traces", "export", "--jsonl", self.run, "--query", "step=%d source=train" % step, "--limit", str(self.rows)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode:
            say("no completions of step %d: %s" % (step, done.stderr.strip().splitlines()[0] if done.stderr.strip() else done.returncode))
            return None
        table = []
        for line in done.stdout.splitlines():
            sample = json.loads(line)
            prompt = sample["prompt"] if isinstance(sample["prompt"], str) else json.dumps(sample["prompt"], ensure_ascii=False)
            verdicts = ", ".join("%s %g (%s)" % (v["name"], v["score"], v["reason"]) for v in sample["verdicts"])
            table.append([step, prompt, sample["text"], sample["reward"], sample["advantage"], sample["finish"], verdicts])
        return table


def arguments(logger, more=None):
    parser = argparse.ArgumentParser(description="Logs a run of Zeroth to %s, step by step; start it again at any time." % logger)
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--follow", action="store_true", help="go on until the run has ended (a killed one is waited for)")
    parser.add_argument("--poll", type=float, default=2, metavar="S", help="seconds between two looks (default 2)")
    parser.add_argument("--project", default="zeroth", help="project or experiment (default zeroth)")
    parser.add_argument("--name", help="the run's name there (default: its folder's)")
    parser.add_argument("--table-every", type=int, default=10, metavar="N", help="completions of every N-th step as a table; 0: none (default 10)")
    parser.add_argument("--table-rows", type=int, default=32, metavar="N", help="completions in a table (default 32)")
    parser.add_argument("--zeroth", help="the program that reads traces (default: on the PATH, or build/zeroth)")
    if more:
        more(parser)
    args = parser.parse_args()
    args.run = os.path.abspath(args.run)
    if not os.path.isdir(args.run):
        parser.error("%s is no folder: give the one that zeroth train --out wrote" % args.run)
    if args.poll <= 0:
        parser.error("--poll %g: give seconds above 0" % args.poll)
    args.name = args.name or os.path.basename(args.run)
    args.zeroth = args.zeroth or shutil.which("zeroth") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "zeroth")
    if args.table_every and not os.access(args.zeroth, os.X_OK):
        say("no completions: there is no program %s; give --zeroth FILE" % args.zeroth)
        args.table_every = 0
    return args


def read_config(run):
    try:
        with open(os.path.join(run, "config.json")) as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def run_id(run, attempt):
    """The same for the same run, whoever follows it: from its folder and its beginning."""
    begun = json.dumps(read_config(run).get("history", [])[:1])
    return hashlib.sha256(("%s\n%s\n%d" % (os.path.abspath(run), begun, attempt)).encode()).hexdigest()[:16]


def ended(run):
    try:
        with open(os.path.join(run, "state.json")) as file:
            return json.load(file).get("state") in ("finished", "stopped", "failed")
    except (OSError, ValueError):
        return False


def follow(args, logger):
    """Logs what is there, and with --follow what comes; closes the logger whatever happens."""
    metrics = MetricsFile(os.path.join(args.run, "metrics.jsonl"))
    completions = Completions(args.zeroth, args.run, args.table_every, args.table_rows)
    attempt, logged = 1, 0
    logs = logger(args, attempt)
    held = logs.held()
    newest = max(held, default=-1)
    try:
        over = False
        while True:
            rows = metrics.new_rows()
            for row in rows:
                step, print_ = row["step"], fingerprint(row)
                if held.get(step) == print_:
                    continue
                if step in held:  # another history than this one: the next that agrees, or is new, gets all of it
                    logs.close()
                    attempt += 1
                    logs = logger(args, attempt)
                    held = logs.held()
                    newest = max(held, default=-1)
                    metrics.rewind()
                    break
                held[step] = print_
                if step < newest:
                    say("step %d came after step %d was logged, and is left out" % (step, newest))
                    continue
                table = completions.of(step)
                if table:
                    logs.table(step, COLUMNS, table)
                logs.log(step, {**numbers_of(row), FINGERPRINT: print_})
                newest = step
                logged += 1
            if rows:
                continue
            if over or not args.follow:
                break
            over = ended(args.run)  # and once more for the rows, so that none is missed
            if not over:
                time.sleep(args.poll)
    except KeyboardInterrupt:
        pass
    finally:
        logs.close()
    print("%d steps logged to %s" % (logged, logs.where()))
