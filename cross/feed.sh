#!/bin/bash
# Builds and tests Postern on this machine in the shape that OpenWrt's package feed gives it: its
# rust-package.mk sets the release profile through the environment, over what Cargo.toml says, so
# that panics unwind, overflows panic and the C library is linked dynamically.
#
#   cross/feed.sh        the unit tests, `postern check` and the UCI grammar
#   cross/feed.sh all    every test, in namespaces too (as root, after `make setup`)
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  echo "feed: $*" >&2
  exit 1
}

# What the feed's rust-values.mk sets.
export CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
export CARGO_PROFILE_RELEASE_DEBUG=false
export CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=false
export CARGO_PROFILE_RELEASE_LTO=true
export CARGO_PROFILE_RELEASE_OPT_LEVEL=z
export CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true
export CARGO_PROFILE_RELEASE_PANIC=unwind
export CARGO_PROFILE_RELEASE_RPATH=false
export RUSTFLAGS=-Ctarget-feature=-crt-static
# A folder of its own, or each build would undo the other's.
export CARGO_TARGET_DIR=${POSTERN_CACHE:-$HOME/.cache/postern}/target-feed

case ${1-} in
  "") tests=(--lib --test check --test uci_differential) ;;
  all) tests=() ;;
  *) fail "usage: cross/feed.sh [all]" ;;
esac

cargo=${CARGO:-cargo}
"$cargo" build --locked --release --bin postern
program=$CARGO_TARGET_DIR/release/postern
needed=$(LC_ALL=C readelf --dynamic "$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | xargs)
[ -n "$needed" ] || fail "$program is not linked dynamically"
echo "feed: $("$program" --version): $(stat -c %s "$program") bytes, needs $needed"
"$cargo" test --locked --release "${tests[@]}"
