#!/usr/bin/env python3
"""usage: siblings.py ZEROTH FOLDER [N [NAME-PART]]
N random siblings (8) of every family: tiny checkpoints whose options are drawn from those that transformers' config classes have,
some with config.json in older spellings, in half precision, in shards. transformers 5.24 computes log-probs, last logits, greedy ids and
the gradient's norm of each into FOLDER; `zeroth check parity` compares them, and once more behind GGUF where the family can be written."""
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import warnings

warnings.filterwarnings("ignore")
os.environ["HF_HUB_OFFLINE"] = "1"
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)

FAMILIES = ("mistral olmo2 olmo3 smollm3 phi3 glm4 glm4_moe gemma3_text gpt_oss qwen3_next qwen3_5_text qwen3_5_moe_text llama qwen2 qwen3 mixtral "
            "qwen2_moe qwen3_moe olmoe deepseek_v2 deepseek_v3").split()
DELTA = ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text")
FIXED_HEADS = ("olmo2", "olmo3", "smollm3", "phi3", "qwen2", "olmoe", "deepseek_v2", "deepseek_v3", "qwen2_moe")  # no head_dim
KW = {"dtype": torch.float32, "attn_implementation": "eager", "experts_implementation": "eager"}


def rope(r, family, head, part):
    kind = r.choice(["default", "longrope"] if family == "phi3" else ["default", "default", "linear", "yarn", "llama3", "dynamic"])
    out = {"rope_type": kind, "rope_theta": r.choice([500.0, 1e4, 5e5, 1e6])}
    if kind in ("linear", "dynamic"):
        out["factor"] = r.choice([2.0, 4.0, 1.5])
    if kind == "yarn":
        out |= {"factor": r.choice([2.0, 4.0, 40.0]), "original_max_position_embeddings": r.choice([16, 32, 128])}
        for some in ({"beta_fast": r.choice([16, 32.0]), "beta_slow": r.choice([1, 2])}, {"attention_factor": r.choice([0.9, 1.2])},
                     {"mscale": r.choice([1.0, 0.707]), "mscale_all_dim": r.choice([1.0, 0.5])}, {"truncate": r.random() < 0.5}):
            if r.random() < 0.3:
                out |= some
    if kind == "llama3":
        out |= {"factor": r.choice([8.0, 32.0]), "low_freq_factor": 1.0, "high_freq_factor": r.choice([4.0, 2.0]),
                "original_max_position_embeddings": r.choice([16, 64])}
    if part is not None:
        out["partial_rotary_factor"] = part
    if kind == "longrope":
        pairs = int(head * (part or 1)) // 2
        out |= {"short_factor": [1 + 0.1 * i for i in range(pairs)], "long_factor": [1 + 0.5 * i for i in range(pairs)]}
    return out


