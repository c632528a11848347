#!/usr/bin/env python3
"""usage: protocol_test.py ZEROTH. `zeroth tinker` as its clients see it: learning, sampling, saving, and what it refuses."""
import http.client
import json
import math
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import wire
from wire import Failed, Refused, Server, Training, datum, sample, sampler

zeroth = os.path.realpath(sys.argv[1])
work = tempfile.mkdtemp()
base, out = os.path.join(work, "base"), os.path.join(work, "out")
failures = []


def check(fine, what):
    if not fine:
        failures.append(what)
        print("FAILED:", what)


def refused(what, status, call, *words):
    try:
        call()
        check(False, f"{what} is refused")
    except Refused as error:
        check(error.status == status, f"{what} is refused with {status}, not {error.status}")
        for word in words:
            check(word in str(error.detail), f"{what}: {error.detail} says {word}")


def failed(what, call, *words, category="user"):
    try:
        call()
        check(False, f"{what} fails")
    except Failed as error:
        check(error.category == category, f"{what}: {error} is the {category}'s fault")
        for word in words:
            check(word in str(error), f"{what}: {error} says {word}")


def run(*args):
    return subprocess.run([zeroth, *args], capture_output=True, text=True, check=True).stdout


def sampled(model, prompt, *args):
    return [json.loads(line) for line in run("sample", "--model", model, "--prompt", prompt, "--json", *args).splitlines()]


def ids_of(text):
    return json.loads(run("tokenize", "--model", base, "--text", text, "--json"))["ids"]


def learnt_data(prompt, sequences):
    """What importance_sampling needs of samples: the second is worth more than the others."""
    data = []
    for i, one in enumerate(sequences):
        ids = prompt + one["tokens"]
        ahead = len(prompt) - 1
        worth = 0.5 if i == 1 else -0.25
        data.append(datum(ids, logprobs=[0.0] * ahead + one["logprobs"], advantages=[0.0] * ahead + [worth] * len(one["tokens"])))
    return data


def test_session(server):
    config = server.call("client/config", {"sdk_version": "0.38.0"})
    check(config["parallel_fwdbwd_chunks"] is False and config["pjwt_auth_enabled"] is False, "the client's config is told")
    check(server.call("client/dynamic_config", {"sdk_version": "0.38.0"})["sample_cancel_enabled"] is False, "and the dynamic one")
    check(server.call("healthz") == {"status": "ok"}, "it is healthy")
    model = server.call("get_server_capabilities")["supported_models"][0]
    check(model["model_name"] == "base" and model["max_context_length"] > 0 and model["trainable"], "the model is told")
    check(server.call("telemetry", {"events": []}) == {"status": "accepted"}, "telemetry is accepted")
    session = server.call("create_session", {"tags": [], "user_metadata": {"who": "test"}, "sdk_version": "0.38.0"})["session_id"]
    check(server.call("session_heartbeat", {"session_id": session})["type"] == "session_heartbeat", "a heart beats")
    check(server.call("sessions/" + session)["user_metadata"] == {"who": "test"}, "a session is known")
    return session


