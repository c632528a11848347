#!/usr/bin/env bash
# Commands with `--device cuda`, by a zeroth whose GPU is made of fibers (build/fibers/zeroth): the bytes of the CPU.
# A run goes on where it stopped on the other device; a run on the CPU takes the samples of a worker with a GPU.
# Usage: commands.sh ZEROTH ZEROTH_WITH_FIBERS
set -euo pipefail
cpu=$1
gpu=$2
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT

fail() {
  echo "commands.sh: $1" >&2
  exit 1
}

"$cpu" init --config tests/data/tiny_base/config.json --seed 5 --out "$work/base" > /dev/null
cp tests/data/tiny_base/tokenizer.json tests/data/tiny_base/generation_config.json "$work/base/"

# both NAME COMMAND..: standard output is the same on either device. What else is said may speak of speed.
both() {
  local name=$1
  shift
  "$cpu" "$@" > "$work/$name.cpu" 2> "$work/$name.err" || fail "$name on the CPU: $(cat "$work/$name.err")"
  "$gpu" "$@" --device cuda > "$work/$name.gpu" 2> "$work/$name.err" || fail "$name on a GPU: $(cat "$work/$name.err")"
  [ -s "$work/$name.cpu" ] || fail "$name says nothing"
  cmp "$work/$name.cpu" "$work/$name.gpu" || fail "$name gives other bytes on a GPU"
}

echo '{"ids":[5,9,2,7,3,3,8,1,4,2,2,6,5]}' > "$work/in.jsonl"
both score score --model "$work/base" --in "$work/in.jsonl" --grad-norm --grad-hash
both sample sample --model "$work/base" --prompt "1 + 2" --n 3 --batch 2 --cache-mb 8 --max-tokens 6 --top-p 0.9 --json
both eval eval --model "$work/base" --task parity:bits=4 --n 2 --samples 2 --batch 2 --cache-mb 8 --max-tokens 4 --json

cat > "$work/config.json" <<JSON
{"model": "$work/base", "task": {"name": "parity", "options": {"bits": 4}}, "seed": 3, "steps": 2, "prompts_per_step": 2,
 "samples_per_prompt": 2, "sampling": {"max_tokens": 5}, "engine": {"max_batch": 4, "cache_pages": 64},
 "trainer": {"reuse_mb": 4}, "optimizer": {"lr": 1e-3}, "checkpoint_every": 1, "keep_last": 4}
JSON
weights() { sha256sum < "$work/$1/checkpoints/latest/model.safetensors"; }
"$cpu" train "$work/config.json" --out "$work/on_cpu" 2> "$work/err" || fail "train on the CPU: $(cat "$work/err")"
"$gpu" train "$work/config.json" --set steps=1 --set device=cuda --out "$work/mixed" 2> "$work/err" ||
  fail "train on a GPU: $(cat "$work/err")"
"$cpu" train --resume "$work/mixed" --set steps=2 --set device=cpu 2> "$work/err" ||
  fail "a run of a GPU does not go on on the CPU: $(cat "$work/err")"
[ "$(weights on_cpu)" = "$(weights mixed)" ] || fail "a run that changed its device has other weights"

# A trainer on the CPU whose samples all come from a worker with a GPU.
printf '0123456789abcdef-token\n' > "$work/tokens"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$cpu" train "$work/config.json" --set fleet.listen=127.0.0.1:$port --set "fleet.token_file=$work/tokens" \
  --out "$work/fleet" 2> "$work/err" &
trainer=$!
"$gpu" worker "http://127.0.0.1:$port" --token-file "$work/tokens" --device cuda > "$work/worker" 2> "$work/worker.err" ||
  fail "a worker with a GPU: $(cat "$work/worker.err")"
wait "$trainer" || fail "the trainer of a fleet: $(cat "$work/err")"
tail -n 1 "$work/worker" | grep -Eq '"samples":8\b' || fail "the worker did not draw all: $(cat "$work/worker")"
[ "$(weights on_cpu)" = "$(weights fleet)" ] || fail "samples of a GPU give a run on the CPU other weights"
