#!/bin/bash
# Runs Debian's cargo for one or several router targets, with std built along.
#
#   cross/cargo.sh [-d|-t] TARGET[,TARGET…] CARGO-ARGUMENTS…
#
#   -d   the debuggable flags of cross/flags
#   -t   for tests, which unwind: no flags but the base and those of the processor; programs run in QEMU's user mode
#
# What it builds is in $POSTERN_CACHE/target (default ~/.cache/postern/target), for `-d` and `-t` in
# folders of their own.
set -euo pipefail
cd "$(dirname "$0")/.."
. cross/flags

readonly CACHE=${POSTERN_CACHE:-$HOME/.cache/postern}
set_of=release
while getopts dt option; do
  case $option in
    d) set_of=debuggable ;;
    t) set_of=tests ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
[ $# -gt 1 ] || { echo "usage: cross/cargo.sh [-d|-t] TARGET[,TARGET…] CARGO-ARGUMENTS…" >&2; exit 2; }
targets=$1
shift

# RUSTFLAGS would silently take the place of ours.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS
export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUST_LIBC_UNSTABLE_MUSL_V1_2_3=1
export CARGO_UNSTABLE_BUILD_STD=std,panic_abort CARGO_UNSTABLE_BUILD_STD_FEATURES=optimize_for_size
export CARGO_TARGET_DIR=$CACHE/target
case $set_of in
  release) flags=("${base[@]}" "${release[@]}") ;;
  debuggable)
    flags=("${base[@]}" "${debuggable[@]}")
    export CARGO_TARGET_DIR=$CACHE/target-debuggable CARGO_PROFILE_RELEASE_STRIP=false
    ;;
  tests)
    flags=("${base[@]}")
    export CARGO_TARGET_DIR=$CACHE/target-tests
    export CARGO_UNSTABLE_BUILD_STD=std,panic_unwind,test CARGO_UNSTABLE_BUILD_STD_FEATURES=
    # Debug assertions and overflow checks stay on; unoptimised, an emulator takes four times as long.
    export CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0
    ;;
esac

chosen=()
for target in ${targets//,/ }; do
  read -r _ zig cpu _ < <(grep "^$target " cross/targets) || {
    echo "cross: there is no target $target; cross/targets has: $(grep -o '^[a-z][^ ]*' cross/targets | xargs)" >&2
    exit 2
  }
  own=("${flags[@]}" -Clink-arg=-target "-Clink-arg=$zig" "-Clink-arg=-mcpu=$cpu")
  if declare -p "${set_of}_${target%%-*}" &>/dev/null; then
    declare -n besides=${set_of}_${target%%-*}
    own+=("${besides[@]}")
  fi
  name=${target^^}
  name=CARGO_TARGET_${name//-/_}
  export "${name}_LINKER=$PWD/cross/zigcc" "${name}_RUSTFLAGS=${own[*]}"
  case $target in
    mips*) export "${name}_RUNNER=qemu-${target%%-*}-static -cpu 24Kc" ;;
    armv5te*) export "${name}_RUNNER=qemu-arm-static -cpu arm926" ;;
    arm-*) export "${name}_RUNNER=qemu-arm-static -cpu arm1136" ;;
    armv7*) export "${name}_RUNNER=qemu-arm-static -cpu cortex-a7" ;;
    aarch64*) export "${name}_RUNNER=qemu-aarch64-static" ;;
  esac
  chosen+=(--target "$target")
done
command=$1
shift
exec /usr/bin/cargo "$command" "${chosen[@]}" "$@"