def test_sampling(server, session):
    prompt = ids_of("hello")
    first = sampler(server, session, 0, base_model="base")
    check(server.call("samplers/" + first) == {"sampler_id": first, "base_model": "base", "model_path": None}, "a sampler is described")
    rows = sampled(base, "hello", "--n", "4", "--seed", "9", "--max-tokens", "20")
    got = sample(server, first, 0, prompt, 4, seed=9, max_tokens=20)["sequences"]
    for row, one in zip(rows, got):
        check(one["tokens"] == row["ids"] and one["logprobs"] == row["logprobs"], "samples are those of zeroth sample, bit for bit")
        check(one["stop_reason"] == ("stop" if row["finish"] == "stop" else "length"), "and end for the same reason")
    # The same in protocol buffers.
    packed, prompt_logprobs = wire.unpacked_samples(sample(server, first, 1, prompt, 4, True, {"prompt_logprobs": True}, seed=9, max_tokens=20))
    check([(s == "stop", t, l) for s, t, l in [(o["stop_reason"], o["tokens"], o["logprobs"]) for o in got]] == packed, "protocol buffers hold the same")
    whole = sample(server, first, 2, prompt, 1, more={"prompt_logprobs": True}, max_tokens=1)["prompt_logprobs"]
    check(whole[0] is None and math.isnan(prompt_logprobs[0]) and whole[1:] == prompt_logprobs[1:], "log-probs of a prompt are given")
    last = sample(server, first, 3, prompt, 1, more={"prompt_logprobs": True, "prompt_logprobs_last_n": 1}, max_tokens=1)["prompt_logprobs"]
    check(last == [None] * (len(prompt) - 1) + whole[-1:], "of its last tokens alone where asked")
    # Stops: the token that ends a sample is its last.
    long = got[0]["tokens"]
    stop = long[3]
    cut = sample(server, first, 4, prompt, 4, seed=9, max_tokens=20, stop=[stop])["sequences"]
    check(cut[0]["tokens"] == long[:long.index(stop) + 1] and cut[0]["stop_reason"] == "stop", "a stop token ends a sample")
    check(cut[0]["logprobs"] == got[0]["logprobs"][:len(cut[0]["tokens"])], "and changes nothing before")
    text = next(c for c in rows[0]["text"][2:] if c.isascii() and c.isprintable())
    stopped = sample(server, first, 5, prompt, 4, seed=9, max_tokens=20, stop=[text])["sequences"]
    check(stopped[0]["stop_reason"] == "stop" and len(stopped[0]["tokens"]) < len(long), "so does a text")
    endless = sample(server, first, 6, prompt, 4, seed=9, max_tokens=20, stop=[])["sequences"]
    check(all(len(one["tokens"]) == 20 and one["stop_reason"] == "length" for one in endless), "nothing does with an empty list")
    greedy = sample(server, first, 7, prompt, 2, temperature=0, max_tokens=8)["sequences"]
    check(greedy[0]["tokens"] == greedy[1]["tokens"], "temperature 0 is greedy")
    # Without a seed a request's samples follow from the server's, its session and its number; a lost answer is asked for again.
    body = {"sampling_session_id": first, "seq_id": 8, "num_samples": 3, "prompt": wire.tokens(prompt), "sampling_params": {"max_tokens": 10}}
    one, two = server.call("asample", body), server.call("asample", body)
    check(one == two and len(one["sample_sequence_ids"]) == 3, "a request that comes twice is one request")
    again, other = server.result(one)["sequences"], sample(server, first, 9, prompt, 3, max_tokens=10)["sequences"]
    check(again == server.result(two)["sequences"] and again != other, "results can be fetched again; another number draws others")
    loose = server.do("asample", {"base_model": "base", "num_samples": 4, "prompt": wire.tokens(prompt),
                                  "sampling_params": {"seed": 9, "max_tokens": 20}})["sequences"]
    check(loose == got, "and sessions are not needed")
    for i, (what, word, params, more) in enumerate([
            ("top-k log-probs", "topk", {}, {"topk_prompt_logprobs": 2}), ("a temperature below 0", "temperature", {"temperature": -1}, {}),
            ("no samples", "num_samples", {}, {"num_samples": 0}), ("a stop that is nothing", "stop", {"stop": [1.5]}, {}),
            ("max_tokens 0", "max_tokens", {"max_tokens": 0}, {}),
            ("an empty prompt", "prompt", {}, {"prompt": wire.tokens([])}), ("an image", "chunk", {}, {"prompt": {"chunks": [{"type": "image"}]}}),
            ("a token outside the vocabulary", "vocabulary", {}, {"prompt": wire.tokens([1 << 30])}),
            ("a prompt over the context", "context", {}, {"prompt": wire.tokens([5] * 5000)})]):
        refused(what, 400, lambda: sample(server, first, 100 + i, prompt, more=more, **params), word)
    refused("an unknown sampler", 404, lambda: sample(server, "s0:sample:9", 0, prompt), "s0:sample:9")
    refused("an unknown base", 404, lambda: sampler(server, session, 1, base_model="gpt-6"), "gpt-6", "base")
    refused("an unknown request", 404, lambda: server.result({"request_id": "x:1"}), "x:1")
    return prompt, got


