#!/bin/bash
# Boots an emulated machine with nothing in it but one static program as pid 1, the daemon as
# /postern and the kernel's modules in /modules. The program says how it went in a line
# `router: PASS …` or `router: FAIL …` and powers off.
#
#   cross/vm/boot.sh [-m MB] [-t SECONDS] KERNEL PROGRAM DAEMON
#
# Succeeds only if PASS was said. KERNEL is one that setup.sh fetched (`cross/vm/setup.sh -h`).
set -euo pipefail
. "$(dirname "$0")/machines.sh"

limit=600
megabytes=
while getopts m:t: option; do
  case $option in
    m) megabytes=$OPTARG ;;
    t) limit=$OPTARG ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
[ $# = 3 ] || fail "usage: cross/vm/boot.sh [-m MB] [-t SECONDS] KERNEL PROGRAM DAEMON"
readonly KERNEL=$1 PROGRAM=$2 DAEMON=$3
known "$KERNEL"
[ -e "$VM/$KERNEL/vmlinuz" ] || fail "there is no kernel yet; run cross/vm/setup.sh $KERNEL"
machine "$KERNEL"
memory=${megabytes:-$memory}

mkdir -p "$work/root"/{dev,proc,sys,tmp,run,modules}
install "$PROGRAM" "$work/root/init"
install "$DAEMON" "$work/root/postern"
find "$VM/$KERNEL/modules" -name '*.ko' -exec cp -t "$work/root/modules" {} +
pack "$work/root" "$work/initramfs"

echo "boot: $KERNEL ($(cat "$VM/$KERNEL/version")), $memory MB"
code=0
emulate "$KERNEL" "$work/initramfs" "" || code=$?
said=$(sed -n 's/\r*$//; s/^router: //p' "$work/console" | tail -n 1)
case $said in
  PASS*) echo "boot: $KERNEL passed in $SECONDS s" ;;
  FAIL*) fail "$KERNEL: $said" ;;
  *) explain "$code" ;;
esac
