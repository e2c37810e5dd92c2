#!/bin/bash
# Runs two targets of the Makefile at once: the first as it is, the second with the processor time
# that the first leaves and its output shown when both have ended. If the first fails, that ends
# the second, so that what is printed last says what failed.
#
#   tests/beside.sh FIRST SECOND
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# = 2 ] || { echo "usage: tests/beside.sh FIRST SECOND" >&2; exit 2; }
log=$(mktemp)
# With a process group of its own it can be ended with all that it started.
set -m
nice -n 19 make --no-print-directory "$2" >"$log" 2>&1 &
second=$!
set +m
trap 'kill -- -$second 2>/dev/null || true; wait; rm -f "$log"' EXIT
trap 'exit 1' INT TERM HUP

make --no-print-directory "$1"
code=0
wait $second || code=$?
cat "$log"
exit $code
