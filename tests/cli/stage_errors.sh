#!/usr/bin/env bash
# usage: stage_errors.sh ZEROTH
# Wrong rows, options and folders of sft, dpo, reject, merge, pipeline and ladder: one message that names what, where and
# how to mend it; nothing is lost. Runs go on from another folder, and what is shipped is found from anywhere.
set -uo pipefail
zeroth=$(realpath "$1")
root=$PWD
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0
cd "$dir" || exit 1
model=$root/tests/data/sft

failed() { echo "FAILED: $*"; failures=$((failures + 1)); }
# expect CODE TEXT COMMAND..: the exit code, TEXT and a fix on stderr.
expect() {
  local code=$1 text=$2 status=0
  shift 2
  timeout 120 "$@" > out 2> err < /dev/null || status=$?
  [ "$status" = "$code" ] && { [ -z "$text" ] || grep -qF -- "$text" err; } && { [ "$code" = 0 ] || grep -q 'fix:' err; } ||
    failed "$* -> exit $status (want $code), stderr: $(head -c 400 err) (want: $text)"
}
rows() { printf '%s\n' "$@" > rows.jsonl; }
sft() { "$zeroth" sft configs/sft.json --set model="$model" --set data.path=rows.jsonl --set epochs=1 "$@"; }
dpo() { "$zeroth" dpo configs/dpo.json --set model="$model" --set data.path=rows.jsonl --set epochs=1 "$@"; }
export -f sft dpo
export zeroth model

ask='"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]'
for value in 5 '[1]' '"x"'; do
  rows '{"text": "fine"}' "{$ask, \"chat_template_kwargs\": $value}"
  expect 1 'rows.jsonl:2: "chat_template_kwargs"' bash -c 'sft --out run'
done
rows '{"prompt": "a", "chosen": 5, "rejected": "c"}'
expect 1 'rows.jsonl:1: "prompt", "chosen" and "rejected"' bash -c 'dpo --out run'
rows '{"prompt": "a", "chosen": "b", "rejected": "c"}'
expect 2 'data.chat_variables' bash -c 'dpo --set data.chat_variables=[1] --out run'
mkdir -p many/a many/b && cp rows.jsonl many/a/ && cp rows.jsonl many/b/
expect 1 'the files of many lie in several folders' bash -c 'dpo --set data.path=many --out run'

# A run goes on by its own command, from anywhere.
rows '{"text": "one row"}' '{"text": "another"}'
expect 0 '' bash -c 'sft --out run'
expect 2 'a run of zeroth sft' "$zeroth" dpo --resume run
expect 2 'a run of zeroth sft' "$zeroth" train --resume run
expect 2 'different folders' "$zeroth" sft --resume run --out other
expect 2 'optimizer.lr' "$zeroth" sft --resume run --set optimizer.lr=1e-9
grep -q -- '--change' err && failed "a flag is recommended that sft does not have"
mkdir -p elsewhere
expect 0 'where the run was started' bash -c "cd elsewhere && $zeroth sft --resume ../run --set epochs=2"
[ "$(wc -l < run/metrics.jsonl)" = 2 ] || failed "the run did not go on from elsewhere"

# What is shipped is found away from the source tree.
expect 0 '' "$zeroth" describe models/base
expect 0 '' "$zeroth" sample --model models/base --prompt x --n 1 --max-tokens 2
expect 0 '' "$zeroth" merge models/base models/base --out merged
expect 0 '' "$zeroth" pipeline configs/r1.json --out none --dry-run

expect 2 'more than a double holds' "$zeroth" merge models/base models/base --weights '[1e308,1e308]' --out inf
expect 0 '' "$zeroth" init --config "$root/models/base/config.json" --seed 1 --out other
expect 1 'no finite float32' "$zeroth" merge models/base --base other --weights '[1e60]' --out inf
[ ! -e inf ] || failed "a merge without a result left a folder"

expect 1 'none/rows.jsonl' "$zeroth" reject --model models/base --task countdown --n 1000000 --out none/rows.jsonl
expect 1 'it is a folder' "$zeroth" reject --model models/base --task countdown --n 1000000 --out many
expect 2 '--from' "$zeroth" reject --model models/base --task countdown --from 5 --out x.jsonl
expect 2 '--task with a run' "$zeroth" reject run --task countdown --out x.jsonl

printf '{"problem": 5}\n' > bad.jsonl
expect 1 'bad.jsonl:1 is no row' "$zeroth" ladder a=bad.jsonl b=bad.jsonl
: > empty.jsonl
expect 1 'no graded sample' "$zeroth" ladder a=empty.jsonl b=empty.jsonl
expect 2 'lacks its name' "$zeroth" ladder =bad.jsonl b=bad.jsonl
expect 1 'holds no case' "$zeroth" check dpo empty.jsonl

# A pipeline clears the folders of its own stages, and of nobody else.
cat > pipeline.json <<JSON
{"stages": [{"name": "mean", "run": "merge", "arguments": ["models/base", "models/base"]},
            {"name": "learn", "run": "sft", "config": {"model": "$model", "data": {"path": "rows.jsonl"}, "epochs": 1}}]}
JSON
mkdir -p mine/mean && echo precious > mine/mean/notes
expect 1 'mine/mean is already there' "$zeroth" pipeline pipeline.json --out mine
[ "$(cat mine/mean/notes)" = precious ] || failed "a pipeline removed what was not its own"
for name in pipeline finished summary lock; do
  echo "{\"stages\": [{\"name\": \"$name\", \"run\": \"merge\", \"arguments\": [\"models/base\"]}]}" > name.json
  expect 2 "cannot be called $name" "$zeroth" pipeline name.json --out named
done

expect 2 "has no '='" "$zeroth" pipeline pipeline.json --out named --set base
sed 's/"epochs": 1/"epohcs": 1/' pipeline.json > typo.json
expect 1 'config of stage learn is refused' "$zeroth" pipeline typo.json --out early
grep -q 'did you mean "epochs"' err || failed "the typo is not said"
[ ! -e early/mean ] || failed "a stage ran although a later one's config is refused"
expect 0 '' "$zeroth" pipeline pipeline.json --out early

# A stage that failed begins again once what it lacked is there, from another folder too.
mv rows.jsonl later.jsonl
expect 1 'stage learn ended' "$zeroth" pipeline pipeline.json --out staged
mv later.jsonl rows.jsonl
expect 0 'where the pipeline was started' bash -c "cd elsewhere && $zeroth pipeline --resume ../staged"
[ -e staged/learn/checkpoints/latest/model.safetensors ] || failed "the failed stage did not run again"

[ $failures = 0 ] && echo "stage errors: ok"
exit $failures
