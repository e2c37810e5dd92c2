# Subscribes to every service of a gateway by PyPI's async-upnp-client as Home Assistant does, and
# opens a TCP port and an IPv6 pinhole while it listens.
# Arguments: LOCATION; the address to be told events at; internal port; external port; address for a
# pinhole, if any.
# Renews and refreshes when a line comes in; closes and unsubscribes after another.
import asyncio
import sys
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address

from async_upnp_client.aiohttp import AiohttpNotifyServer, AiohttpRequester
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.profiles.igd import IgdDevice

location, address = sys.argv[1:3]
internal, external = map(int, sys.argv[3:5])
holes = [IPv6Address(text) for text in sys.argv[5:]]
ANY = IPv4Address("0.0.0.0")
TCP = 6


def say(*words):
    print(*words, flush=True)


async def line():
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def until(holds):
    async with asyncio.timeout(15):
        while not holds():
            await asyncio.sleep(0.02)


async def main():
    requester = AiohttpRequester()
    server = AiohttpNotifyServer(requester, (address, 0))
    await server.async_start_server()
    # Strict: the factory refuses a service description that is not as it must be.
    device = await UpnpFactory(requester).async_create_device(location)
    igd = IgdDevice(device, server.event_handler)
    events = {}

    def on_event(service, variables):
        values = {variable.name: variable.value for variable in variables}
        events.setdefault(service.service_type.split(":")[-2], values)

    igd.on_event = on_event
    await igd.async_subscribe_services()
    services = list(igd.profile_device.all_services)
    await until(lambda: len(events) == len(services))
    for name, values in sorted(events.items()):
        say("event", name, *(f"{variable}={value}" for variable, value in values.items()))

    await igd.async_add_port_mapping(ANY, external, "TCP", internal, IPv4Address("192.168.1.10"),
                                     True, "events", timedelta(seconds=600))
    await until(lambda: igd.port_mapping_number_of_entries == 1)
    say("told of", igd.port_mapping_number_of_entries, "entries", igd.external_ip_address,
        igd.connection_status)
    for hole in holes:
        status = await igd.async_get_firewall_status()
        say("firewall", status.firewall_enabled, status.inbound_pinhole_allowed)
        pinhole = await igd.async_add_pinhole(IPv6Address("::"), 0, hole, internal, TCP,
                                              timedelta(seconds=600))
        say("pinhole", pinhole)
    await line()

    before = set(igd._subscriptions)
    await igd.async_subscribe_services()
    say("renewed", set(igd._subscriptions) == before)
    for _ in holes:
        packets = await igd.async_get_pinhole_packets(pinhole)
        await igd.async_update_pinhole(pinhole, 1200)
        say("refreshed", "after packets" if packets else "without a packet")
    await line()

    for _ in holes:
        await igd.async_delete_pinhole(pinhole)
        say("pinhole closed")
    await igd.async_delete_port_mapping(ANY, external, "TCP")
    await until(lambda: igd.port_mapping_number_of_entries == 0)
    say("told of", igd.port_mapping_number_of_entries, "entries")
    await igd.async_unsubscribe_services()
    say("unsubscribed", not igd.is_subscribed)
    await server.async_stop_server()


asyncio.run(main())
