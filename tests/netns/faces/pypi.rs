//! Three libraries from PyPI that many programs are built on.

use super::{assert_open, assert_open6, hole, left, row, Script};
use crate::clients::{IGD1, IGD2};
use crate::traffic::FROM_ALICE;
use crate::world::{Host, World, ALICE, ALICE6, EXTERNAL};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

const EVENTS: &str = include_str!("../../clients/async-upnp-client-events.py");

#[test]
fn the_library_of_home_assistant_reads_everything_and_opens_and_closes_ports() {
    // Conformance 38, 98, 99, 108, 109, 117, 283.
    let world = World::new();
    let _daemon = world.start();
    let _tcp = world.tcp_server(Host::Alice, (ALICE, 7001));
    let _udp = world.udp_server(Host::Alice, (ALICE, 7001));
    let source = include_str!("../../clients/async-upnp-client.py");
    let mut client = Script::python(&world, source, &["7001", "17001"]);
    client.says([
        "found http://192.168.1.1:5000/igd1/desc.xml",
        "status Connected ERROR_NONE 11.22.33.1 int int int int",
        "link Ethernet Up",
        "nat True False",
        "mapped 192.168.1.10 7001 True Home & <away>",
    ]);
    passes_until_unmapped(&world, &mut client, "Home & <away>");
}

/// Packets pass through the ports that the client has mapped, and none after it has gone on.
fn passes_until_unmapped(world: &World, client: &mut Script, description: &str) {
    let protocols = ["TCP", "UDP"];
    assert_eq!(world.rows(), protocols.map(|p| row(p, 17001, 7001, description)));
    for protocol in protocols {
        assert_open(world, protocol, 17001, true);
    }
    client.go_on();
    client.says(["unmapped"]);
    assert_eq!(world.rows(), [""; 0]);
    for protocol in protocols {
        assert_open(world, protocol, 17001, false);
    }
}

#[test]
fn the_library_of_home_assistant_is_told_by_every_service_of_version_1_what_changes() {
    // Conformance 79, 80, 85, 87, 283.
    let world = World::new();
    let daemon = world.start();
    let _server = world.tcp_server(Host::Alice, (ALICE, 7001));
    let location = world.control_point(FROM_ALICE, IGD1).location;
    let mut client = Script::python(&world, EVENTS, &[&location, "192.168.1.10", "7001", "17001"]);
    first_events(&mut client, ["WANConnectionDevice:1", ""]);
    client.says(["told of 1 entries 11.22.33.1 Connected"]);
    assert_eq!(world.rows(), [row("TCP", 17001, 7001, "events")]);
    assert_open(&world, "TCP", 17001, true);
    assert_eq!(world.status()["subscriptions"], 3);

    client.go_on();
    client.says(["renewed True"]);
    assert_eq!(world.status()["subscriptions"], 3);
    client.go_on();
    client.says(["told of 0 entries"]);
    assert_eq!(world.rows(), [""; 0]);
    assert_open(&world, "TCP", 17001, false);
    client.says(["unsubscribed True"]);
    assert_eq!(world.status()["subscriptions"], 0);
    daemon.stop();
}

#[test]
fn the_library_of_home_assistant_listens_and_opens_a_pinhole_over_ipv4_for_its_ipv6_address() {
    // Conformance 79, 153, 154, 158, 161, 162, 163, 283.
    let world = World::new();
    let _daemon = world.start();
    let location = world.control_point(FROM_ALICE, IGD2).location;
    assert_eq!(location, "http://192.168.1.1:5000/igd2/desc.xml");
    listens_and_opens_a_pinhole(&world, &location, "192.168.1.10");
}

#[test]
fn the_library_of_home_assistant_listens_and_opens_both_over_ipv6() {
    // Conformance 79, 89, 134, 154, 161, 162, 163.
    let world = World::new();
    let _daemon = world.start();
    let location = "http://[2001:db8:1::1]:5000/igd2/desc.xml";
    listens_and_opens_a_pinhole(&world, location, "2001:db8:1::10");
}

