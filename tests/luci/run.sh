#!/bin/bash
# Shows that the LuCI app works, as root: its source is such as OpenWrt's build takes, and
# Debian's Chromium drives its pages before a Postern that runs in network namespaces.
# Pictures of the pages are left in target/luci. Arguments are given to node, as in
# run.sh --test-name-pattern=phone.
set -eu
cd "$(dirname "$0")/../.."
NAME=luci
. tests/demo/world.sh

tests/setup.sh luci
build_postern
node tests/luci/source.mjs

make_world
mkdir -p target/luci "$WORK/browser"
rm -f target/luci/*.png
# Chromium keeps files in its home and its temporary directory, which end with the test's.
at $ROUTER env POSTERN="$POSTERN" WORK="$WORK" LAN=$LAN WAN=$WAN HOST=$HOST HOST6=$HOST6 \
  EXTERNAL=$EXTERNAL BROWSER="$PWD/target/luci-browser" SCREENSHOTS="$PWD/target/luci" \
  HOME="$WORK/browser" TMPDIR="$WORK/browser" \
  node "$@" tests/luci/pages.mjs
ok "the pages work; their pictures are in target/luci"
