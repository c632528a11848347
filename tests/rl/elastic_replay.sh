#!/bin/bash
# usage: elastic_replay.sh ZEROTH STEPS KILLS [--fleet WORKERS] [FIELD=VALUE..]
# Trains with async.max_staleness, kills the run with SIGKILL at random moments (with --fleet its workers too), resumes it
# after each, and makes the finished run again from its journal: weights, optimizer, metrics without timings, and traces
# must be equal byte for byte; no token may be older than the bound, and no group may be thrown away.
# With CONFIG=FILE in the environment it is a run of that config.
# Run from the project's root.
set -euo pipefail
zeroth=$(realpath "$1")
steps=$2 kills=$3 workers=0
shift 3
if [ "${1:-}" = --fleet ]; then workers=$2; shift 2; fi
overrides=()
for assignment in "$@"; do overrides+=(--set "$assignment"); done
work=$(mktemp -d)
pids=() trainer=
cleanup() {
  for pid in ${pids[@]+"${pids[@]}"} $trainer; do kill -9 "$pid" 2> /dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT
RANDOM=${SEED:-$$}

"$zeroth" init --config tests/data/tiny_base/config.json --seed 5 --out "$work/base" > /dev/null
cp tests/data/tiny_base/tokenizer.json tests/data/tiny_base/generation_config.json "$work/base/"
cat > "$work/config.json" <<JSON
{
  // Random weights learn to be brief: many bytes end a completion, length is punished.
  "model": "$work/base",
  "task": {"name": "parity", "options": {"bits": 4}},
  "seed": 3, "steps": $steps, "prompts_per_step": 4, "samples_per_prompt": 6,
  "sampling": {"max_tokens": 24, "stop": ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"]},
  "overlong": {"buffer": 23},
  "engine": {"max_batch": 6},
  "optimizer": {"lr": 1e-3},
  "evaluation": {"every": 10, "problems": 8},
  "probe": {"every": 7, "problems": 2, "samples": 2},
  "checkpoint_every": 5,
  "record": {"progress": false}
}
JSON

[ -z "${CONFIG:-}" ] || cp "$CONFIG" "$work/config.json"
overrides=(--set steps="$steps" --set async.max_staleness=3 --set loss.decoupled=true ${overrides[@]+"${overrides[@]}"})

fingerprint() {  # of a finished run
  (cd "$1/checkpoints/latest/" && sha256sum model.safetensors optimizer.bin)
  (cd "$1/traces" && find . -type f ! -name 'index.sqlite*' | sort | xargs sha256sum)
  sed 's/,"timing":{[^}]*}//' "$1/metrics.jsonl" | sha256sum
  sha256sum < "$1/journal.jsonl"
}

fleet=()
if [ "$workers" -gt 0 ]; then
  head -c 32 /dev/urandom | sha256sum | cut -c1-64 > "$work/token"
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  fleet=(--set fleet.listen="127.0.0.1:$port" --set fleet.token_file="$work/token" --set fleet.lease_s=1)
fi
start_worker() {  # INDEX
  ZEROTH_THREADS=1 "$zeroth" worker "http://127.0.0.1:$port" --token-file "$work/token" --name "w$1" --batch 16 --quiet \
    > /dev/null 2>> "$work/worker.log" &
  pids[$1]=$!
}
start_trainer() {
  "$zeroth" train "$work/config.json" ${overrides[@]+"${overrides[@]}"} ${fleet[@]+"${fleet[@]}"} --resume "$work/run" \
    > /dev/null 2> "$work/run.log" &
  trainer=$!
}
made_all_steps() { [ -e "$work/run/metrics.jsonl" ] && [ "$(wc -l < "$work/run/metrics.jsonl")" -ge "$steps" ]; }
start_trainer
for ((i = 0; i < workers; ++i)); do start_worker "$i"; done
done_kills=0
while [ "$done_kills" -lt "$kills" ]; do
  # Between two kills a run makes some steps, so that they hit it anywhere.
  sleep "$(awk -v r=$RANDOM -v s="${PAUSE:-1}" 'BEGIN { printf "%.3f", 0.05 + r / 32768 * s }')"
  if [ "$workers" -gt 0 ] && [ $((RANDOM % 2)) -eq 0 ]; then
    victim=$((RANDOM % workers))
    kill -9 "${pids[$victim]}" 2> /dev/null || true
    wait "${pids[$victim]}" 2> /dev/null || true
    start_worker "$victim"
  fi
  kill -9 "$trainer" 2> /dev/null || true
  status=0
  wait "$trainer" 2> /dev/null || status=$?
  [ "$status" -eq 0 ] && made_all_steps && break  # it was faster
  # 0 without all steps: the shell has lost the status of a child that died while it forked another.
  [ "$status" -eq 137 ] || [ "$status" -eq 0 ] || { cat "$work/run.log"; echo "the run failed with exit code $status"; exit 1; }
  done_kills=$((done_kills + 1))
  start_trainer
done
if [ "$done_kills" -eq "$kills" ]; then
  wait "$trainer" || { cat "$work/run.log" "$work"/worker.log; echo "the run failed"; exit 1; }
fi
trainer=
for pid in ${pids[@]+"${pids[@]}"}; do
  kill "$pid" 2> /dev/null || true
  wait "$pid" 2> /dev/null || true
done
python3 - "$work/run" "$steps" "$*" <<'PYTHON'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1] + "/metrics.jsonl")]
assert [row["step"] for row in rows] == list(range(int(sys.argv[2]))), "steps are missing"
stale = [row["sampling/staleness/max"] for row in rows]
bound = int(sys.argv[3].partition("async.max_staleness=")[2].partition(" ")[0] or 3)
assert max(stale) <= bound, stale
assert max(stale) >= 1, "every token was of the newest weights: this tests nothing"
assert all(row["sampling/groups_discarded"] == 0 for row in rows)
journal = [json.loads(line) for line in open(sys.argv[1] + "/journal.jsonl")]
samples = [s for step in journal for group in step["groups"] for s in group["samples"]]
switched = sum(len(s) > 3 for s in samples)
assert switched == 0 or "switch_in_flight=true" in sys.argv[3], switched
print("%d of %d samples saw weights change; " % (switched, len(samples)), end="")
print("staleness %.2f mean, %d max; effective sample size %.3f at least" % (
    sum(row["sampling/staleness/mean"] for row in rows) / len(rows), max(stale), min((row["sampling/ess"] for row in rows if row["updates"]), default=1)))
PYTHON
"$zeroth" train --replay "$work/run" --out "$work/again" > /dev/null 2> "$work/again.log" || { cat "$work/again.log"; exit 1; }
fingerprint "$work/run" > "$work/expected"
fingerprint "$work/again" > "$work/found"
if ! diff "$work/expected" "$work/found"; then
  echo "a run that is made again from its journal differs"
  exit 1
fi
echo "$steps steps, $done_kills kills, $workers workers, same bytes again"
