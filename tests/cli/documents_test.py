#!/usr/bin/env python3
"""Runs every command line of README.md and docs/*.md, so that none of them rots.

usage: documents_test.py ZEROTH [-v] [FILE-PART ..]

A command line is a line of an indented block, of a fenced block without a language, or a piece of inline code that begins
with a program. Each must match a row of RULES, which fills its capitals in and keeps it short (one step, few samples);
nothing else of it is changed. A line without a row fails the test and is not executed. What cannot run in a test
(it installs packages, needs a file of another place, takes an hour) is marked in the document: <!-- not run: REASON --> in
the line above a block, or in the paragraph of the inline code. Names of commands alone (`zeroth eval`) must have a --help,
paths alone must exist. Options in square brackets are left out, but --help must know them.

The lines run in a copy of what they need; nothing is written into the source tree.
"""
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT = 300  # seconds for a line: many times what it takes on a machine with nothing else to do
PROGRAMS = {"zeroth", "cmake", "ctest", "ninja", "python3", "cat", "echo", "git", "pip"}
FOLDERS = ("build/", "build-asan/", "scripts/", "bench/", "tests/", "examples/")
MARK = re.compile(r"<!-- not run: (.*?) -->")

# (pattern of the line, what its capitals mean, arguments that keep it short). The first row that matches counts.
SHORT_RUN = ("--set steps=1 --set prompts_per_step=2 --set samples_per_prompt=4 --set sampling.max_tokens=16 "
             "--set evaluation.problems=4 --set evaluation.samples=1")
