#!/bin/sh
# client.sh ZEROTH: examples/tinker by the public client (skipped where it is not installed).
# ZEROTH_TINKER_PYTHON names the interpreter to use; else the one that scripts/setup --tinker made, if it is there.
python=${ZEROTH_TINKER_PYTHON:-.deps/tinker/bin/python3}
[ -x "$python" ] || python=python3
exec "$python" tests/tinker/client_test.py "$@"
