# HTTP graders of three shapes; what they do is in the completion. The port goes to the file argv[1].
import json, os, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import turns


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    away = 0

    def log_message(self, *args):
        pass

    def answer(self, reply, status=200):
        body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def misbehave(self, text):
        if text == "hang":
            time.sleep(30)
        if text == "late":
            time.sleep(1.5)
        if text == "close":
            self.connection.shutdown(2)
            return True
        if text == "garbage":
            self.answer(b"<html>")
            return True
        if text == "deep":
            deep = b'/* " */' + b"[" * 200000 + b"]" * 200000
            self.answer(b'{"reward": 1, "rewards": [1], "results": [{"score": 1, "info": ' + deep + b"}]}")
            return True
        if text == "status":
            self.answer({"error": "busy"}, 503)
            return True
        if text == "no http":
            self.wfile.write(b"\x00\x01 nonsense\r\n\r\n")
            self.connection.shutdown(2)
            return True
        return False

    def do_POST(self):
        m = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/get_reward":
            texts = [q[len(p):] for q, p in zip(m["query"], m["prompts"])]
            if any(self.misbehave(t) for t in texts):
                return
            rewards = [float(t == l) for t, l in zip(texts, m["labels"])]
            self.answer({"rewards": rewards, "scores": rewards, "extra_logs": {"length": [len(t) for t in texts]}})
        elif self.path == "/verify":
            text = m["response"]["output"][0]["content"][0]["text"]
            asked = m["responses_create_params"]["input"][0]["content"]
            if self.misbehave(text):
                return
            self.answer({**m, "reward": float(text == m["expected_answer"] and asked == m["question"]), "judge": 2})
        elif self.path == "/turns":
            self.answer({"id": m["id"], **turns.answer(m)})
        elif self.path == "/groups" and m["op"] == "grade":
            sizes = {}
            for item in m["batch"]:
                sizes.setdefault(item["group"], []).append(len(item["completion"]))
            self.answer({"id": m["id"], "results": [{"score": 1, "info": {"seen": len(sizes[item["group"]])}} for item in m["batch"]]})
        elif m["op"] == "hello":
            self.answer({"name": "server", "train": 2, "held_out": 2})
        elif m["op"] == "problems":
            self.answer({"problems": [{"prompt": "p%d" % i, "answer": m["split"]} for i in m["indices"]]})
        else:
            if any(self.misbehave(item["completion"]) for item in m["batch"]):
                return
            if m["batch"][0]["completion"] == "other id":
                return self.answer({"id": m["id"] - 1, "results": [True]})
            if m["batch"][0]["completion"].startswith("away"):
                Handler.away += 1
                if Handler.away <= int(m["batch"][0]["completion"].split()[1]):
                    return self.answer({"error": "restarting"}, 503)
                return self.answer({"id": m["id"], "results": [True for item in m["batch"]]})
            self.answer({"results": [item["completion"] == "right" for item in m["batch"]]})


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
with open(sys.argv[1] + ".new", "w") as f:
    f.write(str(server.server_address[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
server.serve_forever()
