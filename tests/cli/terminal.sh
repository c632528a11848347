#!/usr/bin/env bash
# Control characters, C1 controls and direction marks of files never reach a terminal as they are: not in errors, not in
# JSON lines, not in tables.
set -uo pipefail
zeroth=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0
escape=$'\e]0;owned\a' csi=$'\xc2\x9b31m' turned=$'\xe2\x80\xae' steer="\\u001b]0;owned\\u0007\\u009b31m\\u202e"

# clean WHAT COMMAND..: whatever it answers, its output holds nothing that steers.
clean() {
  local what=$1
  shift
  timeout 120 "$@" > "$dir/out" 2> "$dir/err" < /dev/null
  if LC_ALL=C grep -qP '[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\x8b-\x8f\xa8-\xae]' "$dir/out" "$dir/err"; then
    echo "FAILED: $what steers the terminal: $(LC_ALL=C cat -v "$dir/out" "$dir/err" | head -c 400)"
    failures=$((failures + 1))
  fi
  if ! LC_ALL=C grep -qE '<U\+|<0x|\\u00|owned' "$dir/out" "$dir/err"; then
    echo "FAILED: $what does not show what was there: $(cat "$dir/out" "$dir/err" | head -c 400)"
    failures=$((failures + 1))
  fi
}

printf '{"%s%s%s": 1}' "$escape" "$csi" "$turned" | sed 's/\x1b/\\u001b/; s/\x07/\\u0007/' > "$dir/key.json"
clean "an unknown key" "$zeroth" train "$dir/key.json"
printf '{"steps": %s}' "$escape" > "$dir/bad.json"
clean "malformed JSON" "$zeroth" train "$dir/bad.json"
echo "{\"id\": \"$steer\", \"gold\": \"1\", \"pred\": \"1\"}" > "$dir/math.jsonl"
clean "an id of a graded row" "$zeroth" grade --kind math --in "$dir/math.jsonl"
echo "{\"id\": \"$steer\", \"gold\": \"1\", \"pred\": \"2\", \"expected\": true, \"tier\": \"$steer\"}" > "$dir/labelled.jsonl"
clean "a row that is graded otherwise" "$zeroth" check math "$dir/labelled.jsonl"
echo "{\"prompt\": \"q\", \"answer\": \"owned \u001b \u009b \u202e\"}" > "$dir/bad.jsonl"
clean "a bad row" "$zeroth" eval --model models/base --task "gsm8k:path=$dir/bad.jsonl"
for i in 1 2 3 4 5 6; do echo "{\"prompt\": \"$i $steer\", \"answer\": \"$steer\"}"; done > "$dir/rows.jsonl"
clean "a problem as JSON" "$zeroth" task sample --json "jsonl:path=$dir/rows.jsonl,held_out_every=2"
cp -r models/base "$dir/model"
sed -i "s/\"architectures\": *\[[^]]*\]/\"architectures\": [\"$steer\"]/; s/\"model_type\": *\"[^\"]*\"/\"model_type\": \"$steer\"/" "$dir/model/config.json"
clean "a model's description" "$zeroth" describe "$dir/model"
mkdir "$dir/$escape$turned"
clean "a file's name" "$zeroth" traces ls "$dir/$escape$turned"
# The same values for a program that reads the lines.
"$zeroth" grade --kind math --in "$dir/math.jsonl" | python3 -c 'import json, sys; assert json.loads(sys.stdin.readline())["id"] == "\x1b]0;owned\x07\x9b31m\u202e"' ||
  { echo "FAILED: the id is another one"; failures=$((failures + 1)); }

[ $failures = 0 ] && echo "terminal: ok"
exit $failures
