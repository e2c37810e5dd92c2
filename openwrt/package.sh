#!/bin/bash
# Writes the packages of router targets to target/package, for opkg and for apk:
# openwrt/package.sh TARGET [ARCH…], or `all`. OpenWrt's names of its machines are in
# openwrt/architectures.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || { echo "usage: openwrt/package.sh TARGET [ARCH…] | all; cross/targets lists the targets" >&2; exit 2; }
known() {
  sed -n "s/^$1  *//p" openwrt/architectures
}
if [ "$1" = all ]; then
  [ $# = 1 ] || { echo "package: with all there is no choice of ARCH" >&2; exit 2; }
  targets=$(grep -o '^[a-z][^ ]*' cross/targets)
  architectures=
else
  targets=$1
  shift
  architectures=$*
fi
for target in $targets; do
  [ -n "$(known "$target")" ] || { echo "package: $target is not in openwrt/architectures" >&2; exit 2; }
done
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
export SOURCE_DATE_EPOCH PYTHONDONTWRITEBYTECODE=1

# shellcheck disable=SC2086 # a word each
cross/build.sh $targets
for format in ipk apk; do
  for target in $targets; do
    for architecture in ${architectures:-$(known "$target")}; do
      python3 openwrt/$format.py postern "target/cross/$target/postern" "$architecture" target/package
    done
  done
  python3 openwrt/$format.py luci target/package
done
