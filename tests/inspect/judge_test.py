"""`zeroth traces judge` against a server of our own that speaks chat completions.

Usage: judge_test.py ZEROTH MAKE_RUN, from the project's root.
"""
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading

failed = []


def check(good, what):
    if not good:
        failed.append(what)
        print("FAILED: " + what, flush=True)


class Fake(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    requests = []
    replies = None  # a list of (status, content) that is used up first
    lock = threading.Lock()

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock:
            Fake.requests.append((self.path, dict(self.headers), body))
            status, content = Fake.replies.pop(0) if Fake.replies else (200, None)
        if content is None:
            response = body["messages"][1]["content"].split("=====")[3]
            content = json.dumps({"score": 2 if "wait" in response else 1, "reason": "it \u201cwaits\u201d"})
        data = json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]} if status == 200 else {"error": content}).encode()
        if status == 200 and content == "garbage":
            data = b"<html>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def main(zeroth, make_run):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fake)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = "http://127.0.0.1:%d/v1/" % server.server_port
    with tempfile.TemporaryDirectory() as folder:
        run = folder + "/run"
        subprocess.run([make_run, run, "--steps", "3", "--groups", "2", "--samples", "4", "--hostile"], check=True)

        def judge(*options, env=None):
            return subprocess.run([zeroth, "traces", "judge", run, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})

        def ask(*options):
            out = subprocess.run([zeroth, "traces", *options], stdout=subprocess.PIPE, check=True).stdout
            return [json.loads(line) for line in out.splitlines()]

        check(judge().returncode == 2 and not os.path.exists(run + "/traces/judge.jsonl"), "without a URL nothing is asked")
        check(judge("--url", url).returncode == 2, "a model is demanded")
        check(judge("--url", "https://x/v1", "--model", "m").returncode == 2, "https is refused by name")
        check(judge("--url", url, "--model", "m", "--key-env", "NO_SUCH_KEY").returncode == 2, "a key that is not there is named")
        check(Fake.requests == [], "so far nobody was asked")
        Fake.replies = [(503, "busy"), (429, "slow down"), (200, '<think>{"score": 1}? no.</think> {"score": 3, "reason": "code"}'), (200, "Score: 0"), (200, "**1**")]
        first = judge("--url", url, "--model", "m", "--query", "source=train", "--limit", "3", "--json", "--key-env", "OUR_KEY", env={"OUR_KEY": "sesame"})
        check(first.returncode == 1 and "no score" in first.stderr, "a reply without a score ends it: " + first.stderr)
        rows = [json.loads(line) for line in first.stdout.splitlines()]
        check([row["score"] for row in rows] == [3], "what was judged before is kept: %s" % rows)
        path, headers, body = Fake.requests[0]
        check(path == "/v1/chat/completions" and headers["Authorization"] == "Bearer sesame", "the path and the key: %s" % path)
        check(body["model"] == "m" and body["temperature"] == 0 and [m["role"] for m in body["messages"]] == ["system", "user"], "the request")
        check(len(Fake.requests) == 4, "a busy server is asked again: %d" % len(Fake.requests))
        rest = judge("--url", url, "--model", "m", "--query", "source=train", "--json")
        rows = [json.loads(line) for line in rest.stdout.splitlines()]
        check(rest.returncode == 0 and len(rows) == 23, "the rest is judged, once: %d" % len(rows))
        check("judged 23" in rest.stderr, "and counted: " + rest.stderr)
        check(judge("--url", url, "--model", "m", "--query", "source=train").stdout == "", "a second time there is nothing to do")
        exported = {row["at"]: row["text"] for row in ask("export", "--jsonl", run, "--query", "source=train")}
        check(rows[0]["score"] == 1 and rows[0]["reason"] == "", "a lone digit is a score")
        fair = {row["at"]: 2 if "wait" in exported[row["at"]] else 1 for row in rows[1:]}
        check({row["at"]: row["score"] for row in rows[1:]} == fair, "every text was shown to the judge")
        for score in (0, 1, 2, 3):
            want = sum(row["score"] == score for row in rows) + (score == 3)
            found = len(ask("export", "--jsonl", run, "--query", "judge=%d" % score))
            check(found == want, "judge=%d finds %d of %d" % (score, found, want))
        check(len(ask("export", "--jsonl", run, "--query", "judge>=0")) == 24, "what was not judged does not compare")
        subprocess.run([zeroth, "traces", "reindex", run], check=True, stdout=subprocess.DEVNULL)
        check(len(ask("export", "--jsonl", run, "--query", "judge>=0")) == 24, "a rebuilt index knows the judgements")
        shown = ask("show", run, rows[-1]["at"], "--json")[0]["judge"]
        check(shown["model"] == "m" and shown["reason"] == "it \u201cwaits\u201d", "the trace shows it: %s" % shown)
        with open(run + "/traces/judge.jsonl", "a") as file:
            file.write('{"at": "1.0.0", "rubric": 1, "score": 0, "reason": "", "model": "m", "digest": "another text"}\nno json\n{"at"')
        check(len(ask("export", "--jsonl", run, "--query", "judge=0")) == 0, "a judgement of another text under the same address counts for nothing")
        Fake.replies = [(200, "garbage")]
        check("chat completion" in judge("--url", url, "--model", "n", "--limit", "1").stderr, "garbage is named")
        Fake.replies = [(401, "who are you?")]
        check("401" in judge("--url", url, "--model", "n", "--limit", "1").stderr, "a refusal is named")
        server.shutdown()
        server.server_close()
        check("judge at" in judge("--url", url, "--model", "n", "--limit", "1", "--timeout", "2").stderr, "a server that is gone is named")
    print("%d failures" % len(failed) if failed else "the judge is asked as it should")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
