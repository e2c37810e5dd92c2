#!/bin/bash
# The main job on emulated routers: a machine for each kernel boots with the static daemon and a
# static test program (tests/router) and nothing else. x86-64 kernels run the netfilter and
# namespace suites of this machine instead.
#
#   cross/router-test.sh [-b] KERNEL…    or `all`; cross/vm/setup.sh -h lists the kernels
#
#   -b   only fetches and builds what is needed
set -euo pipefail
cd "$(dirname "$0")/.."
. cross/vm/machines.sh

build_only=
if [ "${1-}" = -b ]; then
  build_only=1
  shift
fi
[ $# -gt 0 ] || fail "usage: cross/router-test.sh [-b] KERNEL…|all; kernels: ${KERNELS[*]}"
[ "$*" != all ] || set -- "${KERNELS[@]}"
for kernel; do
  known "$kernel"
done

cross/setup.sh
cross/vm/setup.sh "$@"
for kernel; do
  if [[ $kernel == x86_64-* ]]; then
    [ -n "$build_only" ] || cross/vm/suite.sh "$kernel"
    continue
  fi
  target=$(grep -o "^${kernel%-*}-unknown-[^ ]*" cross/targets)
  cross/build.sh "$target"
  # Of the target's test programs only this one; `cargo test` would want the test crate of std.
  cross/cargo.sh "$target" build --locked --release --test router \
    --message-format=json-render-diagnostics >"$work/messages"
  program=$(sed -n 's/.*"name":"router".*"executable":"\([^"]*\)".*/\1/p' "$work/messages")
  [ -x "$program" ] || fail "cargo did not tell where the test program is"
  [ -n "$build_only" ] || cross/vm/boot.sh "$kernel" "$program" "target/cross/$target/postern"
done
