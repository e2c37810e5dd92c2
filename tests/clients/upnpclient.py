# Opens a TCP and a UDP port by PyPI's upnpclient, which checks every argument against the service
# descriptions. Arguments: internal address, internal port, external port.
# Closes them when a line comes in.
import sys

import upnpclient

address, internal, external = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
devices = upnpclient.discover(timeout=2)
print("found", *sorted(device.location for device in devices), flush=True)
device = devices[0]
print("services", *(service.service_id.split(":")[-1] for service in device.services), flush=True)
wan = device.WANIPConn1
print("external address", wan.GetExternalIPAddress()["NewExternalIPAddress"], flush=True)
for protocol in ("TCP", "UDP"):
    wan.AddPortMapping(
        NewRemoteHost="", NewExternalPort=external, NewProtocol=protocol, NewInternalPort=internal,
        NewInternalClient=address, NewEnabled="1", NewPortMappingDescription="upnpclient <&>",
        NewLeaseDuration=600)
    print("mapped", protocol, flush=True)
entry = wan.GetSpecificPortMappingEntry(
    NewRemoteHost="", NewExternalPort=external, NewProtocol="UDP")
print("entry", entry["NewInternalClient"], entry["NewInternalPort"], entry["NewEnabled"],
      entry["NewPortMappingDescription"], flush=True)
sys.stdin.readline()
for protocol in ("TCP", "UDP"):
    wan.DeletePortMapping(NewRemoteHost="", NewExternalPort=external, NewProtocol=protocol)
print("unmapped", flush=True)
