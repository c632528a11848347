"""Zeroth from Python: run the program, give it a reward as a function, read a run's traces.

    import zeroth
    zeroth.run("demo", out="runs/demo", steps=20)
    for sample in zeroth.traces("runs/demo", query="step>10 flips>0"):
        print(sample["text"])

Nothing of this runs while training does, but rewards that are Python functions (see Reward).
"""
import json
import os
import subprocess
import sys
import tempfile

__all__ = ["Reward", "ZerothError", "program", "run", "traces", "version"]


class ZerothError(RuntimeError):
    """The program ended with another exit code than 0; `code` is it, the text what it said."""

    def __init__(self, code, text):
        super().__init__(text.strip() or "exit code %d" % code)
        self.code = code


def program():
    """The path of the program: ZEROTH_PROGRAM, the wheel's own, or that of the source tree."""
    here = os.path.dirname(os.path.abspath(__file__))
    for path in (os.environ.get("ZEROTH_PROGRAM"), os.path.join(here, "program", "bin", "zeroth"), os.path.join(here, "..", "..", "build", "zeroth")):
        if path and os.access(path, os.X_OK):
            return os.path.abspath(path)
    raise FileNotFoundError("no program zeroth beside the module: install the wheel, or set ZEROTH_PROGRAM")


def version():
    """What `zeroth --version` prints: version, numeric contract, features."""
    return subprocess.run([program(), "--version"], capture_output=True, text=True, check=True).stdout.strip()


class Reward:
    """A reward, or a whole task, as a Python function over the process carrier (docs/tasks.md):

        @zeroth.Reward(problems="countdown")
        def short(item):
            return item["answer"] is not None and len(item["completion"]) < 100

        zeroth.run("train", "configs/smoke.json", task=short, out="runs/short")

    `item` has problem (prompt, answer, meta), completion, answer (the text of the one answer block, or None) and finish.
    The function returns a number, True or False, None (does not apply), or an object of the protocol, {"score", "reason",
    "parts", "info"}. An exception masks the sample and is counted; it is never a zero. With groups=True it gets the
    samples of one group as a list and returns a list.

    problems: the task that makes the problems, "NAME" or "NAME:key=value,..", or {"name", "options"}. workers processes grade;
    each imports the file in which the function stands, under its module's name: training belongs below
    if __name__ == "__main__".
    """

    def __init__(self, problems, groups=False, workers=1, timeout=30.0, **options):
        self.options = {"problems": problems, "workers": workers, "timeout": timeout, **options}
        if groups:
            self.options["whole_groups"] = True
        self.groups, self.function = groups, None

    def __call__(self, *args):
        if self.function is None:
            [self.function] = args
            return self
        return self.function(*args)

    @property
    def task(self):
        """The value of "task" in a config."""
        if self.function is None:
            raise TypeError("zeroth.Reward(..) decorates a function; this one has none")
        file = getattr(sys.modules.get(self.function.__module__), "__file__", None)
        name = self.function.__qualname__
        if file is None or "<" in name:
            raise TypeError("zeroth.Reward: workers import %s from its file, which %s: write it with a name of its own at the top of a .py file"
                            % (name, "a prompt or notebook is not" if file is None else "a lambda and a function within a function cannot be"))
        file = os.path.abspath(file)
        package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        worker = os.path.join(package, "zeroth", "reward_worker.py")
        return {"name": "process", "options": {"command": [sys.executable, worker, file, name], **self.options}}

    @property
    def spec(self):
        """The same for --task and `zeroth task check`."""
        task = self.task
        return task["name"] + ":" + ",".join("%s=%s" % (name, json.dumps(value)) for name, value in task["options"].items())


def _flags(options):
    for name, value in options.items():
        flag = "--" + name.rstrip("_").replace("_", "-")
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from (flag, "%s=%s" % (key, inner if isinstance(inner, str) else json.dumps(inner)))
        elif isinstance(value, (list, tuple)) and value and all(isinstance(inner, (int, float)) for inner in value):
            yield from (flag, json.dumps(list(value)))
        elif isinstance(value, (list, tuple)):
            for inner in value:
                yield from (flag, str(inner))
        elif value is True:
            yield flag
        elif value is not None and value is not False:
            yield from (flag, value.spec if isinstance(value, Reward) else str(value))


def run(command, *arguments, task=None, quiet=False, **options):
    """Runs `zeroth COMMAND ARGUMENTS --option value ..` and returns its last line, parsed where it is JSON, else all it printed.

    A config may be a dict. `set={"loss.beta": 0.01}` is --set loss.beta=0.01; True is a bare flag; None and False are left out.
    `task`, a Reward or a spec, replaces the task of a config. What the program says on standard error goes to ours, unless
    `quiet`. Raises ZerothError.
    """
    written = None
    words = [program(), command]
    try:
        for argument in arguments:
            if isinstance(argument, dict):
                written = tempfile.NamedTemporaryFile("w", suffix=".json", prefix="config-", delete=False)
                json.dump(argument, written)
                written.close()
                argument = written.name
            words.append(argument.spec if isinstance(argument, Reward) else str(argument))
        if isinstance(task, Reward) and command in ("train", "demo", "doctor"):
            words += ["--set", "task.name=" + task.task["name"], "--set", "task.options=" + json.dumps(task.task["options"])]
        elif task is not None:
            options["task"] = task
        words += _flags(options)
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE if quiet else None, text=True)
    finally:
        if written is not None:
            os.unlink(written.name)
    if done.returncode:
        raise ZerothError(done.returncode, done.stderr if quiet else "zeroth %s ended with exit code %d" % (command, done.returncode))
    lines = done.stdout.strip().splitlines()
    try:
        return json.loads(lines[-1]) if lines else None
    except ValueError:
        return done.stdout


class traces:
    """The samples of a run, one dict each, in the order of their steps: `for sample in zeroth.traces("runs/x"): ..`.

    query: the search language of docs/traces.md. tokens=True adds ids, log-probabilities and entropies of every token.
    """

    def __init__(self, run, query=None, tokens=False, limit=None):
        self.command = [program(), "traces", "export", "--jsonl", str(run)]
        self.command += ["--query", query] if query else []
        self.command += ["--tokens"] if tokens else []
        self.command += ["--limit", str(limit)] if limit else []

    def __iter__(self):
        with tempfile.TemporaryFile("w+", errors="replace") as said:
            process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=said, text=True, encoding="utf-8")
            try:
                for line in process.stdout:
                    yield json.loads(line)
                if process.wait():
                    said.seek(0)
                    raise ZerothError(process.returncode, said.read())
            finally:
                process.stdout.close()
                if process.poll() is None:
                    process.terminate()
                    process.wait()

    def frame(self):
        """A pandas.DataFrame: a row a sample, verdicts as NAME/score and NAME/reason."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError("frame() needs pandas: pip install pandas") from error

        rows = []
        for sample in self:
            row = {name: value for name, value in sample.items() if name != "verdicts"}
            for verdict in sample["verdicts"]:
                row[verdict["name"] + "/score"] = verdict["score"]
                row[verdict["name"] + "/reason"] = verdict["reason"]
            rows.append(row)
        return pandas.DataFrame(rows)
