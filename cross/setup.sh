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
# Those that Debian keeps new for building browsers.
readonly RUST_PACKAGES=(rustc-web cargo-web rust-web-src)

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
    fail "apt-get could not install $*; is there a network? In bookworm they are of bookworm-security; they
cannot be there beside rustc and rustup as packages"
}

missing=()
# Asks for package $2 when there is no file $1.
want() {
  [ -e "$1" ] || missing+=("$2")
}

# Whether Debian's compiler, cargo and library source are there, new enough and of one release.
has_rust() {
  local versions
  versions=$(dpkg-query --show --showformat '${source:Version}\n' "${RUST_PACKAGES[@]}" 2>/dev/null |
    sort -u) || return
  [ "$(wc -l <<<"$versions")" = 1 ] && [ -e $SOURCE ] &&
    [ "$(printf '%s\n' $RUST "$versions" | sort -V | head -n 1)" = $RUST ]
}

[ "$(uname -m)" = x86_64 ] || fail "zig is pinned for x86-64; this is $(uname -m)"
[[ $CACHE == /* ]] || fail "POSTERN_CACHE must be an absolute path: $CACHE"
mkdir -p "$CACHE"
exec {lock}>"$CACHE/lock"
flock "$lock"

want /usr/bin/file file
want /usr/bin/readelf binutils
want /usr/bin/xz xz-utils
command -v python3 >/dev/null && python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
[ "${1-}" != test ] || want /usr/bin/qemu-mips-static qemu-user-static
has_rust || missing+=("${RUST_PACKAGES[@]}")
[ ${#missing[@]} = 0 ] || install "${missing[@]}"
has_rust || fail "${RUST_PACKAGES[*]} must all be of one release from $RUST on; they are: \
$(dpkg-query --show "${RUST_PACKAGES[@]}" 2>&1 | xargs)"
case $(/usr/bin/rustc -vV | sed -n 's/^release: //p') in
  $RUST.*) ;;
  *) echo "cross: tried was Rust $RUST, this is $(/usr/bin/rustc --version): if a flag is refused, see cross/flags" >&2 ;;
esac

if ! cmp -s cross/requirements.txt "$CACHE/zig/installed"; then
  echo "cross: fetching zig"
  rm -rf "$CACHE/zig"
  python3 -m venv "$CACHE/zig" || fail "python3 could not make a virtual environment in $CACHE/zig"
  pip=("$CACHE/zig/bin/pip" install --quiet --disable-pip-version-check --require-hashes
    --only-binary :all: -r cross/requirements.txt)
  "${pip[@]}" || "${pip[@]}" || fail "pip could not install what cross/requirements.txt lists"
  cp cross/requirements.txt "$CACHE/zig/installed"
fi
