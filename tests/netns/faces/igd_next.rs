//! The crate igd-next (rust-libp2p, Veilid), which takes no gateway whose LOCATION names another
//! host than the one that answers.

use super::{assert_open, assert_open6, hole, installed, left, row, Script};
use crate::world::{Host, World, ALICE, ALICE6};

const DESCRIPTION: &str = "igd-next <&>";

fn client(world: &World, args: &[&str]) -> Script {
    let program = installed("clients-rust/debug/igd-next-client");
    Script::program(world, program.to_str().unwrap(), args)
}

/// The steps that are the same over both families; the port it got for UDP.
fn maps(client: &mut Script, authority: &str) -> u16 {
    // It asks for services of both trees and takes what answers first.
    let found = client.said();
    let trees = [1, 2].map(|version| format!("found {authority}/igd{version}/desc.xml"));
    assert!(trees.contains(&found), "{found}");
    client.says(["external address 11.22.33.1", "mapped TCP 17001"]);
    let any = client.said();
    let port = any.strip_prefix("mapped UDP ").and_then(|port| port.parse().ok());
    client.says([format!("listed TCP 17001 192.168.1.10:7001 true {DESCRIPTION}")]);
    port.unwrap_or_else(|| panic!("{any}"))
}

#[test]
fn igd_next_opens_a_port_and_any_port_over_ipv4() {
    // Conformance 15, 109, 111, 112, 139, 144, 284.
    let world = World::new();
    let _daemon = world.start();
    let _servers = (
        world.tcp_server(Host::Alice, (ALICE, 7001)),
        world.udp_server(Host::Alice, (ALICE, 7001)),
    );
    let mut client = client(&world, &["4", "192.168.1.10", "7001", "17001"]);
    let any = maps(&mut client, "192.168.1.1:5000");
    let rows = [row("TCP", 17001, 7001, DESCRIPTION), row("UDP", any, 7001, DESCRIPTION)];
    assert_eq!(world.rows(), rows);
    assert_open(&world, "TCP", 17001, true);
    assert_open(&world, "UDP", any, true);
    client.go_on();
    client.says(["refreshed"]);
    assert_eq!(world.rows(), rows);
    assert!(left(&world)[0] > 600, "{:?}", world.list());
    client.go_on();
    client.says(["unmapped"]);
    assert_eq!(world.rows(), [""; 0]);
    assert_open(&world, "TCP", 17001, false);
    assert_open(&world, "UDP", any, false);
}

#[test]
fn igd_next_maps_its_ipv4_address_and_opens_a_pinhole_over_ipv6() {
    // Conformance 15, 27, 134, 153, 154, 161, 162, 284.
    let world = World::new();
    let _daemon = world.start();
    let _servers = (
        world.tcp_server(Host::Alice, (ALICE, 7001)),
        world.udp_server(Host::Alice, (ALICE, 7001)),
        world.tcp_server(Host::Alice, (ALICE6, 7001)),
    );
    let own = ALICE6.to_string();
    let mut client = client(&world, &["6", "192.168.1.10", "7001", "17001", &own]);
    let any = maps(&mut client, "[2001:db8:1::1]:5000");
    client.says([
        "found firewall [2001:db8:1::1]:5000/igd2/desc.xml",
        "firewall true true",
        "pinhole 1",
    ]);
    let rows = [
        row("TCP", 17001, 7001, DESCRIPTION),
        row("UDP", any, 7001, DESCRIPTION),
        hole("TCP", 7001),
    ];
    assert_eq!(world.rows(), rows);
    assert_open(&world, "TCP", 17001, true);
    assert_open(&world, "UDP", any, true);
    assert_open6(&world, "TCP", 7001, true);
    client.go_on();
    client.says(["refreshed"]);
    assert_eq!(world.rows(), rows);
    let left = left(&world);
    assert!(left[0] > 600 && left[2] > 600, "{left:?}");
    client.go_on();
    client.says(["unmapped"]);
    assert_eq!(world.rows(), [""; 0]);
    assert_open(&world, "TCP", 17001, false);
    assert_open(&world, "UDP", any, false);
    assert_open6(&world, "TCP", 7001, false);
}
