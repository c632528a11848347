#!/bin/bash
# usage: kill_resume.sh ZEROTH [KILLS [FIELD=VALUE..]]
# Kills a training run with SIGKILL at random moments, resumes it after each, and compares what it leaves with an
# uninterrupted run: weights, optimizer, metrics without timings, and traces must be equal byte for byte.
# Run from the project's root.
set -euo pipefail
zeroth=$(realpath "$1")
kills=${2:-4}
overrides=()
for assignment in "${@:3}"; do overrides+=(--set "$assignment"); done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$zeroth" init --config tests/data/tiny_base/config.json --seed 5 --out "$work/base" > /dev/null
cp tests/data/tiny_base/tokenizer.json tests/data/tiny_base/generation_config.json "$work/base/"
cat > "$work/config.json" <<JSON
{
  // Random weights learn to be brief: many bytes end a completion, length is punished.
  "model": "$work/base",
  "task": {"name": "parity", "options": {"bits": 4}},
  "seed": 3, "steps": 60, "prompts_per_step": 4, "samples_per_prompt": 6,
  "sampling": {"max_tokens": 24, "stop": ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"]},
  "overlong": {"buffer": 23},
  "optimizer": {"lr": 1e-3},
  "probe": {"every": 7, "problems": 2, "samples": 2},
  "checkpoint_every": 3,
  "record": {"progress": false}
}
JSON

fingerprint() {  # of a finished run
  (cd "$1/checkpoints/latest/" && sha256sum ./*)
  (cd "$1/traces" && find . -type f | sort | xargs sha256sum)
  sed 's/,"timing":{[^}]*}//' "$1/metrics.jsonl" | sha256sum
}

"$zeroth" train "$work/config.json" ${overrides[@]+"${overrides[@]}"} --out "$work/straight" > /dev/null 2> "$work/straight.log"
fingerprint "$work/straight" > "$work/expected"

done_kills=0
attempt=0
# Moments are spread over the time a whole run takes; 40 attempts are far more than any number of kills needs.
start=$(date +%s%N)
"$zeroth" train "$work/config.json" ${overrides[@]+"${overrides[@]}"} --out "$work/timing" > /dev/null 2>&1
millis=$((($(date +%s%N) - start) / 1000000))
RANDOM=${SEED:-$$}
while :; do
  attempt=$((attempt + 1))
  # The config is given again because a process may die before it wrote RUN/config.json.
  "$zeroth" train "$work/config.json" ${overrides[@]+"${overrides[@]}"} --resume "$work/killed" > /dev/null 2> "$work/killed.log" &
  pid=$!
  if [ "$done_kills" -lt "$kills" ]; then
    sleep "$(awk -v r=$RANDOM -v m="$millis" -v k="$kills" 'BEGIN { printf "%.3f", r / 32768 * m / 1000 * 2 / (k + 1) }')"
    kill -9 "$pid" 2> /dev/null || true
    status=0
    wait "$pid" 2> /dev/null || status=$?
    [ "$status" -eq 0 ] && break  # it was faster
    if [ "$status" -ne 137 ]; then
      cat "$work/killed.log"
      echo "resume failed with exit code $status"
      exit 1
    fi
    done_kills=$((done_kills + 1))
    continue
  fi
  wait "$pid" || { cat "$work/killed.log"; echo "resume failed"; exit 1; }
  break
done
fingerprint "$work/killed" > "$work/found"
if ! diff "$work/expected" "$work/found"; then
  echo "a killed and resumed run differs from the uninterrupted one"
  exit 1
fi
echo "$done_kills kills, $attempt starts, same bytes"
