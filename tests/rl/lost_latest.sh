#!/bin/bash
# usage: lost_latest.sh ZEROTH train|pretrain|sft
# What copies, clean-ups and accidents do to a run's folder between a stop and --resume. Either the run goes on and ends
# in the bytes of the uninterrupted one, or it is refused with everything still there. Run from the project's root.
set -uo pipefail
zeroth=$(realpath "$1")
command=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

longer=steps=100000 again=steps=8
if [ "$command" = sft ]; then
  longer=epochs=50000 again=epochs=4
  cat > "$work/config.json" <<JSON
{
  "model": "tests/data/sft", "data": {"path": "tests/data/sft/rows_messages.jsonl"}, "seed": 3, "epochs": 4, "batch_rows": 4,
  "optimizer": {"lr": 1e-3}, "checkpoint_every": 2, "keep_last": 0, "print_every": 0
}
JSON
elif [ "$command" = train ]; then
  "$zeroth" init --config tests/data/tiny_base/config.json --seed 5 --out "$work/base" > /dev/null
  cp tests/data/tiny_base/tokenizer.json tests/data/tiny_base/generation_config.json "$work/base/"
  cat > "$work/config.json" <<JSON
{
  "model": "$work/base", "task": {"name": "parity", "options": {"bits": 4}},
  "seed": 3, "steps": 8, "prompts_per_step": 2, "samples_per_prompt": 3,
  "sampling": {"max_tokens": 12, "stop": ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"]},
  "overlong": {"buffer": 11}, "optimizer": {"lr": 1e-3}, "checkpoint_every": 2, "keep_last": 0,
  "record": {"progress": false}
}
JSON
else
  cat > "$work/config.json" <<JSON
{
  "model_config": "tests/data/tiny_base/config.json", "tokenizer": "tests/data/tiny_base",
  "corpus": {"name": "parity", "options": {"bits": 4}}, "seed": 3, "steps": 8, "batch_tokens": 128,
  "optimizer": {"lr": 1e-3}, "checkpoint_every": 2, "keep_last": 0, "print_every": 0
}
JSON
fi

fingerprint() {
  (cd "$1/checkpoints/step-8/" && sha256sum ./*)
  [ ! -d "$1/traces" ] || (cd "$1/traces" && find . -type f | sort | xargs sha256sum)
  sed 's/,"timing":{[^}]*}//' "$1/metrics.jsonl" | sha256sum
}
contents() { (cd "$1" && find . -type f ! -name lock | sort | xargs sha256sum); }

"$zeroth" "$command" "$work/config.json" --out "$work/straight" > /dev/null 2> "$work/log" || { cat "$work/log"; exit 1; }
fingerprint "$work/straight" > "$work/expected"
# The run as a kill after seven steps leaves it: the checkpoint of step 6 is the newest, one more step is recorded.
cp -a "$work/straight" "$work/stopped"
(cd "$work/stopped" && rm -rf checkpoints/step-8 && ln -sfn step-6 checkpoints/latest && sed -i 8d metrics.jsonl)

# resumes NAME [FROM [ARGUMENTS..]]: the copy NAME goes on from step 6 (or FROM) and ends like the straight run.
resumes() {
  local from=${2:-6}
  "$zeroth" "$command" --resume "$work/$1" "${@:3}" > /dev/null 2> "$work/log" || { fail "$1: exit $?: $(cat "$work/log")"; return; }
  grep -qF "step $from of 8" "$work/log" || fail "$1: does not go on from step $from: $(cat "$work/log")"
  fingerprint "$work/$1" 2>&1 | diff "$work/expected" - > "$work/diff" || fail "$1: other bytes: $(cat "$work/diff")"
  [ "$(readlink "$work/$1/checkpoints/latest")" = step-8 ] || fail "$1: latest is $(readlink "$work/$1/checkpoints/latest")"
  local step
  for ((step = 2; step <= from; step += 2)); do
    cmp -s "$work/$1/checkpoints/step-$step/model.safetensors" "$work/straight/checkpoints/step-$step/model.safetensors" ||
      fail "$1: step-$step is gone"
  done
}
# refused NAME TEXT ARGUMENTS..: exit code 1, TEXT is said, no file has changed.
refused() {
  local name=$1 text=$2
  shift 2
  contents "$work/$name" > "$work/before"
  "$zeroth" "$command" "$@" > /dev/null 2> "$work/log"
  local status=$?
  [ "$status" -eq 1 ] || fail "$name: exit $status instead of 1"
  grep -qF -- "$text" "$work/log" || fail "$name: does not say \"$text\": $(cat "$work/log")"
  contents "$work/$name" | diff "$work/before" - > "$work/diff" || fail "$name: files changed: $(cat "$work/diff")"
}
copy() { cp -a "$work/stopped" "$work/$1"; }

copy plain; resumes plain
cp -rL "$work/stopped" "$work/followed"; resumes followed
copy missing; rm "$work/missing/checkpoints/latest"; resumes missing
copy dangling; ln -sfn step-7 "$work/dangling/checkpoints/latest"; resumes dangling
copy older; ln -sfn step-2 "$work/older/checkpoints/latest"; resumes older
copy text; rm "$work/text/checkpoints/latest"; echo step-6 > "$work/text/checkpoints/latest"; resumes text
copy outside; ln -sfn / "$work/outside/checkpoints/latest"; resumes outside
cp -rL "$work/stopped" "$work/only_latest"; rm -rf "$work"/only_latest/checkpoints/step-*
"$zeroth" "$command" --resume "$work/only_latest" > /dev/null 2> "$work/log" || fail "only_latest: $(cat "$work/log")"
fingerprint "$work/only_latest" 2>&1 | diff "$work/expected" - > /dev/null || fail "only_latest: other bytes"
copy damaged; truncate -s -1 "$work/damaged/checkpoints/step-6/optimizer.bin"; resumes damaged 4
grep -qF "step-6/optimizer.bin" "$work/log" || fail "damaged: the damaged file is not named"
copy half; rm "$work/half/checkpoints/step-6/trainer_state.json"; resumes half 4

copy no_config; rm "$work/no_config/config.json"
refused no_config "already holds a run" "$work/config.json" --out "$work/no_config"
"$zeroth" "$command" "$work/config.json" --resume "$work/no_config" > /dev/null 2> "$work/log" || fail "no_config: $(cat "$work/log")"
fingerprint "$work/no_config" | diff "$work/expected" - > /dev/null || fail "no_config: other bytes"
copy no_checkpoints; mv "$work/no_checkpoints/checkpoints" "$work/elsewhere"
refused no_checkpoints "no checkpoint" --resume "$work/no_checkpoints"
mkdir "$work/no_checkpoints/checkpoints"
refused no_checkpoints "no checkpoint" --resume "$work/no_checkpoints"
copy all_damaged
for folder in "$work"/all_damaged/checkpoints/step-*; do truncate -s -1 "$folder/model.safetensors"; done
refused all_damaged "no checkpoint of" --resume "$work/all_damaged"
grep -qF step-4/model.safetensors "$work/log" || fail "all_damaged: step-4 is not named"

# Killed before its next checkpoint, a resumed run has deleted nothing.
copy killed
"$zeroth" "$command" --resume "$work/killed" --set "$longer" --set checkpoint_every=100000 > /dev/null 2>&1 &
pid=$!
for ((i = 0; i < 600; ++i)); do
  [ "$(wc -l < "$work/killed/metrics.jsonl")" -gt 8 ] && break
  sleep 0.1
done
kill -9 $pid; wait $pid 2> /dev/null
for step in 0 2 4 6; do
  cmp -s "$work/killed/checkpoints/step-$step/model.safetensors" "$work/straight/checkpoints/step-$step/model.safetensors" ||
    fail "killed: step-$step is gone"
done
resumes killed 6 --set "$again" --set checkpoint_every=2

[ "$failures" -eq 0 ] && echo "all as it should be"
exit $((failures > 0))
