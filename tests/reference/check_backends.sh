#!/bin/sh
# check_backends.sh ZEROTH: `check backends` over models with experts, latent attention, windows, clipping and dual
# chunks, image codes: back ends agree, and where they do not the place is named.
set -eu
zeroth=$1
failures=0
fail() { echo "FAILED: $1"; failures=1; }

models="models/drawings tests/data/parity/qwen2 tests/data/parity/deepseek_v3 tests/data/parity/qwen2_moe tests/data/parity_variants/olmoe_clip"
# shellcheck disable=SC2086
"$zeroth" check backends $models || fail "the back ends differ"
"$zeroth" check backends tests/data/parity/qwen3_moe --weights bfloat16 || fail "bfloat16"

status=0
out=$("$zeroth" check backends tests/data/parity/llama --first cpu --second reference --bound 0) || status=$?
echo "$out"
[ "$status" -eq 1 ] || fail "exit $status for back ends that round differently"
echo "$out" | grep -Eq 'DIFFERS' || fail "no verdict"
echo "$out" | grep -Eq '^  [a-z_]+, call [0-9]+: [a-z_ ]+\[[0-9]+, [0-9]+\] of \[[0-9]+, [0-9]+\] is .* \(cpu\) and .* \(reference\), [0-9]+ ulps$' ||
  fail "the place is not named"
"$zeroth" check backends tests/data/parity/llama --first cpu --second reference --bound 0 --json | grep -q '"ok":false' ||
  fail "no JSON"
status=0
"$zeroth" check backends tests/data/parity/llama --first mmx --second cpu 2>/dev/null || status=$?
[ "$status" -eq 2 ] || fail "exit $status for an unknown back end"
exit $failures
