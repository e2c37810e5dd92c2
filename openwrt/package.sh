#!/bin/bash
# Writes the packages of one router target to target/package: openwrt/package.sh TARGET [ARCH…]
# OpenWrt's names of its machines are in openwrt/architectures. The program is built if it is not
# there.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:?the target; cross/targets lists them}
shift
[ $# -gt 0 ] || set -- $(sed -n "s/^$target  *//p" openwrt/architectures)
[ $# -gt 0 ] || { echo "package: $target is not in openwrt/architectures" >&2; exit 2; }
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
export SOURCE_DATE_EPOCH
cross/build.sh "$target"
for architecture; do
  python3 openwrt/ipk.py postern "target/cross/$target/postern" "$architecture" target/package
done
if [ -d openwrt/luci-app-postern ]; then
  python3 openwrt/ipk.py luci target/package
else
  echo "package: there is no openwrt/luci-app-postern, so none of it is packed"
fi
