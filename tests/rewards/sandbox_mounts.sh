#!/usr/bin/env bash
# What is mounted below /usr can neither be written nor read from a sandboxed program, wherever it is mounted: in a folder
# that programs do not see, in one that they do, on a file, below another mount. As root and as an ordinary user.
# usage: sandbox_mounts.sh ZEROTH
set -uo pipefail
skip() { echo "skipped: $1"; exit 77; }
[ "$(id -u)" = 0 ] || skip "only root may mount"
command -v unshare > /dev/null && command -v setpriv > /dev/null || skip "no unshare or setpriv"
unshare -m true 2> /dev/null || skip "no mount namespaces"
python=$(readlink -f /usr/bin/python3) && seen=/usr/lib/$(basename "$python")/unittest
[ -d "$seen" ] && [ -f /usr/bin/yes ] || skip "no python3 with its library below /usr"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
mkdir "$dir/other" "$dir/other/in side" && echo secret > "$dir/other/tests.jsonl" && echo secret > "$dir/file"
chmod 777 "$dir/other" "$dir/other/in side" && chmod 666 "$dir/other/tests.jsonl" "$dir/file"
cp "$1" "$dir/zeroth" && chmod 755 "$dir/zeroth"

# Right answers are given only by a program that has read or written something.
cat > "$dir/program.py" <<END
import os
places = ["/usr/src", "/usr/local/src", "/usr/share/doc", "$seen", "$seen/in side", "/usr/bin/yes"]
found = []
for place in places:
    for path in (place, place + "/tests.jsonl"):
        try:
            found += ["read " + path] if b"secret" in open(path, "rb").read() else []
        except OSError: pass
        try:
            open(path, "a").write("escaped"); found.append("wrote " + path)
        except OSError: pass
    try:
        open(place + "/escaped", "w"); found.append("made a file in " + place)
    except OSError: pass
    try:
        os.rename(place + "/tests.jsonl", place + "/moved"); found.append("renamed in " + place)
    except OSError: pass
def f(x): return "; ".join(found) or "nothing"
END
"$python" - "$dir" <<'END'
import json, sys
row = {"id": "mounts", "entry_point": "f", "calls": [[1]], "expected_values": ["nothing"], "program": open(sys.argv[1] + "/program.py").read()}
open(sys.argv[1] + "/rows.jsonl", "w").write(json.dumps(row) + "\n")
END
cat > "$dir/mounts.sh" <<END
set -e
mount --make-rprivate /
for place in /usr/src /usr/local/src /usr/share/doc "$seen"; do mount --bind "$dir/other" "\$place"; done
mount --bind "$dir/other" "$seen/in side"
mount --bind "$dir/file" /usr/bin/yes
exec "\$@"
END
for user in "" "setpriv --reuid 65534 --regid 65534 --clear-groups"; do
  unshare -m bash "$dir/mounts.sh" $user "$dir/zeroth" grade --kind code --in "$dir/rows.jsonl" > "$dir/out" 2> "$dir/err"
  grep -q 'not safe on this machine\|MISSING' "$dir/err" && skip "programs are refused here"
  grep -q '"score":1' "$dir/out" || { echo "FAILED: $user"; cat "$dir/out" "$dir/err"; exit 1; }
done
[ -z "$(find "$dir/other" "$dir/file" -newer "$dir/mounts.sh")" ] || { echo "FAILED: changed:"; find "$dir/other" "$dir/file" -newer "$dir/mounts.sh"; exit 1; }
echo "nothing read, nothing written"
