//! Two from npm that need opposite faces of the same daemon.

use super::{assert_open, assert_open6, hole, left, row, Script};
use crate::world::{Host, World, ALICE, ALICE6};
use std::thread;
use std::time::Duration;

const NAT_UPNP: &str = include_str!("../../clients/nat-upnp.mjs");
const NAT_PORT_MAPPER: &str = include_str!("../../clients/nat-port-mapper.mjs");

/// Long enough that a refresh shows in what is left of a lease.
fn a_while() {
    thread::sleep(Duration::from_millis(2100));
}

#[test]
fn a_client_that_knows_only_version_1_and_one_that_takes_only_version_2_both_open_a_port() {
    // Conformance 139, 141, 144, 277, 278, 279, 281.
    let world = World::new();
    let _daemon = world.start();
    let _servers = [
        (
            world.tcp_server(Host::Alice, (ALICE, 7001)),
            world.udp_server(Host::Alice, (ALICE, 7001)),
        ),
        (
            world.tcp_server(Host::Alice, (ALICE, 17002)),
            world.udp_server(Host::Alice, (ALICE, 17002)),
        ),
    ];

    let mut v1 = Script::node(&world, NAT_UPNP, &["7001", "17001"]);
    v1.says(["external address 11.22.33.1", "mapped TCP 17001", "mapped UDP 17001"]);
    v1.says([
        "listed tcp 17001 192.168.1.10 7001 true node:nat:upnp",
        "listed udp 17001 192.168.1.10 7001 true node:nat:upnp",
    ]);
    // This one always deletes by its local port, so both are the same.
    let mut v2 = Script::node(&world, NAT_PORT_MAPPER, &["192.168.1.10", "17002"]);
    v2.says(["found 192.168.1.1", "external address 11.22.33.1"]);
    v2.says(["mapped TCP 17002", "mapped UDP 17002"]);
    let rows = [
        row("TCP", 17001, 7001, "node:nat:upnp"),
        row("UDP", 17001, 7001, "node:nat:upnp"),
        row("TCP", 17002, 17002, "@achingbrain/nat-port-mapper"),
        row("UDP", 17002, 17002, "@achingbrain/nat-port-mapper"),
    ];
    let open = |port: u16, open| {
        for protocol in ["TCP", "UDP"] {
            assert_open(&world, protocol, port, open);
        }
    };
    assert_eq!(world.rows(), rows);
    open(17001, true);
    open(17002, true);

    a_while();
    let before = left(&world);
    v1.go_on();
    v1.says(["refreshed"]);
    v2.go_on();
    v2.says(["refreshed"]);
    assert_eq!(world.rows(), rows);
    let after = left(&world);
    assert!(before.iter().zip(&after).all(|(b, a)| a > b), "{before:?} {after:?}");

    v1.go_on();
    v1.says(["unmapped"]);
    assert_eq!(world.rows(), rows[2..]);
    open(17001, false);
    v2.go_on();
    v2.says(["unmapped"]);
    assert_eq!(world.rows(), [""; 0]);
    open(17002, false);
}

#[test]
fn the_library_of_js_libp2p_opens_pinholes_by_the_wrong_service() {
    // Conformance 154, 161, 162: it asks WANIPConnection:2 for them.
    let world = World::new();
    let _daemon = world.start();
    let _servers = (
        world.tcp_server(Host::Alice, (ALICE6, 7003)),
        world.udp_server(Host::Alice, (ALICE6, 7003)),
    );
    let mut client = Script::node(&world, NAT_PORT_MAPPER, &["2001:db8:1::10", "7003"]);
    client.says(["found 2001:db8:1::1", "external address 11.22.33.1"]);
    client.says(["mapped TCP 7003", "mapped UDP 7003"]);
    let rows = ["TCP", "UDP"].map(|protocol| hole(protocol, 7003));
    assert_eq!(world.rows(), rows);
    for protocol in ["TCP", "UDP"] {
        assert_open6(&world, protocol, 7003, true);
    }
    a_while();
    let before = left(&world);
    client.go_on();
    client.says(["refreshed"]);
    assert_eq!(world.rows(), rows);
    let after = left(&world);
    assert!(before.iter().zip(&after).all(|(b, a)| a > b), "{before:?} {after:?}");
    client.go_on();
    client.says(["unmapped"]);
    assert_eq!(world.rows(), [""; 0]);
    for protocol in ["TCP", "UDP"] {
        assert_open6(&world, protocol, 7003, false);
    }
}
