#!/usr/bin/env python3
"""usage: serve_test.py ZEROTH. `zeroth serve` as its clients see it: bytes, streams, refusals, load, goodbyes."""
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading

zeroth = os.path.realpath(sys.argv[1])
work = tempfile.mkdtemp()
base = os.path.join(work, "base")
failures = []


def check(fine, what):
    if not fine:
        failures.append(what)
        print("FAILED:", what)


def run(*args):
    return subprocess.run([zeroth, *args], capture_output=True, text=True, check=True).stdout


class Server:
    def __init__(self, *args):
        self.process = subprocess.Popen([zeroth, "serve", "--model", base, "--listen", "127.0.0.1:0", *args],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = int(self.process.stdout.readline().split(":")[2].split("/")[0])

    def call(self, path, body=None, method=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        text = body if isinstance(body, str) else json.dumps(body) if body is not None else None
        connection.request(method or ("POST" if body is not None else "GET"), path, text, headers or {})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        try:
            return answer.status, json.loads(data)
        except ValueError:
            return answer.status, data.decode()

    def stream(self, path, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", path, json.dumps({**body, "stream": True}))
        answer = connection.getresponse()
        assert answer.status == 200 and answer.getheader("Content-Type") == "text/event-stream"
        events = [line[6:] for line in answer.read().decode().split("\n") if line.startswith("data: ")]
        assert events[-1] == "[DONE]", events[-1]
        return [json.loads(event) for event in events[:-1]]

    def metric(self, name):
        _, text = self.call("/metrics")
        return int([line for line in text.split("\n") if line.startswith("zeroth_serve_" + name + " ")][0].split()[1])

    def end(self):
        self.process.terminate()
        check(self.process.wait(30) == 143, "SIGTERM ends the server with 143")


def joined(events, index, field="text"):
    out = ""
    for event in events:
        for choice in event["choices"]:
            if choice["index"] == index:
                out += choice["text"] if field == "text" else choice["delta"].get("content", "")
    return out


try:
    run("init", "--config", "tests/data/tiny_base/config.json", "--seed", "5", "--out", base)
    shutil.copy("tests/data/tiny_base/tokenizer.json", base)
    shutil.copy("tests/data/tiny_base/generation_config.json", base)
    with open(os.path.join(base, "chat_template.jinja"), "w") as file:
        file.write("{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
                   "{% if add_generation_prompt %}<assistant>{% endif %}")

    server = Server()
    status, models = server.call("/v1/models")
    check(status == 200 and models["data"][0]["id"] == "base", "the model is listed")
    check(server.call("/v1/models/base")[1]["object"] == "model", "and shown")

    # The same bytes as `zeroth sample`.
    rows = [json.loads(line) for line in
            run("sample", "--model", base, "--prompt", "hello", "--n", "5", "--seed", "9", "--max-tokens", "20", "--json").splitlines()]
    ask = {"model": "base", "prompt": "hello", "n": 5, "seed": 9, "max_tokens": 20, "logprobs": 0, "return_token_ids": True}
    status, alone = server.call("/v1/completions", ask)
    check(status == 200 and len(alone["choices"]) == 5, "five completions come")
    for row, choice in zip(rows, alone["choices"]):
        check(choice["token_ids"] == row["ids"], "ids are those of sample")
        check(choice["logprobs"]["token_logprobs"] == row["logprobs"], "log-probs are those of sample")
        check(choice["text"] == row["text"], "texts are those of sample")
        check(choice["finish_reason"] == row["finish"], "and so is the end")
    ids = json.loads(run("tokenize", "--model", base, "--text", "hello", "--json"))["ids"]
    check(alone["choices"][0]["prompt_token_ids"] == ids, "prompt ids are given")
    check(server.call("/v1/completions", {**ask, "prompt": ids})[1]["choices"] == alone["choices"], "token ids are prompts too")
    check(alone["usage"] == {"prompt_tokens": len(ids), "completion_tokens": sum(len(r["ids"]) for r in rows),
                             "total_tokens": len(ids) + sum(len(r["ids"]) for r in rows)}, "usage adds up")
    two = server.call("/v1/completions", {**ask, "prompt": ["hello", "good bye"], "n": 2})[1]
    check([c["index"] for c in two["choices"]] == [0, 1, 2, 3], "prompts times n completions")
    check(two["choices"][0]["token_ids"] == rows[0]["ids"] and two["choices"][1]["token_ids"] == rows[1]["ids"], "of the first prompt as alone")

    # Streams join to the same texts, ids and log-probs, stop strings included.
    for extra in ({}, {"stop": ["e", "zz"]}, {"temperature": 0, "n": 1}, {"top_p": 0.7, "top_k": 40}):
        whole = server.call("/v1/completions", {**ask, **extra})[1]
        events = server.stream("/v1/completions", {**ask, **extra, "stream_options": {"include_usage": True}})
        for choice in whole["choices"]:
            i = choice["index"]
            check(joined(events, i) == choice["text"], f"a stream joins to the text {extra}")
            got = [t for e in events for c in e["choices"] if c["index"] == i for t in c.get("token_ids", [])]
            check(got == choice["token_ids"], "ids of a stream are those of the whole")
            logs = [v for e in events for c in e["choices"] if c["index"] == i and c["logprobs"] for v in c["logprobs"]["token_logprobs"]]
            check(logs == choice["logprobs"]["token_logprobs"], "and its log-probs")
            ends = [c["finish_reason"] for e in events for c in e["choices"] if c["index"] == i and c["finish_reason"]]
            check(ends == [choice["finish_reason"]], "a stream ends once, for the same reason")
        check(events[-1]["usage"] == whole["usage"], "usage comes last")
        if extra.get("stop"):
            check(all("e" not in c["text"] for c in whole["choices"]), "no stop string is shown")

    # Chat.
    talk = {"model": "base", "messages": [{"role": "user", "content": "1+1?"}], "seed": 4, "max_tokens": 12, "n": 2,
            "logprobs": True, "return_token_ids": True}
    chat = server.call("/v1/chat/completions", talk)[1]
    rendered = "<user>1+1?\n<assistant>"
    check(chat["prompt_token_ids"] == json.loads(run("tokenize", "--model", base, "--text", rendered, "--json"))["ids"], "the template is applied")
    same = server.call("/v1/completions", {"prompt": rendered, "seed": 4, "max_tokens": 12, "n": 2, "return_token_ids": True})[1]
    for i in range(2):
        check(chat["choices"][i]["message"]["content"] == same["choices"][i]["text"], "a chat is a completion of its prompt")
        check(len(chat["choices"][i]["logprobs"]["content"]) == len(chat["choices"][i]["token_ids"]), "a log-prob a token")
    events = server.stream("/v1/chat/completions", talk)
    for i in range(2):
        check(joined(events, i, "delta") == chat["choices"][i]["message"]["content"], "a chat's stream joins to it")
    check(server.call("/v1/chat/completions", {**talk, "messages": [{"role": "user", "content": "x"}], "max_completion_tokens": 3, "max_tokens": None})[1]["usage"]["completion_tokens"] <= 6, "max_completion_tokens counts")

    # The same bytes under load.
    stop = threading.Event()

    def crowd(number):
        while not stop.is_set():
            server.call("/v1/completions", {"prompt": "load %d" % number, "n": 3, "max_tokens": 30, "seed": number})
    threads = [threading.Thread(target=crowd, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        check(server.call("/v1/completions", ask)[1]["choices"] == alone["choices"], "load changes no byte")
        check(joined(server.stream("/v1/completions", ask), 0) == alone["choices"][0]["text"], "nor a stream's")
    stop.set()
    for thread in threads:
        thread.join()
    check(server.call("/v1/completions", {**ask, "seed": None})[1]["choices"] != server.call("/v1/completions", {**ask, "seed": None})[1]["choices"],
          "without a seed completions differ")

    # Refusals name the field.
    for path, body, code, field in (
            ("/v1/completions", "{", 400, None), ("/v1/completions", "[1]", 400, None), ("/v1/completions", {}, 400, "prompt"),
            ("/v1/completions", {"prompt": "x", "model": "other"}, 404, "model"), ("/v1/completions", {"prompt": "x", "n": 0}, 400, "n"),
            ("/v1/completions", {"prompt": "x", "n": 100000}, 400, "n"), ("/v1/completions", {"prompt": "x", "n": "2"}, 400, "n"),
            ("/v1/completions", {"prompt": "x" * 100000}, 400, "prompt"), ("/v1/completions", {"prompt": [1, "a"]}, 400, "prompt"),
            ("/v1/completions", {"prompt": [10**9]}, 400, "prompt"), ("/v1/completions", {"prompt": [-1]}, 400, "prompt"),
            ("/v1/completions", {"prompt": ""}, 400, "prompt"), ("/v1/completions", {"prompt": []}, 400, "prompt"),
            ("/v1/completions", {"prompt": "x", "max_tokens": 0}, 400, "max_tokens"), ("/v1/completions", {"prompt": "x", "temperature": -1}, 400, "temperature"),
            ("/v1/completions", {"prompt": "x", "top_p": 2}, 400, "top_p"), ("/v1/completions", {"prompt": "x", "stop": [""]}, 400, "stop"),
            ("/v1/completions", {"prompt": "x", "stop": 3}, 400, "stop"), ("/v1/completions", {"prompt": "x", "seed": 1.5}, 400, "seed"),
            ("/v1/completions", {"prompt": "x", "echo": True}, 400, "echo"), ("/v1/completions", {"prompt": "x", "frequency_penalty": 1}, 400, "frequency_penalty"),
            ("/v1/completions", {"prompt": "x", "logprobs": 4}, 400, "logprobs"), ("/v1/completions", {"prompt": "x", "stream": 1}, 400, "stream"),
            ("/v1/chat/completions", {}, 400, "messages"), ("/v1/chat/completions", {"messages": []}, 400, "messages"),
            ("/v1/chat/completions", {"messages": ["x"]}, 400, "messages"), ("/v1/chat/completions", {"messages": [{"content": "x"}]}, 400, "messages"),
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "top_logprobs": 3}, 400, "top_logprobs"),
            ("/v1/embeddings", {"input": "x"}, 404, None), ("/v1/completions", "[" * 100000, 400, None)):
        status, answer = server.call(path, body)
        check(status == code and answer["error"]["param"] == field and answer["error"]["message"], f"{path} {str(body)[:60]}: {status} {str(answer)[:200]}")
    check(server.call("/v1/completions", method="GET")[0] == 405, "GET is no way to complete")
    check(server.call("/v1/models", {}, method="POST")[0] == 404, "nor POST to list")
    try:
        check(server.call("/v1/completions", json.dumps({"prompt": "x" * (5 << 20)}))[0] == 413, "long bodies are not read")
    except (BrokenPipeError, ConnectionResetError):
        pass

    # Who goes away is not served.
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("POST", "/v1/completions", json.dumps({"prompt": "x", "n": 64, "max_tokens": 200, "stream": True}))
    connection.getresponse().read(10)
    connection.sock.close()
    connection.close()
    for _ in range(600):
        if server.metric("in_flight") == 0:
            break
        threading.Event().wait(0.05)
    check(server.metric("in_flight") == 0 and server.metric("abandoned_total") > 0, "abandoned completions end")
    server.end()

    # A short queue says so; keys are asked for.
    keys = os.path.join(work, "keys")
    with open(keys, "w") as file:
        file.write("a-key-of-many-letters\n")
    server = Server("--queue", "4", "--token-file", keys)
    check(server.call("/v1/models")[0] == 401, "no key, no models")
    check(server.call("/v1/completions", {"prompt": "x"}, headers={"Authorization": "Bearer a-key-of-many-letterz"})[0] == 401, "nor with another")
    key = {"Authorization": "Bearer a-key-of-many-letters"}
    connections = [http.client.HTTPConnection("127.0.0.1", server.port) for _ in range(4)]
    for connection in connections:
        connection.request("POST", "/v1/completions", json.dumps({"prompt": "x", "n": 2, "max_tokens": 200}), key)
    answers = [connection.getresponse() for connection in connections]
    busy = [a for a in answers if a.status == 429]
    check(busy and all(a.getheader("Retry-After") for a in busy), "a full queue answers 429")
    check(any(a.status == 200 for a in answers), "and works on")
    server.end()
finally:
    shutil.rmtree(work)
print("%d failures" % len(failures))
sys.exit(bool(failures))
