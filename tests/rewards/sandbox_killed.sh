#!/usr/bin/env bash
# kill -9 of whoever grades programs, alone or with its process group, leaves no control group and no program behind.
# usage: sandbox_killed.sh ZEROTH
set -uo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mark=sandbox_killed_$$
for i in 1 2 3 4; do
  echo "{\"id\": $i, \"entry_point\": \"f\", \"calls\": [[1]], \"expected_values\": [1], \"program\": \"import os, time  # $mark\\nif os.fork() == 0: os.setsid()\\nopen('/dev/null')\\ntime.sleep(60)\\ndef f(x): return x\\n\"}"
done > "$dir/rows.jsonl"
# The programs' text is not in their command line: they are known by their worker.
below() {
  local all=$1 next=$1
  while next=$(ps -o pid= --ppid "$(echo $next | tr ' ' ',')" 2> /dev/null | xargs) && [ -n "$next" ]; do all="$all $next"; done
  echo "$all"
}
groups() { find /sys/fs/cgroup -maxdepth 8 -name 'zeroth-*' 2> /dev/null | sort; }
# Groups of others, whatever their names, are not ours.
left() {
  for pid in $1; do
    [ -d "/proc/$pid" ] && ! grep -q '^State:.*Z' "/proc/$pid/status" 2> /dev/null && echo "process $pid"
    comm -13 <(echo "$before") <(groups) | grep "/zeroth-$pid-"
  done
}
for victim in alone group; do
  for delay in 0.05 0.3 0.6 1.5; do
    before=$(groups)
    setsid "$1" grade --kind code --time_limit 60 --workers 2 --in "$dir/rows.jsonl" > "$dir/out" 2> "$dir/err" &
    pid=$!
    sleep "$delay"
    family=$(below $pid)
    target=$pid
    [ $victim = group ] && target=-$pid
    # The group is there once setsid has run.
    until kill -9 -- "$target" 2> /dev/null || ! kill -0 "$pid" 2> /dev/null; do sleep .01; done
    wait "$pid" 2> /dev/null
    grep -q 'not safe on this machine\|MISSING' "$dir/err" && { echo "skipped: programs are refused here"; exit 77; }
    for try in $(seq 100); do
      remains=$(left "$family")
      [ -z "$remains" ] && break
      sleep .1
    done
    [ -z "$remains" ] || { echo "FAILED: killed $victim after $delay s, left:"; echo "$remains"; exit 1; }
  done
done
echo "nothing left"