RULES = [
    # Block lines of the shell.
    (r"T='", {}, ""),
    (r"cc -O2 -shared", {}, ""),
    (r"echo '\{", {}, ""),
    (r"for i in \$\(seq 1000\)", {"seq 1000": "seq 20"}, ""),
    (r"awk 'NR % 10", {}, ""),
    (r"for a in \$\(seq 20\)", {}, ""),
    # Training.
    (r"zeroth train configs/sums", {"train": "train --set model=models/base"}, SHORT_RUN + " --set trainer.freeze=[]"),
    (r"zeroth train configs/presets", {"model=DIR": "model=models/base", "path=FILE": "path=tests/data/presets/gsm8k.jsonl", "RUN": "{new}"},
     SHORT_RUN + " --set evaluation.max_tokens=16 --set task.options.held_out_every=2"),
    (r"zeroth train --resume", {"RUN": "{run}"}, ""),
    (r"zeroth train CONFIG.json --resume", {"CONFIG.json": "small.json", "RUN": "{run}"}, ""),
    (r"zeroth train", {"CONFIG.json": "configs/countdown.json", "CONFIG": "configs/countdown.json", "=S": "=1",
                       "RUN": "{new}"}, SHORT_RUN),
    (r"zeroth pretrain", {}, "--set steps=1"),
    (r"zeroth sft CONFIG", {"CONFIG": "configs/sft.json", "RUN": "{new}"},
     "--set model=tests/data/sft --set data.path=tests/data/sft/rows_text.jsonl"),
    (r"zeroth sft", {}, ""),
    (r"zeroth reject RUN", {"RUN": "{run}", "FILE.jsonl": "{new}.jsonl"}, "--min-score -1000000"),
    (r"zeroth reject --model", {"FILE.jsonl": "{new}.jsonl", "DIR": "models/base", "NAME[:k=v,..]": "countdown"},
     "--n 4 --samples 2 --min-score -1000000"),
    (r"zeroth reject", {"runs/mine": "{run}"}, "--min-score -1000000 --language-share 0"),
    (r"zeroth merge MODEL --adapter", {"MODEL": "tests/data/lora/llama/base", "DIR2": "tests/data/lora/llama/adapter",
                                       "DIR": "{new}"}, ""),
    (r"zeroth merge MODEL", {"MODEL..": "models/base", "DIR": "{new}"}, ""),
    (r"zeroth merge", {}, ""),
    (r"zeroth dpo CONFIG", {"CONFIG": "configs/dpo.json", "RUN": "{new}"},
     "--set model=tests/data/sft --set data.path=tests/data/dpo/pairs.jsonl"),
    (r"zeroth dpo", {}, ""),
    (r"zeroth pipeline", {"FILE": "configs/r1.json", "DIR": "{new}", "NAME=VALUE": "seed=1"}, "--dry-run"),
    (r"zeroth doctor", {"CONFIG.json": "configs/countdown.json"}, SHORT_RUN + " --groups 2"),
    (r"zeroth demo", {"--seed S": "--seed 1", "RUN": "{new}"}, "--steps 1 --eval-problems 8"),
    # Evaluation and sampling.
    (r"zeroth eval .*--preset", {"DIR": "models/base", "preset NAME": "preset gsm8k", "data FILE": "data tests/data/presets/gsm8k.jsonl"},
     "--n 2 --max-tokens 16"),
    (r"zeroth eval", {"RUN/": "{run}/", "DIR": "models/base", "NAME[:k=v,..]": "countdown", "--n N": "--n 4",
                      "samples K": "samples 2"}, "--n 4 --max-tokens 16"),
    (r"zeroth sample", {"DIR": "models/base", "TEXT": "1+1="}, "--max-tokens 8"),
    (r"zeroth score", {"DIR": "models/base", "FILE.jsonl": "ids.jsonl", "two.jsonl": "ids.jsonl", "long.jsonl": "ids.jsonl",
                       "M ": "models/base "}, ""),
    (r"zeroth grade --kind math$", {}, "--in math.jsonl"),
    (r"zeroth grade --kind code$", {}, "--in code.jsonl"),
    (r"zeroth grade --kind math", {"FILE.jsonl": "math.jsonl"}, ""),
    (r"zeroth grade --kind code", {"FILE.jsonl": "code.jsonl"}, ""),
    (r"zeroth bench", {"DIR": "models/base", "FILE": "models/base/config.json"},
     "--batch 1 --tokens 8 --prompts 2 --samples 2 --seconds 0"),
    # Files.
    (r"zeroth describe", {"DIR": "models/base"}, ""),
    (r"zeroth export", {"DIR|FILE.gguf": "models/base", "DIR2": "{new}", "DIR": "models/base", "x.gguf": "{new}.gguf",
                        "out models": "out {new}"}, ""),
    (r"zeroth upcycle", {"models/smollm2-moe": "{new}", "models/smollm2": "tests/data/parity/llama",
                         "--out DIR2": "--out {new}", "DIR": "tests/data/parity/llama", "MOE": "{new}", "experts E": "experts 4",
                         "top-k K": "top-k 2"}, ""),
    (r"zeroth init", {"CONFIG": "models/base/config.json", "long.json": "models/base/config.json", "--seed S": "--seed 1",
                      "DIR": "{new}"}, ""),
    (r"zeroth tokenize build", {"DIR": "{new}"}, ""),
    (r"zeroth tokenize", {"DIR": "models/base", "--text T": "--text 1+1="}, ""),
    (r"zeroth check parity", {"DIR..": "tests/data/parity/llama", "FOLDER": "tests/data/parity/llama"}, ""),
    (r"zeroth check backends", {"DIR..": "tests/data/parity/llama"}, ""),
    (r"zeroth check advantages", {"FILE.jsonl": "tests/data/advantages.jsonl"}, ""),
    (r"zeroth check lora", {"DIR..": "tests/data/lora/llama"}, ""),
    (r"zeroth check dpo", {"FILE.jsonl": "tests/data/dpo/cases.jsonl"}, ""),
    (r"zeroth check sft", {"DIR": "tests/data/sft"}, ""),
    (r"zeroth check losses", {"FILE.jsonl": "tests/data/losses.jsonl"}, ""),
    (r"zeroth check math", {"FILE.jsonl": "tests/data/math_hostile.jsonl"}, ""),
    (r"zeroth check code", {"FILE.jsonl": "code_check.jsonl", "FILE": "code_check.jsonl"}, ""),
    (r"zeroth check ranks", {"NAME": "gloo"}, ""),
    (r"zeroth check tokenizer", {"DIR": "tests/data/tokenizers/qwen2-reduced"}, ""),
    # Tasks.
    (r"zeroth task list", {"NAME": "countdown"}, ""),
    (r"zeroth task sample", {"NAME:key=value,..": "countdown:count=3"}, ""),
    (r"zeroth task check http", {"8000": "{port}"}, ""),
    (r"zeroth task check --preset", {"FILE": "tests/data/presets/humaneval.jsonl"}, "-n 2"),
    (r"zeroth task check", {"NAME": "countdown"}, "-n 8"),
    (r"zeroth task new sums", {}, ""),
    (r"zeroth task new", {}, ""),
    # Runs.
    (r"zeroth traces judge", {"RUN": "{run}", "127.0.0.1:8000": "127.0.0.1:{judge}", "NAME": "judge"}, "--limit 2"),
    (r"zeroth traces show", {"RUN 80.3.5": "{run} 0.0.0"}, ""),
    (r"zeroth traces diff", {"RUN 1.0.0 80.0.0": "{run} 0.0.0 1.0.0", "99.0.0.probe": "1.0.0.probe", "RUN": "{run}"}, ""),
    (r"zeroth traces grep", {"RUN": "{run}", "wait.*=24": "="}, ""),  # 1 where nothing is found
    (r"zeroth traces", {"RUN": "{run}"}, ""),
    (r"zeroth rescore", {"RUN": "{run}"}, ""),
    (r"zeroth inspect .*--export", {"RUN": "{run}", "run.html": "{new}.html"}, ""),
    (r"zeroth inspect", {"OTHER_RUN": "{run}", "RUN": "{run}", "runs/demo-*": "{run}"}, "--port 0"),  # served, then ended
    (r"zeroth serve", {"DIR": "models/base", "runs/mine/checkpoints/latest": "{run}/checkpoints/latest"},
     "--listen 127.0.0.1:0"),
    # Tools beside the binary.
    (r"scripts/make-fractions", {}, ""),
    (r"scripts/check-layers", {"scripts": str(ROOT) + "/scripts"}, ""),
    (r"scripts/parity_fit.py", {"RUN..": "{parity}", "docs/images/parity.svg": "{new}.svg"}, ""),
    (r"bench/aha_report.py build", {"RUN RUN RUN": "{run} {run} {run}"}, ""),
]


