#!/usr/bin/env python3
"""usage: bench/draft_layer.py [ZEROTH] [--width N] [--layers N] [--temperature T] [--rounds N] [--cpu] [--keep DIR]

What drafts by a checkpoint's layer for multi-token prediction (engine.draft_layer) save and cost. No small public
checkpoint has such a layer, so one is made, in DeepSeek-V3's layout over the tokenizer of models/base, in two forms:
  knows    the blocks add nothing, so a token is told from the one before it, and the layer passes the embedding on: it
           tells what the model tells
  ignores  the layer is random: what it costs where it is of no use
Samples with the layer and without any drafts run in turns, 1, 2, 4 or 8 together; other bytes end it with 1. A ratio
above 1: drafts are faster. --cpu: by the process's CPU clock (ZEROTH_THREADS=1 then). Run from the project's root."""
import argparse
import array
import json
import os
import random
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile

parser = argparse.ArgumentParser(usage=__doc__.splitlines()[0][7:])
parser.add_argument("zeroth", nargs="?", default="build/zeroth")
parser.add_argument("--width", type=int, default=256)
parser.add_argument("--layers", type=int, default=8)
parser.add_argument("--temperature", type=float, default=0.3)
parser.add_argument("--max-tokens", type=int, default=96)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--cpu", action="store_true")
parser.add_argument("--keep", help="folder in which the checkpoints are left")
args = parser.parse_args()
work = args.keep or tempfile.mkdtemp(prefix="zeroth-layer-")


def run(*arguments):
    done = subprocess.run([args.zeroth, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return done


def read_tensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        values = array.array("f")
        values.frombytes(data[slice(*entry["data_offsets"])])
        tensors[name] = (entry["shape"], values)
    return tensors


def write_tensors(path, tensors):
    header, at = {}, 0
    for name, (shape, values) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + 4 * len(values)]}
        at += 4 * len(values)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, values in tensors.values():
            file.write(values.tobytes())


def make(name):
    width, layers = args.width, args.layers
    config = {"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "vocab_size": 298, "hidden_size": width,
              "intermediate_size": 3 * width, "num_hidden_layers": layers, "num_nextn_predict_layers": 1, "num_attention_heads": 4,
              "num_key_value_heads": 4, "kv_lora_rank": 64, "q_lora_rank": 96, "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32,
              "first_k_dense_replace": 1, "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1,
              "moe_intermediate_size": width, "norm_topk_prob": True, "routed_scaling_factor": 2.5, "rope_theta": 10000.0, "rms_norm_eps": 1e-6,
              "hidden_act": "silu", "max_position_embeddings": 1024, "tie_word_embeddings": False, "initializer_range": 0.3, "eos_token_id": 0}
    os.makedirs(work, exist_ok=True)
    with open(f"{work}/{name}.json", "w") as file:
        json.dump(config, file)
    folder = f"{work}/{name}"
    run("init", "--config", f"{work}/{name}.json", "--seed", "3", "--out", folder)
    for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        if os.path.exists(f"models/base/{file}"):
            shutil.copy(f"models/base/{file}", folder)
    tensors = read_tensors(f"{folder}/model.safetensors")
    knows = name == "knows"
    if knows:
        for at, (shape, values) in tensors.items():
            if at.endswith(("o_proj.weight", "down_proj.weight")):
                tensors[at] = (shape, array.array("f", bytes(4 * len(values))))
    last, own = f"model.layers.{layers - 1}.", f"model.layers.{layers}."
    layer = {own + at[len(last):]: tensor for at, tensor in tensors.items() if at.startswith(last)}
    for norm in ("enorm", "hnorm", "shared_head.norm"):
        layer[f"{own}{norm}.weight"] = ([width], array.array("f", [1.0] * width))
    rng = random.Random(9)
    layer[own + "eh_proj.weight"] = ([width, 2 * width], array.array("f", [
        float(row == column) if knows else rng.gauss(0, 0.1) for row in range(width) for column in range(2 * width)]))
    layer[own + "embed_tokens.weight"] = tensors["model.embed_tokens.weight"]
    layer[own + "shared_head.head.weight"] = tensors["lm_head.weight"]
    write_tensors(f"{folder}/model.safetensors", tensors | layer)
    return folder


def sample(folder, together, seed, *flags):
    before = os.times()
    done = run("sample", "--model", folder, "--prompt", "Numbers 13 11 9 target 18", "--n", str(max(8, together)), "--batch", str(together), "--seed",
               str(seed), "--max-tokens", str(args.max_tokens), "--temperature", str(args.temperature), "--json", *flags)
    after = os.times()
    tokens, seconds = re.search(r"(\d+) tokens in ([0-9.]+) s", done.stderr).groups()
    if args.cpu:
        seconds = after.children_user + after.children_system - before.children_user - before.children_system
    drafts = re.search(r"(\d+) of (\d+) drafted tokens accepted, (\d+) forward calls", done.stderr)
    return int(tokens) / max(1e-3, float(seconds)), done.stdout, [int(x) for x in drafts.groups()] if drafts else [0, 0, 0]


print("layer    together   tokens/s    drafted  ratio")
for form in ("knows", "ignores"):
    checkpoint = make(form)
    for together in (1, 2, 4, 8):
        plain, drafted, counts = [], [], [0, 0, 0]
        for i in range(args.rounds):
            without = sample(checkpoint, together, i, "--draft-tokens", "0")
            with_it = sample(checkpoint, together, i, "--draft-tokens", "4", "--draft-layer", "true")
            if without[1] != with_it[1]:
                sys.exit(f"{form}, {together} together, seed {i}: drafts have changed the samples")
            plain.append(without[0])
            drafted.append(with_it[0])
            counts = [x + y for x, y in zip(counts, with_it[2])]
        ratios = [b / a for a, b in zip(plain, drafted)]
        print(f"{form:8} {together:8}  {statistics.median(plain):9.1f}  {statistics.median(drafted):9.1f}  {statistics.median(ratios):5.2f}"
              f"  ({min(ratios):.2f} to {max(ratios):.2f})  accepted {counts[0]} of {counts[1]}, {counts[2]} calls", flush=True)
if not args.keep:
    shutil.rmtree(work)
