#!/bin/bash
# usage: pipeline.sh ZEROTH
# A pipeline of two stages of learning, rejection and merging: killed in the middle and resumed it leaves the bytes of
# one that was not, and provenance leads back to the base. Run from the project's root.
set -euo pipefail
zeroth=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $1"; exit 1; }

"$zeroth" init --config tests/data/tiny_base/config.json --seed 5 --out "$work/base" > /dev/null
cp tests/data/tiny_base/tokenizer.json tests/data/tiny_base/generation_config.json "$work/base/"
for i in $(seq 40); do echo "{\"prompt\":\"say $i\",\"completion\":\" a$i b\"}"; done > "$work/rows.jsonl"
cat > "$work/rl.json" <<'JSON'
{
  "task": {"name": "parity", "options": {"bits": 4}},
  "prompts_per_step": 2, "samples_per_prompt": 4,
  "sampling": {"max_tokens": 12, "stop": ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"]},
  "overlong": {"buffer": 11}, "optimizer": {"lr": 1e-3}, "checkpoint_every": 2, "record": {"progress": false}
}
JSON
cat > "$work/stages.json" <<JSON
{
  "values": {"base": "$work/base", "steps": 40},
  "measure": {"task": "parity:bits=4", "n": 4, "samples": 1, "max_tokens": 8},
  "stages": [
    {"name": "cold", "run": "sft",
     "config": {"model": "\${base}", "data": {"path": "$work/rows.jsonl"}, "batch_rows": 4, "epochs": 6, "checkpoint_every": 4}},
    {"name": "rl", "run": "train", "config": "rl.json", "set": {"model": "\${cold}", "steps": "\${steps}"}},
    {"name": "rows", "run": "reject", "arguments": ["\${rl.run}"], "flags": {"min_score": -1000000}},
    {"name": "mean", "run": "merge", "arguments": ["\${base}", "\${rl}"]}
  ]
}
JSON

"$zeroth" pipeline "$work/stages.json" --out "$work/dry" --dry-run > "$work/dry.out"
[ "$(wc -l < "$work/dry.out")" = 7 ] || fail "--dry-run prints $(wc -l < "$work/dry.out") stages"
[ ! -e "$work/dry" ] || fail "--dry-run writes"

# The same place for both, as paths are part of what is recorded.
run() { "$zeroth" pipeline "$work/stages.json" --out "$work/out" > "$work/result" 2> "$work/log" || { cat "$work/log"; exit 1; }; }
fingerprint() {
  (cd "$work/out" && find . -path '*/checkpoints/step-*' -type f -o -path './mean/*' -type f -o -name '*.jsonl' -path './rows/*' |
    sort | xargs sha256sum)
}
run
fingerprint > "$work/expected"
[ "$(wc -l < "$work/result")" = 3 ] || fail "not a line for every measurement"
grep -q '"stage":"mean_eval","task":"parity"' "$work/result" || fail "the merged model was not measured"
[ "$(wc -l < "$work/out/summary.md")" = 5 ] || fail "not a row for every measurement in summary.md"
grep -q '^| mean *| [0-9.]*% ([0-9.]* to [0-9.]*) ' "$work/out/summary.md" || { cat "$work/out/summary.md"; fail "a row lacks its accuracy"; }
[ "$(grep -c '"after"' "$work/out/summary.json")" = 3 ] || fail "not a row for every measurement in summary.json"
[ "$(tail -5 "$work/log")" = "$(cat "$work/out/summary.md")" ] || { tail -5 "$work/log"; fail "the table was not shown"; }
"$zeroth" inspect --export "$work/page.html" "$work/out" 2> "$work/log" && fail "one page for several runs"
grep -q "holds 2: .*$work/out/" "$work/log" || { cat "$work/log"; fail "--export does not say which runs there are"; }
"$zeroth" inspect --export "$work/page.html" "$work/out/rl" > /dev/null 2> "$work/log" || { cat "$work/log"; fail "no page of a stage"; }
mv "$work/out" "$work/straight"

for stage in cold rl; do
  rm -rf "$work/out"
  "$zeroth" pipeline "$work/stages.json" --out "$work/out" > /dev/null 2> "$work/log" &
  pid=$!
  until [ -s "$work/out/$stage/metrics.jsonl" ] && [ "$(wc -l < "$work/out/$stage/metrics.jsonl")" -ge 3 ]; do sleep 0.02; done
  # The stage and the pipeline, without a word.
  pkill -9 -P $pid || true
  kill -9 $pid 2> /dev/null || true
  wait $pid 2> /dev/null || true
  "$zeroth" pipeline --resume "$work/out" > "$work/again" 2> "$work/log" || { cat "$work/log"; exit 1; }
  fingerprint | cmp - "$work/expected" || fail "killed in $stage and resumed, other bytes"
  cmp -s "$work/again" "$work/result" || fail "killed in $stage and resumed, other results"
  for file in summary.md summary.json; do
    cmp -s "$work/out/$file" "$work/straight/$file" || fail "killed in $stage and resumed, another $file"
  done
done

"$zeroth" pipeline --resume "$work/out" > "$work/again" 2> "$work/log" || fail "a finished pipeline cannot be resumed"
grep -q '^== ' "$work/log" && fail "a finished pipeline ran a stage again"
"$zeroth" pipeline "$work/stages.json" --out "$work/out" 2> "$work/log" && fail "a pipeline was begun over another"
grep -q -- '--resume' "$work/log" || fail "the way on is not named"

"$zeroth" describe "$work/out/mean/model" --json > "$work/described"
grep -q 'sft of .*/base on .*/rows.jsonl, 60 steps' "$work/described" || { cat "$work/described"; fail "the line of descent lacks sft"; }
if "$zeroth" train "$work/rl.json" --set model="$work/out/mean/model" --set zero=true --set steps=1 --out "$work/zero" 2> "$work/log"; then
  fail "zero took a model that has seen rows"
fi
grep -q 'zero is set' "$work/log" || fail "zero does not say why"
"$zeroth" train "$work/rl.json" --set model="$work/base" --set zero=true --set steps=1 --out "$work/zero" > /dev/null 2> "$work/log" ||
  { cat "$work/log"; fail "zero refused a base"; }
echo ok
