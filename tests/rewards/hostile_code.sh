#!/usr/bin/env bash
# Programs that attack their sandbox: every verdict is as expected, nothing is left behind, as this user and, when that is
# root, as an ordinary one. usage: hostile_code.sh ZEROTH
set -uo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
# An ordinary user may not be able to read the build folder.
cp "$1" "$dir/zeroth" && cp tests/data/hostile_code.jsonl "$dir/" && chmod 755 "$dir/zeroth" && chmod 644 "$dir/hostile_code.jsonl"
cd "$dir"
check() {
  "$@" check code hostile_code.jsonl --time-limit 2 > out 2> err && return 0
  if grep -q 'not safe on this machine\|MISSING' out err; then echo "programs are refused here; nothing to check"; return 0; fi
  cat err out
  echo "FAILED: $*"
  return 1
}
check ./zeroth || exit 1
if [ "$(id -u)" = 0 ] && command -v setpriv > /dev/null; then
  check setpriv --reuid 65534 --regid 65534 --clear-groups ./zeroth || exit 1
fi
tail -1 out
