#!/bin/bash
# Shows the whole of Postern on one machine, as root: a LAN host, a router and a host of the
# Internet in three network namespaces; a firewall that drops what it does not know; Debian's
# `upnpc` opens ports and an IPv6 pinhole, real packets go through them, and a subscriber is told.
# One line a step, with what was seen.
set -eu
cd "$(dirname "$0")/../.."
export PATH=$PATH:/usr/sbin:/sbin:${HOME:-/root}/.cargo/bin

readonly LAN=postern-demo-$$-lan ROUTER=postern-demo-$$-router WAN=postern-demo-$$-wan
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

# Starts a program in a namespace, with its output in file $1, to be ended at the end.
start() {
  local log=$1
  shift
  # Not through `at`: the process must be the program itself, no shell around it.
  ip netns exec "$@" >"$log" 2>&1 &
  processes+=($!)
}

# Says step $1 is done if text $3 contains $2.
expect() {
  [[ $3 == *"$2"* ]] || fail "$1: no \"$2\" in: $3"
  ok "$1: $(grep -F -m 1 -- "$2" <<<"$3" | sed 's/^[[:space:]]*//')"
}

# Waits up to five seconds until a command succeeds.
wait_for() {
  for _ in $(seq 50); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.1
  done
  return 1
}

tests/setup.sh demo
cargo build --locked --quiet || fail "the build"
POSTERN=$(cargo metadata --locked --no-deps --format-version 1 |
  sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/postern
readonly POSTERN
ok "built: $("$POSTERN" --version)"

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
ok "three namespaces: host $HOST - router 192.168.1.1 / $EXTERNAL - Internet host $PEER"

at $ROUTER nft -f tests/netns/fw4.nft
expect "firewall like OpenWrt's, forward policy drop, with Postern's one line" "postern" \
  "$(at $ROUTER nft list chain inet fw4 forward)"

cat >"$WORK/upnpd" <<END
config upnpd 'config'
	option enabled '1'
	option external_device 'wan'
	list internal_device 'br-lan'
	option upnp_lease_file '$WORK/leases'
END
at $ROUTER "$POSTERN" check "$WORK/upnpd" >"$WORK/check" || fail "$(cat "$WORK/check")"
start "$WORK/log" $ROUTER "$POSTERN" run --config "$WORK/upnpd" --state "$WORK/state"
postern() {
  at $ROUTER "$POSTERN" "$@" --state "$WORK/state"
}
wait_for postern status || fail "the daemon does not answer"
expect "postern runs" "$EXTERNAL" "$(postern status)"

# Two programs of the LAN host, which tell everyone where they see them.
who='echo "LAN program sees $SOCAT_PEERADDR:$SOCAT_PEERPORT"'
start /dev/null $LAN socat TCP-LISTEN:7000,fork,reuseaddr SYSTEM:"$who"
start /dev/null $LAN socat UDP-RECVFROM:7001,fork,reuseaddr SYSTEM:"$who"
sleep 0.3
from_internet_tcp() {
  at $WAN socat -T 2 - "TCP:$EXTERNAL:17000,connect-timeout=2" </dev/null 2>&1 | sed 's/.* [EW] //'
}
from_internet_udp() {
  # It would wait for half a second only once its own input has ended.
  echo hello | at $WAN socat -t 3 -T 3 - "UDP:$EXTERNAL:17001" 2>&1 | sed 's/.* [EW] //'
}
expect "before: TCP from the Internet is refused" "Connection refused" "$(from_internet_tcp)"
expect "before: UDP from the Internet is refused" "Connection refused" "$(from_internet_udp)"

expect "upnpc discovers" "Found valid IGD" "$(at $LAN upnpc -s 2>&1)"
# A control point answers each event, or the next would wait for half a minute.
cat >"$WORK/hear" <<END
#!/bin/sh
printf 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'
cat >>$WORK/events
END
chmod +x "$WORK/hear"
: >"$WORK/events"
start /dev/null $LAN socat TCP-LISTEN:7002,fork,reuseaddr EXEC:"$WORK/hear"
subscribe() {
  printf 'SUBSCRIBE /igd1/wanip/event HTTP/1.1\r\nHOST: 192.168.1.1:5000\r\n%s' \
    $'CALLBACK: <http://192.168.1.10:7002/>\r\nNT: upnp:event\r\nConnection: close\r\n\r\n' |
    at $LAN socat -t 3 - TCP:192.168.1.1:5000
}
sleep 0.2
expect "a program subscribes to events" "SID: uuid:" "$(subscribe)"
expect "upnpc maps TCP" "is redirected to" \
  "$(at $LAN upnpc -e 'demo web' -a $HOST 7000 17000 TCP 3600 2>&1)"
expect "upnpc maps UDP" "is redirected to" \
  "$(at $LAN upnpc -e 'demo game' -a $HOST 7001 17001 UDP 3600 2>&1)"

expect "TCP from the Internet arrives, source kept" "LAN program sees $PEER" "$(from_internet_tcp)"
expect "UDP from the Internet arrives, source kept" "LAN program sees $PEER" "$(from_internet_udp)"
expect "upnpc lists TCP" "17000->$HOST:7000" "$(at $LAN upnpc -l 2>&1)"

was_told() {
  grep -q "<PortMappingNumberOfEntries>$1<" "$WORK/events"
}
wait_for was_told 2 || fail "no event tells of two mappings: $(cat "$WORK/events")"
ok "the subscriber was told: $(grep -o '<PortMappingNumberOfEntries>[0-9]*' "$WORK/events" | tail -n 1)"

start /dev/null $LAN socat TCP6-LISTEN:7003,fork,reuseaddr SYSTEM:"$who"
sleep 0.2
from_internet_v6() {
  at $WAN socat -T 2 - "TCP:[$HOST6]:7003,connect-timeout=2" </dev/null 2>&1 | sed 's/.* [EW] //'
}
expect "before: TCP by IPv6 is refused" "onnection" "$(from_internet_v6)"
# It takes the first InternetGatewayDevice:1 it finds, which has no such service.
expect "upnpc opens an IPv6 pinhole" "Pinhole ID" \
  "$(at $LAN upnpc -u http://192.168.1.1:5000/igd2/desc.xml -A '' 0 $HOST6 7003 TCP 3600 2>&1 |
    sed 's/.*AddPinhole/AddPinhole/')"
expect "TCP by IPv6 arrives" "LAN program sees" "$(from_internet_v6)"

list=$(postern list)
expect "postern list" "17000" "$list"
sed 's/^/      /' <<<"$list"
table=$(at $ROUTER nft list table inet postern)
expect "nft list table inet postern" "tcp . 17000" "$table"
sed 's/^/      /' <<<"$table"

expect "upnpc deletes TCP" "returned : 0" "$(at $LAN upnpc -d 17000 TCP 2>&1)"
expect "upnpc deletes UDP" "returned : 0" "$(at $LAN upnpc -d 17001 UDP 2>&1)"
expect "after: TCP from the Internet is refused" "Connection refused" "$(from_internet_tcp)"
expect "after: UDP from the Internet is refused" "Connection refused" "$(from_internet_udp)"
expect "upnpc deletes TCP again" "714" "$(at $LAN upnpc -d 17000 TCP 2>&1 || true)"

kill "${processes[0]}"
wait "${processes[0]}" || fail "the daemon ended with $?"
! at $ROUTER nft list table inet postern >/dev/null 2>&1 || fail "the table is still there"
ok "postern stopped and took its table with it"
