#!/bin/bash
# Builds OpenWrt's own `uci` command, to compare our reader of its grammar with: DIR/bin/uci.
#
#   tests/uci-differential/build.sh DIR
#
# The C sources come from the crates registry, where the crate libuci-sys carries them. Nothing is
# done when DIR/bin/uci is there. What cmake lacks is installed (Debian, as root), nothing removed.
set -euo pipefail
readonly VERSION=1.0.5
readonly DIR=${1:?the folder to build in}

[ ! -x "$DIR/bin/uci" ] || exit 0
mkdir -p "$DIR/scratch/src"
cd "$DIR"

if ! command -v cmake >/dev/null || [ ! -e /usr/include/json-c/json.h ]; then
  apt-get install -y --no-remove --no-install-recommends cmake libjson-c-dev >apt.log 2>&1 || {
    apt-get update >apt.log 2>&1
    apt-get install -y --no-remove --no-install-recommends cmake libjson-c-dev >>apt.log 2>&1
  } || { cat apt.log >&2; exit 1; }
fi

# A crate of its own, so that nothing of it gets into our lock file.
cat >scratch/Cargo.toml <<EOF
[package]
name = "scratch"
version = "0.0.0"
edition = "2021"

[workspace]

[dependencies]
libuci-sys = "=$VERSION"
EOF
: >scratch/src/lib.rs
# The version asked for is in the name: whatever else is there stays unused.
cargo fetch --quiet --manifest-path scratch/Cargo.toml
manifest=$(cargo metadata --offline --format-version 1 --manifest-path scratch/Cargo.toml |
  grep -o '"manifest_path":"[^"]*/libuci-sys-[^"]*/Cargo.toml"' | cut -d '"' -f 4)
sources=$(dirname "$manifest")

# build PART OPTION…
build() {
  local part=$1
  shift
  {
    cmake -S "$sources/$part" -B "$part" -Wno-dev -DCMAKE_POLICY_VERSION_MINIMUM=3.5 \
      -DCMAKE_INSTALL_PREFIX="$DIR" -DCMAKE_INSTALL_RPATH="$DIR/lib" -DBUILD_LUA=OFF "$@" &&
      cmake --build "$part" --target install
  } >"$part.log" 2>&1 || { cat "$part.log" >&2; exit 1; }
}
build libubox -DBUILD_EXAMPLES=OFF
build uci -DBUILD_STATIC=OFF -Dubox_include_dir="$DIR/include" -DCMAKE_LIBRARY_PATH="$DIR/lib" \
  -DCMAKE_EXE_LINKER_FLAGS="-L$DIR/lib" -DCMAKE_SHARED_LINKER_FLAGS="-L$DIR/lib"
