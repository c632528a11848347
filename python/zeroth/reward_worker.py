"""reward_worker.py FILE NAME: the function NAME of FILE, a zeroth.Reward, behind the process carrier (docs/tasks.md)."""
import importlib.util
import json
import os
import sys


def load(file, name):
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path.insert(1, os.path.dirname(os.path.abspath(file)))
    spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(file))[0], file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    found = module
    for part in name.split("."):
        found = getattr(found, part)
    if hasattr(found, "function"):
        return found
    for value in vars(module).values():  # name = zeroth.Reward(..)(function)
        if getattr(value, "function", None) is found:
            return value
    raise SystemExit("%s: %s is no zeroth.Reward" % (file, name))


def graded(function, item):
    try:
        return function(item)
    except Exception as error:  # masks the sample and is counted
        return {"error": "%s: %s" % (type(error).__name__, error)}


def graded_groups(function, batch):
    groups = {}
    for place, item in enumerate(batch):
        groups.setdefault(item.get("group", 0), []).append(place)
    results = [None] * len(batch)
    for places in groups.values():
        try:
            answers = list(function([batch[place] for place in places]))
            if len(answers) != len(places):
                raise ValueError("%d results for %d samples" % (len(answers), len(places)))
        except Exception as error:
            answers = [{"error": "%s: %s" % (type(error).__name__, error)}] * len(places)
        for place, answer in zip(places, answers):
            results[place] = answer
    return results


def plain(value):
    """Numbers of numpy and torch as Python's."""
    return value.item() if hasattr(value, "item") else str(value)


def checked(result):
    """The result as JSON that the program reads: NaN and what is no JSON are an error of this sample alone."""
    try:
        return json.loads(json.dumps(result, default=plain, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        return {"error": "the reward returned %.200r: %s" % (result, error)}


def main(file, name):
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the function prints is no reply
    sys.stdout = sys.stderr
    reward = load(file, name)
    for line in sys.stdin.buffer:  # UTF-8 whatever the locale
        message = json.loads(line)
        if message["op"] == "hello":
            reply = {"name": name, "train": 0, "held_out": 0}
            if reward.groups:
                reply["groups"] = True
        elif message["op"] == "grade" and reward.groups:
            reply = {"results": graded_groups(reward.function, message["batch"])}
        elif message["op"] == "grade":
            reply = {"results": [graded(reward.function, item) for item in message["batch"]]}
        else:
            reply = {"problems": []}
        if "results" in reply:
            reply["results"] = [checked(result) for result in reply["results"]]
        replies.write(json.dumps({"id": message["id"], **reply}) + "\n")
        replies.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
