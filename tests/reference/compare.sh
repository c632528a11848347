#!/bin/sh
# compare.sh CPU_PROGRAM REFERENCE_PROGRAM FOLDER..: a GRPO step by both back ends gives every model in these folders the
# same weights within 1e-5.
set -eu
cpu=$1 reference=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0 models=0
for folder in "$@"; do
  for model in "$folder"/*/; do
    [ -e "$model/config.json" ] || continue
    models=$((models + 1))
    echo "$model"
    "$cpu" "$model" write "$work/weights" || { echo "the CPU's step failed"; status=1; continue; }
    "$reference" "$model" compare "$work/weights" || { echo "the back ends differ"; status=1; }
  done
done
[ "$models" -gt 0 ] || { echo "no models in $*"; exit 1; }
exit $status
