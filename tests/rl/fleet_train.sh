#!/bin/bash
# usage: fleet_train.sh ZEROTH WORKERS WORKER_KILLS TRAINER_KILLS [FIELD=VALUE..]
# Trains with samples from WORKERS worker processes of mixed instruction sets and thread counts, kills workers and the
# trainer with SIGKILL at random moments (the trainer is resumed, workers are started again), and compares what it leaves
# with a run in one process: weights, optimizer, metrics without timings and reuse, and traces must be equal byte for byte.
# Run from the project's root.
set -euo pipefail
zeroth=$(realpath "$1")
workers=$2 worker_kills=$3 trainer_kills=$4
overrides=()
for assignment in "${@:5}"; do overrides+=(--set "$assignment"); done
work=$(mktemp -d)
pids=()
cleanup() {
  for pid in ${pids[@]+"${pids[@]}"} ${trainer:-}; do kill -9 "$pid" 2> /dev/null || true; done
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
  "seed": 3, "steps": ${STEPS:-40}, "prompts_per_step": 4, "samples_per_prompt": 6,
  "sampling": {"max_tokens": 24, "stop": ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"]},
  "overlong": {"buffer": 23},
  "optimizer": {"lr": 1e-3},
  "evaluation": {"every": 10, "problems": 8},
  "probe": {"every": 7, "problems": 2, "samples": 2},
  "checkpoint_every": 3,
  "record": {"progress": false}
}
JSON
head -c 32 /dev/urandom | sha256sum | cut -c1-64 > "$work/token"

fingerprint() {  # of a finished run
  (cd "$1/checkpoints/latest/" && sha256sum ./*)
  (cd "$1/traces" && find . -type f | sort | xargs sha256sum)
  sed -E 's/,"timing":\{[^}]*\}//; s/,"[a-z_/]*(recalled|reuse)[a-z_]*":[^,}]*//g' "$1/metrics.jsonl" | sha256sum
}

"$zeroth" train "$work/config.json" ${overrides[@]+"${overrides[@]}"} --out "$work/straight" > /dev/null 2> "$work/straight.log"
fingerprint "$work/straight" > "$work/expected"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
kinds=(avx512 avx2 portable)
start_worker() {  # INDEX
  local isa=${kinds[$((RANDOM % 3))]}
  grep -q avx512f /proc/cpuinfo || isa=portable
  ZEROTH_ISA=$isa ZEROTH_THREADS=$((1 + RANDOM % 2)) "$zeroth" worker "http://127.0.0.1:$port" --token-file "$work/token" \
    --name "w$1" --batch 16 --quiet > /dev/null 2>> "$work/worker.log" &
  pids[$1]=$!
}
start_trainer() {
  "$zeroth" train "$work/config.json" ${overrides[@]+"${overrides[@]}"} --set fleet.listen="127.0.0.1:$port" \
    --set fleet.token_file="$work/token" --set fleet.lease_s="${LEASE:-1}" --resume "$work/fleet" > /dev/null 2> "$work/fleet.log" &
  trainer=$!
}
start_trainer
for ((i = 0; i < workers; ++i)); do start_worker "$i"; done

killed_workers=0 killed_trainers=0
while kill -0 "$trainer" 2> /dev/null; do
  if [ $((worker_kills - killed_workers + trainer_kills - killed_trainers)) -eq 0 ]; then break; fi
  sleep "$(awk -v r=$RANDOM -v s="${PAUSE:-0.4}" 'BEGIN { printf "%.3f", r / 32768 * s }')"
  left=$((worker_kills - killed_workers + trainer_kills - killed_trainers))
  if [ $((RANDOM % left)) -lt $((trainer_kills - killed_trainers)) ]; then
    kill -9 "$trainer" 2> /dev/null || true
    status=0
    wait "$trainer" 2> /dev/null || status=$?
    [ "$status" -eq 0 ] && break  # it was faster
    [ "$status" -eq 137 ] || { cat "$work/fleet.log"; echo "the trainer failed with exit code $status"; exit 1; }
    killed_trainers=$((killed_trainers + 1))
    start_trainer
  else
    victim=$((RANDOM % workers))
    kill -9 "${pids[$victim]}" 2> /dev/null || { wait "${pids[$victim]}" || { cat "$work/worker.log"; exit 1; }; break; }
    wait "${pids[$victim]}" 2> /dev/null || true
    killed_workers=$((killed_workers + 1))
    start_worker "$victim"
  fi
done
wait "$trainer" || { cat "$work/fleet.log" "$work/worker.log"; echo "training with workers failed"; exit 1; }
for pid in "${pids[@]}"; do
  kill "$pid" 2> /dev/null || true
  wait "$pid" 2> /dev/null || true
done
"$zeroth" fleet status "$work/fleet" > "$work/status"
fingerprint "$work/fleet" > "$work/found"
if ! diff "$work/expected" "$work/found"; then
  cat "$work/status" "$work/worker.log"
  echo "a run whose samples come from $workers workers differs from the run in one process"
  exit 1
fi
[ -z "$("$zeroth" fleet evidence --json "$work/fleet")" ] || { echo "an honest worker was convicted"; exit 1; }
echo "$workers workers, $killed_workers worker kills, $killed_trainers trainer kills, same bytes"
