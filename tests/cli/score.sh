#!/usr/bin/env bash
# `zeroth score` as a user runs it: one long sequence with and without recomputed activations gives the same bytes
# (log-probs, gradient norm, hash of the gradient), and so do passes of another size and a policy without gradients.
# Usage: score.sh ZEROTH
set -euo pipefail
zeroth=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

fail() {
  echo "score.sh: $1" >&2
  exit 1
}

cat > "$dir/config.json" <<'JSON'
{"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "vocab_size": 300, "hidden_size": 64,
 "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
 "max_position_embeddings": 4096, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
 "norm_topk_prob": true, "rope_theta": 10000.0, "tie_word_embeddings": true, "initializer_range": 0.1}
JSON
"$zeroth" init --config "$dir/config.json" --seed 5 --out "$dir/model" > "$dir/init"
awk 'BEGIN { srand(1); printf "{\"ids\":[1"; for (i = 1; i < 3000; ++i) printf ",%d", int(rand() * 300); print "]}"
             print "{\"ids\":[7,8,9]}" }' > "$dir/in.jsonl"

score() { "$zeroth" score --model "$dir/model" --in "$dir/in.jsonl" "$@"; }
score --grad-norm --grad-hash > "$dir/full"
score --grad-norm --grad-hash --recompute > "$dir/light"
cmp "$dir/full" "$dir/light" || fail "--recompute changes bytes"
tail -n 1 "$dir/full" | grep -Eq '^\{"total_grad_norm":[0-9.e+-]+,"gradient_sha256":"[0-9a-f]{64}"\}$' ||
  fail "unexpected last line: $(tail -n 1 "$dir/full")"
score > "$dir/plain"
head -n 2 "$dir/full" | cmp - "$dir/plain" || fail "log-probs differ without a gradient"
score --batch-tokens 64 | cmp - "$dir/plain" || fail "--batch-tokens changes log-probs"
score --grad-norm | tail -n 1 | grep -Eq '^\{"total_grad_norm":[0-9.e+-]+\}$' || fail "--grad-norm prints more than the norm"
