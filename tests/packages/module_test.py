"""python/zeroth over the program: rewards as functions, runs, traces.

Usage: module_test.py ZEROTH, from the project's root.
"""
import os
import subprocess
import sys
import tempfile
import textwrap

os.environ["ZEROTH_PROGRAM"] = os.path.abspath(sys.argv[1])
sys.path.insert(0, os.path.abspath("python"))
import zeroth  # noqa: E402

REWARDS = '''
import zeroth

@zeroth.Reward(problems="countdown")
def short(item):
    print("a print is no reply")
    return item["answer"] is not None and len(item["completion"]) < 60

@zeroth.Reward(problems="countdown", groups=True)
def first_of_all(items):
    return [float(place == 0) for place in range(len(items))]

@zeroth.Reward(problems="countdown")
def fails(item):
    return 1 / 0

@zeroth.Reward(problems="countdown")
def odd(item):
    odd.calls = getattr(odd, "calls", -1) + 1
    return [float("nan"), {1, 2}, 0.25][odd.calls % 3]

def plain(item):
    return {"score": 0.5, "parts": {"length": len(item["completion"])}}
named = zeroth.Reward(problems="countdown", part_weights={"length": 0.001})(plain)
'''
TRAIN = '''
import sys
sys.path.insert(0, sys.argv[1])
from rewards import *
if __name__ == "__main__":
    done = zeroth.run("train", "configs/smoke.json", task=short, out=sys.argv[2], quiet=True,
                      set={"steps": 1, "prompts_per_step": 2, "samples_per_prompt": 4, "sampling.max_tokens": 32, "checkpoint_every": 1})
    assert done["steps"] == 1, done
    samples = list(zeroth.traces(sys.argv[2], query="source=train"))
    assert len(samples) == 8, len(samples)
    for sample in samples:
        [verdict] = [v for v in sample["verdicts"] if v["name"] == "accuracy"]
        right = "<answer>" in sample["text"] and len(sample["text"]) < 60
        assert verdict["score"] == float(right), sample
    assert [s["at"] for s in zeroth.traces(sys.argv[2], limit=3)] == [s["at"] for s in list(zeroth.traces(sys.argv[2]))[:3]]
    for stopped in zeroth.traces(sys.argv[2]):
        break  # ends the program behind it
    try:
        import pandas
    except ImportError:
        print("no pandas: frames are not tried")
    else:
        frame = zeroth.traces(sys.argv[2], query="source=train").frame()
        assert len(frame) == 8 and list(frame["accuracy/score"]) == [v["score"] for s in samples for v in s["verdicts"] if v["name"] == "accuracy"]
'''


def verdicts(reward, n=2, samples=3):
    """The verdicts of a small evaluation."""
    import json
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rows.jsonl")
        zeroth.run("eval", model="models/base", task=reward, n=n, samples=samples, max_tokens=32, save=path, json=True, quiet=True)
        return [json.loads(line)["verdicts"] for line in open(path)]


def main():
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "rewards.py"), "w") as file:
            file.write(textwrap.dedent(REWARDS))
        sys.path.insert(0, folder)
        import rewards
        os.environ["PYTHONPATH"] = os.path.abspath("python")
        scores = [v[0]["score"] for v in verdicts(rewards.first_of_all)]
        assert scores == [1, 0, 0] * 2, scores
        [[failed, *_], *_] = verdicts(rewards.fails)
        assert "ZeroDivisionError" in str(failed) and failed["reason"] == "checker_error", failed
        assert all(v[0]["score"] == 0.5 and any(p["name"] == "length" for p in v) for v in verdicts(rewards.named))
        kinds = [v[0]["reason"] if v[0]["reason"] == "checker_error" else v[0]["score"] for v in verdicts(rewards.odd, n=1)]
        assert sorted(map(str, kinds)) == ["0.25", "checker_error", "checker_error"], kinds
        for nameless in (zeroth.Reward(problems="countdown")(lambda item: 1), zeroth.Reward(problems="countdown")(verdicts.__class__)):
            try:
                nameless.task
            except TypeError as error:
                assert "top of a .py file" in str(error), error
            else:
                raise AssertionError("a function that no worker can import is an error")
        merged = zeroth.run("merge", "models/base", "models/base", weights=[0.25, 0.75], out=os.path.join(folder, "merged"), quiet=True)
        assert "2 models merged" in merged, merged
        assert rewards.short({"answer": "1", "completion": "x"}) is True
        script = os.path.join(folder, "train.py")
        with open(script, "w") as file:
            file.write(textwrap.dedent(TRAIN))
        subprocess.run([sys.executable, script, folder, os.path.join(folder, "run")], check=True)
    try:
        zeroth.run("evaluate", quiet=True)
    except zeroth.ZerothError as error:
        assert error.code == 2 and "did you mean" in str(error), error
    else:
        raise AssertionError("an unknown command is an error")
    assert "numeric contract" in zeroth.version()
    print("rewards, runs and traces by the module")


main()
