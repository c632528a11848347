# Scores even first bytes of a completion 1; dies at some others, refuses more.
import json, os, sys


def grade(item):
    first = ord((item["completion"] or "\0")[0])
    if first % 11 == 3:
        os._exit(1)
    if first % 11 == 5:
        return {"error": "refused"}
    return first % 2 == 0


for line in sys.stdin:
    m = json.loads(line)
    reply = {"results": [grade(item) for item in m["batch"]]} if m["op"] == "grade" else {}
    print(json.dumps({"id": m["id"], **reply}), flush=True)
