#!/bin/sh
# Keeps Postern's one line in firewall4's forward chain.
#
#   firewall.sh put [MASK]   chooses the line, puts it in place, says label or mark
#   firewall.sh remove       takes it away
#
# The kernel is asked by a dry run: a line that it refuses would keep the whole firewall from
# loading. firewall4 is reloaded only if something has changed.
SHARE=${IPKG_INSTROOT}/usr/share
INCLUDE=$SHARE/nftables.d/chain-post/forward/20-postern.nft

# Whether the kernel takes a rule, and the other rule that the daemon makes of the same kind.
takes() {
	printf 'table inet postern_probe {\nchain f {\n%s\n%s\n}\n}\n' "$1" "$2" |
		nft -c -f - >/dev/null 2>&1
}

# Loads the firewall anew if it is there.
reload() {
	[ -z "$IPKG_INSTROOT" ] || return 0
	nft list chain inet fw4 forward >/dev/null 2>&1 || return 0
	/etc/init.d/firewall reload >/dev/null 2>&1
}

put() {
	local mask line kind
	# The daemon overlooks the spaces around a value.
	set -f
	set -- $1
	set +f
	mask="$*"
	case "$mask" in
		"") ;;
		# What the daemon refuses it does not use.
		0[xX]*[!0-9a-fA-F]* | 0[xX] | [!0]*[!0-9]* | [!0-9]* | 0[!xX]*) mask= ;;
		*) case "${#mask}" in [1-9] | 10) ;; *) mask= ;; esac ;;
	esac
	if [ -n "$mask" ]; then
		mask=$(printf '0x%08x' "$((mask))")
		[ "$mask" != 0x00000000 ] && [ "${#mask}" = 10 ] || mask=
	fi
	if [ -n "$mask" ]; then
		kind=mark
		line="ct mark & $mask == $mask accept comment \"postern: mapped flows\""
	else
		kind=label
		line=$(cat "$SHARE/postern/forward-label.nft")
		if ! takes "$line" 'ct label set 127'; then
			kind=mark
			line=$(cat "$SHARE/postern/forward-mark.nft")
		fi
	fi
	echo "$kind"
	command -v fw4 >/dev/null || return 0
	if ! takes "$line" ""; then
		logger -t postern -p daemon.err "nft refuses '$line': the firewall is left without it"
		remove
		return 1
	fi
	[ "$(cat "$INCLUDE" 2>/dev/null)" != "$line" ] || return 0
	mkdir -p "${INCLUDE%/*}"
	# By a rename, so that a firewall that loads meanwhile reads all of it or nothing.
	printf '%s\n' "$line" >"${INCLUDE%/*}/.20-postern.new" &&
		mv "${INCLUDE%/*}/.20-postern.new" "$INCLUDE" && reload
}

remove() {
	[ -e "$INCLUDE" ] || return 0
	rm -f "$INCLUDE"
	reload
}

case "$1" in
	put) put "$2" ;;
	remove) remove ;;
	*)
		echo "usage: firewall.sh put [MASK] | remove" >&2
		exit 2
		;;
esac
