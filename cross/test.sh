#!/bin/bash
# Runs the library's unit tests as routers would, in QEMU's user mode, with debug assertions and
# overflow checks: on MIPS of both byte orders and on the oldest ARM.
#
#   cross/test.sh [TARGET…]    cross/targets lists them
set -euo pipefail
cd "$(dirname "$0")/.."

# Tests that QEMU's user mode cannot run, by their full names, each with its reason: it knows no
# netlink of netfilter's, and garbles that of routes on big-endian machines.
readonly LEFT_OUT=()

fail() {
  echo "test: $*" >&2
  exit 1
}

[ $# -gt 0 ] ||
  set -- mips-unknown-linux-musl mipsel-unknown-linux-musl armv5te-unknown-linux-musleabi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Runs a command whose output is of interest only if it fails, and keeps it in $work/said.
quietly() {
  "$@" >"$work/said" 2>&1 || {
    cat "$work/said" >&2
    return 1
  }
}

cross/setup.sh test
quietly "${CARGO:-cargo}" test --locked --lib -- --list || fail "the tests do not build on this machine"
here=$(grep -c ': test$' "$work/said") || fail "cargo lists no tests"
for name in "${LEFT_OUT[@]}"; do
  grep -qx "$name: test" "$work/said" || fail "there is no test $name to leave out"
done
expected=$((here - ${#LEFT_OUT[@]}))

# One by one: cargo gives crates that are built for several targets at once the features that any of
# them wants, and would build them again for one.
for target; do
  SECONDS=0
  quietly cross/cargo.sh -t "$target" test --locked --lib -- --exact "${LEFT_OUT[@]/#/--skip=}" ||
    fail "$target: failed"
  passed=$(sed -n 's/^test result: ok\. \([0-9]*\) passed; 0 failed; 0 ignored;.*/\1/p' "$work/said")
  [ "${passed:-0}" -gt 0 ] && [ "$passed" = "$expected" ] || {
    cat "$work/said" >&2
    fail "$target: ${passed:-no} tests passed, but $here run on this machine and ${#LEFT_OUT[@]} are left out"
  }
  echo "test: $target: $passed tests in $SECONDS s"
done
