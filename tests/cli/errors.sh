#!/usr/bin/env bash
# Bad input ends with exit code 1 or 2 and one message that names file, field and fix; what was written before stays.
set -uo pipefail
zeroth=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0

# expect CODE TEXT COMMAND..: the exit code, and TEXT in what was printed on stderr; never a crash.
expect() {
  local code=$1 text=$2 status=0
  shift 2
  timeout 120 "$@" > "$dir/out" 2> "$dir/err" || status=$?
  if [ "$status" != "$code" ] || ! grep -qF -- "$text" "$dir/err"; then
    echo "FAILED: $* -> exit $status (want $code), stderr: $(head -c 400 "$dir/err") (want: $text)"
    failures=$((failures + 1))
  fi
}

expect 2 'did you mean "train"' "$zeroth" trian
expect 2 'did you mean --temperature' "$zeroth" eval --temprature 1
expect 2 'unknown key "stepz"' bash -c "echo '{\"stepz\": 3}' > $dir/c.json; $zeroth train $dir/c.json"
expect 2 'line 2' bash -c "printf '{\n\"steps\": }' > $dir/c.json; $zeroth train $dir/c.json"
expect 2 'steps is "many"' bash -c "echo '{\"steps\": \"many\"}' > $dir/c.json; $zeroth train $dir/c.json"
expect 2 'loss.type is "grop"' "$zeroth" train configs/smoke.json --set loss.type=grop
expect 1 'none.json' "$zeroth" train "$dir/none.json"
expect 1 "$dir/nomodel" "$zeroth" eval --model "$dir/nomodel" --task countdown
expect 2 'countdwon' "$zeroth" eval --model models/base --task countdwon

# A damaged copy of the base, one fault at a time.
fresh() { rm -rf "$dir/m"; cp -r models/base "$dir/m"; }
fresh; truncate -s 100000 "$dir/m/model.safetensors"
expect 1 'model.safetensors' "$zeroth" sample --model "$dir/m" --prompt x --n 1
fresh; head -c 64 /dev/urandom > "$dir/m/model.safetensors"
expect 1 'model.safetensors' "$zeroth" sample --model "$dir/m" --prompt x --n 1
fresh; sed -i 's/"hidden_size": 128/"hidden_size": 64/' "$dir/m/config.json"
expect 1 'model.embed_tokens.weight' "$zeroth" sample --model "$dir/m" --prompt x --n 1
fresh; echo '{' > "$dir/m/tokenizer.json"
timeout 60 "$zeroth" tokenize --model "$dir/m" --text x --json > /dev/null 2> "$dir/err"; status=$?
if [ "$status" != 1 ] && [ "$status" != 2 ] || ! grep -q tokenizer.json "$dir/err"; then echo "FAILED: malformed tokenizer.json -> $status"; failures=$((failures + 1)); fi

# A finished run is not overwritten, and a folder that cannot be written is named.
"$zeroth" train configs/smoke.json --set steps=1 --out "$dir/run" > /dev/null 2>&1 || { echo "FAILED: a one-step run"; failures=$((failures + 1)); }
before=$(sha256sum "$dir/run/metrics.jsonl")
expect 1 "$dir/run" "$zeroth" train configs/smoke.json --set steps=1 --out "$dir/run"
[ "$before" = "$(sha256sum "$dir/run/metrics.jsonl")" ] || { echo "FAILED: metrics changed"; failures=$((failures + 1)); }
touch "$dir/file"
expect 1 "$dir/file" "$zeroth" train configs/smoke.json --set steps=1 --out "$dir/file/run"
printf 'not json\n' > "$dir/bad.jsonl"
expect 2 'bad.jsonl:1' "$zeroth" score --model models/base --in "$dir/bad.jsonl"

# A second process on the same run is refused while the first one lives.
"$zeroth" train configs/smoke.json --out "$dir/busy" > /dev/null 2>&1 & first=$!
until [ -s "$dir/busy/metrics.jsonl" ] || ! kill -0 $first 2> /dev/null; do sleep 0.1; done
expect 1 'another process' "$zeroth" train --resume "$dir/busy"
kill -INT $first
status=0; wait $first || status=$?
[ "$status" = 130 ] || { echo "FAILED: SIGINT ended with $status, not 130"; failures=$((failures + 1)); }

# A full disk: the message names the file, and what was written before is a run that resumes once there is room. Needs to
# mount a small file system, so only where that is allowed.
mkdir "$dir/small"
if mount -t tmpfs -o size=24m tmpfs "$dir/small" 2> /dev/null; then
  head -c 4m /dev/zero > "$dir/small/filler"
  status=0
  "$zeroth" train configs/smoke.json --set steps=4 --set checkpoint_every=1 --set keep_last=9 --out "$dir/small/run" > /dev/null 2> "$dir/err" || status=$?
  grep -q 'No space left' "$dir/err" && [ $status = 1 ] || { echo "FAILED: full disk -> $status $(tail -n 2 "$dir/err")"; failures=$((failures + 1)); }
  rm "$dir/small/filler"
  "$zeroth" train --resume "$dir/small/run" --set keep_last=1 > /dev/null 2> "$dir/err" || true
  [ -e "$dir/small/run/checkpoints/latest/model.safetensors" ] || { echo "FAILED: no checkpoint left after a full disk"; failures=$((failures + 1)); }
  umount "$dir/small"
fi

[ $failures = 0 ] && echo "errors: ok"
exit $failures
