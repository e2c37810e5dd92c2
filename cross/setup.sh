#!/bin/bash
# Fetches what building for routers needs (Debian bookworm or later, x86-64, as root): Debian's
# newest Rust with its library's source, and zig as linker and C library. Adds only what is missing,
# removes nothing, and may be run again at any time.
#
#   cross/setup.sh         the compilers
#   cross/setup.sh test    those and the user-mode emulators that run the unit tests
set -euo pipefail
cd "$(dirname "$0")/.."

readonly CACHE=${POSTERN_CACHE:-$HOME/.cache/postern}
# The release whose unstable flags cross/flags names.
readonly RUST=1.96
readonly SOURCE=/usr/lib/rustlib/src/rust/library/Cargo.lock

fail() {
  echo "cross: $*" >&2
  exit 1
}

apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@"
}

# Installs packages; never lets apt mend a conflict by removing what is there.
install() {
  [ "$(id -u)" = 0 ] || fail "installing $* needs root"
  command -v apt-get >/dev/null || fail "these packages are missing and there is no apt-get: $*"
  echo "cross: installing $*"
  { apt update && apt install --yes --no-remove --no-install-recommends "$@"; } >/dev/null ||
    { sleep 5 && apt update && apt install --yes --no-remove --no-install-recommends "$@"; } >/dev/null ||
    fail "apt-get could not install $*; is there a network, and is bookworm-security among the sources?"
}

missing=()
# Asks for package $2 when there is no file $1.
want() {
  [ -e "$1" ] || missing+=("$2")
}

[ "$(uname -m)" = x86_64 ] || fail "zig is pinned for x86-64; this is $(uname -m)"
want /usr/bin/rustc rustc-web
want /usr/bin/cargo cargo-web
want $SOURCE rust-web-src
want /usr/bin/file file
want /usr/bin/readelf binutils
want /usr/bin/xz xz-utils
command -v python3 >/dev/null && python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
[ "${1-}" != test ] || want /usr/bin/qemu-mips-static qemu-user-static
[ ${#missing[@]} = 0 ] || install "${missing[@]}"

version=$(/usr/bin/rustc -vV | sed -n 's/^release: //p')
case $version in
  $RUST.*) ;;
  *) [ "$(printf '%s\n' $RUST "$version" | sort -V | head -n 1)" = $RUST ] ||
    fail "/usr/bin/rustc is $version; cross/flags needs $RUST: apt-get install rustc-web cargo-web rust-web-src"
    echo "cross: /usr/bin/rustc is $version, tried was $RUST: if a flag is refused, see cross/flags" >&2 ;;
esac
[ -e $SOURCE ] || fail "$SOURCE is missing: apt-get install rust-web-src"

if ! cmp -s cross/requirements.txt "$CACHE/zig/installed"; then
  echo "cross: fetching zig"
  mkdir -p "$CACHE"
  rm -rf "$CACHE/zig"
  python3 -m venv "$CACHE/zig" || fail "python3 could not make a virtual environment in $CACHE/zig"
  pip=("$CACHE/zig/bin/pip" install --quiet --disable-pip-version-check --require-hashes
    --only-binary :all: -r cross/requirements.txt)
  "${pip[@]}" || "${pip[@]}" || fail "pip could not install what cross/requirements.txt lists"
  cp cross/requirements.txt "$CACHE/zig/installed"
fi