/// The first event of each service; only version 2 has the last, and the given variable.
fn first_events(client: &mut Script, [device, last]: [&str; 2]) {
    let default = "DefaultConnectionService=uuid:7c9e6679-7425-40de-944b-e07fc1f9";
    let layer3 = client.said();
    assert!(layer3.starts_with(&format!("event Layer3Forwarding {default}")), "{layer3}");
    let ends = format!(":{device},urn:upnp-org:serviceId:WANIPConn1");
    assert!(layer3.ends_with(&ends), "{layer3}");
    client.says(["event WANCommonInterfaceConfig PhysicalLinkStatus=Up EnabledForInternet=True"]);
    client.says([format!(
        "event WANIPConnection PossibleConnectionTypes=IP_Routed ConnectionStatus=Connected \
         ExternalIPAddress=11.22.33.1 PortMappingNumberOfEntries=0{last}"
    )]);
}

fn listens_and_opens_a_pinhole(world: &World, location: &str, listens_at: &str) {
    let _servers = (
        world.tcp_server(Host::Alice, (ALICE, 7001)),
        world.tcp_server(Host::Alice, (ALICE6, 7001)),
    );
    let own = ALICE6.to_string();
    let args = [location, listens_at, "7001", "17001", &own];
    let mut client = Script::python(world, EVENTS, &args);
    first_events(&mut client, ["WANConnectionDevice:2", " SystemUpdateID=0"]);
    client.says([
        "event WANIPv6FirewallControl FirewallEnabled=True InboundPinholeAllowed=True",
        "told of 1 entries 11.22.33.1 Connected",
        "firewall True True",
        "pinhole 1",
    ]);
    let rows = [row("TCP", 17001, 7001, "events"), hole("TCP", 7001)];
    assert_eq!(world.rows(), rows);
    assert_open(world, "TCP", 17001, true);
    assert_open6(world, "TCP", 7001, true);
    assert_eq!(world.status()["subscriptions"], 4);

    client.go_on();
    client.says(["renewed True", "refreshed after packets"]);
    assert_eq!(world.status()["subscriptions"], 4);
    assert!(left(world)[1] > 600, "{:?}", world.list());
    assert_eq!(world.rows(), rows);

    client.go_on();
    client.says(["pinhole closed", "told of 0 entries"]);
    assert_eq!(world.rows(), [""; 0]);
    assert_open(world, "TCP", 17001, false);
    assert_open6(world, "TCP", 7001, false);
    client.says(["unsubscribed True"]);
    assert_eq!(world.status()["subscriptions"], 0);
}

#[test]
fn a_client_that_checks_every_argument_finds_reads_opens_and_closes() {
    // Conformance 36, 38, 98, 109, 111, 139, 145.
    let world = World::new();
    let _daemon = world.start();
    let _tcp = world.tcp_server(Host::Alice, (ALICE, 7001));
    let _udp = world.udp_server(Host::Alice, (ALICE, 7001));
    let source = include_str!("../../clients/upnpclient.py");
    let mut client = Script::python(&world, source, &["192.168.1.10", "7001", "17001"]);
    client.says([
        "found http://192.168.1.1:5000/igd1/desc.xml",
        "services L3Forwarding1 WANCommonIFC1 WANIPConn1",
        "external address 11.22.33.1",
        "mapped TCP",
        "mapped UDP",
        "entry 192.168.1.10 7001 True upnpclient <&>",
    ]);
    passes_until_unmapped(&world, &mut client, "upnpclient <&>");
}

#[test]
fn a_bittorrent_client_is_reached_through_the_port_it_opens_for_itself() {
    // Conformance 46, 287.
    let world = World::new();
    let _daemon = world.start();
    let source = include_str!("../../clients/libtorrent.py");
    let mut client = Script::python(&world, source, &["16881"]);
    let protocols = ["TCP", "UDP"];
    let mapped = "successfully mapped port using UPnP. local: 192.168.1.10 external port";
    client.says(protocols.map(|protocol| format!("{mapped}: {protocol}/16881")));
    assert_eq!(world.rows(), protocols.map(|p| row(p, 16881, 16881, "libtorrent/2.1.1.0")));
    world.inside(Host::Internet, || {
        let to = SocketAddrV4::new(EXTERNAL, 16881);
        TcpStream::connect_timeout(&to.into(), Duration::from_secs(2)).unwrap();
    });
    client.go_on();
    client.says(["ended 2"]);
    assert_eq!(world.rows(), [""; 0]);
}
