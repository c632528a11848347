#!/bin/bash
# usage: adapters.sh ZEROTH [KILLS [BASE_BITS]]
# Three adapters over one base in one process, killed with SIGKILL at random moments and resumed, against three runs of
# their own: checkpoints, traces and metrics (timings aside) must be equal byte for byte. Run from the project's root.
set -euo pipefail
zeroth=$(realpath "$1")
kills=${2:-3}
bits=${3:-q8_0}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$zeroth" init --config tests/data/tiny_base/config.json --seed 5 --out "$work/base" > /dev/null
cp tests/data/tiny_base/tokenizer.json tests/data/tiny_base/generation_config.json "$work/base/"
sha256sum "$work/base"/* > "$work/base.sum"
cat > "$work/config.json" <<JSON
{
  "model": "$work/base",
  "task": {"name": "parity", "options": {"bits": 4}},
  "seed": 3, "steps": 12, "prompts_per_step": 4, "samples_per_prompt": 6,
  "sampling": {"max_tokens": 24, "stop": ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"]},
  "overlong": {"buffer": 23},
  "optimizer": {"lr": 1e-3},
  "lora": {"rank": 2, "base": "$bits"},
  "probe": {"every": 7, "problems": 2, "samples": 2},
  "checkpoint_every": 3,
  "adapters": [
    {"name": "small"},
    {"name": "large", "lora": {"rank": 6, "alpha": 12, "seed": 77}, "optimizer": {"lr": 3e-3}},
    {"name": "held", "lora": {"targets": ["q_proj", "down_proj"]},
     "loss": {"beta": 0.05, "entropy_coef": 0.01}, "trainer": {"reference_refresh": 5}}]
}
JSON

fingerprint() {  # of a finished run
  (cd "$1/checkpoints/latest/" && find . -type f | sort | xargs sha256sum)
  (cd "$1/traces" && find . -type f ! -name 'index.sqlite*' | sort | xargs sha256sum)
  sed 's/,"timing":{[^}]*}//' "$1/metrics.jsonl" | sha256sum
}

one() { "$zeroth" train "$work/config.json" --set 'adapters=[]' "${@:2}" --out "$work/one/$1" > /dev/null 2> "$work/one.log" || { cat "$work/one.log"; exit 1; }; }
one small
one large --set lora.rank=6 --set lora.alpha=12 --set lora.seed=77 --set optimizer.lr=3e-3
one held --set 'lora.targets=["q_proj","down_proj"]' --set loss.beta=0.05 --set loss.entropy_coef=0.01 --set trainer.reference_refresh=5

start=$(date +%s%N)
"$zeroth" train "$work/config.json" --out "$work/together" > "$work/together.out" 2> "$work/together.log" || { cat "$work/together.log"; exit 1; }
millis=$((($(date +%s%N) - start) / 1000000))
for name in small large held; do  # each line says whose it is
  [ "$(grep -c "^$name  step .*reward" "$work/together.log")" -eq 12 ] || { cat "$work/together.log"; echo "lines of $name"; exit 1; }
done
[ "$(grep -c '"max_logp_difference":0' "$work/together.out")" -eq 3 ] || { cat "$work/together.out"; echo "log-probs differ"; exit 1; }

done_kills=0
RANDOM=${SEED:-$$}
while :; do
  "$zeroth" train "$work/config.json" --resume "$work/killed" > /dev/null 2> "$work/killed.log" &
  pid=$!
  if [ "$done_kills" -lt "$kills" ]; then
    sleep "$(awk -v r=$RANDOM -v m="$millis" -v k="$kills" 'BEGIN { printf "%.3f", r / 32768 * m / 1000 * 2 / (k + 1) }')"
    kill -9 "$pid" 2> /dev/null || true
    status=0
    wait "$pid" 2> /dev/null || status=$?
    [ "$status" -eq 0 ] && break  # it was faster
    [ "$status" -eq 137 ] || { cat "$work/killed.log"; echo "resume failed with exit code $status"; exit 1; }
    done_kills=$((done_kills + 1))
    continue
  fi
  wait "$pid" || { cat "$work/killed.log"; echo "resume failed"; exit 1; }
  break
done
# What the runs refuse does not stay in their list.
if "$zeroth" train --resume "$work/together" --set seed=5 > /dev/null 2> "$work/refused.log"; then echo "another seed was taken"; exit 1; fi
grep -q 'another value of: seed' "$work/refused.log" || { cat "$work/refused.log"; exit 1; }
# Without the config, where nothing is left to do.
"$zeroth" train --resume "$work/together" > /dev/null 2> "$work/again.log" || { cat "$work/again.log"; exit 1; }

for name in small large held; do
  fingerprint "$work/one/$name" > "$work/expected"
  for runs in together killed; do
    fingerprint "$work/$runs/$name" > "$work/found"
    diff "$work/expected" "$work/found" || { echo "adapter $name of the $runs runs differs from the run of its own"; exit 1; }
  done
done
[ "$(sha256sum < "$work/together/small/metrics.jsonl")" != "$(sha256sum < "$work/together/large/metrics.jsonl")" ] || { echo "two adapters have learnt the same"; exit 1; }
sha256sum --quiet -c "$work/base.sum"
echo "3 adapters over one base in $bits, $done_kills kills: the bytes of 3 runs"
