# Environments of verifiers as Zeroth tasks of several turns:  pip install verifiers==0.1.6
#   process:command=python3 examples/verifiers/plugin.py,template=chat,options={"env":"my-env","args":{}}
# "env" is a module with load_environment(**args). "turns" bounds environments that have no bound of their own.
import asyncio, json, sys

import verifiers as vf
from verifiers.utils.async_utils import maybe_await

answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print must not get between the answers
loop = asyncio.new_event_loop()


def row_of(item):
    split, index = item["problem"]["meta"]["at"]
    return splits[split][index]


# The state behind these replies, which is every worker's, and what the environment says to the last; None: it is over.
async def play(row, replies):
    fields = [row.get("answer", ""), row.get("task", "default"), row.get("info") or {}, row.get("example_id", 0)]
    state = await env.init_state(row["prompt"], [], *fields)
    state, said = await maybe_await(env.setup_state, state), None
    for reply in replies:
        state["completion"].append({"role": "assistant", "content": reply})
        state["responses"].append(None)
        state["turn"] += 1
        messages, said = state["prompt"] + state["completion"], None
        if await maybe_await(env.is_completed, messages, state):
            break
        said, state = await maybe_await(env.env_response, messages, state)
        state["completion"] += said
    return state, said


async def step(item):
    _, said = await play(row_of(item), [turn["reply"] for turn in item["turns"]] + [item["reply"]])
    return {"observation": said and {"role": said[0]["role"], "content": "\n".join(m["content"] for m in said)}}


async def grade(item):
    state, _ = await play(row_of(item), [turn["reply"] for turn in item.get("turns") or [{"reply": item["completion"]}]])
    known = {name: state[name] for name in ("prompt", "completion", "answer", "task", "info", "example_id")}
    score = await env.rubric.score_rollout(state=state, **known)
    return {"score": score.reward, "parts": score.metrics}


for line in sys.stdin:
    m = json.loads(line)
    if m["op"] == "hello":
        env = vf.load_environment(m["options"]["env"], **m["options"].get("args", {}))
        splits = {"train": env.get_dataset(), "held_out": env.get_eval_dataset()}
        most = env.max_turns if env.max_turns > 0 else m["options"].get("turns", 8)
        reply = {"name": m["options"]["env"], "train": len(splits["train"]), "held_out": len(splits["held_out"]), "turns": most}
    elif m["op"] == "problems":
        rows = [(i, splits[m["split"]][i]) for i in m["indices"]]
        reply = {"problems": [{"prompt": row["prompt"], "answer": row.get("answer", ""), "meta": {"at": [m["split"], i]}} for i, row in rows]}
    else:
        reply = {"results": [loop.run_until_complete((step if m["op"] == "step" else grade)(item)) for item in m["batch"]]}
    print(json.dumps({"id": m["id"], **reply}, default=float), file=answers, flush=True)
