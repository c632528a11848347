#!/usr/bin/env bash
# The gates go red on what they are there for, each planted in a copy of the sources. usage: gates_test.sh
set -uo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0
git ls-files '*.cc' '*.h' '*.inc' '*.cuh' CMakeLists.txt scripts .clang-format 2> /dev/null | tar -cf - -T - | tar -xf - -C "$dir" || exit 77
cd "$dir" || exit 1
git -c init.defaultBranch=main init -q . && git add -A

# red WHAT PATTERN FILE TEXT COMMAND..: the command fails and names the file while FILE has TEXT.
red() {
  local what=$1 pattern=$2 file=$3 text=$4 out
  shift 4
  mkdir -p "$(dirname "$file")"
  printf '%b' "$text" > "$file"
  git add "$file"
  if out=$("$@" 2>&1); then
    echo "FAILED: $what is let through"; failures=$((failures + 1))
  elif ! grep -qE "$pattern" <<< "$out"; then
    echo "FAILED: $what: no line like $pattern in: $out"; failures=$((failures + 1))
  fi
  git rm -qf "$file"
}

out=$(scripts/check-layers 2>&1) || { echo "FAILED: the layers as they are: $out"; failures=$((failures + 1)); }
red "an include by angle brackets" 'core/planted.cc:1: ' core/planted.cc '#include <kernels/ops.h>\n' scripts/check-layers
red "an include from above" 'core/planted.cc:1: core/ may not include rl/' core/planted.cc '#include "rl/trainer.h"\n' scripts/check-layers
red "a header of 300 lines" 'core/planted.h: 300 lines' core/planted.h "$(printf '//\\n%.0s' $(seq 300))" scripts/check-layers
red "a test that reaches up" 'tests/core/planted_test.cc:1: ' tests/core/planted_test.cc '#include "rl/trainer.h"\n' scripts/check-layers
red "a second reader of JSON" 'core/planted.cc' core/planted.cc 'auto value = Json::parse(text);\n' scripts/check-layers
red "a call of Linux elsewhere" 'core/planted.cc:1:' core/planted.cc '#include <sys/prctl.h>\n' scripts/check-layers
red "a device's address that is followed" 'policy/planted.cc:1:' policy/planted.cc 'float f(At<float> x) { return *x.address(); }\n' scripts/check-layers
if command -v clang-format > /dev/null; then
  out=$(scripts/gates format 2>&1) || { echo "FAILED: the format as it is: $out"; failures=$((failures + 1)); }
  red "a file that is not formatted" 'core/planted.cc' core/planted.cc 'int  f( ){return 1;}\n' scripts/gates format
fi
[ $failures = 0 ] && echo "gates: red where they should be"
exit $failures
