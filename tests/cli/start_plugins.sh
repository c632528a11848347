#!/usr/bin/env bash
# What a run folder names as its grader is started only with --start-plugins.
set -uo pipefail
zeroth=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0
fails() { echo "FAILED: $*"; failures=$((failures + 1)); }

"$zeroth" init --config tests/data/tiny_base/config.json --seed 5 --out "$dir/base" > /dev/null
cp tests/data/tiny_base/tokenizer.json tests/data/tiny_base/generation_config.json "$dir/base/"
cat > "$dir/plugin.py" <<'PY'
import json, os, sys
open(sys.argv[1] + "/mark", "a").write("started\n")
for line in sys.stdin:
    m = json.loads(line)
    reply = {"id": m["id"], "name": "marks", "train": 8, "held_out": 2}
    if m["op"] == "problems":
        reply["problems"] = [{"prompt": "q%d" % i, "answer": "a"} for i in m["indices"]]
    if m["op"] == "grade":
        reply["results"] = [{"score": len(b["completion"]) % 2} for b in m["batch"]]
    print(json.dumps(reply), flush=True)
PY
cat > "$dir/config.json" <<JSON
{"model": "$dir/base", "steps": 2, "prompts_per_step": 2, "samples_per_prompt": 4, "sampling": {"max_tokens": 8},
 "task": {"name": "mixture", "options": {"parts": [{"task": "process", "options": {"command": ["python3", "$dir/plugin.py", "$dir"]}}]}},
 "record": {"progress": false}}
JSON
"$zeroth" train "$dir/config.json" --out "$dir/run" > /dev/null 2> "$dir/err" || fails "the run itself: $(tail -n 2 "$dir/err")"
[ -s "$dir/mark" ] || fails "the plug-in was not started by the run that its config is for"

# refused COMMAND..: exit code 2, names the command and the flag, and starts nothing.
refused() {
  local status=0
  rm -f "$dir/mark"
  timeout 60 "$@" > /dev/null 2> "$dir/err" < /dev/null || status=$?
  { [ $status = 2 ] && grep -q -e --start-plugins "$dir/err" && grep -q plugin.py "$dir/err"; } || fails "$* -> $status: $(head -c 300 "$dir/err")"
  [ ! -e "$dir/mark" ] || fails "$* started it"
}
allowed() {
  local status=0
  rm -f "$dir/mark"
  timeout 120 "$@" > /dev/null 2> "$dir/err" < /dev/null || status=$?
  [ $status = 0 ] && [ -s "$dir/mark" ] || fails "$* -> $status: $(head -c 300 "$dir/err")"
}
refused "$zeroth" rescore "$dir/run"
refused "$zeroth" train --resume "$dir/run" --set steps=3
allowed "$zeroth" rescore "$dir/run" --start-plugins
allowed "$zeroth" train --resume "$dir/run" --set steps=3 --start-plugins
allowed "$zeroth" train "$dir/config.json" --resume "$dir/run" --set steps=4
rm -f "$dir/mark"
for command in "traces ls" "traces stats" "traces top --aha" "inspect --export $dir/page.html"; do
  "$zeroth" $command "$dir/run" > /dev/null 2>&1 || fails "zeroth $command"
done
[ ! -e "$dir/mark" ] || fails "looking at the run started it"
# Another grader that the user names is the user's choice.
"$zeroth" rescore "$dir/run" --task parity > /dev/null 2> "$dir/err" || fails "rescore --task: $(head -c 300 "$dir/err")"

[ $failures = 0 ] && echo "start plugins: ok"
exit $failures
