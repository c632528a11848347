#!/bin/bash
# usage: signals.sh ZEROTH
# Signals as users and schedulers send them: the run is saved, says so, ends with 128 + the signal, and goes on exactly.
# Every case would take hours if the signal were not heard; no time is measured. Run from the project's root.
set -uo pipefail
zeroth=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

"$zeroth" init --config tests/data/tiny_base/config.json --seed 5 --out "$work/base" > /dev/null
cp tests/data/tiny_base/tokenizer.json tests/data/tiny_base/generation_config.json "$work/base/"
cat > "$work/config.json" <<JSON
{
  "model": "$work/base", "task": {"name": "parity", "options": {"bits": 4}},
  "seed": 3, "steps": 1000000, "prompts_per_step": 2, "samples_per_prompt": 3,
  "sampling": {"max_tokens": 12, "stop": ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"]},
  "overlong": {"buffer": 11}, "optimizer": {"lr": 1e-3}, "checkpoint_every": 1000000
}
JSON
cat > "$work/pretrain.json" <<JSON
{
  "model_config": "tests/data/tiny_base/config.json", "tokenizer": "tests/data/tiny_base",
  "corpus": {"name": "parity", "options": {"bits": 4}}, "seed": 3, "steps": 1000000, "batch_tokens": 128,
  "optimizer": {"lr": 1e-3}, "checkpoint_every": 1000000, "print_every": 1
}
JSON
cat > "$work/sft.json" <<JSON
{
  "model": "tests/data/sft", "data": {"path": "tests/data/sft/rows_text.jsonl"}, "seed": 3, "epochs": 1000000,
  "optimizer": {"lr": 1e-3}, "checkpoint_every": 1000000, "print_every": 1
}
JSON

rows() { wc -l 2> /dev/null < "$1/metrics.jsonl" || echo 0; }
wait_for() {  # wait_for TEXT COMMAND..: until the command succeeds
  local text=$1 i
  shift
  for ((i = 0; i < 1200; ++i)); do
    "$@" && return
    sleep 0.1
  done
  fail "gave up waiting for $text"
}
has_rows() { [ "$(rows "$1")" -ge "$2" ]; }
# saved RUN: the newest checkpoint is of the last recorded step.
saved() {
  local newest
  newest=$(ls "$1/checkpoints" | sed -n 's/^step-//p' | sort -n | tail -1)
  [ "$newest" = "$(rows "$1")" ] || fail "$1: $(rows "$1") steps are recorded, the newest checkpoint is step-$newest"
  [ "$newest" -gt "${2:-0}" ] || fail "$1: nothing was saved"
}

# signalled NAME SIGNAL CODE COMMAND: after three steps.
signalled() {
  local run=$work/$1 status=0
  local config=$work/config.json
  [ "$4" = train ] || config=$work/$4.json
  "$zeroth" "$4" "$config" --out "$run" > /dev/null 2> "$run.log" &
  local pid=$!
  wait_for "three steps" has_rows "$run" 3
  kill "-$2" $pid
  wait $pid || status=$?
  [ "$status" -eq "$3" ] || fail "$1: exit code $status instead of $3"
  grep -q "SIG$2: saving" "$run.log" || fail "$1: the signal is not named"
  grep -q "saved step $(rows "$run")" "$run.log" || fail "$1: does not say that it saved"
  saved "$run" 2
}
signalled int INT 130 train
signalled term TERM 143 train
signalled hup HUP 129 train
signalled usr1 USR1 138 train
signalled pretrain_term TERM 143 pretrain
signalled pretrain_hup HUP 129 pretrain
signalled sft_term TERM 143 sft

# Ctrl-C under `| tee`: the terminal signals the whole group, tee is gone before zeroth has ended.
for command in train pretrain; do
  config=$work/config.json
  [ $command = pretrain ] && config=$work/pretrain.json
  run=$work/tee_$command
  cat > "$work/tee.sh" <<SH
"$zeroth" $command "$config" --out "$run" 2>&1 | tee "$run.log" > /dev/null
echo "\${PIPESTATUS[@]}" > "$run.status"
SH
  # A group of its own with the default dispositions, as a terminal's foreground job has them.
  python3 - "$work/tee.sh" "$run/metrics.jsonl" <<'PY'
import os, signal, subprocess, sys, time
def defaults():
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
# The shell itself waits for its pipeline and then writes the status, as an interactive one would.
job = subprocess.Popen(["bash", "-c", "trap : INT; . " + sys.argv[1]], preexec_fn=defaults)
for _ in range(1200):
    if os.path.exists(sys.argv[2]) and open(sys.argv[2]).read().count("\n") >= 3: break
    time.sleep(0.1)
os.killpg(job.pid, signal.SIGINT)
job.wait(timeout=300)
PY
  [ "$(cut -d' ' -f1 "$run.status")" = 130 ] || fail "tee $command: status $(cat "$run.status")"
  saved "$run" 2
done

# A reader that goes away (`| head`) ends nothing.
"$zeroth" train "$work/config.json" --out "$work/head" --set steps=30 2>&1 | head -1 > /dev/null
[ "${PIPESTATUS[0]}" -eq 0 ] || fail "head: exit code ${PIPESTATUS[0]}"
saved "$work/head" 29

# In an evaluation that would take hours: before a step, and after the last one. Step 0 would be evaluated too, so a run
# of two steps without evaluation is resumed with one.
evaluating() {  # evaluating NAME STEPS EVERY
  local run=$work/$1 status=0 pid
  "$zeroth" train "$work/config.json" --set steps=2 --out "$run" > /dev/null 2>&1
  "$zeroth" train --resume "$run" --set steps=$2 --set evaluation.every=$3 --set evaluation.problems=10000000 \
    --set evaluation.samples=8 > /dev/null 2> "$run.log" &
  pid=$!
  wait_for "the run to go on" grep -q "step 2 of $2" "$run.log"
  sleep 1
  kill -TERM $pid
  wait $pid || status=$?
  [ "$status" -eq 143 ] || fail "$1: exit code $status instead of 143"
  saved "$run" 1
}
evaluating before_a_step 9 2
evaluating at_the_end 3 5

# In a reward call that does not come back, and in a step of which sampling alone takes minutes.
cat > "$work/slow.py" <<'PY'
import json, sys, time
grades = 0
for line in sys.stdin:
    m = json.loads(line)
    if m["op"] == "hello": r = {"train": 100, "held_out": 10}
    elif m["op"] == "problems": r = {"problems": [{"prompt": "%d?" % i, "answer": "1"} for i in m["indices"]]}
    else:
        grades += len(m["batch"])
        if grades > 12: time.sleep(3600)
        r = {"results": [len(x["completion"]) / 100 for x in m["batch"]]}
    print(json.dumps({"id": m["id"], **r}), flush=True)
PY
step_of() {  # step_of NAME ROWS ARGUMENTS..: SIGTERM after so many steps
  local run=$work/$1 status=0
  "$zeroth" train "$work/config.json" --out "$run" "${@:3}" > /dev/null 2> "$run.log" &
  local pid=$!
  wait_for "$2 steps" has_rows "$run" "$2"
  sleep 1
  kill -TERM $pid
  wait $pid || status=$?
  [ "$status" -eq 143 ] || fail "$1: exit code $status instead of 143"
  saved "$run" $(($2 - 1))
}
step_of slow_reward 2 --set task.name=process --set "task.options={\"command\":[\"python3\",\"$work/slow.py\"],\"workers\":1,\"timeout\":3000}"

for pair in "INT 130" "TERM 143" "HUP 129"; do
  set -- $pair
  status=0
  "$zeroth" eval --model "$work/base" --task parity:bits=16 --n 10000000 --samples 8 --max-tokens 64 \
    --save "$work/samples.$1" > "$work/out" 2> "$work/eval.log" &
  pid=$!
  wait_for "zeroth eval to start" test -e "$work/samples.$1"
  sleep 0.5
  kill "-$1" $pid
  wait $pid || status=$?
  [ "$status" -eq "$2" ] || fail "eval: exit code $status instead of $2 after SIG$1"
done

# nohup: a SIGHUP that is ignored stays so.
(trap '' HUP; exec "$zeroth" train "$work/config.json" --out "$work/nohup" > /dev/null 2>&1) &
pid=$!
wait_for "three steps" has_rows "$work/nohup" 3
before=$(rows "$work/nohup")
kill -HUP $pid
wait_for "more steps" has_rows "$work/nohup" $((before + 2))
kill -TERM $pid
status=0
wait $pid || status=$?
[ "$status" -eq 143 ] || fail "nohup: exit code $status instead of 143"

# A second signal ends at once and says what is lost. The first one is not heard while the process is stopped.
"$zeroth" train "$work/config.json" --out "$work/second" > /dev/null 2> "$work/second.log" &
pid=$!
wait_for "three steps" has_rows "$work/second" 3
kill -STOP $pid
kill -INT $pid
kill -TERM $pid
kill -CONT $pid
status=0
wait $pid || status=$?
grep -q "ended at once; lost: steps 1 to" "$work/second.log" || fail "second: $(tail -3 "$work/second.log")"
[ "$status" -eq 130 ] || [ "$status" -eq 143 ] || fail "second: exit code $status"

[ "$failures" -eq 0 ] && echo "all signals are heard"
exit $((failures > 0))
