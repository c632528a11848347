#!/bin/bash
# usage: ladder.sh ZEROTH
# Evaluations that were saved become a ladder; files that are none are refused by line. Run from the project's root.
set -euo pipefail
zeroth=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $1"; exit 1; }
evaluate() {  # NAME FLAG..
  local name=$1; shift
  "$zeroth" eval --model models/base --task countdown --n 64 --save "$work/$name.jsonl" "$@" > /dev/null 2>&1
}
evaluate base --samples 4 --max-tokens 96
evaluate same --samples 4 --max-tokens 96
evaluate cut --samples 2 --max-tokens 4

"$zeroth" ladder base="$work/base.jsonl" "$work/same.jsonl" cut="$work/cut.jsonl" --json > "$work/ladder.json"
python3 - "$work/ladder.json" <<'PY' || fail "the ladder"
import json, sys
ladder = json.load(open(sys.argv[1]))
base, same, cut = ladder["checkpoints"]
assert ladder["problems"] == 64 and [base["name"], same["name"]] == ["base", "same"], ladder
assert base["elo"] == 0 and abs(same["elo"]) < 1e-6 and cut["elo"] < -20, ladder
assert cut["accuracy"] == 0 and cut["against"]["base"]["losses"] == base["accuracy"] > 0.1, ladder
assert abs(sum(same["against"]["base"].values()) - 1) < 1e-9 and "base" not in base["against"], ladder
PY
"$zeroth" ladder base="$work/base.jsonl" "$work/same.jsonl" | grep -q '^same .*Elo\|^same .* / ' || fail "no table"

refused() {  # TEXT COMMAND..
  local text=$1; shift
  if "$@" > /dev/null 2> "$work/err"; then fail "$* passes"; fi
  grep -qF "$text" "$work/err" || fail "$*: $(cat "$work/err")"
}
refused 'two or more' "$zeroth" ladder "$work/base.jsonl"
refused 'named "base"' "$zeroth" ladder "$work/base.jsonl" base="$work/same.jsonl"
head -c 300 "$work/base.jsonl" > "$work/half.jsonl"
refused 'half.jsonl' "$zeroth" ladder "$work/base.jsonl" "$work/half.jsonl"
printf '{"problem": 3}\n' > "$work/other.jsonl"
refused 'other.jsonl:1' "$zeroth" ladder "$work/base.jsonl" "$work/other.jsonl"
echo "ladder: equals level, the worse one below, bad files refused"