def experts(r, family, layers):
    e, k = r.choice([3, 4, 8]), r.choice([1, 2, 3])
    c = {}
    if family in ("qwen3_next", "qwen3_5_moe_text", "qwen2_moe"):
        c |= {"moe_intermediate_size": 12, "shared_expert_intermediate_size": r.choice([8, 16]), "num_experts": e, "num_experts_per_tok": k}
    if family == "qwen3_moe":
        c |= {"moe_intermediate_size": 12, "num_experts": e, "num_experts_per_tok": k}
    if family in ("qwen3_next", "qwen2_moe", "qwen3_moe"):
        c |= {"norm_topk_prob": r.random() < 0.5, "mlp_only_layers": r.choice([[], [r.randrange(layers)]]), "decoder_sparse_step": r.choice([1, 1, 2])}
    if family == "qwen2_moe":
        c["qkv_bias"] = r.random() < 0.5
    if family == "mixtral":
        c |= {"num_local_experts": e, "num_experts_per_tok": k}
    if family == "olmoe":
        c |= {"num_experts": e, "num_experts_per_tok": k, "norm_topk_prob": r.random() < 0.5, "clip_qkv": r.choice([None, 0.5, 2.0])}
    if family == "gpt_oss":
        c |= {"num_local_experts": e, "num_experts_per_tok": k, "sliding_window": r.choice([3, 8]), "swiglu_limit": r.choice([1.0, 7.0]),
              "swiglu_alpha": r.choice([1.702, 1.0])}
    if family in ("glm4_moe", "deepseek_v2", "deepseek_v3"):
        groups = r.choice([1, 2, 4])
        c |= {"moe_intermediate_size": 12, "n_routed_experts": 8, "num_experts_per_tok": k, "n_shared_experts": r.choice([1, 2]),
              "first_k_dense_replace": r.choice([0, 1, 2]), "routed_scaling_factor": r.choice([1.0, 2.5, 0.7])}
        if family == "deepseek_v2":
            c |= r.choice([{}, {"topk_method": "group_limited_greedy", "n_group": 4, "topk_group": r.choice([2, 3])}])
        else:
            c |= {"n_group": groups, "topk_group": r.choice([x for x in (1, 2, 4) if x <= groups and 8 // groups * x >= k]),
                  "norm_topk_prob": r.random() < 0.5, "num_nextn_predict_layers": 0}
    if family == "glm4_moe":
        c["use_qk_norm"] = r.random() < 0.5
    return c


def attention(r, family, layers, heads):
    c = {}
    mixed = [r.choice(["sliding_attention", "full_attention"]) for _ in range(layers)]
    if family in ("mistral", "phi3", "mixtral"):
        c["sliding_window"] = r.choice([None, 4, 8, 400])
        if family == "mistral" and c["sliding_window"] and r.random() < 0.3:
            c["layer_types"] = mixed
    if family in ("olmo3", "gemma3_text", "gpt_oss"):
        c["sliding_window"] = r.choice([3, 8, 100])
        if r.random() < 0.6:
            c["layer_types"] = mixed
    if family in ("qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "smollm3") and r.random() < 0.5:
        c |= {"use_sliding_window": True, "sliding_window": r.choice([3, 7]), "max_window_layers": r.choice([0, 1, 2])}
    if family == "smollm3":
        c |= {"no_rope_layers": [r.choice([0, 1]) for _ in range(layers)], "mlp_bias": r.random() < 0.4}
    if family == "llama":
        c["mlp_bias"] = r.random() < 0.4
    if family not in ("mistral", "phi3", "qwen2", "mixtral", "qwen2_moe"):
        c["attention_bias"] = r.random() < 0.5
    if family == "gemma3_text":
        c |= {"query_pre_attn_scalar": r.choice([8, 24, 256]), "final_logit_softcapping": r.choice([None, 8.0, 30.0])}
    elif family != "gpt_oss" and family not in DELTA and r.random() < 0.2:
        c["hidden_act"] = r.choice(["gelu_pytorch_tanh", "gelu_new"])
    if family in DELTA:
        keys = r.choice([1, 2, 3])
        c |= {"layer_types": [r.choice(["linear_attention", "full_attention"]) for _ in range(layers)], "linear_num_key_heads": keys,
              "linear_num_value_heads": keys * r.choice([1, 2, 4]), "linear_key_head_dim": r.choice([4, 8, 12]),
              "linear_value_head_dim": r.choice([4, 8, 10]), "linear_conv_kernel_dim": r.choice([2, 3, 4])}
    if family.startswith("deepseek"):
        c |= {"num_key_value_heads": heads, "q_lora_rank": r.choice([None, 12]), "kv_lora_rank": r.choice([8, 16]), "qk_nope_head_dim": r.choice([4, 8]),
              "qk_rope_head_dim": r.choice([4, 8]), "v_head_dim": r.choice([4, 6])}
    if family == "deepseek_v3":
        c["rope_interleave"] = r.random() < 0.6
    return c


def options(r, family):
    heads, layers = r.choice([2, 3, 4, 6]), r.choice([2, 3, 4])
    head = 8 if family in FIXED_HEADS else r.choice([8, 12, 16])
    c = {"vocab_size": 96, "max_position_embeddings": 512, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "hidden_size": heads * 8,
         "intermediate_size": r.choice([20, 48]), "num_hidden_layers": layers, "num_attention_heads": heads,
         "num_key_value_heads": r.choice([x for x in (1, 2, 3, 4, 6) if heads % x == 0]), "tie_word_embeddings": r.random() < 0.4,
         "rms_norm_eps": 1e-6 if family in DELTA else r.choice([1e-5, 1e-6, 1e-3])}
    if family not in FIXED_HEADS:
        c["head_dim"] = head
    part = r.choice([0.25, 0.5, 0.75, 1.0]) if family in (*DELTA, "glm4", "glm4_moe", "phi3") else None
    if family in ("olmo3", "gemma3_text"):
        full = rope(r, family, head, None)
        full.pop("truncate", None)
        c["rope_parameters"] = {"full_attention": full, "sliding_attention": {"rope_type": "default", "rope_theta": r.choice([1e4, 5e5])}}
    elif r.random() < 0.85:
        c["rope_parameters"] = rope(r, family, head, part)
    return c | attention(r, family, layers, heads) | experts(r, family, layers)


def older(config, type_key):
    """config.json as transformers 4 wrote it."""
    r = config.pop("rope_parameters", None)
    if not r:
        return
    if "full_attention" in r:
        if config["model_type"] == "gemma3_text":
            config["rope_local_base_freq"] = r["sliding_attention"]["rope_theta"]
        r, type_key = r["full_attention"], "rope_type"
    config["rope_theta"] = r.pop("rope_theta")
    if "partial_rotary_factor" in r:
        config["partial_rotary_factor"] = r.pop("partial_rotary_factor")
    kind = r.pop("rope_type", "default")
    config["rope_scaling"] = None if kind == "default" else r | {type_key: kind}
    config["torch_dtype"] = config.pop("dtype", "float32")


def randomize(model, seed):
    g = torch.Generator().manual_seed(seed)
    plus_one = model.config.model_type.startswith(("gemma3", "qwen3_next", "qwen3_5"))
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=g)
        if name.endswith("A_log"):
            value = torch.log(torch.rand(p.shape, generator=g) * 8 + 0.2)
        elif "norm" in name and p.dim() == 1:
            value = (0.0 if plus_one and not name.endswith("linear_attn.norm.weight") else 1.0) + 0.2 * noise
        elif name.endswith("dt_bias"):
            value = 1 + 0.5 * noise
        elif "embed" in name:
            value = 0.6 * noise
        else:
            value = noise * (1.6 / p.shape[-1] ** 0.5 if p.dim() > 1 else 0.3)
        with torch.no_grad():
            p.copy_(value)
    for name, b in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            b.copy_(0.3 * torch.randn(b.shape, generator=g))


def computed(model, seed):
    """expected.json; nothing where two tokens are nearly as likely."""
    g = torch.Generator().manual_seed(seed)
    sequences, total = [], 0.0
    for length in (17, 5, 33):
        ids = torch.randint(3, 96, (1, length), generator=g)
        logits = model(input_ids=ids, use_cache=False).logits[0]
        logprobs = torch.log_softmax(logits, -1)[:-1].gather(1, ids[0, 1:, None])[:, 0]
        total = total - logprobs.sum()
        greedy, text = [], ids
        with torch.no_grad():
            for _ in range(12):
                best = model(input_ids=text, use_cache=False).logits[0, -1].topk(2)
                if best.values[0] - best.values[1] < 0.02:
                    return None
                greedy.append(int(best.indices[0]))
                text = torch.cat([text, best.indices[None, :1]], 1)
        sequences.append({"ids": ids[0].tolist(), "logprobs": logprobs.tolist(), "last_logits": logits[-1].tolist(), "greedy": greedy})
    total.backward()
    norm = sum(float((p.grad.double() ** 2).sum()) for p in model.parameters() if p.grad is not None) ** 0.5
    return {"sequences": sequences, "total_grad_norm": norm}


def make(folder, family, number):
    r = random.Random(f"{family}{number}")
    config = AutoConfig.for_model(family, **options(r, family))
    spelling, dtype, shards = r.choice(["new", "new", "type", "rope_type"]), r.choice([None, None, torch.bfloat16, torch.float16]), r.choice(["5GB", "50KB"])
    for seed in range(60):
        shutil.rmtree(folder, ignore_errors=True)
        model = AutoModelForCausalLM.from_config(config, **KW)
        randomize(model, seed)
        model.to(dtype or torch.float32).save_pretrained(folder, max_shard_size=shards)
        if spelling != "new":
            text = json.loads((folder / "config.json").read_text())
            older(text, spelling)
            (folder / "config.json").write_text(json.dumps(text, indent=2))
        expected = computed(AutoModelForCausalLM.from_pretrained(folder, **KW).eval(), seed)
        if expected:
            (folder / "expected.json").write_text(json.dumps(expected))
            return
    sys.exit(f"{folder}: no seed leaves two tokens apart at every greedy step")


def run(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).strip()


def main():
    zeroth, top = sys.argv[1], pathlib.Path(sys.argv[2])
    number = int(sys.argv[3]) if len(sys.argv) > 3 else 8
    wanted = sys.argv[4] if len(sys.argv) > 4 else ""
    made = bad = through = 0
    for family in (f for f in FAMILIES if wanted in f):
        for n in range(number):
            folder = top / f"{family}_{n}"
            make(folder, family, n)
            made += 1
            status, text = run(zeroth, "check", "parity", str(folder))
            bad += status != 0
            print(text.splitlines()[-1] if status == 0 else text, flush=True)
            back = top / "back"
            shutil.rmtree(back, ignore_errors=True)
            (top / "x.gguf").unlink(missing_ok=True)
            if run(zeroth, "export", "--model", str(folder), "--out", str(top / "x.gguf"), "--no-tokenizer")[0] != 0:
                continue
            run(zeroth, "export", "--model", str(top / "x.gguf"), "--out", str(back), "--no-tokenizer")
            shutil.copy(folder / "expected.json", back)
            status, text = run(zeroth, "check", "parity", str(back))
            through += 1
            bad += status != 0
            if status != 0:
                print("behind GGUF:", text, flush=True)
    print(f"{made} siblings, {through} of them through GGUF too, {bad} differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
