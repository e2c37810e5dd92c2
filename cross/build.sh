#!/bin/bash
# Builds the static daemon for routers and checks what came out.
#
#   cross/build.sh [-d] TARGET…    or `all`
#
# The result is target/cross/TARGET/postern; with -d the debuggable one, postern-debuggable.
set -euo pipefail
cd "$(dirname "$0")/.."

mode=()
name=postern
if [ "${1-}" = -d ]; then
  mode=(-d)
  name=postern-debuggable
  shift
fi
[ $# -gt 0 ] || { echo "usage: cross/build.sh [-d] TARGET…|all; cross/targets lists them" >&2; exit 2; }
[ "$*" != all ] || set -- $(grep -o '^[a-z][^ ]*' cross/targets)

cross/setup.sh
readonly CACHE=${POSTERN_CACHE:-$HOME/.cache/postern}
# Other working copies build into the same folder of the cache.
exec {lock}>"$CACHE/build.lock"
flock "$lock"
targets=$(IFS=,; echo "$*")
cross/cargo.sh ${mode[@]+"${mode[@]}"} "$targets" build --locked --release --bin postern
for target; do
  mkdir -p "target/cross/$target"
  cp "$CACHE/target${mode:+-debuggable}/$target/release/postern" "target/cross/$target/$name.new"
  mv "target/cross/$target/$name.new" "target/cross/$target/$name"
  cross/abi.sh "$target" "target/cross/$target/$name"
done
