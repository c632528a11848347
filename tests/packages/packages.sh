#!/usr/bin/env bash
# packages.sh KIND BUILD: makes the package (deb, archive, wheel) and runs the program from it, away from the source tree.
# 77 (skipped) where a tool that makes it is missing. With ZEROTH_BARE=DIR, which needs root, debootstrap and a mirror, also:
# from nothing to `zeroth demo --steps 20` in a bare Debian below DIR (suite ZEROTH_SUITE, default bookworm).
set -euo pipefail
kind=$1 build=$2
root=$(pwd)
for tool in patchelf zstd dpkg-shlibdeps cpack objdump file; do
  command -v $tool >/dev/null || { echo "skipped: no $tool"; exit 77; }
done
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
scripts/package "$kind" --build "$build" --out "$work"
fail() { echo "FAILED: $*"; exit 1; }

# Runs "$@" with a bare environment, elsewhere.
away() { (cd "$work" && env -i PATH=/usr/bin:/bin HOME="$work" "$@"); }

# The program at $1 finds its bases, and takes no library from the system that the package should hold.
check_program() {
  away "$1" --version | grep -q 'numeric contract' || fail "--version of $1"
  away "$1" eval --model models/base --task countdown --n 4 --max-tokens 16 --json | grep -q '"pass@1"' || fail "the shipped base is not found"
  if [ "${2:-}" = bundled ]; then
    away ldd "$1" | awk '$2 == "=>" && $3 !~ /lib\/zeroth\// {print $1}' | grep -v -E '^(libc|libm|libpthread|libgcc_s|libstdc\+\+|libdl|librt)\.so' && fail "not bundled"
  fi
  return 0
}

case $kind in
  deb)
    dpkg-deb -f "$work"/*.deb Depends | grep -q libflint || fail "no dependencies"
    dpkg-deb -x "$work"/*.deb "$work/root"
    check_program "$work/root/usr/bin/zeroth"
    ;;
  archive)
    tar -C "$work" -xf "$work"/*.tar.zst
    ls "$work"/zeroth-*/share/doc/zeroth/licences | grep -q libgmp10 || fail "no licences"
    check_program "$(echo "$work"/zeroth-*-linux-*/bin/zeroth)" bundled
    ;;
  wheel)
    [ "$(stat -c %s "$work"/*.whl)" -lt 40000000 ] || fail "the wheel has 40 MB or more"
    python3 -m venv "$work/venv" 2>/dev/null || { echo "skipped: no python3-venv"; exit 77; }
    "$work/venv/bin/python3" -m pip install -q --no-deps --no-index "$work"/*.whl
    check_program "$work/venv/bin/zeroth"
    check_program "$(echo "$work"/venv/lib/python3*/site-packages/zeroth/program/bin/zeroth)" bundled
    away "$work/venv/bin/python3" -c 'import zeroth; assert "contract" in zeroth.version()'
    ;;
esac
[ -n "${ZEROTH_BARE:-}" ] || { echo "$kind runs"; exit 0; }

# A bare Debian, and how long it takes and weighs there.
bare=$ZEROTH_BARE
if [ ! -e "$bare/etc/debian_version" ]; then
  debootstrap --variant=minbase "${ZEROTH_SUITE:-bookworm}" "$bare" "${ZEROTH_MIRROR:-$(awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/debian.sources)}" >/dev/null
fi
for file in /etc/resolv.conf /etc/hosts; do cp -L $file "$bare$file"; done
cp /etc/apt/apt.conf.d/99* "$bare/etc/apt/apt.conf.d/" 2>/dev/null || true
mkdir -p "$bare/etc/ssl/certs"; cp -L /etc/ssl/certs/ca-certificates.crt "$bare/etc/ssl/certs/" 2>/dev/null || true
rm -rf "$bare/dist" "$bare/runs"; mkdir "$bare/dist" "$bare/runs"; cp "$work"/*.deb "$work"/*.tar.zst "$work"/*.whl "$bare/dist/" 2>/dev/null || true
case $kind in
  # The steps of the Dockerfile: what it copies is in /tmp, then each RUN and the entry point.
  deb)
    cp "$work"/*.deb "$bare/tmp/"
    steps=$(sed -n 's/^RUN //p' Dockerfile); entry=$(sed -n 's/^ENTRYPOINT \["\(.*\)"\]/\1/p' Dockerfile) ;;
  archive) steps='command -v zstd >/dev/null || { apt-get update && apt-get install -y --no-install-recommends zstd; }; tar -C /opt -xf /dist/*.tar.zst'; entry='/opt/zeroth-*/bin/zeroth' ;;
  wheel) steps='apt-get update && apt-get install -y --no-install-recommends python3-venv && python3 -m venv /opt/venv && /opt/venv/bin/pip install --no-index /dist/*.whl'; entry=/opt/venv/bin/zeroth ;;
esac
before=$(du -sxk "$bare" | cut -f1); start=$(date +%s)
processor() { awk '{print int(($16 + $17) / 100)}' /proc/$$/stat; }  # seconds of the children that ended
used=$(processor)
STEPS="export DEBIAN_FRONTEND=noninteractive; $steps; cd /runs; $entry demo --steps 20 --out /runs/demo" unshare --mount bash -c '
  set -e
  mount --make-rprivate /; mount --bind "$0" "$0"; cd "$0"
  mount --rbind /dev dev; mount --rbind /sys sys; mount -t proc proc proc
  mkdir -p .old; pivot_root . .old; cd /; umount -l /.old
  exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 bash -ec "$STEPS"' "$bare" > "$work/bare.log" 2>&1 || { tail -30 "$work/bare.log"; fail "in a bare Debian"; }
tail -n 1 "$work/bare.log" | grep -q accuracy_after || fail "no demo"
size=$(du -b "$bare"/dist/* | awk '{printf "%.1f MB", $1 / 1e6}')
echo "$kind of $size in a bare Debian $(cat "$bare/etc/debian_version"): $(( $(date +%s) - start )) s, of the processor $(( $(processor) - used )) s, $(( ($(du -sxk "$bare" | cut -f1) - before) / 1024 )) MiB more on disk"
