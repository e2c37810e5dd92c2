# Opens a TCP and a UDP port by Debian's libgupnp-igd (Pidgin and Farstream use it), through GObject
# introspection. Arguments: internal address, internal port, external port.
# Closes them when a line comes in.
import sys

import gi

gi.require_version("GUPnPIgd", "1.6" if "1.6" in gi.Repository.get_default().enumerate_versions(
    "GUPnPIgd") else "1.0")
from gi.repository import GLib, GUPnPIgd

address, internal, external = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
loop = GLib.MainLoop()
gateway = GUPnPIgd.SimpleIgd()
mapped = []


def on_mapped(_, protocol, external_address, replaced, port, local_address, local_port, about):
    mapped.append(f"mapped {protocol} {external_address}:{port} {local_address}:{local_port} {about}")
    if len(mapped) == 2:
        # In whatever order they come.
        print(*sorted(mapped), sep="\n", flush=True)


def on_failed(_, error, protocol, *rest):
    print("failed", protocol, error.message, flush=True)


def on_line(*_):
    sys.stdin.readline()
    for protocol in ("TCP", "UDP"):
        gateway.remove_port(protocol, external)
    print("unmapped", flush=True)
    return GLib.SOURCE_REMOVE


gateway.connect("mapped-external-port", on_mapped)
gateway.connect("error-mapping-port", on_failed)
for protocol in ("TCP", "UDP"):
    gateway.add_port(protocol, external, address, internal, 600, "gupnp & <igd>")
GLib.io_add_watch(sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IOCondition.IN, on_line)
loop.run()
