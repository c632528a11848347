"""Zeroth's GGUF files in llama.cpp: logits and greedy text of every family.

    pip install llama-cpp-python numpy
    python3 tests/policy/by_hand/compare_llama_cpp.py build/zeroth TOKENIZER_DIR [MODEL_DIR ..]

A random model of every family under tests/data/parity is made with the vocabulary of TOKENIZER_DIR
(a folder with a Hugging Face tokenizer), exported as F32 and as Q8_0, and loaded by llama.cpp. Also every
MODEL_DIR as it is. Printed: the largest difference of the logits of a prompt, and whether the greedy
text of 24 tokens is equal.
"""
import ctypes
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import llama_cpp
import numpy as np
from llama_cpp import Llama

PROMPT = "The answer to 12 + 30 is"
TOKENS = 24


def run(*args, text=None):
    return subprocess.run([str(a) for a in args], input=text, capture_output=True, text=True, check=True).stdout


def random_model(zeroth, family, tokenizer, out):
    config = json.loads((family / "config.json").read_text())
    ids = json.loads(run(zeroth, "tokenize", "--model", tokenizer, "--text", PROMPT, "--json"))["ids"]
    vocab = 0
    for name in ("tokenizer.json", "tokenizer.model"):
        if (tokenizer / name).exists():
            vocab = 32000 if name.endswith("model") else largest_id(tokenizer / name) + 1
            break
    config.update(vocab_size=vocab, initializer_range=0.15, max_position_embeddings=256)
    source = out.with_suffix(".json")
    source.write_text(json.dumps(config))
    run(zeroth, "init", "--config", source, "--seed", 1, "--out", out)
    for name in os.listdir(tokenizer):
        if name not in ("config.json", "model.safetensors"):
            shutil.copy(tokenizer / name, out / name)
    return ids


def largest_id(path):
    document = json.loads(path.read_text())
    return max(list(document["model"]["vocab"].values()) + [t["id"] for t in document["added_tokens"]])


def greedy_zeroth(zeroth, model):
    line = run(zeroth, "sample", "--model", model, "--prompt", PROMPT, "--temperature", 0, "--max-tokens", TOKENS,
               "--json").splitlines()[0]
    return json.loads(line)


def text_of(llama, tokens):
    """llama.cpp's own detokenizer; Llama.detokenize drops tokens of more than 32 bytes."""
    ids = (llama_cpp.llama_token * len(tokens))(*tokens)
    out = ctypes.create_string_buffer(1 << 16)
    vocab = llama_cpp.llama_model_get_vocab(llama.model)
    size = llama_cpp.llama_detokenize(vocab, ids, len(tokens), out, len(out), False, False)
    return out.raw[:size].decode(errors="replace")


def compare(zeroth, model, work):
    for kind in ("f32", "q8_0"):
        gguf = work / f"{kind}.gguf"
        run(zeroth, "export", "--model", model, "--out", gguf, "--type", kind)
        # F32 caches: llama.cpp's default keeps keys and values in half precision.
        llama = Llama(str(gguf), n_ctx=256, logits_all=True, verbose=False, type_k=0, type_v=0)
        expected = json.loads(run(zeroth, "tokenize", "--model", model, "--text", PROMPT, "--json"))["ids"]
        ids = llama.tokenize(PROMPT.encode(), add_bos=False)
        llama.reset()
        llama.eval(ids)
        logits = llama.scores[: len(ids)].astype(np.float64)
        shifted = logits - logits.max(axis=1, keepdims=True)
        logprobs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        theirs = [logprobs[i, ids[i + 1]] for i in range(len(ids) - 1)]
        line = json.dumps({"ids": ids}) + "\n"
        ours = json.loads(run(zeroth, "score", "--model", gguf, "--in", "/dev/stdin", text=line))["logprobs"]
        gap = max(abs(a - b) for a, b in zip(theirs, ours))
        sample = greedy_zeroth(zeroth, gguf)
        continued = list(ids)
        for _ in range(TOKENS):
            token = int(np.argmax(llama.scores[llama.n_tokens - 1]))
            continued.append(token)
            if token in (llama.token_eos(),):
                break
            llama.eval([token])
        text = text_of(llama, continued[len(ids):])
        same = sample["ids"] == continued[len(ids):]
        print(f"{model.name:14} {kind:5} ids {'equal' if ids == expected else 'DIFFER'}  "
              f"log-prob gap {gap:.1e}  greedy ids {'equal' if same else 'DIFFER'}  "
              f"text {'equal' if text == sample['text'] else 'DIFFERS'}")
        if text != sample["text"]:
            print("   zeroth   ", repr(sample["text"]), "\n   llama.cpp", repr(text))


def main():
    zeroth, tokenizer = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    work = pathlib.Path(tempfile.mkdtemp(prefix="zeroth-llama-cpp-"))
    for family in sorted(pathlib.Path("tests/data/parity").iterdir()):
        if (family / "config.json").exists():
            random_model(zeroth, family, tokenizer, work / family.name)
            compare(zeroth, work / family.name, work)
    for model in sys.argv[3:]:
        compare(zeroth, pathlib.Path(model), work)
    shutil.rmtree(work)


main()
