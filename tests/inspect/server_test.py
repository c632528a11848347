"""The inspector's server from outside: addresses, refusals, /metrics, live events, a trainer that is killed.

Usage: server_test.py ZEROTH MAKE_RUN, from the project's root.
"""
import errno
import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

PATIENCE = 120  # seconds; a wait that takes longer is an error, whatever the machine is doing
failed = []


def check(good, what):
    if not good:
        failed.append(what)
        print("FAILED: " + what, flush=True)


def until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError("waited in vain for " + what)


class Server:
    def __init__(self, zeroth, run, *options):
        self.process = subprocess.Popen([zeroth, "inspect", run, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError(self.process.stderr.read())
        self.port = urllib.parse.urlsplit(self.url).port

    def ask(self, path, method="GET", headers=None, host=None):
        """(status, headers, body)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host or "127.0.0.1:%d" % self.port)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        result = answer.status, answer.headers, answer.read()
        connection.close()
        return result

    def json(self, path):
        status, _, body = self.ask(path)
        check(status == 200, "%s is answered with %d" % (path, status))
        return json.loads(body)

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        check(self.process.wait(PATIENCE) == 0, "SIGTERM ends the server with 0")
        self.process.stdout.close()
        self.process.stderr.close()


def indexed(server):
    info = server.json("/api/info")
    return info["samples"] > 0 and info["indexed"] == info["to_index"] and info


def check_refusals(server):
    site = "127.0.0.1:%d" % server.port
    for path, headers, host, want in [
        ("/api/info", {}, None, 200), ("/", {"Origin": "http://" + site}, None, 200), ("/api/info", {}, "localhost:%d" % server.port, 200),
        ("/api/info", {"Sec-Fetch-Site": "same-origin"}, None, 200), ("/", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, None, 200),
        ("/api/info", {}, "evil.example", 403), ("/api/info", {}, "127.0.0.1", 403), ("/api/info", {}, "evil.example:%d" % server.port, 403),
        ("/metrics", {}, "evil.example", 403), ("/api/events", {}, "evil.example", 403), ("/api/info", {"Origin": "http://evil.example"}, None, 403),
        ("/api/info", {"Origin": "null"}, None, 403), ("/api/info", {"Origin": "https://" + site}, None, 403), ("/api/info", {"Sec-Fetch-Site": "cross-site"}, None, 403),
        ("/api/nothing", {}, None, 404), ("/../etc/passwd", {}, None, 404), ("/api/trace?at=999999.0.0", {}, None, 404), ("/api/trace?at=%00'", {}, None, 404),
        ("/api/step?step=nan", {}, None, 404), ("/api/step?step=-1", {}, None, 404), ("/api/step?step=0&source=x", {}, None, 404), ("/api/search?limit=1e9", {}, None, 404),
        ("/api/search?order=x%3BDROP", {}, None, 404), ("/api/problem?task=%ff&id=%ff", {}, None, 404),
    ]:
        status, _, _ = server.ask(path, headers=headers, host=host)
        check(status == want, "%s %s Host %s: %d, wanted %d" % (path, headers, host, status, want))
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        check(server.ask("/api/info", method)[0] == 405, method + " is refused")
    status, headers, body = server.ask("/", "HEAD")
    check((status, body) == (200, b""), "HEAD has no body")
    policy = headers["Content-Security-Policy"]
    check("default-src 'none'" in policy and "unsafe" not in policy, "the page may run no script but its own: " + policy)
    error = server.json("/api/search?q=" + urllib.parse.quote("step>1 rewrd=1"))
    check(error["at"] == 7 and "reward" in error["error"], "a syntax error has its place: %s" % error)
    # Whatever bytes come, the next request is answered.
    for junk in (b"\0" * 100, b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"/" * 100000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as raw:
            try:  # the server may hang up at any point of it
                raw.sendall(junk)
                raw.shutdown(socket.SHUT_WR)
                while raw.recv(65536):
                    pass
            except OSError as error:
                check(error.errno in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN), "junk: %s" % error)
    check(server.ask("/api/info")[0] == 200, "junk does no harm")


def check_metrics(server, run):
    with open(run + "/metrics.jsonl") as rows:
        last = json.loads(rows.readlines()[-1])
    until(lambda: server.json("/api/info")["last_step"] == last["step"], "the last row")
    status, headers, body = server.ask("/metrics")
    check(status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4"), "/metrics is Prometheus text")
    lines = body.decode().splitlines()
    for kind, value in zip(lines[::2], lines[1::2]):
        check(re.fullmatch(r"# TYPE zeroth_[a-zA-Z0-9_]+ gauge", kind) is not None, "a type line: " + kind)
        check(re.fullmatch(r"zeroth_[a-zA-Z0-9_]+ -?[0-9.e+-]+", value) is not None and value.split()[0] == kind.split()[2], "a value line: " + value)
    names = [line.split()[0] for line in lines[1::2]]
    check(len(set(names)) == len(names), "every metric stands there once")
    found = dict(line.split() for line in lines[1::2])
    check(float(found["zeroth_reward"]) == last["reward"] and float(found["zeroth_step"]) == last["step"], "the newest row is shown")
    check("zeroth_scan_aha_rate" in found and "zeroth_timing_step_time" in found, "scanners and timings are among them")


class Events(threading.Thread):
    """Counts the server-sent messages of one connection."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.count = 0
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        self.connection.request("GET", "/api/events")
        self.answer = self.connection.getresponse()
        check(self.answer.headers["Content-Type"] == "text/event-stream", "events are server-sent events")
        self.start()

    def run(self):
        try:
            for line in self.answer:
                self.count += line.startswith(b"data: ")
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            pass


def config_of_tiny_run(zeroth, folder):
    subprocess.run([zeroth, "init", "--config", "tests/data/tiny_base/config.json", "--seed", "5", "--out", folder + "/base"], check=True, stdout=subprocess.DEVNULL)
    for name in ("tokenizer.json", "generation_config.json"):
        with open("tests/data/tiny_base/" + name, "rb") as source, open(folder + "/base/" + name, "wb") as copy:
            copy.write(source.read())
    config = {"model": folder + "/base", "task": {"name": "parity", "options": {"bits": 4}}, "seed": 3, "steps": 100000, "prompts_per_step": 4, "samples_per_prompt": 6,
              "sampling": {"max_tokens": 24}, "optimizer": {"lr": 1e-3}, "checkpoint_every": 50, "record": {"progress": False}}
    with open(folder + "/config.json", "w") as file:
        json.dump(config, file)
    return folder + "/config.json"


def check_live(zeroth, folder):
    """The page over a trainer that runs, is killed, and goes on."""
    config, run = config_of_tiny_run(zeroth, folder), folder + "/run"
    train = [zeroth, "train", config]
    trainer = subprocess.Popen(train + ["--out", run], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = None
    try:
        until(lambda: os.path.exists(run + "/metrics.jsonl"), "the first row")
        server = Server(zeroth, run, "--port", "0")
        events = Events(server)
        until(lambda: events.count >= 3, "live events")
        until(lambda: server.json("/api/info")["last_step"] is not None and server.json("/api/info")["last_step"] >= 3, "steps that appear")
        before = server.json("/api/info")["last_step"]
        until(lambda: server.json("/api/info")["last_step"] > before, "steps that go on appearing")
        trainer.kill()
        trainer.wait(PATIENCE)
        info = until(lambda: indexed(server), "the index to catch up")
        steps = server.json("/api/steps")
        check(len(steps) >= 3, "a killed run is still shown")
        for row in (steps[0], steps[-1]):
            check(len(server.json("/api/step?step=%d" % row["step"])["groups"]) > 0, "and its steps open")
        check_metrics(server, run)
        # It goes on where its last checkpoint is, which is before what was recorded.
        trainer = subprocess.Popen(train + ["--resume", run], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seen = events.count
        until(lambda: events.count > seen + 2, "events of the resumed run")
        until(lambda: server.json("/api/info")["last_step"] > info["last_step"], "steps of the resumed run")
        trainer.kill()
        trainer.wait(PATIENCE)
        until(lambda: indexed(server), "the index to catch up again")
        with open(run + "/metrics.jsonl") as rows:
            want = [json.loads(line)["step"] for line in rows if line.endswith("\n")]
        until(lambda: server.json("/api/timeline")["steps"] == want, "every step once")
    finally:
        trainer.kill()
        trainer.wait(PATIENCE)
        if server:
            server.close()


def connect(port, request=b""):
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    if request:
        connection.sendall(request)
    return connection


def memory_mb(process):
    with open("/proc/%d/status" % process.pid) as status:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read()).group(1)) / 1024


def check_crowds(zeroth, run):
    """Clients that connect and say nothing, or ask and do not read, cost nobody else the page."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    server = Server(zeroth, run, "--port", "0")
    until(lambda: indexed(server), "the index")
    host = b"Host: 127.0.0.1:%d\r\n" % server.port
    for name, count, request in [("silent", 64, b""), ("silent", 1000, b""), ("half a request", 1000, b"GET /api/info HTTP/1.1\r\nHo"),
                                 ("events", 300, b"GET /api/events HTTP/1.1\r\n" + host + b"\r\n"), ("slow answers", 64, b"GET /api/timeline HTTP/1.1\r\n" + host + b"\r\n")]:
        crowd = [connect(server.port, request) for _ in range(count)]
        for path in ("/", "/api/info", "/api/timeline"):
            check(server.ask(path)[0] == 200, "%s is answered beside %d connections: %s" % (path, count, name))
        for connection in crowd:
            connection.close()
    before = memory_mb(server.process)
    crowd = [connect(server.port, b"GET /api/export HTTP/1.1\r\n" + host + b"\r\n") for _ in range(64)]
    crowd[0].settimeout(PATIENCE)
    check(crowd[0].recv(12) == b"HTTP/1.1 200", "an export is sent")
    check(server.ask("/")[0] == 200, "the page is answered beside 64 exports that nobody reads")
    check(memory_mb(server.process) < max(100, before + 60), "which take no memory: %.0f MB, %.0f before" % (memory_mb(server.process), before))
    for connection in crowd:
        connection.close()
    server.close()
    # Few files: the oldest silent ones make room.
    resource.setrlimit(resource.RLIMIT_NOFILE, (80, hard))
    server = Server(zeroth, run, "--port", "0")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    until(lambda: indexed(server), "the index")
    crowd = [connect(server.port) for _ in range(200)]
    check(server.ask("/api/info")[0] == 200, "the page is answered when files are short")
    for connection in crowd:
        connection.close()
    server.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def check_runs(zeroth, make_run, folder):
    """A folder of runs is a list of them; each is opened when it is asked for."""
    runs = folder + "/runs"
    os.mkdir(runs)
    for name, seed in (("first", 1), ("second", 2)):
        subprocess.run([make_run, runs + "/" + name, "--steps", "2", "--groups", "1", "--samples", "4", "--seed", str(seed)], check=True)
    os.mkdir(runs + "/none")
    server = Server(zeroth, runs, "--port", "0")
    until(lambda: indexed(server), "the index")
    listed = server.json("/api/runs")
    check(sorted(row["name"] for row in listed) == ["first", "second"], "both runs are listed: %s" % listed)
    check(all(row["state"] == "finished" and row["done"] >= row["steps"] > 0 for row in listed), "and both are finished: %s" % listed)
    for row in listed:
        info = server.json("/api/info?run=%d" % row["id"])
        check(info["run"] == row["name"] and info["runs"] == 2, "run %s is shown under its number" % row["name"])
    until(lambda: server.json("/api/info?run=1").get("samples", 0) > 0, "the index of the second run")
    check(server.json("/api/timeline?run=1")["series"]["reward"] != server.json("/api/timeline?run=0")["series"]["reward"], "the runs differ")
    check(server.ask("/api/info?run=2")[0] == 404, "there is no third run")
    check(server.json("/api/stages") == [] and info["pipelines"] == 0, "a folder of runs is no pipeline")
    rows = [{"after": "cold <b>", "measures": {"accuracy": {"mean": 0.5, "ci95": [0.4, None]}}, "truncated": 0.1, "tokens_per_correct": None}]
    for text, shown in ((json.dumps(rows), rows), ("{", None), ('{"rows": 1}', None), ("[]", None)):
        with open(runs + "/summary.json", "w") as file:
            file.write(text)
        stages = server.json("/api/stages")
        check(stages == ([{"name": "runs", "path": runs, "rows": rows}] if shown else []), "what stages came to, of %s: %s" % (text, stages))
    os.remove(runs + "/summary.json")
    os.mkfifo(runs + "/summary.json")
    check(server.json("/api/stages") == [], "a pipe in its place is not read")
    os.remove(runs + "/summary.json")
    os.rename(runs + "/none", runs + "/late")
    subprocess.run([make_run, runs + "/late", "--steps", "1", "--groups", "1", "--samples", "2"], check=True)
    check([row["name"] for row in server.json("/api/runs")][2] == "late", "a run that appears goes to the end of the list")
    server.close()
    nothing = subprocess.run([zeroth, "inspect", folder + "/empty"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    check(nothing.returncode == 1 and "empty" in nothing.stderr, "a folder without runs is named")


def check_addresses(zeroth, run, server):
    taken = subprocess.run([zeroth, "inspect", run, "--port", str(server.port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    check(taken.returncode != 0 and str(server.port) in taken.stderr and "--port" in taken.stderr, "a port in use is named: " + taken.stderr)
    nowhere = subprocess.run([zeroth, "inspect", run, "--address", "not-an-address"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    check(nowhere.returncode == 2 and "not-an-address" in nowhere.stderr, "an address that is none is named")
    wide = Server(zeroth, run, "--port", "0", "--address", "0.0.0.0")
    token = urllib.parse.parse_qs(urllib.parse.urlsplit(wide.url).query)["token"][0]
    check(len(token) >= 32, "the token is long")
    for path in ("/", "/api/info", "/metrics", "/api/events", "/?token=" + "0" * 32, "/?token="):
        check(wide.ask(path)[0] == 401, path + " wants the token")
    status, headers, _ = wide.ask("/?token=" + token)
    cookie = headers["Set-Cookie"] or ""
    check(status == 200 and "HttpOnly" in cookie and "SameSite=Strict" in cookie, "the token opens the page and becomes a cookie")
    check(wide.ask("/api/info", headers={"Cookie": cookie.split(";")[0]})[0] == 200, "which is enough from then on")
    wide.close()


def main(zeroth, make_run):
    with tempfile.TemporaryDirectory() as folder:
        run = folder + "/made"
        subprocess.run([make_run, run, "--steps", "3", "--groups", "2", "--samples", "4", "--hostile"], check=True)
        server = Server(zeroth, run, "--port", "0")
        until(lambda: indexed(server), "the index")
        check_refusals(server)
        check_addresses(zeroth, run, server)
        server.close()
        check_crowds(zeroth, run)
        os.mkdir(folder + "/empty")
        check_runs(zeroth, make_run, folder)
        check_live(zeroth, folder)
    print("%d failures" % len(failed) if failed else "the server does what it should")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
