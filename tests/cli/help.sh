#!/bin/bash
# usage: help.sh ZEROTH
# Every command, and every part of a command, answers --help and -h on stdout with exit code 0.
set -euo pipefail
zeroth=$1
bad=0
mapfile -t commands < <("$zeroth" --help | awk '/^  [a-z]/ {print $1}')
parts=("check "{parity,backends,losses,advantages,lora,ranks,sft,dpo,tokenizer,math,code} "fleet "{status,evidence} "task "{list,sample,check,new,serve} "tokenize build"
       "grade --kind code" "traces "{ls,show,grep,diff,top,stats,export,judge,reindex})
[ ${#commands[@]} -ge 18 ] || { echo "zeroth --help names ${#commands[@]} commands only"; exit 1; }
for command in "${commands[@]}" "${parts[@]}"; do
  for flag in --help -h; do
    # shellcheck disable=SC2086
    if ! out=$("$zeroth" $command $flag 2> /dev/null) || [[ $out != usage:* ]]; then
      echo "zeroth $command $flag: no help"
      bad=1
    fi
  done
done
exit $bad
