#!/usr/bin/env python3
"""usage: client_test.py ZEROTH. `zeroth tinker` by the public client: its calls, its errors, and examples/tinker. 77: it is not installed."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

try:
    import tinker
    from tinker import types
except ImportError:
    print("the tinker package is not installed; scripts/setup --tinker")
    sys.exit(77)

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from wire import Server

zeroth = os.path.realpath(sys.argv[1])
work = tempfile.mkdtemp()
failures = []
os.environ.update(TINKER_API_KEY="tml-local", TINKER_TELEMETRY="0", HF_HUB_OFFLINE="1")


def check(fine, what):
    if not fine:
        failures.append(what)
        print("FAILED:", what)


def raises(kind, call, word):
    try:
        call()
        check(False, f"{word} raises {kind.__name__}")
    except kind as error:
        check(word in str(error), f"{error} says {word}")


def datum(prompt, sequence, advantage):
    tokens = prompt + list(sequence.tokens)
    ahead = len(prompt) - 1
    return types.Datum(model_input=types.ModelInput.from_ints(tokens[:-1]),
                       loss_fn_inputs={"target_tokens": tokens[1:], "logprobs": [0.0] * ahead + list(sequence.logprobs),
                                       "advantages": [0.0] * ahead + [advantage] * len(sequence.tokens)})


try:
    server = Server(zeroth, "models/base", os.path.join(work, "out"), "--name", "countdown")
    service = tinker.ServiceClient(base_url=server.address)
    check(tinker.RestClient(base_url=server.address).get_server_capabilities().result().supported_models[0].model_name == "countdown", "capabilities")
    training = service.create_lora_training_client(base_model="countdown", rank=8).result()
    check(training.get_info().lora_rank == 8, "a model is made")
    tokenizer = training.get_tokenizer()
    prompt = tokenizer.encode("Numbers 13 11 9 target 18\n", add_special_tokens=False)
    sampler = training.save_weights_and_get_sampling_client().result()
    params = types.SamplingParams(max_tokens=48, seed=3)
    response = sampler.sample(types.ModelInput.from_ints(prompt), 4, params, include_prompt_logprobs=True).result()
    check(len(response.sequences) == 4 and len(response.prompt_logprobs) == len(prompt) and response.prompt_logprobs[0] is None, "samples come")
    check(response.sequences[0].stop_reason in ("stop", "length") and response.sequences[0].sequence_id, "with their reasons")
    data = [datum(prompt, sequence, 1 if i == 0 else -0.5) for i, sequence in enumerate(response.sequences)]
    learnt = training.forward_backward(data, "importance_sampling")
    stepped = training.optim_step(types.AdamParams(learning_rate=1e-3))
    learnt, stepped = learnt.result(), stepped.result()
    for out, sequence in zip(learnt.loss_fn_outputs, response.sequences):
        check(out["logprobs"].data[len(prompt) - 1:] == list(sequence.logprobs), "log-probs of learning are those of sampling, bit for bit")
    check(learnt.metrics["sampling_logp_difference:max"] == 0 and stepped.metrics["grad_norm"] > 0, "difference 0")
    state = training.save_state("one").result().path
    before = training.forward(data, "importance_sampling").result().loss_fn_outputs[0]["logprobs"].data
    again = service.create_training_client_from_state_with_optimizer(state).result()
    check(again.forward(data, "importance_sampling").result().loss_fn_outputs[0]["logprobs"].data == before, "a state is loaded")
    path = training.save_weights_for_sampler("final").result().path
    saved = service.create_sampling_client(model_path=path).result()
    whole = prompt + list(response.sequences[0].tokens)
    scored = saved.compute_logprobs(types.ModelInput.from_ints(whole)).result()
    check(scored[len(prompt):] == before[len(prompt) - 1:], "saved weights score the same")
    rest = tinker.RestClient(base_url=server.address)
    check(rest.get_training_run(training.model_id).result().lora_rank == 8, "a run is described")
    check(rest.get_weights_info_by_tinker_path(state).result().base_model == "countdown", "and its weights")
    check({c.tinker_path for c in rest.list_checkpoints(training.model_id).result().checkpoints} == {state, path}, "and all of them")
    # Of more than 1,024 data the client makes two requests.
    brief = types.Datum(model_input=types.ModelInput.from_ints(prompt[:2]), loss_fn_inputs={"target_tokens": prompt[1:3], "weights": [1.0, 1.0]})
    check(len(training.forward([brief] * 1100, "cross_entropy").result().loss_fn_outputs) == 1100, "chunks come together")
    raises(tinker.RequestFailedError, lambda: training.forward_backward(data, "gspo").result(), "gspo")
    raises(tinker.NotFoundError, lambda: service.create_sampling_client(base_model="other").result(), "other")
    raises(tinker.BadRequestError, lambda: sampler.sample(types.ModelInput.from_ints([]), 1, params).result(), "prompt")
    training.optim_step(types.AdamParams(learning_rate=0.0)).result()  # a failed request poisons nothing
    service.close("success").result()

    # The example: two steps, twice, are the same bytes.
    logs = []
    for name in ("a", "b"):
        server.end()
        server = Server(zeroth, "models/base", os.path.join(work, name), "--name", "countdown")
        log = os.path.join(work, name + ".jsonl")
        done = subprocess.run([sys.executable, "examples/tinker/countdown.py", "--base-url", server.address, "--zeroth", zeroth, "--steps", "2",
                               "--groups", "4", "--samples", "4", "--max-tokens", "32", "--rank", "8", "--save", "end", "--log", log],
                              capture_output=True, text=True)
        check(done.returncode == 0, f"the example runs: {done.stderr[-2000:]}")
        rows = [json.loads(line) for line in open(log)]
        check(len(rows) == 2 and all(row["sampling_logp_difference"] == 0 for row in rows), "its log-prob differences are 0")
        logs.append([{k: v for k, v in row.items() if k != "seconds"} for row in rows])
        check("/sampler_weights/end" in done.stdout, "it says where the weights are")
    check(logs[0] == logs[1], "a second run is the same, number for number")
    server.end()
finally:
    Server.end_all()
    shutil.rmtree(work, ignore_errors=True)
print("ok" if not failures else f"{len(failures)} failed")
os._exit(1 if failures else 0)
