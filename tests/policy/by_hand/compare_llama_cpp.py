"""Zeroth's GGUF files in llama.cpp: log-probs and greedy text of every family.

    pip install xllamacpp
    python3 tests/policy/by_hand/compare_llama_cpp.py build/zeroth TOKENIZER_DIR [MODEL_DIR ..]

A random model of every family under tests/data/parity that llama.cpp has is made with the vocabulary of
TOKENIZER_DIR (a folder with a Hugging Face tokenizer), exported as F32 and as Q8_0, and loaded by llama.cpp's
server inside this process. Also every MODEL_DIR as it is. Printed: whether the token ids of a prompt are equal,
the largest difference of the log-probs of 24 greedy tokens, whether those tokens and their text are equal.
"""
import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import urllib.request

import xllamacpp

PROMPT = "The answer to 12 + 30 is, as everybody knows who was there, 42"
TOKENS = 24


def run(*args, text=None):
    done = subprocess.run([str(a) for a in args], input=text, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{args}: {done.stderr}")
    return done.stdout


def largest_id(path):
    document = json.loads(path.read_text())
    return max(list(document["model"]["vocab"].values()) + [t["id"] for t in document["added_tokens"]])


def move_vectors(path, seed):
    """A new model's vectors are all ones or zeros, which would hide that two of them, or two heads, changed places."""
    draw = random.Random(seed)
    data = bytearray(path.read_bytes())
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + size])
    for name, tensor in sorted(header.items()):
        if name == "__metadata__" or len(tensor["shape"]) != 1:
            continue
        begin, end = (8 + size + at for at in tensor["data_offsets"])
        values = [value + draw.gauss(0, .3) for (value,) in struct.iter_unpack("<f", data[begin:end])]
        data[begin:end] = struct.pack(f"<{len(values)}f", *values)
    path.write_bytes(data)


def random_model(zeroth, family, tokenizer, out):
    config = json.loads((family / "config.json").read_text())
    cases = json.loads((family / "cases.json").read_text())
    vocab = 32000 if (tokenizer / "tokenizer.model").exists() else largest_id(tokenizer / "tokenizer.json") + 1
    config.update(vocab_size=vocab, initializer_range=0.15, max_position_embeddings=256, **cases.get("for_gguf", {}))
    if "original_max_position_embeddings" in config:  # llama.cpp's context of 256 tokens must be within it
        config.update(original_max_position_embeddings=256, max_position_embeddings=512)
    source = out.with_suffix(".json")
    source.write_text(json.dumps(config))
    run(zeroth, "init", "--config", source, "--seed", 1, "--out", out)
    move_vectors(out / "model.safetensors", 3)
    for name in os.listdir(tokenizer):
        if name not in ("config.json", "model.safetensors"):
            shutil.copy(tokenizer / name, out / name)


class LlamaCpp:
    def __init__(self, gguf):
        params = xllamacpp.CommonParams()
        params.model.path = str(gguf)
        params.n_ctx, params.n_parallel, params.n_predict, params.warmup, params.verbosity = 256, 1, TOKENS, False, 0
        # F32 caches: llama.cpp's default keeps keys and values in half precision.
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.server = xllamacpp.Server(params)

    def post(self, path, body):
        request = urllib.request.Request(self.server.listening_address + path, json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.loads(answer.read())

    def greedy(self, ids):
        """Ids, log-probs (None of tokens whose text waits for the next one: the server leaves those out), text."""
        answer = self.post("/completion", {"prompt": ids, "n_predict": TOKENS, "temperature": 0, "n_probs": 1,
                                           "return_tokens": True, "cache_prompt": False})
        probs, logprobs = iter(answer["completion_probabilities"]), []
        shown = next(probs, None)
        for token in answer["tokens"]:
            known = shown is not None and shown["id"] == token
            logprobs.append(shown["logprob"] if known else None)
            if known:
                shown = next(probs, None)
        return answer["tokens"], logprobs, answer["content"]


def compare(zeroth, model, work):
    for kind in ("f32", "q8_0"):
        gguf = work / f"{kind}.gguf"
        run(zeroth, "export", "--model", model, "--out", gguf, "--type", kind)
        ids = json.loads(run(zeroth, "tokenize", "--model", model, "--text", PROMPT, "--json"))["ids"]
        llama = LlamaCpp(gguf)
        theirs = llama.post("/tokenize", {"content": PROMPT, "add_special": False})["tokens"]
        tokens, logprobs, text = llama.greedy(ids)
        line = json.dumps({"ids": ids + tokens}) + "\n"
        ours = json.loads(run(zeroth, "score", "--model", gguf, "--in", "/dev/stdin", text=line))["logprobs"]
        gap = max(abs(a - b) for a, b in zip(logprobs, ours[-len(tokens):]) if a is not None)
        sample = json.loads(run(zeroth, "sample", "--model", gguf, "--prompt", PROMPT, "--temperature", 0,
                                "--max-tokens", TOKENS, "--json").splitlines()[0])
        same = sample["ids"][:len(tokens)] == tokens
        print(f"{model.name:16} {kind:5} ids {'equal' if ids == theirs else 'DIFFER'}  log-prob gap {gap:.1e} of "
              f"{len(tokens) - logprobs.count(None)}  greedy ids {'equal' if same else 'DIFFER'}  "
              f"text {'equal' if text == sample['text'] else 'DIFFERS'}", flush=True)
        if same and text != sample["text"]:
            print("   zeroth   ", repr(sample["text"]), "\n   llama.cpp", repr(text))
        del llama


def main():
    zeroth, tokenizer = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    work = pathlib.Path(tempfile.mkdtemp(prefix="zeroth-llama-cpp-"))
    try:
        for family in sorted(pathlib.Path("tests/data/parity").iterdir()):
            if (family / "config.json").exists():
                random_model(zeroth, family, tokenizer, work / family.name)
                compare(zeroth, work / family.name, work)
        for model in sys.argv[3:]:
            compare(zeroth, pathlib.Path(model), work)
    finally:
        shutil.rmtree(work)


main()
