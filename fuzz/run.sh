#!/bin/bash
# Runs every fuzz target, or those named, for SECONDS_EACH (300 unless set in the environment). What
# is found lies in fuzz/artifacts; its regression test belongs to the code it was found in.
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
[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\(.*\)"/\1/p' fuzz/Cargo.toml | grep -v postern-fuzz)
for target; do
  mkdir -p "fuzz/corpus/$target"
  cp -n tests/captures/pcp/*.bin "fuzz/corpus/$target/" 2>/dev/null || true
  echo "fuzz: $target for $FOR s"
  cargo +nightly fuzz run "$target" -- -max_total_time="$FOR" -max_len=2048 -timeout=5 \
    -rss_limit_mb=1024 -print_final_stats=1 2>&1 | tee "target/fuzz-$target.log" |
    grep -E 'ERROR|SUMMARY|panicked|stat::number_of_executed_units|new_units_added' || true
  grep -q 'stat::number_of_executed_units' "target/fuzz-$target.log" ||
    fail "$target did not end well: see target/fuzz-$target.log"
done
