#!/usr/bin/env bash
# check_symbols.sh COMPILER SOURCE_DIR: objects that are compiled for AVX may define nothing outside of their own
# namespace. An inline function of a shared header would be emitted there as a weak symbol, the linker may keep that
# copy for the whole program, and a processor without AVX stops at it. Nothing is optimised here, so that whatever is
# not always inlined shows.
set -euo pipefail
compiler=$1 source=$2 work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What an object defines for others, by mangled name, but for its own namespace and its table.
foreign() {  # object namespace
  nm --defined-only --extern-only "$1" | awk '{print $NF}' |
    grep -vE "^(_Z+[A-Z]*6zeroth7kernels${#2}$2|_ZN6zeroth7kernels[0-9]+$2_tableEv|DW\.ref\.__gxx_personality_v0)" || true
}
compile() {  # source object flags...
  "$compiler" -std=c++20 -O0 -w -I "$source" -c "$1" -o "$2" "${@:3}"
}

status=0
check() {  # namespace flags...
  compile "$source/kernels/cpu/$1.cc" "$work/$1.o" "${@:2}"
  nm --defined-only "$work/$1.o" | grep "$1_table" >/dev/null || { echo "$1.o defines no table"; status=1; }
  local found
  found=$(foreign "$work/$1.o" "$1")
  [ -z "$found" ] || { echo "kernels/cpu/$1.cc defines shared symbols:"; c++filt <<<"$found"; status=1; }
}
check avx2 -mavx2 -mfma
check avx512 -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma

# The check sees what it is for.
echo 'namespace zeroth::kernels { inline int shared() { return 1; } namespace avx2 { int own() { return shared(); } } }' \
  >"$work/planted.cc"
compile "$work/planted.cc" "$work/planted.o"
[ "$(foreign "$work/planted.o" avx2)" = _ZN6zeroth7kernels6sharedEv ] || { echo "a shared symbol is not seen"; status=1; }
exit $status
