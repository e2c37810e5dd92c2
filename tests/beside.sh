#!/bin/bash
# Runs targets of the Makefile at once: the first as it is, the others with the processor time that
# it leaves and their output shown when it and they have ended. If the first fails, that ends the
# others; of these, those that fail are shown after those that do not, so that what is printed last
# says what failed.
#
#   tests/beside.sh FIRST OTHER…
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -ge 2 ] || { echo "usage: tests/beside.sh FIRST OTHER…" >&2; exit 2; }
first=$1
shift
logs=$(mktemp -d)
declare -A running
end() {
  for group in "${running[@]}"; do
    kill -- "-$group" 2>/dev/null || true
  done
  wait
  rm -rf "$logs"
}
trap end EXIT
trap 'exit 1' INT TERM HUP
# With a process group of its own each can be ended with all that it started.
set -m
for other; do
  nice -n 19 make --no-print-directory "$other" >"$logs/$other" 2>&1 &
  running[$other]=$!
done
set +m

make --no-print-directory "$first"
failed=()
for other; do
  if wait "${running[$other]}"; then
    cat "$logs/$other"
  else
    failed+=("$other")
  fi
done
for other in ${failed[@]+"${failed[@]}"}; do
  cat "$logs/$other"
done
[ ${#failed[@]} = 0 ]
