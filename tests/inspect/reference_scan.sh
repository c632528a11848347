#!/bin/sh
# reference_scan.sh MAKE_RUN ZEROTH: compares the scanners with tests/inspect/reference_scan.py on made-up traces.
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
"$1" "$folder/run" --steps 8 --groups 8 --samples 16 --tokens 90 --hostile || exit 1
python3 tests/inspect/reference_scan.py "$2" -- "$folder/run" 1000