class Line:
    def __init__(self, file, number, text, mark, block):
        self.file, self.number, self.text, self.mark, self.block = file, number, text, mark, block

    def __str__(self):
        return f"{self.file}:{self.number}: {self.text}"


def is_command(text):
    words = text.split()
    while words and (words[0] == "time" or re.match(r"[A-Z_]+=\S", words[0])):
        words.pop(0)
    if words and words[0] == "chrt":  # -f PRIORITY
        words = words[3:]
    if not words:
        return False
    return words[0] in PROGRAMS and len(words) > 1 or words[0] == "zeroth" or words[0].startswith(FOLDERS)


def whole(text):
    """Whether a shell would take this as complete."""
    return subprocess.run(["bash", "-n"], input=text.encode(), capture_output=True).returncode == 0


def blocks(text):
    """(first line number, language or None, lines, mark) of fenced and indented blocks; the rest blanked."""
    lines, rest, found = text.split("\n"), [], []
    mark, i = None, 0
    while i < len(lines):
        line = lines[i]
        if line.startswith("```"):
            end = next(k for k in range(i + 1, len(lines)) if lines[k].startswith("```"))
            found.append((i + 2, line[3:].strip() or None, lines[i + 1:end], mark))
            rest += [""] * (end + 1 - i)
            i, mark = end + 1, None
        elif line.startswith("    ") and (i == 0 or not rest[-1].strip() or rest[-1].startswith("#")):
            end = i
            while end < len(lines) and (lines[end].startswith("    ") or (not lines[end].strip() and end + 1 < len(lines)
                                                                           and lines[end + 1].startswith("    "))):
                end += 1
            found.append((i + 1, None, [l[4:] for l in lines[i:end]], mark))
            rest += [""] * (end - i)
            i, mark = end, None
        else:
            here = MARK.fullmatch(line.strip())
            mark = here[1] if here else (mark if not line.strip() else None)
            rest.append(line)
            i += 1
    return found, "\n".join(rest)


def read(path):
    """The command lines of a document, and its blocks in other languages."""
    text = path.read_text()
    name = str(path.relative_to(ROOT))
    found, rest = blocks(text)
    lines, code = [], []
    for first, language, body, mark in found:
        if language is not None:
            code.append((language, "\n".join(body) + "\n"))
            continue
        statement, start = "", 0
        for i, line in enumerate(body):
            if not statement and not line.strip():
                continue
            start = first + i if not statement else start
            statement += ("\n" if statement else "") + line
            if whole(statement):
                lines.append(Line(name, start, statement, mark, first))
                statement = ""
        if statement:
            lines.append(Line(name, start, statement, mark, first))
    # Inline code, a paragraph or a row of a table at a time: marks count for the whole of it.
    number = 1
    for paragraph in re.split(r"(\n\s*\n|\n(?=\||- ))", rest):
        mark = MARK.search(paragraph)
        for span in re.finditer(r"(?<!`)`([^`]+)`(?!`)", MARK.sub("", paragraph)):
            command = " ".join(span[1].split())
            if is_command(command):
                at = number + MARK.sub("", paragraph)[:span.start()].count("\n")
                lines.append(Line(name, at, command, mark[1] if mark else None, None))
        number += paragraph.count("\n")
    return lines, code


