# A plug-in that does what the completion says. The folder in argv[1] holds what has to survive this process.
import json, os, signal, sys, time

folder = sys.argv[1]
# A reader that takes the quote in the comment for the start of a string sees no brackets here.
DEEP = '/* " */' + "[" * 200000 + "]" * 200000


def say(reply):
    print(json.dumps(reply), flush=True)


def first_time(name):
    try:
        os.close(os.open(os.path.join(folder, name), os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False


def log(name, line):
    fd = os.open(os.path.join(folder, name), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.write(fd, (line + "\n").encode())
    os.close(fd)


def grade(item, m):
    text = item["completion"]
    if text == "hang":
        time.sleep(1000)
    if text == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if text == "exit":
        os._exit(3)
    if text == "garbage":
        print("debugging \x1b[31moutput", flush=True)
        time.sleep(1000)
    if text == "bytes":
        os.write(1, b"\xff\xfe\x00{[\n")
    if text == "deep":
        print("[" * 100000, flush=True)
    if text.startswith("deep behind a comment"):
        reply = '{"id": %d, "results": [{"score": 1, "%s": %s}]}' % (m["id"], text.split()[-1], DEEP)
        print(reply, flush=True)
    if text == "late":
        time.sleep(1.5)
    if text == "close":
        os.close(1)
        time.sleep(1000)
    if text == "leave":
        os._exit(0)
    if text == "wrong id":
        say({"id": m["id"] + 1000, "results": [1]})
    if text == "old id":
        say({"id": m["id"] - 1, "results": [1]})
        return 0
    if text == "too many":
        say({"id": m["id"], "results": [1] * 99})
    if text == "text":
        return "1"
    if text == "error":
        return {"error": "no such table"}
    if text == "own timeout":
        return {"timeout": True}
    if text == "null":
        return None
    if text == "no style":
        return {"score": 1, "parts": {"style": None}}
    if text == "says":
        return {"score": 0, "reason": "off by <b>one</b>"}
    if text == "daemon":  # a child that left its session and its parent
        pid = os.fork()
        if pid == 0:
            os.setsid()
            if os.fork() > 0:
                os._exit(0)
            log("daemons", str(os.getpid()))
            os.closerange(0, 3)
            os.execvp("sleep", ["sleep", "300"])
        os.waitpid(pid, 0)
        while not os.path.exists(os.path.join(folder, "daemons")):
            time.sleep(0.01)
    if text == "rich":
        return {"score": 0.25, "reason": "parse_error", "extracted": "x", "parts": {"style": 0.5}, "info": {"steps": 3}}
    if text.startswith("killed once") and first_time(text):
        os.kill(os.getpid(), signal.SIGKILL)
    return {"score": float(text.startswith(("right", "killed")))}


log("starts", str(os.getpid()))
for line in sys.stdin:
    m = json.loads(line)
    if m["op"] == "hello":
        if m["options"].get("refuse"):
            say({"id": m["id"], "error": "no licence"})
            continue
        if m["options"].get("deep"):
            print('{"id": %d, "name": "misbehave", "train": 3, "note": %s}' % (m["id"], DEEP), flush=True)
        say({"id": m["id"], "name": "misbehave", "train": 3, "held_out": 2, "stop": ["\n\n"]})
    elif m["op"] == "problems" and m["indices"] == [2]:
        print('{"id": %d, "problems": [{"prompt": "q", "answer": "a", "meta": %s}]}' % (m["id"], DEEP), flush=True)
    elif m["op"] == "problems":
        say({"id": m["id"], "problems": [{"prompt": "q%d" % i, "answer": m["split"]} for i in m["indices"]]})
    elif m["batch"][0]["completion"].startswith(("piece", "killed once in pieces")):
        # Answers completion by completion: what was answered before a crash is not asked for again.
        for k, item in enumerate(m["batch"]):
            if item["completion"].startswith("killed") and first_time("killed"):
                os.kill(os.getpid(), signal.SIGKILL)
            log("graded", item["completion"])
            say({"id": m["id"], "results": [{"score": 1}], "more": k + 1 < len(m["batch"])})
    else:
        say({"id": m["id"], "results": [grade(item, m) for item in m["batch"]]})
