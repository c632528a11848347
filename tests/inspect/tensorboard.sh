#!/bin/sh
# tensorboard.sh MAKE_RUN: writes a run and reads its events back with the real TensorBoard (skipped without it).
# ZEROTH_PYTHON names the interpreter to use; else the one that scripts/setup --test made, if it is there.
python=${ZEROTH_PYTHON:-.deps/python/bin/python3}
[ -x "$python" ] || python=python3
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
"$1" "$folder/run" --steps 5 --groups 2 --samples 4 || exit 1
"$python" tests/inspect/read_tensorboard.py "$folder/run"
