#!/bin/sh
# Run by the feed's checks on the built package.
[ "$1" = postern ] || exit 0
[ "$(postern --version)" = "postern $2" ] && postern check /etc/config/upnpd
