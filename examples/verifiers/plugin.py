# Environments of verifiers as Zeroth tasks of several turns:  pip install verifiers==0.1.6
#   process:command=python3 examples/verifiers/plugin.py,template=chat,options={"env":"my-env","args":{}}
# "env" is a module with load_environment(**args), "turns" bounds environments that have no bound of their own.
import asyncio, contextlib, json, re, sys
import verifiers as vf
from verifiers.utils.async_utils import maybe_await

answers, sys.stdout, loop = sys.stdout, sys.stderr, asyncio.new_event_loop()  # libraries print; the answers go elsewhere


# A reply as a server would give it: what stands in <tool_call>, as Qwen's and Hermes' templates have it, is a call.
def message(reply):
    said, calls = {"role": "assistant", "content": reply}, []
    for text in re.findall(r"<tool_call>(.*?)</tool_call>", reply, re.S) if env.oai_tools else []:
        with contextlib.suppress(ValueError, KeyError, TypeError):  # else it is text as any other
            call = json.loads(text)
            calls.append({"id": f"call-{len(calls)}", "function": {"name": call["name"], "arguments": json.dumps(call["arguments"])}})
    return {**said, "tool_calls": calls} if calls else said


# The state behind these replies, which is every worker's, and what the environment says to the last; None: it is over.
async def play(item, replies):
    (split, index), said = item["problem"]["meta"]["at"], None
    row = {"answer": "", "task": "default", "info": {}, "example_id": index, **splits[split][index]}
    fields = (row["prompt"], [], row["answer"], row["task"], row["info"] or {}, row["example_id"])
    state = await maybe_await(env.setup_state, await env.init_state(*fields))
    for reply in replies:
        state["completion"].append(message(reply))
        state.update(responses=state["responses"] + [None], turn=state["turn"] + 1)
        messages, said = state["prompt"] + state["completion"], None
        if await maybe_await(env.is_completed, messages, state):
            break
        said, state = await maybe_await(env.env_response, messages, state)
        state["completion"] += said
    return state, said and {"role": said[0]["role"], "content": "\n".join(m["content"] for m in said)}


async def answer(item, earlier):
    if m["op"] == "step":
        return {"observation": (await play(item, earlier + [item["reply"]]))[1]}
    state, _ = await play(item, earlier or [item["completion"]])
    known = ("prompt", "completion", "answer", "task", "info", "example_id")
    score = await env.rubric.score_rollout(state=state, **{name: state[name] for name in known})
    return {"score": score.reward, "parts": score.metrics}


for line in sys.stdin:
    m = json.loads(line)
    if m["op"] == "hello":
        env = vf.load_environment(m["options"]["env"], **m["options"].get("args", {}))
        splits = {"train": env.dataset or [], "held_out": env.get_eval_dataset()}
        turns = 0 if isinstance(env, vf.SingleTurnEnv) else env.max_turns if env.max_turns > 0 else m["options"].get("turns", 8)
        reply = {"name": m["options"]["env"], "turns": turns, **{split: len(splits[split]) for split in splits}}
    elif m["op"] == "problems":
        rows = {i: splits[m["split"]][i] for i in m["indices"]}
        reply = {"problems": [{"prompt": row["prompt"], "answer": row.get("answer", ""), "tools": env.oai_tools, "meta": {"at": [m["split"], i]}} for i, row in rows.items()]}
    else:
        reply = {"results": [loop.run_until_complete(answer(item, [turn["reply"] for turn in item.get("turns", [])])) for item in m["batch"]]}
    print(json.dumps({"id": m["id"], **reply}, default=float), file=answers, flush=True)
