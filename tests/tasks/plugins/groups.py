# Ranks the samples of a group by length: 1 for the longest, 0 for the shortest. Tells how many it saw.
import json, sys

for line in sys.stdin:
    m = json.loads(line)
    if m["op"] == "hello":
        reply = {"name": "groups", "train": 3, "held_out": 1, "groups": True}
    elif m["op"] == "problems":
        reply = {"problems": [{"prompt": "q%d" % i, "answer": "a"} for i in m["indices"]]}
    else:
        sizes = {}
        for item in m["batch"]:
            sizes.setdefault(item["group"], []).append(len(item["completion"]))
        if any("crash" in item["completion"] for item in m["batch"]):
            sys.exit(3)
        reply = {"results": []}
        for item in m["batch"]:
            lengths, own = sizes[item["group"]], len(item["completion"])
            below = sum(n < own for n in lengths)
            reply["results"].append({"score": below / max(1, len(lengths) - 1),
                                     "info": {"seen": len(lengths), "in_request": len(m["batch"])}})
    print(json.dumps({"id": m["id"], **reply}), flush=True)
