"""configs/presets: each loads rows in its publisher's columns, grades their golds 1 and changed ones 0, evaluates and trains.

Usage: presets_test.py ZEROTH, from the project's root. Rows: tests/data/presets, written for this.
"""
import json
import os
import subprocess
import sys
import tempfile

zeroth = os.path.abspath(sys.argv[1])
names = sorted(name[:-5] for name in os.listdir("configs/presets"))
assert names == ["aime", "dapo-17k", "gsm8k", "humaneval", "livecodebench", "math-500", "mbpp"], names


def run(*words):
    done = subprocess.run([zeroth, *words], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


with tempfile.TemporaryDirectory() as folder:
    for name in names:
        rows = "tests/data/presets/%s.jsonl" % name
        count = len(open(rows).readlines())
        flags = ["--preset", name, "--data", rows]
        code, out, said = run("task", "check", *flags)
        assert code == 0, name + out + said
        code, out, said = run("task", "sample", *flags, "--split", "held_out", "-n", "100", "--json")
        problems = [json.loads(line) for line in out.splitlines()]
        assert code == 0 and len(problems) == count, name + out + said
        assert all("<think>" in json.dumps(problem) for problem in problems), "the template is r1_zero"
        code, out, said = run("eval", "--model", "models/base", *flags, "--max-tokens", "8", "--samples", "2", "--json")
        report = json.loads(out)
        assert code == 0 and report["n"] == count and report["samples"] == 2, name + out + said
        code, out, said = run("train", "configs/presets/%s.json" % name, "--set", "model=models/base", "--set", "task.options.path=" + rows, "--dry-run")
        assert code == 0 and json.loads(out)["task"]["options"]["path"] == rows, name + said
    # A folder as published: its test split is what is measured.
    for split in ("train", "test"):
        with open(os.path.join(folder, "%s-00000-of-00001.jsonl" % split), "w") as file:
            file.write(json.dumps({"question": "Which split?", "answer": "#### %d" % len(split)}) + "\n")
    code, out, said = run("task", "sample", "--preset", "gsm8k", "--data", folder, "--split", "held_out", "--json")
    assert code == 0 and [json.loads(line)["answer"] for line in out.splitlines()] == ["#### 4"] and "split test" in said, out + said
    code, out, said = run("task", "sample", "--preset", "gsm8k", "--data", folder + "#train", "--split", "held_out", "--json")
    assert code == 0 and [json.loads(line)["answer"] for line in out.splitlines()] == ["#### 5"], out + said
    os.mkdir(os.path.join(folder, "sanitized"))
    with open(os.path.join(folder, "sanitized", "test.jsonl"), "w") as file:
        file.write(json.dumps({"question": "Which subset?", "answer": "#### 1"}) + "\n")
    code, _, said = run("task", "sample", "--preset", "gsm8k", "--data", folder, "--split", "held_out", "--json")
    assert code == 1 and "several folders" in said, said
    code, _, said = run("eval", "--model", "models/base", "--preset", "gsm9k", "--data", rows)
    assert code == 2 and 'did you mean "gsm8k"' in said, said
    code, _, said = run("eval", "--model", "models/base", "--preset", "gsm8k")
    assert code == 2 and "--data" in said, said
    code, _, said = run("eval", "--model", "models/base", "--data", rows)
    assert code == 2 and "--preset" in said, said
    code, _, said = run("eval", "--model", "models/base", "--preset", "gsm8k", "--data", rows, "--task", "countdown")
    assert code == 2 and "--task" in said, said
print("%d presets" % len(names))
