#!/usr/bin/env python3
"""usage: openai_test.py ZEROTH. `zeroth serve` as the openai package sees it. Ends with 77 where that is not installed."""
import os
import shutil
import subprocess
import sys
import tempfile
import threading

try:
    import openai
except ImportError:
    print("the openai package is not installed")
    sys.exit(77)

STREAMS = 64
failures = []


def check(fine, what):
    if not fine:
        failures.append(what)
        print("FAILED:", what)


def texts(client, seed, stream):
    ask = dict(model="base", prompt="hello", seed=seed, max_tokens=40, n=2)
    if not stream:
        return [choice.text for choice in client.completions.create(**ask).choices]
    out = ["", ""]
    for event in client.completions.create(**ask, stream=True):
        for choice in event.choices:
            out[choice.index] += choice.text
    return out


def try_all(client):
    check([model.id for model in client.models.list().data] == ["base"], "the model is listed")
    check(client.models.retrieve("base").id == "base", "and shown")
    alone = {seed: texts(client, seed, False) for seed in range(STREAMS)}
    check(len({text for pair in alone.values() for text in pair}) > STREAMS, "seeds differ")
    together = {}
    threads = [threading.Thread(target=lambda s=seed: together.__setitem__(s, texts(client, s, True))) for seed in range(STREAMS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(together == alone, f"{STREAMS} parallel streams have the bytes of requests that come one by one")

    talk = dict(model="base", messages=[{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}], seed=3,
                max_completion_tokens=20, n=2, temperature=0.8, top_p=0.9, stop=["zz"])
    whole = client.chat.completions.create(**talk, logprobs=True, extra_body={"return_token_ids": True})
    ids = whole.choices[0].model_extra["token_ids"]
    check(len(whole.choices[0].logprobs.content) == len(ids), "a log-prob a token")
    check(whole.model_extra["prompt_token_ids"], "prompt ids come on request")
    out, usage = ["", ""], None
    for event in client.chat.completions.create(**talk, stream=True, stream_options={"include_usage": True}):
        usage = event.usage or usage
        for choice in event.choices:
            out[choice.index] += choice.delta.content or ""
    check(out == [choice.message.content for choice in whole.choices], "a chat's stream joins to it")
    check(usage == whole.usage, "with the same usage")
    # An agent may send the ids back: what it is trained on is what was sampled.
    again = client.completions.create(model="base", prompt=whole.model_extra["prompt_token_ids"], seed=3, max_tokens=20, n=2,
                                      temperature=0.8, top_p=0.9, stop=["zz"], extra_body={"return_token_ids": True})
    check(again.choices[0].model_extra["token_ids"] == ids, "a chat is the completion of its prompt's ids")

    for ask, error, field in ((dict(prompt="x", max_tokens=0), openai.BadRequestError, "max_tokens"),
                              (dict(prompt="x", model="other"), openai.NotFoundError, "model"),
                              (dict(prompt="x", temperature=-1), openai.BadRequestError, "temperature")):
        try:
            client.completions.create(**{"model": "base", **ask})
            check(False, f"{field} is refused")
        except error as refusal:
            check(refusal.param == field, f"a refusal names {field}")


def main(zeroth):
    with tempfile.TemporaryDirectory() as work:
        base = os.path.join(work, "base")
        subprocess.run([zeroth, "init", "--config", "tests/data/tiny_base/config.json", "--seed", "5", "--out", base],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        for name in ("tokenizer.json", "generation_config.json"):
            shutil.copy(os.path.join("tests/data/tiny_base", name), base)
        with open(os.path.join(base, "chat_template.jinja"), "w") as file:
            file.write("{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
                       "{% if add_generation_prompt %}<assistant>{% endif %}")
        keys = os.path.join(work, "keys")
        with open(keys, "w") as file:
            file.write("a-key-of-many-letters\n")
        server = subprocess.Popen([zeroth, "serve", "--model", base, "--listen", "127.0.0.1:0", "--token-file", keys],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            url = server.stdout.readline().strip()
            try_all(openai.OpenAI(base_url=url, api_key="a-key-of-many-letters", max_retries=0))
            try:
                openai.OpenAI(base_url=url, api_key="another", max_retries=0).models.list()
                check(False, "a wrong key is refused")
            except openai.AuthenticationError:
                pass
        finally:
            server.terminate()
            server.wait()
    print(f"openai {openai.__version__}: {len(failures)} failures")
    return bool(failures)


sys.exit(main(os.path.realpath(sys.argv[1])))