def test_learning(server, session, prompt, sequences):
    model = Training(server, session, 0)
    info = server.call("get_info", {"model_id": model.id})
    check(info["is_lora"] and info["lora_rank"] == 4 and info["model_data"]["model_name"] == "base", "a model is described")
    data = learnt_data(prompt, sequences)
    ahead = len(prompt) - 1
    logprobs = model.logprobs(data)
    check([row[ahead:] for row in logprobs] == [one["logprobs"] for one in sequences], "forward gives the sampler's log-probs: difference 0")
    # By protocol buffers, and by JSON.
    promise = server.call("forward_backward", wire.packed_request(model.id, model.seq + 1, data, "importance_sampling"),
                          headers={"Content-Type": "application/x-protobuf"})
    model.seq += 1
    outputs, metrics = wire.unpacked_loss(server.result(promise, protobuf=True))
    check(outputs["logprobs"] == logprobs, "forward_backward gives them too")
    check(metrics["sampling_logp_difference:max"] == 0 and metrics["ratio:min"] == metrics["ratio:max"] == 1, "every ratio is 1")
    worth = -sum(0.5 * len(one["tokens"]) if i == 1 else -0.25 * len(one["tokens"]) for i, one in enumerate(sequences))
    check(abs(metrics["loss:sum"] - worth) < 1e-9, "the loss is the sum")
    first = model.step()
    check(first["grad_norm"] > 0 and first["steps"] == 1, "a step is made")
    moved = model.logprobs(data)
    check(moved != logprobs and sum(moved[1][ahead:]) > sum(logprobs[1][ahead:]), "what was worth more is likelier now")
    # The gradient is a sum in the order of requests: one of four data, or four of one, in any order of arrival.
    other = Training(server, session, 1)
    body = lambda seq, one: {"model_id": other.id, "seq_id": seq, "forward_backward_input": {"data": [one], "loss_fn": "importance_sampling"}}
    promises = [server.call("forward_backward", body(seq, data[seq - 1])) for seq in (3, 2, 4)]
    check(server.call("forward_backward", body(3, data[0])) == promises[0], "a number is one request")
    promises.insert(0, server.call("forward_backward", body(1, data[0])))
    for promise in promises:
        server.result(promise)
    other.seq = 4
    check(other.step()["grad_norm"] == first["grad_norm"], "chunks add up to the same gradient")
    check(other.logprobs(data) == moved, "and to the same weights, bit for bit")
    # Other losses, and supervised learning.
    for loss, config in (("ppo", {"clip_low_threshold": 0.9, "clip_high_threshold": 1.1}), ("cispo", {}), ("dro", {"beta": 0.1})):
        result = model.loss(data, loss, **config)
        check(math.isfinite(result["metrics"]["loss:sum"]) and result["metrics"]["ratio:max"] != 1, f"{loss} is understood")
    check(model.step()["grad_norm"] > 0, "and learnt from")
    text = [datum(ids_of("hello world"), weights=[1.0] * (len(ids_of("hello world")) - 1))]
    losses = []
    for _ in range(4):
        losses.append(other.loss(text, "cross_entropy")["metrics"]["loss:sum"])
        other.step(3e-2)
    check(losses[-1] < losses[0], f"cross-entropy falls: {losses}")
    check(other.step(3e-2)["grad_norm"] == 0, "a step without data has no gradient")
    return model, other, data


