#!/usr/bin/env bash
# A short demo trains, evaluates and ends with the JSON line of its contract; sampling and training agree bit for bit; every
# shipped config resolves; the whole run is the same bytes for one thread and two.
set -euo pipefail
zeroth=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

run() { ZEROTH_THREADS=$1 "$zeroth" demo --steps 3 --seed 5 --eval-problems 64 --out "$dir/run$1" 2> "$dir/err$1" | tail -n 1 > "$dir/out$1"; }
run 1
run 2
python3 - "$dir" <<'PY'
import json, sys
folder = sys.argv[1]
one, two = (json.load(open(folder + '/out%d' % n)) for n in (1, 2))
for key in ('task', 'accuracy_before', 'accuracy_after', 'n_eval', 'steps', 'seconds', 'max_logp_difference', 'run'):
    assert key in one, key
assert one['max_logp_difference'] == 0 and one['steps'] == 3 and one['n_eval'] == 64, one
assert one['accuracy_after'] == two['accuracy_after'], (one, two)
rows = []
for n in (1, 2):
    lines = [json.loads(line) for line in open(folder + '/run%d/metrics.jsonl' % n)]
    assert len(lines) == 3 and all(r['sampling/sampling_logp_difference/max'] == 0 for r in lines)
    rows.append([{k: v for k, v in r.items() if k != 'timing'} for r in lines])
assert rows[0] == rows[1]
PY
cmp "$dir/run1/checkpoints/latest/model.safetensors" "$dir/run2/checkpoints/latest/model.safetensors"
for file in "$dir"/run1/traces/*; do cmp "$file" "$dir/run2/traces/$(basename "$file")"; done
grep -q 'held-out Countdown' "$dir/err1"

for config in configs/*.json configs/algorithms/*.json; do
  case $config in
    configs/sft* | configs/dpo*)
      command=$(basename "$config" .json)
      "$zeroth" "${command%%-*}" "$config" --dry-run > /dev/null ;;
    configs/r1* | configs/k15*) "$zeroth" pipeline "$config" --out "$dir/pipeline" --dry-run > /dev/null ;;
    configs/pretrain-*) "$zeroth" pretrain "$config" --dry-run > /dev/null ;;
    *) "$zeroth" train "$config" --dry-run > /dev/null ;;
  esac
done
echo "demo, determinism over threads, configs: ok"
