# Reads everything about the gateway and opens a TCP and a UDP port by PyPI's async-upnp-client,
# Home Assistant's, which is strict about service descriptions.
# Arguments: internal port, external port. Closes them when a line comes in.
import asyncio
import sys
from datetime import timedelta
from ipaddress import IPv4Address

from async_upnp_client.aiohttp import AiohttpRequester
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.profiles.igd import IgdDevice

internal, external = map(int, sys.argv[1:])
ANY = IPv4Address("0.0.0.0")


async def main():
    found = await IgdDevice.async_search(timeout=1)
    locations = {str(answer["location"]) for answer in found}
    print("found", *sorted(locations), flush=True)
    device = await UpnpFactory(AiohttpRequester()).async_create_device(locations.pop())
    igd = IgdDevice(device, None)
    state = await igd.async_get_traffic_and_status_data()
    counted = [state.bytes_received, state.bytes_sent, state.packets_received, state.packets_sent]
    print("status", state.connection_status, state.last_connection_error,
          state.external_ip_address, *(type(count).__name__ for count in counted), flush=True)
    link = await igd.async_get_common_link_properties()
    print("link", link.wan_access_type, link.physical_link_status, flush=True)
    nat = await igd.async_get_nat_rsip_status()
    print("nat", nat.nat_enabled, nat.rsip_available, flush=True)
    for protocol in ("TCP", "UDP"):
        await igd.async_add_port_mapping(ANY, external, protocol, internal,
                                         IPv4Address("192.168.1.10"), True, "Home & <away>",
                                         timedelta(seconds=600))
    entry = await igd.async_get_specific_port_mapping_entry(ANY, external, "UDP")
    print("mapped", entry.internal_client, entry.internal_port, entry.enabled, entry.description,
          flush=True)
    sys.stdin.readline()
    for protocol in ("TCP", "UDP"):
        await igd.async_delete_port_mapping(ANY, external, protocol)
    print("unmapped", flush=True)


asyncio.run(main())