def test_refusals(server, session, model, data):
    before = model.logprobs(data)
    good = data[0]

    def with_input(name, values, kind="float32"):
        return {**good, "loss_fn_inputs": {**good["loss_fn_inputs"], name: wire.tensor(values, kind)}}
    n = len(good["model_input"]["chunks"][0]["tokens"])
    loss = "importance_sampling"
    failed("an unknown loss", lambda: model.loss(data, "mse"), "mse", "cross_entropy")
    failed("a short tensor", lambda: model.loss([good, with_input("advantages", [1.0])], loss), "datum 1", "advantages", str(n))
    failed("a missing tensor", lambda: model.loss([datum([1, 2, 3])], loss), "logprobs")
    failed("an unknown tensor", lambda: model.loss([with_input("wights", [1.0] * n)], loss), "wights")
    failed("a tensor of another type", lambda: model.loss([with_input("advantages", [1] * n, "int64")], loss), "float32")
    failed("a target outside the vocabulary", lambda: model.loss([with_input("target_tokens", [1 << 40] * n, "int64")], loss), "vocabulary")
    failed("a wrong shape", lambda: model.loss([{**good, "loss_fn_inputs": {"target_tokens": {"data": [1], "dtype": "int64", "shape": [2]}}}], loss), "shape")
    failed("a sparse tensor", lambda: model.loss([{**good, "loss_fn_inputs": {"weights": {"data": [1.0], "dtype": "float32", "sparse_crow_indices": [0, 1]}}}], loss), "sparse")
    failed("no data", lambda: model.loss([], loss), "empty")
    failed("an empty sequence", lambda: model.loss([{"model_input": wire.tokens([]), "loss_fn_inputs": {}}], loss), "empty")
    failed("a sequence over the context", lambda: model.loss([datum([5] * 5000, weights=[1.0] * 4999)], "cross_entropy"), "context")
    failed("an unknown field", lambda: model.loss(data, "ppo", clip=1.0), "clip_low_threshold")
    failed("a bad learning rate", lambda: model.step(-1), "learning_rate")
    failed("a bad beta", lambda: model.step(beta1=1), "beta1")
    failed("another optimizer", lambda: server.do("optim_step", {**model.next(), "optimizer_params": {"type": "dimuon", "learning_rate": 1}}), "adamw")
    huge = [with_input("advantages", [3e38] * n)]
    model.loss(huge, loss)
    failed("a gradient that is not finite", lambda: model.step(), "gradient norm", category="server")
    # Protocol buffers of a stranger: their number is used up, or unknown.
    packed = lambda body: server.call("forward_backward", body, headers={"Content-Type": "application/x-protobuf"})
    whole = wire.packed_request(model.id, model.seq + 1, data, loss)
    bad = wire.field(1, model.id) + wire.field(2, model.seq + 1) + wire.field(3, b"\x0a\xff") + wire.field(4, loss)
    failed("a broken datum", lambda: server.result(packed(bad)), "cut off")
    model.seq += 1
    refused("a body that is cut off", 400, lambda: packed(whole[:-3]), "cut off")
    refused("an unknown wire type", 400, lambda: packed(b"\x0f\x00"), "wire type")
    refused("protocol buffers where JSON belongs", 415, lambda: server.call("optim_step", b"\x08\x01", headers={"Content-Type": "application/x-protobuf"}))
    refused("an encoded body", 415, lambda: server.call("asample", b"zzz", headers={"Content-Encoding": "zstd"}), "zstd")
    failed("infinity", lambda: server.result(packed(wire.packed_request(model.id, model.next()["seq_id"], [with_input("advantages", [math.inf] * n)], loss))), "finite")
    check(model.logprobs(data) == before, "nothing of that has changed the model")
    model.step(0)  # what is left of the gradient
    # Requests that are none.
    refused("an unknown model", 404, lambda: server.call("forward_backward", {"model_id": "no", "seq_id": 1}), "no")
    refused("an unknown session", 404, lambda: Training(server, "s00", 0), "s00")
    refused("an unknown base model", 404, lambda: Training(server, session, 50, base="gpt-6"), "gpt-6")
    refused("a negative rank", 400, lambda: Training(server, session, 51, rank=-1), "rank")
    failed("a rank that nothing is left for", lambda: Training(server, session, 52, train_attn=False, train_mlp=False), "head")
    refused("no JSON", 400, lambda: server.call("asample", "{", headers={"Content-Type": "application/json"}), "JSON")
    refused("deep JSON", 400, lambda: server.call("asample", "[" * 100000), "JSON")
    refused("a list", 400, lambda: server.call("create_session", []), "JSON object")
    refused("an unknown path", 404, lambda: server.call("frobnicate", {}), "frobnicate")
    refused("another method", 405, lambda: server.call("asample", {}, method="PUT"))
    refused("a seq_id of 0", 400, lambda: server.call("optim_step", {"model_id": model.id, "seq_id": 0}), "seq_id")
    for path, size in (("optim_step", 2 << 20), ("forward_backward", 65 << 20)):
        try:
            server.call(path, b" " * size, headers={"Content-Type": "application/json"})
            check(False, f"a huge body of {path} is refused")
        except Refused as error:
            check(error.status == 413, f"a huge body of {path} is refused with 413, not {error.status}")
        except (ConnectionError, http.client.HTTPException):
            pass  # it was cut off while it was sent
    check(model.logprobs(data) == before, "and the server goes on")


