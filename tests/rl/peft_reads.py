#!/usr/bin/env python3
"""usage: peft_reads.py ZEROTH
An adapter that `zeroth train` has learnt, loaded by PEFT beside its base: the log-probs of transformers and PEFT against those
of the run's checkpoint, for a policy with experts, and for one with dense layers and shared experts beside them. Skipped (77) where PEFT is not installed; ZEROTH_PEFT_PYTHON names the
interpreter that has torch, transformers 5 and peft. Run from the project's root."""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

python = os.environ.pop("ZEROTH_PEFT_PYTHON", None)
if python:
    os.execv(python, [python, *sys.argv])
try:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

ZEROTH, BASE = sys.argv[1], "models/base"
BOUND = 1e-4  # of log-probs, as of the adapters that PEFT made


def run(*arguments):
    done = subprocess.run([ZEROTH, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return done.stdout


def theirs(model, rows):
    result = []
    for ids in rows:
        with torch.no_grad():
            logps = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        result += logps[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()
    return result


def difference(a, b):
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def compare(base, latest, work):
    random.seed(1)
    rows = [[random.randrange(3, 298) for _ in range(24)] for _ in range(3)]
    with open(work + "/ids.jsonl", "w") as file:
        file.writelines(json.dumps({"ids": ids}) + "\n" for ids in rows)
    ours = [x for line in run("score", "--model", latest, "--in", work + "/ids.jsonl").splitlines() for x in json.loads(line)["logprobs"]]
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    before = theirs(model, rows)
    adapted = theirs(PeftModel.from_pretrained(model, latest + "/adapter").eval(), rows)
    print(f"PEFT reads the adapter: log-probs differ by at most {difference(ours, adapted):.1e}; it moves them by up to {difference(before, adapted):.1e}")
    assert difference(ours, adapted) < BOUND and difference(before, adapted) > 1e-2


with tempfile.TemporaryDirectory() as work:
    run("train", "configs/smoke.json", "--out", work + "/run", "--set", "lora.rank=4", "--set", "lora.alpha=8", "--set", "optimizer.lr=1e-2",
        "--set", "optimizer.warmup_steps=0", "--set", "steps=2", "--set", "checkpoint_every=2", "--set", "prompts_per_step=4", "--set", "samples_per_prompt=4",
        "--set", "sampling.max_tokens=96", "--set", "task.options.format_weight=0.5")
    compare(BASE, work + "/run/checkpoints/latest", work)
    # Shared experts and dense layers have matrices of the experts' names.
    with open("tests/data/parity/qwen2_moe/config.json") as file:
        config = json.load(file) | {"vocab_size": 298, "eos_token_id": 0, "bos_token_id": None, "num_hidden_layers": 3, "mlp_only_layers": [1],
                                    "layer_types": ["full_attention"] * 3, "initializer_range": 0.1}
    with open(work + "/config.json", "w") as file:
        json.dump(config, file)
    run("init", "--config", work + "/config.json", "--out", work + "/mixed")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(BASE, name), work + "/mixed")
    with open(work + "/rows.jsonl", "w") as file:
        file.writelines(json.dumps({"text": f"{n} and {n * n} " * 6}) + "\n" for n in range(8))
    run("sft", "configs/sft.json", "--out", work + "/sft", "--set", "model=" + work + "/mixed", "--set", "data.path=" + work + "/rows.jsonl", "--set", "lora.rank=3",
        "--set", "lora.alpha=6", "--set", "optimizer.lr=5e-2", "--set", "optimizer.warmup_steps=0", "--set", "epochs=4", "--set", "batch_rows=4")
    compare(work + "/mixed", work + "/sft/checkpoints/latest", work)
