#!/bin/sh
# loggers.sh TOOL ZEROTH MAKE_RUN: the follower of that tool against the tool's own client (skipped where it is not installed).
# ZEROTH_LOGGERS_PYTHON names the interpreter to use; else the one that scripts/setup --loggers made, if it is there.
python=${ZEROTH_LOGGERS_PYTHON:-.deps/loggers/bin/python3}
[ -x "$python" ] || python=python3
exec "$python" tests/loggers/loggers_test.py "$@"
