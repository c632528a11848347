"""Checkpoints that went through Zeroth, in transformers: logits must be equal to the bit.

    pip install torch transformers
    python3 tests/policy/by_hand/compare_transformers.py build/zeroth [MODEL_DIR ..]

For every folder under tests/data/parity and every MODEL_DIR: HF -> zeroth export -> HF, and
HF -> GGUF -> HF; both are loaded by transformers and compared with the original on random ids. Of folders with a
tokenizer the ids of a text are compared too.
"""
import pathlib
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXT = "The answer to 12 + 30 is\n\n 42, isn't it? 你好"


def export(zeroth, model, out, *flags):
    result = subprocess.run([zeroth, "export", "--model", model, "--out", out, *flags], capture_output=True, text=True)
    return result.returncode == 0, result.stderr.strip()


def logits(model_dir, ids):
    model, info = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32, output_loading_info=True)
    problems = {k: v for k, v in info.items() if v and k != "error_msgs"}
    with torch.no_grad():
        return model(ids).logits, problems


def token_ids(model_dir):
    try:
        return AutoTokenizer.from_pretrained(model_dir)(TEXT)["input_ids"]
    except Exception:
        return None


def main():
    zeroth = sys.argv[1]
    models = sorted(p for p in pathlib.Path("tests/data/parity").iterdir() if (p / "config.json").exists())
    for model in models + [pathlib.Path(a) for a in sys.argv[2:]]:
        with tempfile.TemporaryDirectory() as work:
            torch.manual_seed(0)
            ids = torch.randint(0, 120, (2, 24))
            expected, _ = logits(model, ids)
            ok, error = export(zeroth, model, f"{work}/direct")
            assert ok, error
            got, problems = logits(f"{work}/direct", ids)
            line = f"{model.name:14} HF: {'equal' if torch.equal(got, expected) else 'DIFFER'}"
            has_tokenizer = (model / "tokenizer.json").exists()
            if has_tokenizer:
                line += f", tokenizer {'equal' if token_ids(model) == token_ids(f'{work}/direct') else 'DIFFERS'}"
            flags = [] if has_tokenizer else ["--no-tokenizer"]
            ok, error = export(zeroth, model, f"{work}/m.gguf", *flags)
            if ok:
                assert export(zeroth, f"{work}/m.gguf", f"{work}/back", *flags)[0]
                got, more = logits(f"{work}/back", ids)
                line += f"; GGUF and back: {'equal' if torch.equal(got, expected) else 'DIFFER'}"
                if has_tokenizer:
                    line += f", tokenizer {'equal' if token_ids(model) == token_ids(f'{work}/back') else 'DIFFERS'}"
                problems.update(more)
            else:
                line += f"; GGUF: {error.splitlines()[0]}"
            print(line, problems or "", flush=True)


main()
