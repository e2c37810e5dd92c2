#!/bin/bash
# Shows the whole of Postern on one machine, as root: a LAN host, a router and a host of the
# Internet in three network namespaces; a firewall that drops what it does not know; Debian's
# `upnpc` opens ports and an IPv6 pinhole, `natpmpc` a port by NAT-PMP, real packets go through them,
# and a subscriber is told.
# One line a step, with what was seen.
set -eu
cd "$(dirname "$0")/../.."
NAME=demo
. tests/demo/world.sh

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
build_postern
make_world
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

# Programs of the LAN host, which tell everyone where they see them. They read first: socat gives up
# when it cannot hand over what came, and with it the answer.
who='read -r _; echo "LAN program sees $SOCAT_PEERADDR:$SOCAT_PEERPORT"'
start /dev/null $LAN socat TCP-LISTEN:7000,fork,reuseaddr SYSTEM:"$who"
start /dev/null $LAN socat UDP-RECVFROM:7001,fork,reuseaddr SYSTEM:"$who"
start /dev/null $LAN socat UDP-RECVFROM:7004,fork,reuseaddr SYSTEM:"$who"
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

expect "natpmpc is told the address" "Public IP address : $EXTERNAL" "$(at $LAN natpmpc -g 192.168.1.1 2>&1)"
expect "natpmpc maps UDP by NAT-PMP" "Mapped public port 17004" \
  "$(at $LAN natpmpc -g 192.168.1.1 -a 17004 7004 udp 3600 2>&1)"
expect "UDP from the Internet arrives there, too" "LAN program sees $PEER" \
  "$(echo hello | at $WAN socat -t 3 -T 3 - "UDP:$EXTERNAL:17004" 2>&1 | sed 's/.* [EW] //')"

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
