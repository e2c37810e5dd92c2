#!/bin/bash
# Runs the package's scripts under BusyBox's shell with stand-ins for OpenWrt's functions, and the
# configuration they write through `postern check`. As root, after `make setup`.
set -euo pipefail
cd "$(dirname "$0")/../.."
readonly FILES=openwrt/postern/files
cargo build --locked --quiet
tests/uci-differential/build.sh "$PWD/target/tmp/uci"
export UCI=$PWD/target/tmp/uci/bin/uci POSTERN=$PWD/target/debug/postern ROOT
shellcheck -s dash -e SC3043,SC2034,SC1091,SC2154,SC2086,SC2046,SC2116,SC2005,SC1007 \
  $FILES/postern.init $FILES/firewall.sh $FILES/postern.defaults
ROOT=$(mktemp -d)
trap 'rm -rf "$ROOT"' EXIT
count=0

fail() {
  echo "openwrt: $name: $*" >&2
  cat "$ROOT/calls" "$ROOT/var/etc/postern.conf" >&2 || true
  exit 1
}

# A router named $1 with the configuration on stdin.
router() {
  name=$1
  count=$((count + 1))
  rm -rf "${ROOT:?}"/*
  mkdir -p "$ROOT"/{etc/config,var/etc,zones,none,lib}
  cat >"$ROOT/etc/config/upnpd"
  printf '%s\n' 'lan br-lan' 'guest br-guest' 'wan pppoe-wan' 'wan6 6in4' >"$ROOT/networks"
  printf "config zone\n option name lan\n list network lan\nconfig zone\n option name guests\n\
 list network guest\nconfig zone\n option name wan\n list network wan\n list network wan6\n" \
    >"$ROOT/etc/config/firewall"
  printf 'pppoe-wan\n6in4\n' >"$ROOT/zones/wan"
  : >"$ROOT/lib/network.sh"
  routes
  printf '#!/bin/sh\necho "firewall $*" >>"$ROOT/calls"\necho %s\n' "${SIGNAL:-label}" >"$ROOT/firewall.sh"
  chmod 755 "$ROOT/firewall.sh"
  sed "s#/var/etc#$ROOT/var/etc#; s#/lib/functions/network.sh#$ROOT/lib/network.sh#; \
s#/etc/config/upnpd#$ROOT/etc/config/upnpd#; s#/usr/share/postern/firewall.sh#$ROOT/firewall.sh#; \
s#/usr/sbin/postern#$POSTERN#; s#/etc/passwd#$ROOT/etc/passwd#; s#/var/run/#$ROOT/var/run/#; \
s#/sbin/ujail#$ROOT/ujail#; s#/proc/net/route#$ROOT/route#" $FILES/postern.init >"$ROOT/init"
}

# Default routes, "DEVICE METRIC" each, after another route.
routes() {
  printf 'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n' >"$ROOT/route"
  printf 'br-lan\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n' >>"$ROOT/route"
  [ $# = 0 ] || printf '%s\t00000000\t010200C0\t0003\t0\t0\t%s\t00000000\n' "$@" >>"$ROOT/route"
}

# Runs one action of the init script in a network namespace.
run() {
  : >"$ROOT/calls"
  unshare --net busybox ash -eu -c "set +eu; ip link set lo up; . tests/openwrt/stubs.sh; . $ROOT/init; $1" ||
    fail "$1 failed"
}

# The devices that the last start wrote, sorted by their place, in one line.
devices() {
  local got
  got=$(sed -n "/^config/,/^config/{s/^\t\(list\|option\) \(internal_device\|external_device6*\|ct_mark\) '\(.*\)'/\2=\3/p}" \
    "$ROOT/var/etc/postern.conf" | xargs)
  [ "$got" = "$1" ] || fail "devices are '$got', not '$1'"
}

called() { grep -qxF -- "$1" "$ROOT/calls" || fail "not called: $1"; }
uncalled() { ! grep -qxF -- "$1" "$ROOT/calls" || fail "called: $1"; }
# The firewall's openings, "PROTOCOL PORT" each, in their order.
opened() {
  local got
  got=$(sed -n 's/^json_add_string \(proto\|dest_port\) //p' "$ROOT/calls" | xargs)
  [ "$got" = "$1" ] || fail "opened is '$got', not '$1'"
}
idle() {
  ! grep -q procd_open_instance "$ROOT/calls" || fail "started"
  called 'procd_add_reload_trigger upnpd firewall'
}
good() { "$POSTERN" check "$ROOT/var/etc/postern.conf" >"$ROOT/said" || fail "$(cat "$ROOT/said")"; }

router 'as shipped, nothing is started' <$FILES/upnpd.config
run start && idle && called 'procd_add_reload_interface_trigger lan'
"$POSTERN" check "$ROOT/etc/config/upnpd"

router 'as shipped and enabled' < <(sed "s/enabled '0'/enabled '1'/" $FILES/upnpd.config)
run start && good && devices 'internal_device=br-lan'
called "procd_set_param command $POSTERN run --config $ROOT/var/etc/postern.conf"
called 'procd_set_param reload_signal HUP'
called 'json_add_string src lan'
opened 'udp 1900 tcp 5000 udp 5351'
[ "$("$UCI" -c "$ROOT/var/etc" export postern.conf 2>/dev/null | grep -c perm_rule || true)" = 2 ] ||
  [ "$(grep -c '^config perm_rule' "$ROOT/var/etc/postern.conf")" = 2 ] || fail 'rules are lost'

for sample in openwrt openwrt-old proposed-schema; do
  router "the sample $sample" <uci/good/$sample
  run start && good && called procd_open_instance
done

router 'several LANs as words' <<<$'config upnpd config\n option internal_iface "lan guest"\n option port 5001'
run start && good && devices 'internal_device=br-lan internal_device=br-guest'
called 'json_add_string src guests' && opened 'udp 1900 tcp 5001 udp 5351 udp 1900 tcp 5001 udp 5351'

router 'UPnP alone' <<<$'config upnpd config\n option enable_natpmp 0'
run start && good && opened 'udp 1900 tcp 5000'
router 'PCP alone' <<<$'config upnpd settings\n option enabled 1\n option enabled_protocols pcp+nat-pmp'
run start && good && opened 'udp 5351'

# The firewall is told when the openings are others, and only then: that has the service reloaded.
readonly TOLD='procd_set_config_changed firewall'
for zones in some no; do
  router "neither protocol, $zones zones" <<<$'config upnpd config\n option enable_upnp 0\n option enable_natpmp 0'
  [ $zones = some ] || : >"$ROOT/etc/config/firewall"
  run start && good && opened '' && uncalled "$TOLD"
  run start && uncalled "$TOLD"
  run reload_service && uncalled "$TOLD"
  sed -i 's/enable_natpmp 0/enable_natpmp 1/' "$ROOT/etc/config/upnpd"
  run reload_service && called "$TOLD"
  run reload_service && uncalled "$TOLD"
done
router 'other openings that are not used' <<<$'config upnpd config'
run start && good
printf ' option port 5001\n option config_file %s\n' "$ROOT/etc/config/upnpd.none" >>"$ROOT/etc/config/upnpd"
run start && idle && uncalled "$TOLD"

router 'several LANs as a list' <<<$'config upnpd config\n list internal_iface lan\n list internal_iface guest'
run start && good && devices 'internal_device=br-lan internal_device=br-guest'

router 'a WAN by its network' <<<$'config upnpd config\n option external_iface wan'
run start && good && devices 'internal_device=br-lan external_device=pppoe-wan'
called 'procd_set_param netdev pppoe-wan' && called 'procd_add_reload_interface_trigger wan'
sed -i /^wan/d "$ROOT/networks"
run reload_service && devices 'internal_device=br-lan external_device=pppoe-wan' && called procd_open_instance

router 'a WAN of IPv6 that is another one' <<<$'config upnpd config\n option external_iface wan\n option external_iface6 wan6'
run start && good && devices 'internal_device=br-lan external_device=pppoe-wan external_device6=6in4'
called 'procd_set_param netdev pppoe-wan 6in4' && called 'procd_add_reload_interface_trigger wan6'

router 'a WAN by its zone' <<<$'config upnpd config\n option external_zone wan'
run start && good && devices 'internal_device=br-lan external_device=pppoe-wan'
called 'procd_add_reload_interface_trigger wan6'

# The firewall has not loaded for the network that comes up.
router 'a WAN by its zone, of which another network comes up' <<<$'config upnpd config\n option external_zone wan'
printf ' list network wwan\n' >>"$ROOT/etc/config/firewall"
routes pppoe-wan 20
run start && good && devices 'internal_device=br-lan external_device=pppoe-wan'
called 'procd_add_reload_interface_trigger wwan'
echo 'wwan wwan0' >>"$ROOT/networks"
routes pppoe-wan 20 wwan0 10
run reload_service && good && devices 'internal_device=br-lan external_device=wwan0'
called procd_open_instance && uncalled restart

router 'a WAN that is not up yet' <<<$'config upnpd config\n option external_iface wan'
sed -i /^wan/d "$ROOT/networks"
run start && idle && called 'procd_add_reload_interface_trigger wan'

router 'one LAN of two is down' <<<$'config upnpd config\n option internal_iface "guest lan"'
sed -i /^guest/d "$ROOT/networks"
run start && good && devices 'internal_device=br-lan' && called 'procd_add_reload_interface_trigger guest'

router 'disabled in other words' <<<$'config upnpd config\n option enabled off'
run start && idle
router 'no section' </dev/null
run start && idle
router 'the proposed schema without enabled' <<<$'config upnpd settings'
run start && idle

SIGNAL=mark router 'a kernel without labels' <<<$'config upnpd config'
run start && good && devices 'internal_device=br-lan ct_mark=0x40000000'
SIGNAL=mark router 'a mark of the owner' <<<$'config upnpd config\n option ct_mark 0x100'
run start && good && called 'firewall put 0x100' && devices 'internal_device=br-lan'
sed -i s/0x100/0x200/ "$ROOT/etc/config/upnpd"
run reload_service && called restart

router 'devices of the owner' <<<$'config upnpd config\n option external_device eth9\n list internal_device br-own'
run start && good && ! grep -q "br-lan" "$ROOT/var/etc/postern.conf" || fail 'network resolved'

# The daemon asks netifd for the devices of every network that it reads of.
for networks in 'option internal_iface "lan guest"' $'list internal_iface lan\n list internal_iface guest'; do
  router 'devices of the owner beside networks' <<END
config upnpd config
 $networks
 list internal_device br-own
 list internal_device br-iot
 option external_iface wan
 option external_device wg0
 option external_iface6 wan6
 option external_device6 wg6
 option port 5001
END
  run start && good && called 'json_add_string src guests'
  # All that is left of what was written.
  got=$(sed -n "s/^\t[a-z]* \([a-z6_]*\) '\(.*\)'/\1=\2/p" "$ROOT/var/etc/postern.conf" | xargs)
  want='internal_device=br-own internal_device=br-iot external_device=wg0 external_device6=wg6 port=5001'
  [ "$got" = "$want" ] || fail "the daemon reads $got"
done

router 'hostile values' <<'END'
config upnpd config
	option internal_iface 'lan $(touch$IFS$ROOT/owned) `id` *'
	option friendly_name 'a"b`id`$(id)'
	option serial_number "it's"
END
run start && devices 'internal_device=br-lan'
good && grep -qF "$(printf '%s' 'a"b`id`$(id)')" "$ROOT/var/etc/postern.conf" || fail 'value changed'
[ ! -e "$ROOT/owned" ] || fail 'a value was run'

# Every option of today's package, with a value that is not its default, is the daemon's as it was
# written, a quote and a line end in a value too.
router 'every option' <<'END'
config upnpd config
	option enabled yes
	option enable_upnp 1
	option enable_natpmp 0
	option secure_mode 0
	option log_output 1
	option external_iface wan
	option external_iface6 wan6
	option external_zone wan
	option external_ip 203.0.113.7
	option internal_iface 'lan guest'
	option port 5001
	option download 2048
	option upload 1024
	option upnp_lease_file /tmp/leases
	option upnp_lease_file6 /tmp/leases6
	option igdv1 0
	option use_stun 0
	option stun_host stun.example.org
	option stun_port 3479
	option ext_allow_private_ipv4 1
	option ipv6_disable 1
	option system_uptime 0
	option presentation_url 'http://192.168.1.1/?a=1&b=2'
	option serial_number "it's"
	option model_number '1 "2" $3'
	option notify_interval 90
	option uuid 01234567-89ab-cdef-0123-456789abcdef
	option clean_ruleset_threshold 20
	option clean_ruleset_interval 600
config perm_rule
	option action allow
	option ext_ports 1024-65535
	option int_addr 192.168.1.0/24
	option int_ports 1024:2048
	option comment 'two
lines'
config perm_rule
	option action deny
	option ext_ports 0-65535
	option int_addr 0.0.0.0/0
	option int_ports 0-65535
END
run start && good
# After the devices the same lines in the same order; the head of the section is the init script's.
"$UCI" -c "$ROOT/etc/config" export upnpd | sed '1d; /^$/d' >"$ROOT/written"
[ "$(grep -c '^	option' "$ROOT/written")" = 38 ] || fail 'the test itself has lost an option'
sed "/^#/d; /_device6* '/d; /^$/d" "$ROOT/var/etc/postern.conf" | sed 1d |
  diff "$ROOT/written" - || fail 'an option is another one'

router 'a file that uci refuses' <<<$'config upnpd config\n option port\nconfig perm_rule\n option action "allow'
run start; "$POSTERN" check "$ROOT/var/etc/postern.conf" >"$ROOT/said" && fail 'mistake hidden'
line=$(grep -n 'option action "allow' "$ROOT/var/etc/postern.conf" | cut -d : -f 1) || fail 'nothing written'
grep -q "/postern.conf:$line: error: " "$ROOT/said" || fail 'mistake not named'

# The daemon's user: the package's own where it is there, unless the owner says another.
conf() { stat -c '%a %u %g' "$ROOT/var/etc/postern.conf"; }
user() { sed -n "s/^\toption user '\(.*\)'/\1/p" "$ROOT/var/etc/postern.conf" | xargs; }
with_user() { echo 'postern:x:5351:5351:postern:/var/run/postern:/bin/false' >"$ROOT/etc/passwd"; }
router 'no user of its own' <<<$'config upnpd config'
run start && good && [ "$(user) $(conf)" = ' 600 0 0' ] || fail "$(user) $(conf)"
with_user
run reload_service && called restart
run start && good && [ "$(user) $(conf)" = 'postern 640 0 5351' ] || fail "$(user) $(conf)"
sed -i "s/config$/config\n option user root/" "$ROOT/etc/config/upnpd"
run reload_service && called restart
run start && good && [ "$(user) $(conf)" = 'root 640 0 0' ] || fail "$(user) $(conf)"
echo ' option seccomp 0' >>"$ROOT/etc/config/upnpd"
run reload_service && called restart
for user in '5351 5351' '453 454' '99 6' '4711 4711'; do
  router "the user of number $user" <<<$'config upnpd config\n option user '"${user% *}"
  with_user
  printf '%s\n' 'other:x:453:454::/:/bin/false' '99:x:5:6::/:/bin/false' >>"$ROOT/etc/passwd"
  run start && good && [ "$(user) $(conf)" = "${user% *} 640 0 ${user#* }" ] || fail "$(user) $(conf)"
done

# What only root can do is done at a start.
router 'what needs a restart' <<<$'config upnpd config\n option port 5001\n option upnp_lease_file /tmp/a'
run start && good
restarts() {
  sed -i "$1" "$ROOT/etc/config/upnpd"
  run reload_service && "$2" restart
  run start
}
restarts 's#/tmp/a#/tmp/b#' called
restarts '$a\ option upnp_lease_file6 /tmp/c' called
restarts '$a\ option lease_file /tmp/d' called
restarts '$a\ option friendly_name x' uncalled
restarts 's#5001#5002#' uncalled
restarts 's#port 5002#http_port 80#' called
restarts 's#port 80#port 81#' uncalled
restarts 's#port 81#port 5000#' called

router 'a jail without the program for it' <<<$'config upnpd config\n option jail 1'
with_user
run start && good && called "log option jail: without $ROOT/ujail there is no jail; install procd-ujail"
! grep 'jail_mount\|procd_add_jail\|procd_set_param \(user\|capabilities\)' "$ROOT/calls" || fail 'half a jail'
touch "$ROOT/ujail" && chmod 755 "$ROOT/ujail"
run reload_service && called restart

router 'a jail' <<<$'config upnpd config\n option jail 1\n option upnp_lease_file /var/run/leases'
touch "$ROOT/ujail" && chmod 755 "$ROOT/ujail"
sed -i "s#/var/run#$ROOT/var/run#" "$ROOT/etc/config/upnpd"
run start && called 'procd_set_param capabilities /etc/capabilities/postern.json'
called "procd_add_jail_mount $ROOT/var/etc/postern.conf" && uncalled "procd_add_jail_mount_rw $ROOT/var/run"
! grep -q 'procd_set_param user' "$ROOT/calls" || fail 'there is no user yet'
owners() { stat -c %u "$ROOT/var/run/postern" "$ROOT/var/run/leases" 2>/dev/null | xargs; }
[ "$(owners)" = 0 ] || fail "owners are $(owners)"
with_user
run start && called 'procd_set_param user postern'
[ "$(owners)" = '5351 5351' ] || fail "owners are $(owners)"
# There the daemon sees the file that was mounted, whatever takes its place.
run reload_service && uncalled restart
restarts '$a\ option friendly_name x' called
sed -i 's/^lan .*/lan br-other/' "$ROOT/networks"
run reload_service && called restart
# Lease files elsewhere: their folders, by each of the options; procd knows users by name.
mkdir "$ROOT/a" "$ROOT/b" "$ROOT/c"
sed -i '/upnp_lease_file/d' "$ROOT/etc/config/upnpd"
printf ' option %s\n' 'user 5351' "upnp_lease_file $ROOT/a/x" "upnp_lease_file6 $ROOT/b/x" "lease_file $ROOT/c/x" \
  >>"$ROOT/etc/config/upnpd"
run start && called 'procd_set_param user postern'
for folder in a b c; do called "procd_add_jail_mount_rw $ROOT/$folder"; done
got=$(stat -c %u "$ROOT/a/x" "$ROOT/b/x" "$ROOT/c/x" "$ROOT/c/x-ipv6" | xargs)
[ "$got" = '5351 5351 5351 5351' ] || fail "owners are $got"
sed -i 's/user 5351/user root/' "$ROOT/etc/config/upnpd"
run start && called "procd_add_jail_mount_rw $ROOT/a"
sed -i '/option user/d' "$ROOT/etc/config/upnpd"
cp "$ROOT/var/etc/postern.conf" "$ROOT/theirs"
echo " option config_file $ROOT/theirs" >>"$ROOT/etc/config/upnpd"
run start && called "procd_set_param command $POSTERN run --config $ROOT/theirs"
! grep -q 'procd_set_param user' "$ROOT/calls" || fail 'it may be for root alone'
run reload_service && uncalled restart
echo '#' >>"$ROOT/theirs"
run reload_service && called restart

# A host leaves: only then, and only what is its own. As hotplug-call does it, in a shell of its own.
name='hotplug'
hotplug() {
  ACTION=$1 IPADDR=$2 busybox ash -c 'postern() { echo "$@" >&3; }; . "$1"' - "$PWD/$FILES/postern.hotplug" 3>"$ROOT/asked" ||
    fail 'it ends with an error'
  [ "$(cat "$ROOT/asked")" = "$3" ] || fail "it asks for: $(cat "$ROOT/asked")"
}
hotplug remove 192.168.1.10 'delete --host 192.168.1.10'
hotplug remove '' ''
hotplug add 192.168.1.10 ''
hotplug update 192.168.1.10 ''

# Taking over from miniupnpd: what another package owns is stopped and left, what nobody owns gives
# way, and the old name of the service leads to the new one.
name='uci-defaults'
take_over() {
  : >"$ROOT/calls"
  sed "s#/etc/init.d/miniupnpd#$ROOT/miniupnpd#; s#/usr/sbin/miniupnpd#$ROOT/program#; \
s#/usr/share/postern/firewall.sh#$ROOT/firewall.sh#" $FILES/postern.defaults >"$ROOT/defaults"
  # As default_postinst does: in a shell of its own, by which it must not be ended with an error.
  busybox ash -c '. tests/openwrt/stubs.sh; (. "$ROOT/defaults") || told failed' || fail "$1"
  ! grep -q failed "$ROOT/calls" || fail "$1: exit code"
  called 'firewall put ' && called 'killall -HUP ubusd'
}
theirs() {
  printf '#!/bin/sh\necho "miniupnpd $1" >>%s/calls\n' "$ROOT" >"$ROOT/miniupnpd"
  chmod 755 "$ROOT/miniupnpd"
}
router 'taken over' <$FILES/upnpd.config
take_over 'a new system' && grep -q 'exec /etc/init.d/postern "$@"' "$ROOT/miniupnpd" || fail 'no alias'
cp "$ROOT/miniupnpd" "$ROOT/alias"
take_over 'once more' && cmp "$ROOT/miniupnpd" "$ROOT/alias"
theirs && touch "$ROOT/program" && chmod 755 "$ROOT/program"
cp "$ROOT/miniupnpd" "$ROOT/before"
take_over 'beside miniupnpd' && called 'miniupnpd stop' && called 'miniupnpd disable'
cmp "$ROOT/miniupnpd" "$ROOT/before"
theirs && rm "$ROOT/program"
take_over 'what miniupnpd left' && called 'miniupnpd stop' && cmp "$ROOT/miniupnpd" "$ROOT/alias"
cmp "$ROOT/etc/config/upnpd" $FILES/upnpd.config || fail 'the configuration is another one'

# The real kernel chooses the line; both load where fw4 has it.
name='the firewall line'
for line in label mark; do
  sed "s/^\t\tct label 127 accept.*/\t\t$(sed 's/[&/]/\\&/g' $FILES/forward-$line.nft)/" tests/netns/fw4.nft >"$ROOT/fw4-$line.nft"
  unshare --net nft -f "$ROOT/fw4-$line.nft" || fail "$line does not load"
  grep -qF "$(cat $FILES/forward-$line.nft)" "$ROOT/fw4-$line.nft" || fail "$line is not in the ruleset"
done
mkdir -p "$ROOT/img/usr/share/postern" "$ROOT/bin"
cp $FILES/forward-*.nft "$ROOT/img/usr/share/postern"
printf '#!/bin/sh\n' >"$ROOT/bin/fw4"; chmod 755 "$ROOT/bin/fw4"
put() { IPKG_INSTROOT=$ROOT/img PATH=$ROOT/bin:$PATH unshare --net busybox ash $FILES/firewall.sh "$@"; }
include=$ROOT/img/usr/share/nftables.d/chain-post/forward/20-postern.nft
[ "$(put put)" = label ] && cmp "$include" $FILES/forward-label.nft || fail 'label was not chosen'
[ "$(put put 0x100)" = mark ] && grep -q '^ct mark & 0x00000100 == 0x00000100 accept' "$include" || fail 'mask'
# What the daemon refuses as a mark is none here either, nor on the page, and the reverse.
page=$(sed -n '/^const MARK =/p; /^function validateMark/,/^}/p' \
  openwrt/luci-app-postern/htdocs/luci-static/resources/view/postern/postern.js)
page_takes() { [ "$(node -pe "const _ = String; $page validateMark('', process.argv[1])" -- "$1")" = true ]; }
for mask in 0x10 0X10 16 ' 0x10 ' 0x00000001 0xffffffff 4294967295 010 +5 0x+5 0x000000010 0x0000000001 0 0x0 0x \
  0xg 0x100000000 4294967296 99999999999 -1 1e3 bit; do
  printf "config upnpd config\n option ct_mark '%s'\n" "$mask" >"$ROOT/marked"
  "$POSTERN" check "$ROOT/marked" >"$ROOT/said" || true
  kind=mark
  ! grep -q 'is no mark' "$ROOT/said" || kind=label
  [ "$(put put "$mask")" = $kind ] || fail "ct_mark '$mask' is read in two ways"
  said=label
  ! page_takes "${mask// /}" || said=mark
  [ $said = $kind ] || fail "ct_mark '$mask' is read in another way on the page"
done
[ "$(put put '0x1; drop')" = label ] && cmp "$include" $FILES/forward-label.nft || fail 'a bad mask was used'
printf '#!/bin/sh\n[ "$1" != -c ] || ! grep -q "ct label" \n' >"$ROOT/bin/nft"; chmod 755 "$ROOT/bin/nft"
[ "$(put put)" = mark ] && cmp "$include" $FILES/forward-mark.nft || fail 'mark was not chosen'
printf '#!/bin/sh\nfalse\n' >"$ROOT/bin/nft"
! put put 2>/dev/null >&2 || fail 'a refused line is no failure'
[ ! -e "$include" ] || fail 'a refused line stays'
echo "openwrt: $count routers and the firewall line are as they should be"
