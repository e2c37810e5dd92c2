# Listens as a BitTorrent client does and has its port opened by PyPI's libtorrent, the library of
# qBittorrent and Deluge, which asks the gateway of its default route by PCP, or else by NAT-PMP.
# Argument: the port. Closes it when a line comes in, of which it says nothing.
import sys
import time

import libtorrent

kinds = libtorrent.alert.category_t
session = libtorrent.session({
    "listen_interfaces": "192.168.1.10:" + sys.argv[1],
    "enable_upnp": False, "enable_natpmp": True, "enable_dht": False, "enable_lsd": False,
    "alert_mask": kinds.port_mapping_notification | kinds.status_notification,
})

wanted = {"external_ip_alert": 1, "portmap_alert": 2}
said = []
end = time.time() + 10
while any(wanted.values()) and time.time() < end:
    session.wait_for_alert(100)
    for alert in session.pop_alerts():
        kind = type(alert).__name__
        if wanted.get(kind):
            wanted[kind] -= 1
            said.append(alert.message())
# In whatever order they come.
print(*sorted(said), sep="\n", flush=True)
sys.stdin.readline()
session.apply_settings({"enable_natpmp": False})
sys.stdin.readline()
