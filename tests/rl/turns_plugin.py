# An environment for runs of random weights: three turns, each answered by what was said, and paid for brevity.
import json, sys

for line in sys.stdin:
    m = json.loads(line)
    if m["op"] == "hello":
        r = {"name": "talk", "train": 60, "held_out": 8, "turns": 4}
    elif m["op"] == "problems":
        r = {"problems": [{"prompt": "%s %d:" % (m["split"], i), "answer": str(i)} for i in m["indices"]]}
    elif m["op"] == "step":
        r = {"results": [{"observation": "<%d %d>" % (len(x["turns"]), len(x["reply"])), "reward": 1 / (1 + len(x["reply"])),
                          "done": len(x["turns"]) == 2, "info": {"bytes": len(x["reply"])}} for x in m["batch"]]}
    else:
        r = {"results": [sum(c in "aeiou" for c in x["completion"]) / (1 + len(x["completion"])) for x in m["batch"]]}
    print(json.dumps({"id": m["id"], **r}), flush=True)
