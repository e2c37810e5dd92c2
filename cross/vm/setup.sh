#!/bin/bash
# Fetches what the emulated machines need into the cache: QEMU, unless the machine has it, and
# kernels. Only tools for this are ever installed, as root, and nothing is removed. What is in the
# cache is kept; remove a folder of it to have it fetched again.
#
#   cross/vm/setup.sh [KERNEL…]     these kernels, else all of them
#   cross/vm/setup.sh -h            which there are
set -euo pipefail
cd "$(dirname "$0")"
. ./machines.sh
. ./debian.sh

# What the guests and the daemon use where Debian has it as modules.
readonly MODULES=(crc32c_generic nf_tables nft_ct nft_limit nft_chain_nat nft_nat nft_masq nft_redir
  nft_reject_inet nf_conntrack_netlink veth bridge)
# What mounts the machine's own root file system in an x86-64 guest.
readonly HOST_ROOT=(virtio_pci 9pnet_virtio 9p overlay)

# Installs the packages in $@ whose command is missing; each is COMMAND:PACKAGE.
tools() {
  local tool missing=()
  for tool in "$@"; do
    has "${tool%%:*}" || missing+=("${tool##*:}")
  done
  [ ${#missing[@]} = 0 ] && return
  [ "$(id -u)" = 0 ] || fail "as root: apt-get install --no-remove ${missing[*]}"
  echo "setup: installing ${missing[*]}"
  local get=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
  twice "${get[@]}" update || fail "apt-get update does not work; is there a network?"
  twice "${get[@]}" install --yes --no-remove --no-install-recommends "${missing[@]}" ||
    fail "apt-get could not install ${missing[*]}"
}

# Whether folder $1 of the cache was made of what $2 says.
made_of() {
  [ "$(cat "$VM/$1/key" 2>/dev/null)" = "$2" ]
}

# Puts folder $2, made of what $3 says, into the cache as $1.
keep() {
  echo "$3" >"$2/key"
  rm -rf "${VM:?}/$1" "$VM/$1.part"
  mv "$2" "$VM/$1.part"
  mv "$VM/$1.part" "$VM/$1"
}

# QEMU with all its libraries, if one of the emulators is missing.
get_qemu() {
  local key="qemu of trixie" kernel processor missing=
  for kernel in "$@"; do
    machine "$kernel"
    has "qemu-system-$processor" || missing=yes
  done
  [ -n "$missing" ] && ! made_of qemu "$key" || return 0
  echo "setup: fetching QEMU"
  fetch_whole trixie "$(dpkg --print-architecture)" "$work/qemu" \
    qemu-system-mips qemu-system-arm qemu-system-x86
  keep qemu "$work/qemu" "$key"
}

# The shell of the x86-64 guests before they have the machine's root file system.
get_busybox() {
  local key="busybox-static of trixie"
  made_of busybox "$key" && return
  fetch trixie amd64 "$work/busybox" busybox-static
  keep busybox "$work/busybox" "$key"
}

# Debian's kernel $1 from package $4 of suite $2 for processor $3, with modules.
get_kernel() {
  local kernel=$1 suite=$2 processor=$3 package=$4 modules=("${MODULES[@]}")
  case $kernel in
    x86_64-5.10) modules+=(nft_counter "${HOST_ROOT[@]}") ;;
    x86_64-*) modules+=("${HOST_ROOT[@]}") ;;
  esac
  local key="$package of $suite with ${modules[*]}"
  made_of "$kernel" "$key" && return
  echo "setup: fetching kernel $kernel"
  tools modprobe:kmod
  open_suite "$suite" "$processor"
  local root=$work/$kernel.root new=$work/$kernel image version
  image=$(apt-cache "${apt[@]}" depends "$package" | sed -n 's/^ *Depends: \(linux-image-\)/\1/p')
  [ -n "$image" ] || fail "$package of $suite names no kernel"
  fetch "$suite" "$processor" "$root" "$image"
  # Packages of later suites know /lib only as a link.
  [ -d "$root/lib/modules" ] || ln -sfn usr/lib "$root/lib"
  version=$(ls "$root/lib/modules")
  mkdir -p "$new/modules"
  cp "$root/boot/vmlinuz-$version" "$new/vmlinuz"
  echo "Debian $suite, $version" >"$new/version"
  copy_modules "$root" "$version" "$new/modules" "${modules[@]}"
  keep "$kernel" "$new" "$key"
  rm -rf "$root"
}

