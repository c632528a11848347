# An environment that does what the policy replies.
import json, os, signal, sys, time


def step(item):
    turns, reply = item["turns"], item["reply"]
    if reply == "hang":
        time.sleep(1000)
    if reply == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if reply in ("fail", "nan"):
        return {"error": "no data"}
    if reply == "no reward":
        return {"observation": "x", "reward": "much"}
    if reply == "no text":
        return {"observation": 7}
    if reply == "list":
        return [1, 2]
    if reply == "message":
        return {"observation": {"role": "user", "content": "as a message"}}
    if reply == "tool":
        return {"observation": [{"role": "tool", "content": "as a tool"}]}
    if reply == "silence":
        return {"reward": 1}
    words = "turn %d" % (len(turns) + 1) + "".join(" %s/%s" % (t["reply"], t["observation"]) for t in turns)
    return {"observation": words, "done": reply != "more", "reward": len(turns), "info": {"steps": 1}}


def answer(m):
    if m["op"] == "hello":
        return {"name": "turns", "train": 2, "held_out": 1, "turns": 4}
    if m["op"] == "problems":
        return {"problems": [{"prompt": "p%d" % i, "answer": "a"} for i in m["indices"]]}
    if m["op"] == "step":
        return {"results": [step(item) for item in m["batch"]]}
    seen = lambda item: "|".join("%s|%s|%.1f" % (t["reply"], t["observation"], t["reward"]) for t in item["turns"])
    return {"results": [{"score": 1, "info": {"seen": seen(item)}} for item in m["batch"]]}


if __name__ == "__main__":
    for line in sys.stdin:
        m = json.loads(line)
        print(json.dumps({"id": m["id"], **answer(m)}), flush=True)
