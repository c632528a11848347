#!/usr/bin/env bash
# arm64.sh BUILD: what scripts/cross-arm64 built, under qemu-user: NEON gives the bits of the portable kernels, and training
# the weights of this machine's own build, byte for byte: ZEROTH_ARM64_STEPS (2) steps of configs/smoke.json. BUILD is that
# one's folder. 77 (skipped) without qemu-user or the cross build.
set -euo pipefail
build=$1 cross=build-arm64
command -v qemu-aarch64 >/dev/null || command -v qemu-aarch64-static >/dev/null || { echo "skipped: no qemu-user"; exit 77; }
[ -x $cross/zeroth ] && [ -x $cross/test_kernels ] || { echo "skipped: no $cross: run scripts/cross-arm64"; exit 77; }
if ! ninja -C $cross -n zeroth test_kernels | grep -q 'no work to do'; then
  echo "skipped: $cross is older than the sources: run scripts/cross-arm64"; exit 77
fi
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

scripts/cross-arm64 --run zeroth --version | tee "$work/version"
grep -q neon "$work/version" || fail "no NEON kernels"
scripts/cross-arm64 --run test_kernels ${ZEROTH_ARM64_TESTS:+"$ZEROTH_ARM64_TESTS"} || fail "the kernels' tests"

# GRPO that grades, updates and saves.
train() {  # OUT PROGRAM..
  local out=$1; shift
  "$@" train configs/smoke.json --out "$out" --set steps="${ZEROTH_ARM64_STEPS:-2}" >/dev/null 2>"$out.log" ||
    { tail -n 20 "$out.log"; fail "training"; }
}
train "$work/here" "$build/zeroth"
train "$work/neon" scripts/cross-arm64 --run zeroth
for weights in "$work"/here/checkpoints/latest/*.safetensors; do
  cmp "$weights" "$work/neon/checkpoints/latest/$(basename "$weights")" || fail "other weights than this machine's"
done
sha256sum "$work"/here/checkpoints/latest/model.safetensors | cut -c1-64
echo "arm64 gives the bits of $(uname -m)"
