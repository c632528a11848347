#!/bin/bash
# usage: kill_resume.sh ZEROTH [KILLS [--programs] [--moves=METRIC] [FIELD=VALUE..]]
# --programs: a mixture of a code task, whose programs run in the sandbox, and of a plug-in that is a process, with an
# inspector that looks at the run all the time.
# --moves: fails unless that metric is above zero in some step, so that what it measures was there to be resumed.
# Kills a training run with SIGKILL at random moments, resumes it after each, and compares what it leaves with an
# uninterrupted run: weights, optimizer, metrics without timings, and traces must be equal byte for byte.
# Run from the project's root.
set -euo pipefail
zeroth=$(realpath "$1")
kills=${2:-4}
programs=
moves=
overrides=()
for argument in "${@:3}"; do
  case "$argument" in
    --programs) programs=1 ;;
    --moves=*) moves=${argument#--moves=} ;;
    *) overrides+=(--set "$argument") ;;
  esac
done
work=$(mktemp -d)
watcher=
trap '[ -z "$watcher" ] || kill $watcher 2> /dev/null; rm -rf "$work"' EXIT

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

if [ -n "$programs" ]; then
  cat > "$work/plugin.py" <<'PYTHON'
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    if m["op"] == "hello": r = {"name": "vowels", "train": 50, "held_out": 5}
    elif m["op"] == "problems": r = {"problems": [{"prompt": "say %d" % i, "answer": str(i)} for i in m["indices"]]}
    else: r = {"results": [sum(c in "aeiou0" for c in x["completion"]) / (1 + len(x["completion"])) for x in m["batch"]]}
    print(json.dumps({"id": m["id"], **r}), flush=True)
PYTHON
  cat > "$work/config.json" <<JSON
{
  "model": "models/programs",
  "task": {"name": "mixture", "options": {"parts": [
    {"task": "programs", "options": {"runner": "sandbox"}},
    {"task": "process", "options": {"command": ["python3", "$work/plugin.py"], "workers": 2, "template": "bare"}}]}},
  "seed": 3, "steps": 24, "prompts_per_step": 4, "samples_per_prompt": 4,
  "sampling": {"max_tokens": 48},
  "optimizer": {"lr": 5e-4},
  "probe": {"every": 7, "problems": 2, "samples": 2},
  "checkpoint_every": 3,
  "record": {"progress": false}
}
JSON
fi

fingerprint() {  # of a finished run
  (cd "$1/checkpoints/latest/" && find . -type f | sort | xargs sha256sum)
  (cd "$1/traces" && find . -type f ! -name 'index.sqlite*' | sort | xargs sha256sum)
  sed 's/,"timing":{[^}]*}//' "$1/metrics.jsonl" | sha256sum
}

"$zeroth" train "$work/config.json" ${overrides[@]+"${overrides[@]}"} --out "$work/straight" > /dev/null 2> "$work/straight.log" || { cat "$work/straight.log"; exit 1; }
fingerprint "$work/straight" > "$work/expected"
if [ -n "$moves" ]; then
  grep -q "\"$moves\":[0-9.]*[1-9]" "$work/straight/metrics.jsonl" || { echo "$moves was never above zero"; exit 1; }
fi

# An inspector over the run that is killed: its index is written beside the traces while they grow and are cut.
watch() {
  until [ -e "$work/killed/metrics.jsonl" ]; do sleep 0.1; done
  "$zeroth" inspect "$work/killed" --port 0 > "$work/inspect.out" 2> "$work/inspect.log" &
  local inspector=$! url=
  trap 'kill $inspector 2> /dev/null' TERM
  while kill -0 $inspector 2> /dev/null; do
    url=${url:-$(grep -o 'http://[^ ]*' "$work/inspect.out" || true)}
    [ -z "$url" ] || python3 - "${url%/}" <<'PYTHON' || true
import sys, urllib.request
for path in ("/api/info", "/api/timeline", "/api/search?q=reward%3E0", "/"):
    urllib.request.urlopen(sys.argv[1] + path, timeout=20).read()
PYTHON
    sleep 0.2
  done
  echo "the inspector ended: $(cat "$work/inspect.log")" > "$work/inspector_ended"
}
if [ -n "$programs" ]; then
  watch &
  watcher=$!
fi

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
if [ -n "$programs" ]; then
  [ ! -e "$work/inspector_ended" ] || { cat "$work/inspector_ended"; exit 1; }
  [ -e "$work/inspect.out" ] || { echo "no inspector looked at the run"; exit 1; }
  kill $watcher
  wait $watcher 2> /dev/null || true
  watcher=
fi
fingerprint "$work/killed" > "$work/found"
if ! diff "$work/expected" "$work/found"; then
  echo "a killed and resumed run differs from the uninterrupted one"
  exit 1
fi
echo "$done_kills kills, $attempt starts, same bytes"
