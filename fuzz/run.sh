#!/bin/bash
# Runs every fuzz target, or those named, until it has had SECONDS_EACH of processor time (300 unless
# set in the environment), however busy the machine is. What is found lies in fuzz/artifacts; its
# regression test belongs to the code it was found in.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PATH:${HOME:-/root}/.cargo/bin
fail() {
  echo "fuzz: $*" >&2
  exit 1
}
cargo +nightly --version >/dev/null 2>&1 ||
  fail "libFuzzer needs a nightly Rust: rustup toolchain install nightly"
cargo fuzz --version >/dev/null 2>&1 || cargo install --locked --quiet cargo-fuzz ||
  fail "cargo-fuzz could not be installed: cargo install cargo-fuzz"
readonly FOR=${SECONDS_EACH:-300}
if [ $# -eq 0 ]; then
  mapfile -t names < <(sed -n 's/^name = "\(.*\)"/\1/p' fuzz/Cargo.toml | grep -v postern-fuzz)
  set -- "${names[@]}"
fi

# A row of messages has each with what happens (a byte in octal) and its length, in units, in front.
wrapped() {
  local what=$1 unit=$2 file size units
  shift 2
  for file; do
    size=$(stat -c %s "$file")
    units=$(((size + unit - 1) / unit))
    [ "$units" -le 255 ] || continue
    {
      printf '%b' "\\0$what\\0$(printf %03o "$units")"
      cat "$file"
      head -c $((units * unit - size)) /dev/zero
    } >"$corpus/row-$(basename "$file")"
  done
}

readonly SEEDS=tests/captures
found=()
# Processor time of the user's and of the system's, in thousandths of a second.
TIMEFORMAT='%3U %3S'
mkdir -p target
for target; do
  corpus=fuzz/corpus/$target
  mkdir -p "$corpus"
  case $target in
  natpmp | pcp) cp "$SEEDS"/pcp/*.bin "$corpus" ;;
  pcp_service) wrapped 230 1 "$SEEDS"/pcp/*.bin ;;
  service)
    wrapped 230 1 "$SEEDS"/pcp/*.bin
    wrapped 240 8 "$SEEDS"/{soap/*.http,http/*.txt}
    ;;
  ssdp) cp "$SEEDS"/ssdp/*.txt "$corpus" ;;
  http) cp "$SEEDS"/{http/*.txt,soap/*.http} "$corpus" ;;
  soap) cp "$SEEDS"/soap/*.http "$corpus" ;;
  gena) cp "$SEEDS"/http/*.txt "$corpus" ;;
  netlink) cp "$SEEDS"/netlink/*.bin "$corpus" ;;
  ubus) cp "$SEEDS"/ubus/*.bin "$corpus" ;;
  ctl) find "$SEEDS"/ctl -type f ! -name README.md -exec cp {} "$corpus" ';' ;;
  leases) find "$SEEDS"/leases -type f ! -name README.md -exec cp {} "$corpus" ';' ;;
  uci) find uci -type f -exec cp {} "$corpus" ';' ;;
  *) fail "there is no target $target" ;;
  esac
  log=target/fuzz-$target.log
  : >"$log"
  cargo +nightly fuzz build "$target" >>"$log" 2>&1 || fail "$target does not build: see $log"
  # libFuzzer ends by the clock: it is called again for what is left of the processor time.
  spent=0 crashed=
  while [ "$spent" -lt $((FOR * 1000)) ] && [ -z "$crashed" ]; do
    used=$({
      time cargo +nightly fuzz run "$target" -- -max_total_time=$((FOR - spent / 1000)) \
        -max_len=16384 -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 >>"$log" 2>&1
    } 2>&1) || crashed=yes
    for part in $used; do
      spent=$((spent + 10#${part//[.,]/}))
    done
  done
  [ -z "$crashed" ] || found+=("$log")
  executed=$(awk '/^stat::number_of_executed_units/ { sum += $2 } END { print sum + 0 }' "$log")
  echo "fuzz: $target: $executed executions in $((spent / 1000)) s of processor time"
  grep -aE 'ERROR|SUMMARY|panicked' "$log" || true
done
[ "${#found[@]}" -eq 0 ] || fail "something was found: see ${found[*]}"
