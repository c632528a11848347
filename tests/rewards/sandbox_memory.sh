#!/usr/bin/env bash
# Memory that a program takes by ways that no limit of a process counts, as root and as an ordinary user, in a memory group
# that would not hold it; and programs that are right while their neighbours use up the memory of that group: a kill that
# a program did not earn is no zero. usage: sandbox_memory.sh ZEROTH
set -uo pipefail
skip() { echo "skipped: $1"; exit 77; }
[ "$(id -u)" = 0 ] && command -v setpriv > /dev/null || skip "only root may make memory groups and change users"
python3 -c "" 2> /dev/null || skip "no python3"
own=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
group=/sys/fs/cgroup/memory${own%/}/memory-test-$$ limit=memory.limit_in_bytes
if [ ! -d /sys/fs/cgroup/memory ]; then
  group=/sys/fs/cgroup/memory-test-$$ limit=memory.max
fi
mkdir "$group" 2> /dev/null && [ -w "$group/$limit" ] || { rmdir "$group" 2> /dev/null; skip "no memory group can be made here"; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"; for i in $(seq 100); do rmdir "$group" && break; sleep .1; done 2> /dev/null' EXIT
chmod 755 "$dir"
cp "$1" "$dir/zeroth" && chmod 755 "$dir/zeroth" || exit 1
python3 tests/rewards/memory_attacks.py "$dir" || exit 1
user="setpriv --reuid 65534 --regid 65534 --clear-groups"
# in_group BYTES COMMAND..: its standard output.
in_group() {
  echo "$1" > "$group/$limit" || exit 1
  bash -c 'echo $$ > "$0/cgroup.procs"; exec "$@"' "$group" "${@:2}"
}

# None of these is right, and none of them ends because the group around it is full (checker_error).
for who in "" "$user"; do
  in_group 3000000000 $who "$dir/zeroth" grade --kind code --time_limit 2 --workers 1 --in "$dir/attacks.jsonl" > "$dir/out" 2> "$dir/err"
  grep -q 'not safe on this machine\|MISSING' "$dir/err" && skip "programs are refused here"
  ended=$(grep -c '"score":0.0,"reason":"\(timeout\|sandbox_killed\|runtime_error\)"' "$dir/out")
  [ "$ended" = "$(wc -l < "$dir/attacks.jsonl")" ] || { echo "FAILED: attacks ${who:-as root}"; cat "$dir/out" "$dir/err"; exit 1; }
done
# Those that are refused to who has no group must not even come near their limit.
in_group 300000000 $user "$dir/zeroth" grade --kind code --time_limit 2 --workers 1 --in "$dir/refused.jsonl" > "$dir/out"
grep -q checker_error "$dir/out" && { echo "FAILED: shared memory is not refused"; cat "$dir/out"; exit 1; }

# Two at a time are more than the group holds; one after another they are right.
for who in "" "$user"; do
  in_group 450000000 $who "$dir/zeroth" grade --kind code --time_limit 20 --workers 2 --in "$dir/right.jsonl" > "$dir/out" 2> "$dir/err"
  grep -q '"score":0' "$dir/out" && { echo "FAILED: neighbours ${who:-as root}"; cat "$dir/out" "$dir/err"; exit 1; }
  [ "$(grep -c '"score":1' "$dir/out")" -ge 4 ] || { echo "FAILED: not run again ${who:-as root}"; cat "$dir/out" "$dir/err"; exit 1; }
done
echo "attacks ended, right programs right"
