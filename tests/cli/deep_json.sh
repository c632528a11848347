#!/usr/bin/env bash
# JSON that is 200,000 levels deep, behind a comment with a quote in it: an error that says so from every reader, never a
# crash. Run folders are read around it.
set -uo pipefail
zeroth=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0
deep='/* " */'$(head -c 200000 /dev/zero | tr '\0' '[')$(head -c 200000 /dev/zero | tr '\0' ']')

fails() { echo "FAILED: $*"; failures=$((failures + 1)); }
# refused COMMAND..: exit code 1 or 2 and a message about the depth.
refused() {
  local status=0
  timeout 120 "$@" > "$dir/out" 2> "$dir/err" < /dev/null || status=$?
  { [ $status = 1 ] || [ $status = 2 ]; } && grep -q nested "$dir/err" ||
    fails "$* -> exit $status, stderr: $(head -c 300 "$dir/err")"
}
# survives COMMAND..: any exit code of our own.
survives() {
  local status=0
  timeout 120 "$@" > "$dir/out" 2> "$dir/err" < /dev/null || status=$?
  [ $status -le 2 ] || fails "$* -> exit $status, stderr: $(head -c 300 "$dir/err")"
}

# Configs, rows and inputs of every command.
echo "$deep" > "$dir/deep.json"
echo "{\"steps\": $deep}" > "$dir/steps.json"
echo "{\"optimizer\": {\"lr\": $deep}}" > "$dir/options.json"
for file in deep steps options; do refused "$zeroth" train "$dir/$file.json"; refused "$zeroth" pretrain "$dir/$file.json"; done
echo "{\"id\": $deep, \"program\": \"x = 1\", \"test\": \"assert x == 1\"}" > "$dir/code.jsonl"
refused "$zeroth" grade --kind code --in "$dir/code.jsonl"
refused "$zeroth" check code "$dir/code.jsonl"
refused "$zeroth" eval --model models/base --task "code:path=$dir/code.jsonl"
echo "{\"gold\": \"1\", \"pred\": \"1\", \"id\": $deep}" > "$dir/math.jsonl"
refused "$zeroth" grade --kind math --in "$dir/math.jsonl"
refused "$zeroth" check math "$dir/math.jsonl"
echo "{\"prompt\": \"a\", \"answer\": \"b\", \"meta\": $deep}" > "$dir/rows.jsonl"
refused "$zeroth" eval --model models/base --task "jsonl:path=$dir/rows.jsonl"
refused "$zeroth" score --model models/base --in "$dir/rows.jsonl"
refused "$zeroth" check losses "$dir/rows.jsonl"
cp -r models/base "$dir/golden"
cp "$dir/rows.jsonl" "$dir/golden/golden.jsonl"
refused "$zeroth" check tokenizer "$dir/golden"
echo "[{\"prompt\": \"a\", \"answer\": \"b\"}, $deep]" > "$dir/rows.json"
refused "$zeroth" eval --model models/base --task "jsonl:path=$dir/rows.json"

# A model folder, one file at a time.
for file in config.json generation_config.json tokenizer_config.json tokenizer.json model.safetensors.index.json; do
  rm -rf "$dir/model"
  cp -r models/base "$dir/model"
  echo "{\"hidden_size\": $deep}" > "$dir/model/$file"
  survives "$zeroth" describe "$dir/model"
  survives "$zeroth" sample --model "$dir/model" --prompt x --n 1 --max_tokens 1
  [ $file != config.json ] || refused "$zeroth" describe "$dir/model"
done

# Run folders: the depth in the trace head, the run record, config.json, metrics.jsonl, judge.jsonl.
cp -r tests/data/hostile_runs/deep_meta tests/data/hostile_runs/deep_runinfo "$dir"
for name in config metrics judge; do cp -r "$dir/deep_meta" "$dir/deep_$name"; done
echo "$deep" > "$dir/deep_config/config.json"
echo "{\"step\": 1, \"reward\": $deep}" >> "$dir/deep_metrics/metrics.jsonl"
echo "{\"at\": \"0.0.0\", \"score\": 1, \"rubric\": $deep}" > "$dir/deep_judge/traces/judge.jsonl"
for run in deep_meta deep_runinfo deep_config deep_metrics deep_judge; do
  for command in 'ls' 'ls --verify' stats 'top --aha' 'export --jsonl'; do survives "$zeroth" traces $command "$dir/$run"; done
  survives "$zeroth" traces show "$dir/$run" 0.0.0
  survives "$zeroth" inspect --export "$dir/page.html" "$dir/$run"
  survives "$zeroth" rescore "$dir/$run"
  survives "$zeroth" train --resume "$dir/$run"
done
refused "$zeroth" train --resume "$dir/deep_config"
refused "$zeroth" traces ls --words "$dir/deep.json" "$dir/deep_meta"

[ $failures = 0 ] && echo "deep json: ok"
exit $failures
