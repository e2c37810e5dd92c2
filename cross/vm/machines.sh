# Sourced by the scripts beside it: the emulated machines, where their kernels are, and QEMU.
#
# A kernel is a folder of the cache with `vmlinuz`, `version`, `key` (what it was made of) and
# `modules/NN-name.ko` in the order to load them. It is complete or not there at all.

readonly VM=${POSTERN_CACHE:-$HOME/.cache/postern}/vm
readonly KERNELS=(mips-6.1 mipsel-6.1 armv7-6.1 aarch64-6.1 x86_64-5.10 x86_64-6.1 x86_64-6.12)
readonly NAME=$(basename "$0" .sh)
# A shell that `su` opened has not heard of modprobe and depmod.
export PATH=$PATH:/usr/sbin:/sbin

fail() {
  echo "$NAME: $*" >&2
  exit 1
}

[[ $VM == /* ]] || fail "POSTERN_CACHE must be an absolute path: $VM"

has() {
  command -v "$1" >/dev/null
}

# Fails unless $1 is the name of a kernel.
known() {
  [[ " ${KERNELS[*]} " == *" $1 "* ]] || fail "there is no kernel '$1'; there are: ${KERNELS[*]}"
}

# Sets what kernel $1 runs on: the `processor` in QEMU's name for it, the `board`, its serial
# `console`, and the usual `memory` in MB, which for MIPS is what the smallest routers have.
machine() {
  case $1 in
    mips-*) processor=mips board=(-M malta -cpu 24Kc) console=ttyS0 memory=32 ;;
    mipsel-*) processor=mipsel board=(-M malta -cpu 24Kc) console=ttyS0 memory=48 ;;
    armv7-*) processor=arm board=(-M virt -cpu cortex-a7) console=ttyAMA0 memory=128 ;;
    aarch64-*) processor=aarch64 board=(-M virt -cpu cortex-a53) console=ttyAMA0 memory=256 ;;
    x86_64-*) processor=x86_64 board=(-M q35) console=ttyS0 memory=256 ;;
  esac
}

# Sets `qemu`, the command that emulates processor $1: the machine's own, else the one that
# setup.sh unpacked, which comes with its own C library.
find_qemu() {
  local program=qemu-system-$1 root=$VM/qemu
  qemu=("$program")
  has "$program" && return
  [ -x "$root/usr/bin/$program" ] || fail "there is no $program; run cross/vm/setup.sh"
  local libraries loader
  libraries=$(echo "$root"/usr/lib/*-linux-gnu)
  loader=$(echo "$root"/usr/lib*/ld-linux-*.so.*)
  qemu=(env QEMU_MODULE_DIR="$libraries/qemu" "$loader" --library-path "$libraries"
    "$root/usr/bin/$program" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios")
}

# Packs folder $1 as the initramfs $2.
pack() {
  (cd "$1" && find . | cpio --quiet --create --format newc --owner 0:0) | gzip -9 >"$2"
}

# Runs kernel $1, where it was linked for (MIPS kernels that move may land on the initramfs), with
# initramfs $2 and these kernel words ($3) and more options to QEMU, with
# `memory` MB and for `limit` seconds at most. Its console is shown, and kept in $work/console.
# Returns what `timeout` does.
emulate() {
  local kernel=$1 initramfs=$2 words=$3 shown
  shift 3
  find_qemu "$processor"
  mkfifo "$work/serial"
  tee "$work/console" <"$work/serial" | sed -u 's/\r*$//; s/^/    /' &
  shown=$!
  timeout --kill-after=5 "$limit" "${qemu[@]}" "${board[@]}" -m "$memory" -nic none -no-reboot \
    -display none -monitor none -serial stdio -kernel "$VM/$kernel/vmlinuz" -initrd "$initramfs" \
    -append "console=$console panic=-1 loglevel=4 nokaslr $words" "$@" </dev/null >"$work/serial" 2>&1 &
  emulator=$!
  local code=0
  wait "$emulator" || code=$?
  emulator=
  wait "$shown"
  return "$code"
}

# Ends with what went wrong in a machine that did not say how its program ended; $1 is what
# `emulate` returned.
explain() {
  local what="the machine stopped before its program was done"
  if grep -q 'Kernel panic' "$work/console"; then
    what="the kernel panicked: $(grep -m 1 'Kernel panic' "$work/console" | tr -d '\r')"
  elif [ "$1" = 124 ] || [ "$1" = 137 ]; then
    what="nothing came of it in $limit seconds"
  elif [ "$1" != 0 ]; then
    what="QEMU failed with $1"
  fi
  fail "$what; its last lines were:
$(tail -n 5 "$work/console" | sed 's/\r*$//; s/^/    /')"
}

# A folder of this run alone, and nothing left of it, nor of the machine, however it ends.
work=$(mktemp -d)
emulator=
leave() {
  [ -z "$emulator" ] || kill "$emulator" 2>/dev/null || true
  rm -rf "$work"
}
trap leave EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