# Copies modules of kernel version $2 under $1 and what they need into $3, numbered in the order to
# load them, as plain ELF.
copy_modules() {
  local root=$1 version=$2 into=$3 file name number=0
  shift 3
  depmod -b "$root" "$version" || fail "depmod does not understand kernel $version"
  # Else whatever suits some processor comes along (crc32c-intel) and fails to load on another.
  : >"$root/lib/modules/$version/modules.softdep"
  modprobe -d "$root" -S "$version" --show-depends -a "$@" >"$work/depends" ||
    fail "kernel $version lacks one of these modules: $*"
  for file in $(sed -n 's/^insmod \([^ ]*\).*/\1/p' "$work/depends" | awk '!seen[$0]++'); do
    printf -v name '%s/%02d-%s.ko' "$into" "$number" "$(basename "${file%.ko*}")"
    number=$((number + 1))
    case $file in
      *.xz) xz -dc "$file" >"$name" ;;
      *.zst) zstd -qdc "$file" >"$name" ;;
      *) cp "$file" "$name" ;;
    esac
  done
}

# The big-endian kernel, for which Debian has sources only. Some minutes of work.
build_mips() {
  local key new=$work/mips-6.1 source=$work/source version
  key="linux-source-6.1 of bookworm with malta-be.config $(sha256sum <malta-be.config)"
  made_of mips-6.1 "$key" && return
  echo "setup: building kernel mips-6.1"
  tools mips-linux-gnu-gcc:gcc-mips-linux-gnu flex:flex bison:bison bc:bc make:make gcc:gcc xz:xz-utils
  [ -e /usr/include/stdlib.h ] || tools libc6-dev:libc6-dev
  fetch bookworm "$(dpkg --print-architecture)" "$source" linux-source-6.1
  tar -C "$source" -xf "$source/usr/src/linux-source-6.1.tar.xz"
  local make=(nice make -s -C "$source/linux-source-6.1" ARCH=mips CROSS_COMPILE=mips-linux-gnu-)
  twice "${make[@]}" KCONFIG_ALLCONFIG="$PWD/malta-be.config" allnoconfig ||
    fail "the kernel's configuration could not be made"
  local lost
  lost=$(grep '^CONFIG' malta-be.config | grep -vxFf "$source/linux-source-6.1/.config" || true)
  [ -z "$lost" ] || fail "malta-be.config asks for what this kernel cannot have: $lost"
  twice "${make[@]}" -j"$(nproc)" vmlinux || fail "the kernel could not be built"
  mkdir -p "$new/modules"
  version=$("${make[@]}" kernelrelease)
  cp "$source/linux-source-6.1/vmlinux" "$new/vmlinuz"
  echo "Debian bookworm's source, $version" >"$new/version"
  keep mips-6.1 "$new" "$key"
  rm -rf "$source"
}

if [ "${1:-}" = -h ]; then
  echo "${KERNELS[*]}"
  exit
fi
wanted=("$@")
[ $# -gt 0 ] || wanted=("${KERNELS[@]}")
for kernel in "${wanted[@]}"; do
  known "$kernel"
done
mkdir -p "$VM"
exec {lock}>"$VM/lock"
flock "$lock"
tools cpio:cpio
get_qemu "${wanted[@]}"
for kernel in "${wanted[@]}"; do
  case $kernel in
    mips-6.1) build_mips ;;
    mipsel-6.1) get_kernel mipsel-6.1 bookworm mipsel linux-image-4kc-malta ;;
    armv7-6.1) get_kernel armv7-6.1 bookworm armhf linux-image-armmp ;;
    aarch64-6.1) get_kernel aarch64-6.1 bookworm arm64 linux-image-cloud-arm64 ;;
    x86_64-5.10) get_kernel x86_64-5.10 bullseye amd64 linux-image-amd64 ;;
    x86_64-6.1) get_kernel x86_64-6.1 bookworm amd64 linux-image-amd64 ;;
    x86_64-6.12) get_kernel x86_64-6.12 trixie amd64 linux-image-amd64 ;;
  esac
  [[ $kernel != x86_64-* ]] || get_busybox
done
