# By the sum of a completion's bytes: dies at some, refuses others, scores the even rest 1.
import json, os, sys


def grade(item):
    total = sum(item["completion"].encode())
    if total % 11 == 3:
        os._exit(1)
    if total % 11 == 5:
        return {"error": "refused"}
    return total % 2 == 0


for line in sys.stdin:
    m = json.loads(line)
    reply = {"results": [grade(item) for item in m["batch"]]} if m["op"] == "grade" else {}
    print(json.dumps({"id": m["id"], **reply}), flush=True)
