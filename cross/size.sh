#!/bin/bash
# Says how large the static daemon is for every target and, on big-endian MIPS, what each crate and
# each part of Postern costs. Fails if a binary is past its limit in cross/targets.
#
#   cross/size.sh          the whole report
#   cross/size.sh check    the totals only
set -euo pipefail
cd "$(dirname "$0")/.."

# Largest mips and mipsel binary in KiB as an image compresses it (xz -9e).
readonly PACKED_MAX=249
readonly SYMBOLS_OF=mips-unknown-linux-musl

cross/build.sh all
printf '%-32s %9s %6s %6s %9s\n' target bytes KiB limit 'xz KiB'
too_large=()
while read -r target _ _ limit _; do
  bytes=$(stat -c %s "target/cross/$target/postern")
  packed=$(($(xz -9e --stdout "target/cross/$target/postern" | wc -c)))
  printf '%-32s %9d %6d %6d %9d\n' "$target" "$bytes" $(((bytes + 1023) / 1024)) "$limit" $(((packed + 1023) / 1024))
  [ "$bytes" -le $((limit * 1024)) ] || too_large+=("$target")
  case $target in mips*) [ "$packed" -le $((PACKED_MAX * 1024)) ] || too_large+=("$target (xz)") ;; esac
done < <(grep '^[a-z]' cross/targets)
[ ${#too_large[@]} = 0 ] || { echo "size: past the limit in cross/targets: ${too_large[*]}" >&2; exit 1; }
[ "${1-}" != check ] || exit 0

# The same link with its symbols.
cross/cargo.sh $SYMBOLS_OF rustc --quiet --locked --release --bin postern -- -Cstrip=none
LC_ALL=C readelf --wide --symbols "${POSTERN_CACHE:-$HOME/.cache/postern}/target/$SYMBOLS_OF/release/postern" |
  python3 cross/symbols.py
