#!/bin/bash
# Fails unless a program is what every router of a target can run: static, position-independent where
# cross/flags says so, of the right processor and byte order, declaring no use of a floating-point unit or
# NEON where such routers may lack it.
#
#   cross/abi.sh TARGET FILE
set -euo pipefail

readonly TARGET=$1 FILE=$2

fail() {
  echo "abi: $FILE is not for $TARGET: $*" >&2
  exit 1
}

# Fails unless the output $1 has a line that matches $2.
has() {
  grep -Eq -- "$2" <<<"$1" || fail "no '$2' in:"$'\n'"$1"
}

# Fails if it has one.
lacks() {
  ! grep -E -- "$2" <<<"$1" >&2 || fail "the line above"
}

header=$(LC_ALL=C readelf --file-header "$FILE")
segments=$(LC_ALL=C readelf --program-headers --wide "$FILE")
attributes=$(LC_ALL=C readelf --arch-specific "$FILE")
what=$(file --brief "$FILE")

lacks "$segments" 'INTERP'
case $TARGET in
  mips*)
    has "$what" 'statically linked'
    lacks "$segments" 'DYNAMIC'
    ;;
  *) has "$what" 'static-pie linked' ;;
esac
case $TARGET in
  mips*)
    case $TARGET in
      mips-*) has "$header" 'big endian' ;;
      mipsel-*) has "$header" 'little endian' ;;
    esac
    has "$header" 'Machine: +MIPS R3000$'
    has "$header" 'Flags:.*o32, mips32r2'
    has "$attributes" 'ISA: MIPS32r2'
    has "$attributes" 'FP ABI: Soft float'
    ;;
  arm*)
    has "$header" 'Machine: +ARM$'
    has "$header" 'Flags:.*Version5 EABI.*soft-float ABI'
    lacks "$attributes" 'Tag_FP_arch|Tag_Advanced_SIMD_arch|Tag_ABI_VFP_args'
    case $TARGET in
      armv7-*) has "$attributes" 'Tag_CPU_arch: v7' ;;
      armv5te-*) has "$attributes" 'Tag_CPU_arch: v5TEJ?$' ;;
      arm-*) has "$attributes" 'Tag_CPU_arch: v6' ;;
    esac
    ;;
  aarch64-*) has "$header" 'Machine: +AArch64$' ;;
  x86_64-*) has "$header" 'Machine: +Advanced Micro Devices X86-64$' ;;
  *) fail "no such target" ;;
esac
