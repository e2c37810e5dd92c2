#!/bin/bash
# Builds OpenWrt's own `uci` command, to compare our reader of its grammar with: DIR/bin/uci.
#
#   tests/uci-differential/build.sh DIR
#
# The C sources come from the crates registry, where the crate libuci-sys carries them, and stay
# there untouched. Nothing is done when DIR/bin/uci is there. Needs cargo and a C compiler.
set -euo pipefail
readonly VERSION=1.0.5
readonly DIR=${1:?the folder to build in}

[ ! -x "$DIR/bin/uci" ] || exit 0
mkdir -p "$DIR/scratch/src" "$DIR/include" "$DIR/bin"
cd "$DIR"

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

# Its cmake files would want json-c for parts that are not needed, and write the (empty) list of
# debugging options into the sources.
: >include/uci_config.h
parts=()
for part in cli libuci file util delta parse; do parts+=("$sources/uci/$part.c"); done
# Not warned: the compilers of today find more than those it was written with.
cc -O1 -std=gnu99 -w -Iinclude -I"$sources" -I"$sources/uci" -o bin/uci.new "${parts[@]}" -ldl
mv bin/uci.new bin/uci