def test_saving(server, session, model, data, prompt):
    state = model.save("at-two", user_metadata={"note": "x"})
    check(state == f"tinker://{model.id}/weights/at-two", "a state has a path")
    failed("a name that is taken", lambda: model.save("at-two"), "already")
    check(model.save("at-two", overwrite=True, user_metadata={"note": "x"}) == state, "unless it is overwritten")
    for name in ("../x", "a/b", ".hidden", "x" * 200):
        failed(f"name {name[:9]}", lambda: model.save(name), "name")
    saved = model.logprobs(data)
    model.loss(data, "importance_sampling")
    model.step()
    after = model.logprobs(data)
    # From the state the same step gives the same weights, moments included; without them others.
    twin = Training(server, session, 2, state=state)
    check(server.call("get_info", {"model_id": twin.id})["lora_rank"] == 4, "the adapter's rank comes from the state")
    check(twin.logprobs(data) == saved, "a state holds the weights")
    twin.loss(data, "importance_sampling")
    twin.step()
    check(twin.logprobs(data) == after, "and the moments: training goes on as if nothing had happened")
    twin.load(state, optimizer=False)
    check(twin.logprobs(data) == saved, "a state is loaded into a model")
    twin.loss(data, "importance_sampling")
    twin.step()
    check(twin.logprobs(data) != after, "without moments the step is another one")
    # For sampling: on the disk and in memory.
    path = twin.save_for_sampler("best")
    folder = os.path.join(out, twin.id.replace(":", "_"), "sampler_weights", "best")
    rows = sampled(folder, "hello", "--n", "3", "--seed", "4", "--max-tokens", "12")
    by_path, by_memory = sampler(server, session, 20, model_path=path), twin.snapshot(21)
    for one in (by_path, by_memory):
        got = sample(server, one, 0, prompt, 3, seed=4, max_tokens=12)["sequences"]
        check([(s["tokens"], s["logprobs"]) for s in got] == [(r["ids"], r["logprobs"]) for r in rows], "samples are those of the saved model")
    check(os.path.exists(os.path.join(folder, "adapter", "adapter_model.safetensors")), "the adapter lies beside it")
    state_folder = os.path.join(out, model.id.replace(":", "_"), "weights", "at-two", "checkpoints", "latest")
    check("tinker" in run("describe", state_folder), "a state is a checkpoint, which says how it was made")
    names = {c["checkpoint_id"] for c in server.call(f"training_runs/{twin.id}/checkpoints")["checkpoints"]}
    check(names == {"sampler_weights/best"}, f"checkpoints are listed: {names}")
    check(len(server.call("checkpoints?limit=1")["checkpoints"]) == 1, "page by page")
    listed = server.call(f"training_runs/{model.id}")
    check(listed["last_checkpoint"]["tinker_path"] == state and listed["last_checkpoint"]["user_metadata"] == {"note": "x"}, "a run knows its last one")
    check(server.call("training_runs")["cursor"]["total_count"] == 3, "runs are listed")
    check(server.call("weights_info", {"tinker_path": state})["lora_rank"] == 4, "weights tell what they are")
    refused("a deleted path", 404, lambda: (server.call(f"training_runs/{twin.id}/checkpoints/sampler_weights/best", method="DELETE"),
                                            sample(server, by_path, 1, prompt, max_tokens=4)), "best")
    check(not os.path.exists(folder), "what is deleted is gone")
    refused("a sampler of it", 404, lambda: sampler(server, session, 22, model_path=path))
    refused("no path", 400, lambda: sampler(server, session, 22, model_path="tinker://a/../b"), "tinker://")
    refused("a state that is not there", 404, lambda: Training(server, session, 9, state=f"tinker://{model.id}/weights/nope"), "nope")
    failed("sampler weights as a state", lambda: twin.load(twin.save_for_sampler("again")), "for sampling")
    brief = twin.save("brief", ttl_seconds=1)
    time.sleep(1.2)
    failed("what has expired", lambda: twin.load(brief), "expired")
    # Two sets of weights are kept: the oldest snapshot goes.
    twin.step(1e-3)
    twin.snapshot(23)
    twin.step(1e-3)
    twin.snapshot(24)
    failed("a snapshot that was let go of", lambda: sample(server, by_memory, 1, prompt, max_tokens=4), "--samplers")
    # In flight: all such sessions sample by what was published last.
    flying = twin.snapshot(25, kind="inflight")
    one = sample(server, flying, 0, prompt, 2, seed=1, max_tokens=12)
    twin.loss(data, "importance_sampling")
    twin.step(5e-2)
    newer = twin.snapshot(26, kind="inflight")
    two = sample(server, flying, 1, prompt, 2, seed=1, max_tokens=12)
    check(one != two and two == sample(server, newer, 0, prompt, 2, seed=1, max_tokens=12), "weights in flight are replaced")
    return state, after