class Judge(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"choices": [{"message": {"role": "assistant", "content": "2"}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Place:
    """A folder in which the lines run."""

    def __init__(self, zeroth, folder):
        self.zeroth, self.folder, self.made = zeroth, pathlib.Path(folder), 0
        for name in ("models", "configs", "bench", "examples", "scripts"):
            shutil.copytree(ROOT / name, self.folder / name)
        (self.folder / "tests").mkdir()
        (self.folder / "tests/data").symlink_to(ROOT / "tests/data")
        (self.folder / "runs").mkdir()
        (self.folder / "build").symlink_to(pathlib.Path(zeroth).parent)
        (self.folder / "bin").mkdir()
        (self.folder / "bin/zeroth").symlink_to(zeroth)
        self.env = dict(os.environ, PATH=f"{self.folder}/bin:{os.environ['PATH']}", NO_COLOR="1")
        self.write("ids.jsonl", [{"ids": [1, 2, 3]}, {"ids": [4, 5, 6]}])
        self.write("math.jsonl", [{"id": 1, "gold": "1/2", "pred": "0.5"}])
        self.write("code.jsonl", [{"id": 1, "program": "def add(a,b):\n    return a+b\n", "tests": {
            "entry_point": "add", "calls": [[1, 2]], "expected_values": [3]}}])
        hostile = (ROOT / "tests/data/hostile_code.jsonl").read_text().splitlines()
        (self.folder / "code_check.jsonl").write_text(hostile[0] + "\n")
        self.values = {"port": str(free_port())}
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Judge)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.values["judge"] = str(self.server.server_address[1])
        small = dict(samples_per_prompt=4, prompts_per_step=2, sampling=dict(max_tokens=48), probe=dict(every=1), steps=2)
        (self.folder / "small.json").write_text(json.dumps(dict(small, task=dict(name="countdown"))))
        parity = dict(small, model="models/parity", task=dict(name="parity"), steps=4)
        (self.folder / "parity.json").write_text(json.dumps(parity))
        for name, config in (("run", "small"), ("parity", "parity")):
            self.values[name] = "runs/" + name
            code, out = self.shell(f"zeroth train {config}.json --out runs/{name}")
            if code:
                sys.exit("no run to look at: " + out)

    def write(self, name, rows):
        (self.folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def shell(self, script):
        try:
            done = subprocess.run(["bash", "-c", "set -e -o pipefail\n" + script], cwd=self.folder, env=self.env,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            return 124, f"not done after {LIMIT} s"
        return done.returncode, done.stdout.decode(errors="replace")

    def serve(self, script):
        """A server: it says where it is, answers, and is ended."""
        server = subprocess.Popen(["bash", "-c", "exec " + script], cwd=self.folder, env=self.env, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            for line in server.stdout:
                address = re.search(r"http://127\.0\.0\.1:\d+/(v1)?", line)
                if address:
                    with urllib.request.urlopen(address[0] + ("/models" if address[1] else ""), timeout=60) as page:
                        return (0, "") if page.status == 200 else (1, f"status {page.status}")
            return 1, "no address was printed"
        finally:
            server.terminate()
            server.wait()

    def start(self, script):
        """A server of the documents in Python, with its port replaced."""
        path = self.folder / "server.py"
        path.write_text(script.replace("8000", self.values["port"]))
        server = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as s:
                s.settimeout(0.1)
                if s.connect_ex(("127.0.0.1", int(self.values["port"]))) == 0:
                    return server
            threading.Event().wait(0.1)
        sys.exit("the documents' HTTP server does not start")

    def fill(self, text, rule):
        pattern, values, more = rule
        for name, value in values.items():
            if "{new}" in value:
                self.made += 1
                value = value.replace("{new}", f"out/new{self.made}")
            for key, known in self.values.items():
                value = value.replace("{" + key + "}", known)
            ends = r"(?![\w])" if name[-1].isalnum() else ""
            begins = r"(?<![\w])" if name[0].isalnum() else ""
            text = re.sub(begins + re.escape(name) + ends, lambda _: value, text)
        if not more:
            return text
        body, pipe, rest = text.partition(" > ")
        body, hash_, comment = body.partition("  #")
        return body + " " + more + pipe + rest

    def options_known(self, line, text):
        """Options of square brackets, which are left out, are in --help."""
        wrong = []
        command = re.match(r"(?:build/)?zeroth ((?:[a-z]+ ?)+)", text)
        for option in re.findall(r"(--?[a-z][\w-]*)", " ".join(re.findall(r"\[(--?[a-z][^\]]*)\]", text))):
            words = command[1].split() if command else []
            name = option.lstrip("-").replace("-", "_")
            if any(re.search(rf"^  {name} ", self.shell("zeroth " + " ".join(words[:n]) + " --help")[1], re.M)
                   for n in (1, 2) if len(words) >= n):
                continue
            wrong.append(f"{line}: --help does not know {option}")
        return wrong


def run_line(place, line, prelude):
    text = line.text
    name = re.fullmatch(r"(?:build/)?zeroth((?: [a-z]+){0,2}?)(?: --help)?", text)
    if name and line.block is None:
        code, out = place.shell("zeroth" + name[1] + " --help")
        return [] if code == 0 else [f"{line}: there is no such command: {out[:300]}"]
    if text.endswith(" --version"):
        code, out = place.shell(text)
        return [] if code == 0 else [f"{line}: {out[:300]}"]
    if text == "zeroth COMMAND --help":
        return []
    if len(text.split()) == 1 and line.block is None and not any(re.fullmatch(r[0], text) for r in RULES):
        known = (ROOT / text).exists() or (place.folder / text).exists() or list(ROOT.glob(text))
        return [] if known else [f"{line}: there is no such file"]
    ctest = re.fullmatch(r"(?:tests/(?:\w+/)+(\w+)\.sh build/zeroth.*|ctest -R (\S+))", text)
    if ctest:
        listed = subprocess.run(["ctest", "--test-dir", pathlib.Path(place.zeroth).parent, "-N", "-R", ctest[1] or ctest[2]],
                                capture_output=True, text=True).stdout
        return [] if re.search(r"Total Tests: [1-9]", listed) else [f"{line}: ctest has no such test"]
    wrong = place.options_known(line, text)
    short = re.sub(r"\s*\[(--?[a-z][^\]]*)\](?:\.\.)?", "", text)
    for rule in RULES:
        if re.search(rule[0], text):
            script = place.fill(short, rule)
            break
    else:
        return wrong + [f"{line}: no rule of this test runs it, and it is not marked as <!-- not run: REASON -->"]
    (place.folder / "out").mkdir(exist_ok=True)
    code, out = place.serve(script) if re.search("--port 0|--listen .*:0", script) else place.shell(prelude + script)
    if code:
        wrong.append(f"{line}\n    as: {script}\n    exit code {code}: {out.strip()[-600:]}")
    return wrong


def main():
    arguments = [a for a in sys.argv[1:] if a != "-v"]
    zeroth, parts = str(pathlib.Path(arguments[0]).resolve()), arguments[1:]
    wrong, run, marked, server = [], 0, [], None
    with tempfile.TemporaryDirectory() as folder:
        place = Place(zeroth, folder)
        try:
            for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
                if parts and not any(part in str(path) for part in parts):
                    continue
                lines, code = read(path)
                if path.name == "tasks.md":  # what its commands work on stands above them
                    python = [text for language, text in code if language == "python"]
                    (place.folder / "sums.py").write_text(python[0])
                    server = place.start(python[1])
                prelude, block, seen = "", None, set()
                for line in lines:
                    if line.block != block:
                        prelude, block = "", line.block
                    if line.mark:
                        marked.append(line)
                        continue
                    text = re.sub(r"^build/|  +#.*", "", line.text)
                    if text in seen:
                        continue
                    seen.add(text)
                    if "-v" in sys.argv:
                        print(line, flush=True)
                    wrong += run_line(place, line, prelude)
                    run += 1
                    if re.match(r"[A-Z]='", line.text):
                        prelude += line.text + "\n"
        finally:
            place.server.shutdown()
            if server:
                server.terminate()
                server.wait()
    for text in wrong:
        print("FAIL", text)
    print(f"{run} command lines run, {len(wrong)} failed; {len(marked)} marked as not run")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
