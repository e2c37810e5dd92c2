#!/bin/bash
# Installs what building, testing and showing Postern needs on Debian (bookworm, trixie). It adds
# only what is missing, removes nothing, and may be run again at any time.
#
#   tests/setup.sh         everything that `make test` needs
#   tests/setup.sh demo    what `make demo` needs
#   tests/setup.sh bench   what `make bench` needs
#   tests/setup.sh luci    what `make luci-test` needs
set -euo pipefail
cd "$(dirname "$0")/.."
# A shell that `su` opened has not heard of some of these.
export PATH=$PATH:/usr/sbin:/sbin:${HOME:-/root}/.cargo/bin

readonly WHAT=${1:-test}
# The oldest compiler that builds Postern (`rust-version` in Cargo.toml); the crate crab_nat, a test
# client, needs a newer one.
RUST=1.85
[ "$WHAT" != test ] || RUST=1.87
readonly RUST
# The oldest node that runs the npm clients.
readonly NODE=18

fail() {
  echo "setup: $*" >&2
  exit 1
}

# Runs a command whose output is of interest only if it fails.
quietly() {
  local said
  said=$("$@" 2>&1) || {
    echo "$said" >&2
    return 1
  }
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
  LC_ALL=C apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p'
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

readonly APT=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)

updated=
update() {
  [ -n "$updated" ] || quietly "${APT[@]}" update || quietly "${APT[@]}" update ||
    fail "apt-get update does not work; is there a network?"
  updated=yes
}

install() {
  has apt-get || fail "these packages are missing and there is no apt-get: $*"
  update
  echo "setup: installing $*"
  local get=("${APT[@]}" install --yes --no-remove --no-install-recommends)
  "${get[@]}" "$@" &>/dev/null || { updated= && update && quietly "${get[@]}" "$@"; } ||
    fail "apt-get could not install $*; is there a network?"
}

# The Rust that Debian has for building browsers, which the router builds need too and which cannot
# be there beside the other one; else that other one.
install_rust() {
  update
  if at_least "$(candidate cargo-web)" "$RUST"; then
    install cargo-web rustc-web rust-web-clippy rustfmt-web
  elif at_least "$(candidate cargo)" "$RUST"; then
    install cargo rustc rust-clippy rustfmt
  else
    fail "Debian has no Rust $RUST or newer here; install one from https://rustup.rs"
  fi
  hash -r
  has_rust || fail "the cargo that is found first is too old: $(command -v cargo)"
}

[ "$(id -u)" = 0 ] || fail "packages, namespaces and nftables need root: sudo make $WHAT"

want nft nftables
want ip iproute2
want upnpc miniupnpc
[ "$WHAT" = bench ] || [ "$WHAT" = luci ] || want natpmpc natpmpc
want cc gcc
# The names of protocols, without which nft writes 6 where a reader expects tcp.
[ -e /etc/protocols ] || missing+=(netbase)
[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
if [ "$WHAT" = demo ]; then
  want socat socat
elif [ "$WHAT" = bench ]; then
  want strace strace
  want callgrind_control valgrind
  want miniupnpd miniupnpd-nftables
  want strip binutils
else
  has_node || missing+=(nodejs)
  want npm npm
  want chromium chromium
  [ -e /usr/share/fonts/truetype/dejavu ] || missing+=(fonts-dejavu-core)
fi
if [ "$WHAT" = test ]; then
  want python3 python3
  want busybox busybox
  want shellcheck shellcheck
  want strace strace
  python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
  want gssdp-discover gupnp-tools
  [ -e /usr/include/upnp/upnp.h ] || missing+=(libupnp-dev)
  # Its name has the version of its interface: 1.0 in bookworm, 1.6 in trixie.
  if ! /usr/bin/python3 -c 'from gi.repository import GUPnPIgd' 2>/dev/null; then
    update
    igd=gir1.2-gupnpigd-1.6
    [ -n "$(candidate $igd)" ] || igd=gir1.2-gupnpigd-1.0
    missing+=(python3-gi "$igd")
  fi
fi
[ ${#missing[@]} = 0 ] || install "${missing[@]}"
has_rust || install_rust

# Installs what directory $1 locks into directory $2, unless it is there.
npm_install() {
  local ci=(npm ci --prefix "$2" --ignore-scripts --no-audit --no-fund --loglevel=error)
  if ! cmp -s "$1/package-lock.json" "$2/installed"; then
    rm -rf "$2"
    mkdir -p "$2"
    cp "$1/package.json" "$1/package-lock.json" "$2"
    "${ci[@]}" >/dev/null || "${ci[@]}" >/dev/null || fail "npm could not install what $1 asks for"
    mv "$2/package-lock.json" "$2/installed"
  fi
}

if [ "$WHAT" = test ] || [ "$WHAT" = luci ]; then
  has_node || fail "node $NODE or newer is needed; there is $(node --version)"
  npm_install tests/luci target/luci-browser
fi
[ "$WHAT" = test ] || exit 0

for tool in cargo-clippy rustfmt; do
  has $tool || fail "$tool is missing beside $(command -v cargo); with rustup: rustup component add clippy rustfmt"
done

# The npm clients, exactly as locked.
npm_install tests/clients target/clients

# The PyPI clients, exactly as listed.
readonly PYTHON=target/clients-python
if ! cmp -s tests/clients/requirements.txt $PYTHON/installed; then
  python3 -m venv --clear $PYTHON || fail "python3 could not make a virtual environment"
  pip=($PYTHON/bin/pip install --quiet --disable-pip-version-check --no-deps --only-binary :all:
    -r tests/clients/requirements.txt)
  quietly "${pip[@]}" || quietly "${pip[@]}" || fail "pip could not install the test clients"
  cp tests/clients/requirements.txt $PYTHON/installed
fi

# The control point on Debian's libupnp.
readonly IN_C=target/clients-c
if [ ! tests/clients/libupnp.c -ot $IN_C/libupnp ]; then
  mkdir -p $IN_C
  cc -std=c11 -O1 -Wall -I/usr/include/upnp tests/clients/libupnp.c -o $IN_C/libupnp \
    -lupnp -lixml -lpthread || fail "the control point on libupnp does not compile"
fi

# The clients on crates, exactly as locked.
readonly IN_RUST=(cargo build --locked --quiet --ignore-rust-version --target-dir target/clients-rust)
for client in igd-next pmp; do
  build=("${IN_RUST[@]}" --manifest-path "tests/clients/$client/Cargo.toml")
  "${build[@]}" 2>/dev/null || "${build[@]}" || fail "cargo could not build tests/clients/$client"
done