def test_full_weights(server, session, data, prompt, sequences):
    whole = Training(server, session, 3, rank=0)
    check(server.call("get_info", {"model_id": whole.id})["is_lora"] is False, "with rank 0 all weights learn")
    refused("one model too many", 429, lambda: Training(server, session, 4), "--models")
    whole.loss(data, "importance_sampling")
    whole.step(1e-3)
    state = whole.save("whole")
    whole.loss(data, "importance_sampling")
    whole.step(1e-3, weight_decay=0.1, grad_clip_norm=0.01)
    after = whole.logprobs(data)
    whole.load(state)
    whole.loss(data, "importance_sampling")
    whole.step(1e-3, weight_decay=0.1, grad_clip_norm=0.01)
    check(whole.logprobs(data) == after, "and a state brings all of them back")
    server.do("unload_model", {"model_id": whole.id})
    refused("an unloaded model", 404, lambda: whole.step(), whole.id)
    Training(server, session, 4)  # there is room again


def test_crowd(server, session, prompt):
    """Samples are functions of their request: many at once, with learning between."""
    one = sampler(server, session, 40, base_model="base")
    alone = [sample(server, one, 100 + i, prompt, 2, seed=i, max_tokens=16)["sequences"] for i in range(8)]
    model = Training(server, session, 5)
    got = [None] * 8

    def ask(i):
        got[i] = sample(server, one, 200 + i, prompt, 2, seed=i, max_tokens=16)["sequences"]
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for i, thread in enumerate(threads):
        thread.start()
        if i % 3 == 0:
            model.step(0)
    for thread in threads:
        thread.join()
    check(got == alone, "a crowd changes no sample")


