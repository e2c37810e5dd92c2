#!/bin/bash
# Runs the tests that ask the kernel (tests/nft_kernel.rs and tests/netns) under another kernel: an
# x86-64 machine whose root file system is this machine's own, of which it can change nothing.
#
#   cross/vm/suite.sh KERNEL [FILTER…]     KERNEL is x86_64-…; FILTERs are words of test names
#
# Builds the tests if need be, succeeds if they do, needs what `make test` needs, and is run as
# root, as only root can read all of the file system.
set -euo pipefail
cd "$(dirname "$0")/../.."
. cross/vm/machines.sh

# Tests of netns that are left out, and why: emulation makes programs some twenty times slower.
readonly LEFT_OUT=(
  # Clients in Node and Python that start for a minute and send on connections given up meanwhile.
  faces::
  # Minutes of flooding, in which daemon and client compete for one emulated processor.
  limits::
  # They listen for so many tenths of a second, in which a start is not over here.
  discovery::a_start_says_byebye_then_alive_and_a_stop_says_byebye_to_all_of_it
  discovery::a_new_address_and_a_new_description_are_announced_under_a_new_boot_id
  # So many hundredths of a second of a real processor.
  pcp_table::a_table_that_is_lost_is_there_again_at_once_and_no_client_is_alarmed_201
  table::firewall_reloads_do_not_keep_the_daemon_busy
)

[ $# -gt 0 ] || fail "usage: cross/vm/suite.sh KERNEL [FILTER…]"
readonly KERNEL=$1
shift
known "$KERNEL"
[[ $KERNEL == x86_64-* && $(uname -m) == x86_64 ]] || fail "this needs an x86-64 kernel and machine"
[ "$(id -u)" = 0 ] || fail "reading the whole file system needs root"
[ -e "$VM/$KERNEL/vmlinuz" ] || fail "there is no kernel yet; run cross/vm/setup.sh $KERNEL"
machine "$KERNEL"
memory=1024
limit=1800

CARGO_TERM_COLOR=never ${CARGO:-cargo} test --locked --no-run --test nft_kernel --test netns 2>&1 | tee "$work/build"
# What runs in the machine.
{
  echo "cd '$PWD' && export PATH='$PATH' RUST_BACKTRACE=0 code=0"
  while read -r name binary; do
    words=(--color=never "$@")
    [ "$name" != netns ] || for test in "${LEFT_OUT[@]}"; do
      grep -q "^$test" <<<"$("$binary" --list)" || fail "there is no test $test to leave out"
      words+=(--skip "$test")
    done
    echo "echo '$name:'; '$binary' ${words[*]} || code=1"
  done < <(sed -n 's/^ *Executable tests\/\([a-z_]*\)[^ ]* (\(.*\))$/\1 \2/p' "$work/build")
  echo 'echo "suite: exit $code"'
} >"$work/job"
[ "$(grep -c '|| code=1$' "$work/job")" = 2 ] || fail "cargo did not tell where the tests are"

mkdir -p "$work/root"/{bin,dev,proc,modules,host,writes,root}
install "$VM/busybox/usr/bin/busybox" "$work/root/bin/busybox"
install cross/vm/suite-init.sh "$work/root/init"
cp "$work/job" "$work/root/job"
cp "$VM/$KERNEL"/modules/*.ko "$work/root/modules"
pack "$work/root" "$work/initramfs"

echo "suite: $KERNEL ($(cat "$VM/$KERNEL/version"))"
code=0
emulate "$KERNEL" "$work/initramfs" quiet -smp 2 \
  -fsdev local,id=host,path=/,readonly=on,security_model=none,multidevs=remap \
  -device virtio-9p-pci,fsdev=host,mount_tag=host || code=$?
said=$(sed -n 's/\r*$//; s/^suite: exit //p' "$work/console" | tail -n 1)
case $said in
  0)
    passed=$(sed -n 's/^test result: ok\. \([0-9]*\) passed.*/\1/p' "$work/console" | paste -sd +)
    [ "$((passed))" -gt 0 ] || fail "no test has a name with: $*"
    echo "suite: $KERNEL passed $((passed)) tests in $SECONDS s"
    ;;
  1) fail "tests failed under $KERNEL" ;;
  *) explain "$code" ;;
esac
