#!/usr/bin/env bash
# `--device` as a user gives it: cpu is the default, another name is a usage error, and a GPU that cannot be used is one
# clear message and exit code 1, in a build without CUDA, without a driver, and in a config.
# Usage: device.sh ZEROTH
set -euo pipefail
zeroth=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

fail() {
  echo "device.sh: $1" >&2
  exit 1
}

model=tests/data/parity/qwen2
echo '{"ids":[1,2,3,4,5]}' > "$dir/in.jsonl"
score() { "$zeroth" score --model $model --in "$dir/in.jsonl" "$@"; }
score > "$dir/default"
score --device cpu > "$dir/cpu"
cmp "$dir/default" "$dir/cpu" || fail "--device cpu gives other bytes"

# refused CODE PATTERN COMMAND..: ends with that code, and a message of two lines.
refused() {
  local code=0 want=$1 pattern=$2
  shift 2
  "$@" > "$dir/out" 2> "$dir/err" || code=$?
  [ "$code" = "$want" ] || fail "exit code $code instead of $want: $*: $(cat "$dir/err")"
  grep -Eq "$pattern" "$dir/err" || fail "no \"$pattern\" in what $* says: $(cat "$dir/err")"
  [ "$(wc -l < "$dir/err")" = 2 ] || fail "more than a message and its fix: $(cat "$dir/err")"
  [ ! -s "$dir/out" ] || fail "results all the same: $(cat "$dir/out")"
}
for name in gpu cuda: cuda:x cuda:-1 cuda:1x CPU ''; do
  refused 2 "there is no device \"$name\"" score --device "$name"
done

# What refuses depends on the build and on the machine; a GPU would not.
nowhere='built without CUDA|no GPU can be used|the driver has no GPU|there is no GPU 4095'
refused 1 "$nowhere" score --device cuda:4095
refused 1 "$nowhere" score --device cuda:4095 --grad-norm
refused 1 "$nowhere" "$zeroth" sample --model models/base --prompt a --device cuda:4095
refused 1 "$nowhere" "$zeroth" bench --model $model --device cuda:4095
cat > "$dir/config.json" <<'JSON'
{"model": "models/base", "task": {"name": "countdown"}, "steps": 1, "device": "cuda:4095"}
JSON
refused 1 "$nowhere" "$zeroth" train "$dir/config.json" --out "$dir/run"
[ ! -e "$dir/run" ] || fail "a folder for a run that did not begin"