try:
    run("init", "--config", "tests/data/tiny_base/config.json", "--seed", "5", "--out", base)
    shutil.copy("tests/data/tiny_base/tokenizer.json", base)
    shutil.copy("tests/data/tiny_base/generation_config.json", base)
    server = Server(zeroth, base, out, "--models", "4", "--samplers", "2")
    session = test_session(server)
    prompt, sequences = test_sampling(server, session)
    model, other, data = test_learning(server, session, prompt, sequences)
    test_refusals(server, session, model, data)
    state, after = test_saving(server, session, model, data, prompt)
    test_full_weights(server, session, data, prompt, sequences)
    server.do("unload_model", {"model_id": other.id})
    test_crowd(server, session, prompt)
    server.call(f"sessions/{session}/finish", {"reason": {"type": "success"}})
    refused("a long note", 400, lambda: server.call("create_session", {"user_metadata": {"x": "y" * 20000}}), "user_metadata")
    refused("a finished session", 410, lambda: server.call("session_heartbeat", {"session_id": session}))
    refused("its models", 404, lambda: model.step())
    clash = subprocess.run([zeroth, "tinker", "--model", base, "--out", out, "--listen", "127.0.0.1:0"], capture_output=True, text=True)
    check(clash.returncode != 0 and "another process" in clash.stderr, f"two servers do not share a folder: {clash.stderr}")
    check(server.end() == 143, "SIGTERM ends the server with 143")
    # Another process knows what was saved; keys are asked for.
    keys = os.path.join(work, "keys")
    with open(keys, "w") as file:
        file.write("tml-0123456789abcdef\n")
    server = Server(zeroth, base, out, "--token-file", keys, "--batch-tokens", "1", "--batch", "1")
    refused("no key", 401, lambda: server.call("create_session", {}), "key")
    server.headers = {"X-API-Key": "tml-0123456789abcdef"}
    session = server.call("create_session", {"tags": []})["session_id"]
    twin = Training(server, session, 0, state=state)
    twin.loss(data, "importance_sampling")
    twin.step()
    check(twin.logprobs(data) == after, "in other batches, after a restart, the same bits")
    check(server.end() == 143, "and it ends")
    # A head of its own is adapted.
    with open("tests/data/tiny_base/config.json") as file:
        config = {**json.load(file), "tie_word_embeddings": False}
    with open(os.path.join(work, "untied.json"), "w") as file:
        json.dump(config, file)
    apart = os.path.join(work, "apart")
    run("init", "--config", os.path.join(work, "untied.json"), "--seed", "5", "--out", apart)
    shutil.copy("tests/data/tiny_base/tokenizer.json", apart)
    server = Server(zeroth, apart, os.path.join(work, "out2"))
    session = server.call("create_session", {"tags": []})["session_id"]
    model = Training(server, session, 0, base="apart", train_attn=False, train_mlp=False)
    before = model.logprobs(data)
    model.loss(data, "importance_sampling")
    model.step()
    saved = model.save_for_sampler("head")
    with open(os.path.join(work, "out2", model.id.replace(":", "_"), "sampler_weights", "head", "adapter", "adapter_config.json")) as file:
        check(json.load(file)["target_modules"] == ["lm_head"], "the head alone learns")
    after = model.logprobs(data)
    model.load(model.save("head"))
    check(before != after == model.logprobs(data), "and is saved and loaded")
    server.end()
finally:
    Server.end_all()
    shutil.rmtree(work, ignore_errors=True)
print("ok" if not failures else f"{len(failures)} failed")
sys.exit(1 if failures else 0)
