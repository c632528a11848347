#!/bin/sh
# `zeroth sample` as outside scripts use it: the same seed gives the same bytes whatever --n,
# --batch and the number of threads; stop strings; errors. Usage: sample.sh ZEROTH
set -eu
zeroth=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

fail() {
  echo "sample.sh: $1" >&2
  exit 1
}

cat > "$dir/config.json" <<'JSON'
{"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "vocab_size": 1760,
 "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
 "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 512, "hidden_act": "silu",
 "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": true,
 "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": false,
 "initializer_range": 0.1, "eos_token_id": 1756}
JSON
"$zeroth" init --config "$dir/config.json" --seed 5 --out "$dir/model" > /dev/null
cp tests/data/tokenizers/qwen2-reduced/tokenizer.json "$dir/model/"

sample() {
  "$zeroth" sample --model "$dir/model" --prompt "What is 12 + 7?" --max-tokens 40 --seed 3 --json \
    "$@" 2> "$dir/stderr"
}

sample --n 12 > "$dir/reference"
[ "$(wc -l < "$dir/reference")" = 12 ] || fail "12 samples are not 12 lines"
head -n 1 "$dir/reference" | grep -q '^{"index":0,"ids":\[.*\],"text":".*","logprobs":\[.*\],"finish":"[a-z]*"}$' ||
  fail "unexpected fields: $(head -c 300 "$dir/reference")"

sample --n 12 --batch 1 | cmp - "$dir/reference" || fail "--batch 1 changes samples"
sample --n 12 --batch 5 | cmp - "$dir/reference" || fail "--batch 5 changes samples"
ZEROTH_THREADS=1 sample --n 12 | cmp - "$dir/reference" || fail "one thread changes samples"
ZEROTH_ISA=portable sample --n 12 | cmp - "$dir/reference" || fail "the portable build differs"
sample --n 5 > "$dir/five"
head -n 5 "$dir/reference" | cmp - "$dir/five" || fail "--n changes samples"
sample --n 12 --seed 4 > "$dir/other"
cmp -s "$dir/other" "$dir/reference" && fail "another seed gives the same samples"

printf '%s' "What is 12 + 7?" > "$dir/prompt"
"$zeroth" sample --model "$dir/model" --prompt-file "$dir/prompt" --max-tokens 40 --seed 3 --json \
  --n 12 2> /dev/null | cmp - "$dir/reference" || fail "--prompt-file differs from --prompt"

sample --n 40 --stop e > "$dir/stopped"
grep -q '"finish":"stop"' "$dir/stopped" || fail "no sample stops at e"
grep -q '"text":"[^"]*e' "$dir/stopped" && fail "a stop string is left in the text"

# SIGINT ends at a clean point: whole lines, exit code 130, unfinished samples marked.
"$zeroth" sample --model "$dir/model" --prompt "x" --n 20000 --max-tokens 400 --json \
  > "$dir/cut" 2> /dev/null &
pid=$!
while [ ! -s "$dir/cut" ]; do sleep 0.1; done
kill -INT "$pid"
status=0; wait "$pid" || status=$?
[ "$status" = 130 ] || fail "exit code $status after SIGINT"
[ "$(wc -l < "$dir/cut")" = 20000 ] || fail "lines are missing after SIGINT"
tail -n 1 "$dir/cut" | grep -q '"finish":"aborted"' || fail "the last sample is not aborted"

refused() {
  code=0
  "$zeroth" sample "$@" > /dev/null 2> "$dir/stderr" || code=$?
  [ "$code" = 2 ] || [ "$code" = 1 ] || fail "exit code $code for: $*"
  grep -q 'fix:' "$dir/stderr" || fail "no advice for: $* ($(cat "$dir/stderr"))"
}
refused --prompt x
refused --model "$dir/model"
refused --model "$dir/nowhere" --prompt x
refused --model "$dir/model" --prompt x --top-p 0
refused --model "$dir/model" --prompt x --max-tokens 0
refused --model "$dir/model" --prompt x --stop '[""]'
refused --model "$dir/model" --prompt x --temprature 1
refused --model "$dir/model" --prompt x --prompt-file "$dir/prompt"
refused --model "$dir/model" --prompt x stray
echo "sample.sh: all good"
