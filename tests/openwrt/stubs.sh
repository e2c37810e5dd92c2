# Our own stand-ins for what OpenWrt gives an init script. What is called is told in $ROOT/calls;
# the configuration is read by OpenWrt's own `uci`.
told() { printf '%s\n' "$*" >>"$ROOT/calls"; }
uci() { "$UCI" -c "$ROOT/etc/config" -P "$ROOT/none" "$@"; }
config_load() {
	sections='' number=0
	eval "$(uci -q -S -n export "$1" 2>/dev/null | sed 1d)"
}
config() {
	number=$((number + 1))
	now=${2:-cfg$number}
	sections="$sections $now"
	eval "CONFIG_${now}_TYPE=\$1"
	for known in $(set | sed -n "s/^\(CONFIG_${now}_[A-Za-z0-9_]*\)=.*/\1/p"); do
		[ "$known" = "CONFIG_${now}_TYPE" ] || unset "$known"
	done
}
option() { eval "CONFIG_${now}_$1=\$2"; }
list() { eval "CONFIG_${now}_$1=\"\${CONFIG_${now}_$1:+\$CONFIG_${now}_$1 }\$2\""; }
config_get() { eval "$1=\${CONFIG_${2}_$3:-\$4}"; }
config_get_bool() {
	config_get "$1" "$2" "$3" "$4"
	eval "case \"\$$1\" in 1|on|true|yes|enabled) $1=1 ;; 0|off|false|no|disabled) $1=0 ;; *) $1=$4 ;; esac"
}
config_foreach() {
	for each in $sections; do
		eval "[ \"\$CONFIG_${each}_TYPE\" != $2 ] || $1 $each"
	done
}
network_get_device() {
	found_device=$(sed -n "s/^$2 //p" "$ROOT/networks")
	eval "$1=\$found_device"
	[ -n "$found_device" ]
}
fw4() { cat "$ROOT/zones/$3"; }
# There is no such user on this machine, but numbers do.
chown() {
	for word in "$@"; do
		[ "$word" = postern ] && word=5351
		set -- "$@" "$word"
		shift
	done
	command chown "$@"
}
logger() { told log "$5"; }
killall() { told killall "$@"; }
for name in procd_open_instance procd_set_param procd_close_instance procd_add_jail \
	procd_add_jail_mount procd_add_jail_mount_rw procd_open_data procd_close_data \
	procd_add_reload_trigger procd_add_reload_interface_trigger procd_set_config_changed \
	json_add_array json_close_array json_add_object json_add_string json_close_object restart; do
	eval "$name() { told $name \"\$@\"; }"
done
start() {
	start_service
	service_started
	service_triggers
}
