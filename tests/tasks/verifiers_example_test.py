#!/usr/bin/env python3
"""examples/verifiers against the package's own environments: what they ask, answer and grade comes through the adapter.

Usage: verifiers_example_test.py ZEROTH, from the project's root. 77 (skipped) without the package: ZEROTH_VERIFIERS_PYTHON
names an interpreter that has it, else .deps/verifiers/bin/python3 or this one.
"""
import json
import os
import subprocess
import sys
import tempfile

failed = []


def check(good, what):
    if not good:
        failed.append(what)
        print("FAILED: " + what, flush=True)


def interpreter():
    for python in (os.environ.get("ZEROTH_VERIFIERS_PYTHON"), ".deps/verifiers/bin/python3", sys.executable):
        if python and os.path.exists(python) and subprocess.run([python, "-c", "import verifiers"], capture_output=True).returncode == 0:
            return python
    print("skipped: no verifiers: python3 -m venv .deps/verifiers && .deps/verifiers/bin/pip install verifiers==0.1.6")
    sys.exit(77)


# Environments of the package's other kinds, as a user writes them.
MORE = '''
import verifiers as vf
from datasets import Dataset

ROWS = Dataset.from_list([{"question": f"What is {a} plus {a}?", "answer": str(2 * a)} for a in range(10)])


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def right(completion, answer, **kwargs):
    return float(completion[-1]["content"].strip() == answer)


def calls(completion, **kwargs):
    return float(sum(len(m.get("tool_calls") or []) for m in completion))


def load_environment(kind):
    if kind == "single":
        return vf.SingleTurnEnv(eval_dataset=ROWS, system_prompt="Be short.", rubric=vf.Rubric(funcs=[right]))
    return vf.ToolEnv(dataset=ROWS, tools=[add], max_turns=3, rubric=vf.Rubric(funcs=[right, calls], weights=[1.0, 0.0]))
'''


class Plugin:
    def __init__(self, python, options, path):
        self.count = 0
        self.process = subprocess.Popen([python, "examples/verifiers/plugin.py"], env={**os.environ, "PYTHONPATH": path}, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.hello = self.ask("hello", options=options)

    def ask(self, op, **fields):
        self.count += 1
        self.process.stdin.write(json.dumps({"id": self.count, "op": op, **fields}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the plug-in ended at {op}"
        answer = json.loads(line)
        check(answer.pop("id") == self.count, "answers carry the id of what was asked")
        return answer

    def step(self, at, replies):
        item = {"problem": {"meta": {"at": at}}, "turns": [{"reply": r} for r in replies[:-1]], "reply": replies[-1], "finish": "stop"}
        return self.ask("step", batch=[item])["results"][0]["observation"]

    def grade(self, at, replies):
        item = {"problem": {"meta": {"at": at}}, "completion": "".join(replies)}
        if len(replies) > 1:
            item["turns"] = [{"reply": r} for r in replies]
        return self.ask("grade", batch=[item])["results"][0]

    def end(self):
        self.process.stdin.close()
        check(self.process.wait(timeout=60) == 0, "the plug-in ends when nothing more is asked")


def several_turns(python):
    game = Plugin(python, {"env": "guess"}, "examples/verifiers")
    check(game.hello == {"name": "guess", "turns": 4, "train": 30, "held_out": 10}, f"hello of guess: {game.hello}")
    problem = game.ask("problems", split="held_out", indices=[3])["problems"][0]
    check(problem["answer"] == "13" and problem["prompt"][0]["content"] == "Guess my number from 1 to 40.", f"problem of guess: {problem}")
    at = ["held_out", 3]
    say = lambda text: {"role": "user", "content": text}
    check(game.step(at, ["is it 5?"]) == say("higher"), "a low guess")
    check(game.step(at, ["5", "no number"]) == say("higher"), "a reply without a number")
    check(game.step(at, ["5", "20"]) == say("lower"), "a high guess in the second turn")
    check(game.step(at, ["5", "13"]) is None, "the right guess ends it")
    check(game.step(at, ["1", "2", "3", "4"]) is None, "so does the fourth turn")
    check(game.grade(at, ["5", "13"]) == {"score": 1.0, "parts": {"found": 1.0}}, "right in the second turn")
    check(game.grade(at, ["5", "12"])["score"] == 0, "wrong at the end")
    check(game.grade(at, ["13"])["score"] == 1, "right at once")
    game.end()


def one_turn(python, folder):
    single = Plugin(python, {"env": "more", "args": {"kind": "single"}}, folder)
    check(single.hello == {"name": "more", "turns": 0, "train": 0, "held_out": 10}, f"hello of a single turn: {single.hello}")
    problem = single.ask("problems", split="held_out", indices=[4])["problems"][0]
    check([m["role"] for m in problem["prompt"]] == ["system", "user"] and problem["answer"] == "8", f"problem of a single turn: {problem}")
    check(single.grade(["held_out", 4], ["8"])["score"] == 1 and single.grade(["held_out", 4], ["9"])["score"] == 0, "grades of a single turn")
    single.end()


def tools(python, folder):
    tool = Plugin(python, {"env": "more", "args": {"kind": "tool"}}, folder)
    check(tool.hello["turns"] == 3, f"hello of tools: {tool.hello}")
    problem = tool.ask("problems", split="train", indices=[4])["problems"][0]
    check(problem["tools"][0]["function"]["name"] == "add", f"tools of a problem: {problem}")
    at, call = ["train", 4], 'I add.\n<tool_call>\n{"name": "add", "arguments": {"a": 4, "b": 4}}\n</tool_call>'
    check(tool.step(at, [call]) == {"role": "tool", "content": "8"}, "a call is made")
    check(tool.step(at, ['<tool_call>{"name": "sub", "arguments": {}}</tool_call>'])["role"] == "tool", "an unknown tool is told")
    for text in ("8", "<tool_call>{add</tool_call>", '<tool_call>["add"]</tool_call>', '<tool_call>{"name": "add"}</tool_call>'):
        check(tool.step(at, [text]) is None, f"no call: {text}")
    check(tool.grade(at, [call, "8"]) == {"score": 1.0, "parts": {"right": 1.0, "calls": 1.0}}, "graded behind a call")
    tool.end()


def through_zeroth(python, zeroth):
    command = f"process:command={python} examples/verifiers/plugin.py,workers=1,start_timeout=600,timeout=600,options={{\"env\":\"guess\"}}"
    done = subprocess.run([zeroth, "eval", "--model", "models/base", "--task", command, "--n", "8", "--max-tokens", "16", "--json"],
                          env={**os.environ, "PYTHONPATH": "examples/verifiers"}, capture_output=True, text=True)
    check(done.returncode == 0, f"zeroth eval: {done.stderr[-2000:]}")
    if done.returncode == 0:
        result = json.loads(done.stdout.splitlines()[-1])
        check("pass@1" in result, f"zeroth eval: {result}")


def main():
    python = interpreter()
    several_turns(python)
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "more.py"), "w") as file:
            file.write(MORE)
        one_turn(python, folder)
        tools(python, folder)
    through_zeroth(os.path.abspath(python), sys.argv[1])
    if failed:
        sys.exit(1)
    print("environments of verifiers come through")


main()
