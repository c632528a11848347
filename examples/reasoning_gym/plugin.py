# The data sets of reasoning-gym as Zeroth tasks:  pip install reasoning-gym==0.1.25
#   process:command=python3 examples/reasoning_gym/plugin.py,options={"dataset":"chain_sum","size":2000}
# "config" in the options goes to the data set, for example {"max_terms": 3}.
import json, sys, zlib

import reasoning_gym

answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print must not get between the answers


def open_dataset(options):
    name, config = options["dataset"], options.get("config", {})
    data = reasoning_gym.create_dataset(name, seed=options.get("seed", 0), size=options.get("size", 1000), **config)
    splits = {"train": {}, "held_out": {}}  # question -> index: every question once
    for i, entry in enumerate(data):
        question = entry["question"]
        splits["held_out" if zlib.crc32(question.encode()) % 10 == 0 else "train"].setdefault(question, i)
    return name, data, {split: list(indices.values()) for split, indices in splits.items()}


def problem(i):
    return {"id": f"{name}-{i}", "prompt": data[i]["question"], "answer": data[i]["answer"], "meta": {"index": i}}


def grade(item):
    return {"score": data.score_answer(item["answer"], data[item["problem"]["meta"]["index"]])}


for line in sys.stdin:
    m = json.loads(line)
    if m["op"] == "hello":
        name, data, splits = open_dataset(m["options"])
        reply = {"name": name, "train": len(splits["train"]), "held_out": len(splits["held_out"])}
    elif m["op"] == "problems":
        reply = {"problems": [problem(splits[m["split"]][i]) for i in m["indices"]]}
    else:
        reply = {"results": [grade(item) for item in m["batch"]]}
    print(json.dumps({"id": m["id"], **reply}), file=answers, flush=True)
