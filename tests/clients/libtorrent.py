# Listens as a BitTorrent client does and has its port opened by PyPI's libtorrent, the library of
# qBittorrent and Deluge. Argument: the port. Closes it when a line comes in.
import sys
import time

import libtorrent

kinds = libtorrent.alert.category_t
session = libtorrent.session({
    "listen_interfaces": "192.168.1.10:" + sys.argv[1],
    "enable_upnp": True, "enable_natpmp": False, "enable_dht": False, "enable_lsd": False,
    "alert_mask": kinds.port_mapping_notification | kinds.status_notification,
})


def alerts(kind, count):
    """The next alerts of a kind."""
    end = time.time() + 10
    while count and time.time() < end:
        session.wait_for_alert(100)
        for alert in session.pop_alerts():
            if type(alert).__name__ == kind:
                count -= 1
                yield alert


# In whatever order they come.
print(*sorted(alert.message() for alert in alerts("portmap_alert", 2)), sep="\n", flush=True)
sys.stdin.readline()
session.apply_settings({"enable_upnp": False})
# It reports every end as an error of its own, -1, even after the gateway's yes.
print("ended", len(list(alerts("portmap_error_alert", 2))), flush=True)
