#!/bin/sh
# page_test.sh MAKE_RUN ZEROTH [SCREENSHOT_FOLDER]: the inspector's page on a real run and on hostile text; see page_test.py.
python3 -c 'import sys; sys.path.insert(0, "tests/inspect"); from browser import find_chromium; sys.exit(find_chromium() is None)' || {
  echo "skipped: there is no Chromium; install Debian's package chromium, or set ZEROTH_CHROMIUM"
  exit 77
}
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
"$2" train configs/smoke.json --out "$folder/run" --set steps=4 --set prompts_per_step=8 --set probe.every=1 --set checkpoint_every=4 --set trainer.inner_epochs=2 \
  --set engine.record_experts=true --set record.progress=false > /dev/null || exit 1
"$1" "$folder/hostile" --steps 2 --groups 2 --samples 4 --hostile || exit 1
mkdir "$folder/runs"
"$1" "$folder/runs/plain" --steps 12 --groups 2 --samples 4 --eval_every 5 --seed 2 || exit 1
"$1" "$folder/runs/lost" --steps 6 --planned 40 --groups 2 --samples 4 --eval_every 3 --seed 3 || exit 1
"$1" "$folder/runs/failing" --steps 12 --planned 30 --groups 2 --samples 8 --eval_every 5 --failing || exit 1
python3 tests/inspect/page_test.py "$2" -- "$folder/run" "$folder/hostile" "$folder/runs" $3
