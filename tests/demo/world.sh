# Sourced by scripts that show Postern at work: a LAN host, a router and a host of the Internet in
# three network namespaces, a firewall that drops what it does not know, a directory for files, and
# their end. `NAME` is set before.
export PATH=$PATH:/usr/sbin:/sbin:${HOME:-/root}/.cargo/bin

readonly LAN=postern-$NAME-$$-lan ROUTER=postern-$NAME-$$-router WAN=postern-$NAME-$$-wan
# Clients refuse documentation addresses, so this one only looks public; it exists nowhere but in
# the namespaces.
readonly HOST=192.168.1.10 EXTERNAL=11.22.33.1 PEER=11.22.33.2
readonly HOST6=2001:db8:1::10 PEER6=2001:db8:2::2
WORK=$(mktemp -d)
readonly WORK
processes=()

clean_up() {
  local code=$?
  trap - EXIT
  for process in "${processes[@]}"; do kill "$process" 2>/dev/null || true; done
  wait 2>/dev/null || true
  for name in $LAN $ROUTER $WAN; do ip netns del $name 2>/dev/null || true; done
  if [ $code != 0 ] && [ -s "$WORK/log" ]; then
    echo "--- the daemon's log"
    cat "$WORK/log"
  fi
  rm -rf "$WORK"
  exit $code
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

ok() {
  echo "ok  $*"
}

fail() {
  echo "FAILED  $*" >&2
  exit 1
}

# Runs a command in a namespace.
at() {
  ip netns exec "$@"
}

# Builds Postern and sets POSTERN to the program.
build_postern() {
  cargo build --locked --quiet || fail "the build"
  POSTERN=$(cargo metadata --locked --no-deps --format-version 1 |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/postern
  readonly POSTERN
  ok "built: $("$POSTERN" --version)"
}

# Makes the namespaces, the wires between them and the firewall of the router.
make_world() {
  for name in $LAN $ROUTER $WAN; do
    ip netns add $name || fail "a network namespace: is this a container without the right to?"
    ip -n $name link set lo up
  done
  ip -n $ROUTER -batch - <<END
link add br-lan type bridge
link add lan1 type veth peer name eth0 netns $LAN
link add wan type veth peer name eth0 netns $WAN
link set lan1 master br-lan up
addr add 192.168.1.1/24 dev br-lan
addr add $EXTERNAL/24 dev wan
addr add 2001:db8:1::1/64 dev br-lan nodad
addr add 2001:db8:2::1/64 dev wan nodad
link set br-lan up
link set wan up
route add default via $PEER
route add default via $PEER6
END
  ip -n $LAN -batch - <<END
addr add $HOST/24 dev eth0
addr add $HOST6/64 dev eth0 nodad
link set eth0 up
route add default via 192.168.1.1
route add default via 2001:db8:1::1
END
  ip -n $WAN -batch - <<END
addr add $PEER/24 dev eth0
addr add $PEER6/64 dev eth0 nodad
link set eth0 up
route add default via 2001:db8:2::1
END
  at $ROUTER sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward
    echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
    for f in /proc/sys/net/bridge/bridge-nf-call-iptables; do [ ! -e $f ] || echo 0 >$f; done'
  at $ROUTER nft -f tests/netns/fw4.nft
  ok "three namespaces: host $HOST - router 192.168.1.1 / $EXTERNAL - Internet host $PEER"
}
