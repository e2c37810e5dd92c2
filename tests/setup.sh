#!/bin/bash
# Installs what building, testing and showing Postern needs on Debian (bookworm, trixie). It adds
# only what is missing, removes nothing, and may be run again at any time.
#
#   tests/setup.sh         everything that `make test` needs
#   tests/setup.sh demo    what `make demo` needs
set -euo pipefail
cd "$(dirname "$0")/.."

readonly WHAT=${1:-test}
# The oldest compiler that builds Postern (`rust-version` in Cargo.toml).
readonly RUST=1.85
# The oldest node that runs the npm clients.
readonly NODE=18

fail() {
  echo "setup: $*" >&2
  exit 1
}

has() {
  command -v "$1" >/dev/null
}

# Whether version $1 is at least $2.
at_least() {
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# The version that apt would install of package $1.
candidate() {
  apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p'
}

has_rust() {
  local version
  version=$(cargo --version 2>/dev/null | cut -d ' ' -f 2) || return 1
  [ -n "$version" ] && at_least "$version" "$RUST"
}

has_node() {
  local version
  version=$(node --version 2>/dev/null) || return 1
  at_least "${version#v}" "$NODE"
}

missing=()

# Asks for package $2 when there is no command $1.
want() {
  has "$1" || missing+=("$2")
}

updated=
update() {
  [ -n "$updated" ] || apt-get update -qq || apt-get update -qq ||
    fail "apt-get update does not work"
  updated=yes
}

install() {
  [ "$(id -u)" = 0 ] || fail "these packages are missing, and only root can install them: $*"
  has apt-get || fail "these packages are missing and there is no apt-get: $*"
  update
  echo "setup: installing $*"
  local get=(env DEBIAN_FRONTEND=noninteractive
    apt-get install -qq --yes --no-remove --no-install-recommends)
  "${get[@]}" "$@" >/dev/null || { apt-get update -qq && "${get[@]}" "$@" >/dev/null; } ||
    fail "apt-get could not install $*"
}

# Debian's own Rust where it is new enough, else the one bookworm has for building browsers.
install_rust() {
  [ "$(id -u)" = 0 ] || fail "Rust $RUST or newer is missing, and only root can install it"
  update
  if at_least "$(candidate cargo)" "$RUST"; then
    install cargo rustc rust-clippy rustfmt
  elif at_least "$(candidate cargo-web)" "$RUST"; then
    install cargo-web rustc-web rust-web-clippy rustfmt-web
  else
    fail "Debian has no Rust $RUST or newer here; install one from https://rustup.rs"
  fi
  hash -r
  has_rust || fail "the cargo that is found first is too old: $(command -v cargo)"
}

want nft nftables
want ip iproute2
want upnpc miniupnpc
want cc gcc
[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
if [ "$WHAT" = demo ]; then
  want socat socat
else
  has_node || missing+=(nodejs)
  want npm npm
fi
[ ${#missing[@]} = 0 ] || install "${missing[@]}"
has_rust || install_rust
[ "$WHAT" = demo ] && exit

for tool in cargo-clippy rustfmt; do
  has $tool || fail "$tool is missing beside $(command -v cargo); with rustup: rustup component add clippy rustfmt"
done
has_node || fail "node $NODE or newer is needed; there is $(node --version)"

# The npm clients, exactly as locked.
readonly CLIENTS=target/clients
if ! cmp -s tests/clients/package-lock.json $CLIENTS/installed; then
  rm -rf $CLIENTS
  mkdir -p $CLIENTS
  cp tests/clients/package.json tests/clients/package-lock.json $CLIENTS
  ci=(npm ci --prefix $CLIENTS --ignore-scripts --no-audit --no-fund --loglevel=error)
  "${ci[@]}" >/dev/null || "${ci[@]}" >/dev/null || fail "npm could not install the test clients"
  mv $CLIENTS/package-lock.json $CLIENTS/installed
fi
