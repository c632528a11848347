#!/usr/bin/env bash
# The binary has what makes a mistake in bounds end the program: see zeroth_harden in cmake/ZerothCompiler.cmake.
set -uo pipefail
zeroth=$1
failures=0
# has WHAT PATTERN COMMAND..
has() {
  local what=$1 pattern=$2
  shift 2
  "$@" 2> /dev/null | grep -E -- "$pattern" > /dev/null || { echo "FAILED: $what"; failures=$((failures + 1)); }
}
has "position-independent" 'Type: +DYN' readelf -hW "$zeroth"
has "read-only relocations" 'GNU_RELRO' readelf -lW "$zeroth"
has "bound at the start" 'BIND_NOW|FLAGS_1.*NOW' readelf -dW "$zeroth"
has "a stack protector" '__stack_chk_fail' readelf --dyn-syms -W "$zeroth"
has "checked libc calls" '__(memcpy|snprintf|printf|fprintf|read)_chk' readelf --dyn-syms -W "$zeroth"
has "checked containers" "std::vector.*operator\[\]" strings -a "$zeroth"
readelf -lW "$zeroth" | grep -qE 'GNU_STACK.* RWE' && { echo "FAILED: an executable stack"; failures=$((failures + 1)); }
[ $failures = 0 ] && echo "hardening: ok"
exit $failures
