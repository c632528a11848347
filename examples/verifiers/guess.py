# A number game in verifiers' own form, to try the adapter with: the policy guesses, the environment says higher or lower.
import re

import verifiers as vf
from datasets import Dataset


def number(text):
    found = re.findall(r"\d+", text)
    return int(found[-1]) if found else -1


class Guess(vf.MultiTurnEnv):
    async def env_response(self, messages, state, **kwargs):
        guess, secret = number(messages[-1]["content"]), int(state["answer"])
        state["right"] = guess == secret
        return [{"role": "user", "content": "right" if guess == secret else "higher" if guess < secret else "lower"}], state

    async def is_completed(self, messages, state, **kwargs):
        said = [m["content"] for m in state["completion"] if m["role"] == "assistant"]
        return bool(said) and number(said[-1]) == int(state["answer"]) or await super().is_completed(messages, state)


def found(completion, answer, **kwargs):
    return float(number(completion[-1]["content"]) == int(answer))


def load_environment(size=40, **kwargs):
    rows = lambda numbers: Dataset.from_list([{"question": f"Guess my number from 1 to {size}.", "answer": str(n)} for n in numbers])
    held_out = range(1, size + 1, 4)
    train = [n for n in range(1, size + 1) if n not in held_out]
    return Guess(dataset=rows(train), eval_dataset=rows(held_out), rubric=vf.Rubric(funcs=[found]), max_turns=4, **kwargs)
