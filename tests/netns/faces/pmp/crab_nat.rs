//! The crate crab_nat, which asks by PCP if it can.

use super::super::{assert_open, assert_open6, installed, left, Script};
use super::{listens, mapped, natpmpc, row, PROTOCOLS};
use crate::traffic::{FROM_ALICE, FROM_OTHER_PEER, FROM_OTHER_PEER6, FROM_PEER, FROM_PEER6};
use crate::world::{Host, World, ALICE, ALICE6, EXTERNAL, PEER};
use std::net::{SocketAddr, SocketAddrV4};
use std::thread;
use std::time::Duration;

/// How `postern list` shows a pinhole of Alice.
fn hole(protocol: &str, port: u16, remote: &str) -> String {
    format!("ipv6 {protocol} 2001:db8:1::10:{port} -> 2001:db8:1::10:{port} remote={remote} '' pcp enabled=true")
}

fn crab_nat(world: &World, args: &[&str]) -> Script {
    let program = installed("clients-rust/debug/crab-nat-client");
    Script::program(world, program.to_str().unwrap(), args)
}

const OVER_IPV4: [&str; 4] = ["192.168.1.1", "192.168.1.10", "7001", "17001"];
const OVER_IPV6: [&str; 4] = ["2001:db8:1::1", "2001:db8:1::10", "7001", "17001"];

/// It renews, one line for each of the first mappings, which shows in what is left of them.
fn renews(world: &World, client: &mut Script, lines: &[String]) {
    // Leases are told in whole seconds.
    thread::sleep(Duration::from_millis(2100));
    let before = left(world);
    client.go_on();
    client.says(lines);
    let after = left(world);
    for renewed in 0..lines.len() {
        assert!(after[renewed] > before[renewed], "{before:?} {after:?}");
    }
}

/// What crab_nat does by MAP; `external` is where it is reached, and `open` looks whether it is.
fn maps(
    world: &World,
    args: [&str; 4],
    rows: [String; 2],
    external: &str,
    open: impl Fn(&str, bool),
) {
    let mut client = crab_nat(world, &[&["map"][..], &args].concat());
    client.says(PROTOCOLS.map(|protocol| format!("mapped PCP {protocol} {external} 600")));
    assert_eq!(world.rows(), rows);
    PROTOCOLS.iter().for_each(|protocol| open(protocol, true));
    let renewed = PROTOCOLS.map(|protocol| format!("renewed PCP {protocol} {external} 600"));
    renews(world, &mut client, &renewed);
    assert_eq!(world.rows(), rows);
    PROTOCOLS.iter().for_each(|protocol| open(protocol, true));
    client.go_on();
    client.says(["unmapped TCP", "unmapped TCP", "unmapped UDP", "unmapped UDP"]);
    assert_eq!(world.rows(), [""; 0]);
    PROTOCOLS.iter().for_each(|protocol| open(protocol, false));
}

#[test]
fn the_crate_crab_nat_opens_renews_and_closes_ports_over_ipv4() {
    // Conformance 190, 203, 205, 207, 212, 215, 216.
    let world = World::new();
    let _daemon = world.start();
    let _servers = listens(&world, ALICE, 7001);
    let rows = PROTOCOLS.map(|protocol| row("pcp", protocol, 17001, 7001));
    let open = |protocol: &str, open| assert_open(&world, protocol, 17001, open);
    maps(&world, OVER_IPV4, rows, "11.22.33.1 17001", open);
}

#[test]
fn the_crate_crab_nat_opens_renews_and_closes_pinholes_over_ipv6() {
    // Conformance 203, 205, 216, 221: whatever port is suggested.
    let world = World::new();
    let _daemon = world.start();
    let _servers = listens(&world, ALICE6, 7001);
    let rows = PROTOCOLS.map(|protocol| hole(protocol, 7001, "null"));
    let open = |protocol: &str, open| assert_open6(&world, protocol, 7001, open);
    maps(&world, OVER_IPV6, rows, "2001:db8:1::10 7001", open);
}

/// What crab_nat is refused changes nothing of what it has, which it can still close. `other`: Bob's
/// address.
fn refused(
    world: &World,
    (args, other): ([&str; 4], &str),
    row: String,
    external: &str,
    open: impl Fn(bool),
) {
    let mut client = crab_nat(world, &[&["refused"][..], &args, &[other]].concat());
    client.says([format!("mapped PCP UDP {external} 600")]);
    for what in ["map: Pcp(NotAuthorized(", "unmap: NotAuthorized("] {
        let said = client.said();
        // For as long as the mapping is there.
        let seconds = said.strip_prefix(what).map(|rest| rest.trim_end_matches(')'));
        let seconds = seconds.and_then(|seconds| seconds.parse().ok());
        assert!(seconds.is_some_and(|seconds: u64| seconds.abs_diff(595) <= 5), "{said}");
    }
    client.says(["map for another host: AddressMismatch", "map all: UnsupportedProtocol"]);
    assert_eq!(world.rows(), [row]);
    assert!(left(world)[0] <= 600, "{:?}", world.list());
    open(true);
    client.go_on();
    client.says(["unmapped"]);
    assert_eq!(world.rows(), [""; 0]);
    open(false);
}

#[test]
fn the_crate_crab_nat_is_refused_what_another_nonce_has_another_address_and_all_ports() {
    // Conformance 195, 197, 198, 200, 204, 210.
    let world = World::new();
    let _daemon = world.start();
    let _servers = (listens(&world, ALICE, 7001), listens(&world, ALICE6, 7001));
    let open = |open| assert_open(&world, "UDP", 17001, open);
    let bob = (OVER_IPV4, "192.168.1.20");
    refused(&world, bob, row("pcp", "UDP", 17001, 7001), "11.22.33.1 17001", open);
    let open = |open| assert_open6(&world, "UDP", 7001, open);
    let bob = (OVER_IPV6, "2001:db8:1::20");
    refused(&world, bob, hole("UDP", 7001, "null"), "2001:db8:1::10 7001", open);
}

#[test]
fn what_crab_nat_has_opened_no_client_of_natpmp_closes() {
    // Conformance 172, 178, 238, 242.
    let world = World::new();
    let _daemon = world.start();
    let _servers = listens(&world, ALICE, 7001);
    let mut client = crab_nat(&world, &[&["map"][..], &OVER_IPV4].concat());
    client.says(PROTOCOLS.map(|protocol| format!("mapped PCP {protocol} 11.22.33.1 17001 600")));
    let rows = PROTOCOLS.map(|protocol| row("pcp", protocol, 17001, 7001));
    let refused = "readnatpmpresponseorretry() failed : not authorized";
    for args in [["-a", "17001", "7001", "udp", "0"], ["-a", "0", "0", "udp", "0"]] {
        assert_eq!(natpmpc(&world, Host::Alice, &args), refused);
    }
    let said = natpmpc(&world, Host::Alice, &["-a", "17002", "7001", "udp", "60"]);
    assert_eq!(said, mapped(17001, "UDP", 7001, 60));
    assert_eq!(world.rows(), rows);
    assert!(left(&world)[1] > 500, "{:?}", world.list());
    assert_open(&world, "UDP", 17001, true);
    client.go_on();
    client.says(PROTOCOLS.map(|protocol| format!("renewed PCP {protocol} 11.22.33.1 17001 600")));
    client.go_on();
    client.says(["unmapped TCP", "unmapped TCP", "unmapped UDP", "unmapped UDP"]);
    assert_eq!(world.rows(), [""; 0]);
    assert_open(&world, "UDP", 17001, false);
}

#[test]
fn the_crate_crab_nat_goes_to_the_peer_it_names_from_a_known_port_and_is_reached_by_no_other() {
    // Conformance 229.
    let world = World::new();
    let _daemon = world.start();
    // Two, so that neither what goes out nor what comes in belongs to a flow that is there already.
    let mut clients = [("7001", "17001"), ("7002", "17002")].map(|(internal, external)| {
        let [gateway, own, ..] = OVER_IPV4;
        let args = ["peer", gateway, own, internal, external, "11.22.33.2:9000"];
        let mut client = crab_nat(&world, &args);
        client.says([format!("mapped 11.22.33.1 {external} 11.22.33.2:9000 600")]);
        client
    });
    let rows = [(17001, 7001), (17002, 7002)].map(|(external, internal)| {
        row("pcp", "UDP", external, internal).replace("remote=null", "remote=11.22.33.2")
    });
    assert_eq!(world.rows(), rows);

    let peer = SocketAddr::new(PEER.into(), 9000);
    let server = world.udp_server(Host::Internet, peer);
    let seen = world.udp(FROM_ALICE.port(7001), peer);
    assert_eq!(seen, Ok(SocketAddrV4::new(EXTERNAL, 17001).into()));
    drop(server);

    let _server = world.udp_server(Host::Alice, (ALICE, 7002));
    let to = SocketAddrV4::new(EXTERNAL, 17002);
    assert_eq!(world.udp(FROM_PEER.port(9000), to), Ok(peer));
    assert!(world.udp(FROM_OTHER_PEER.port(9000), to).is_err());
    let renewed = "renewed 11.22.33.1 17001 11.22.33.2:9000 600";
    renews(&world, &mut clients[0], &[renewed.into()]);
    assert_eq!(world.rows(), rows);
}

#[test]
fn the_crate_crab_nat_is_reached_over_ipv6_by_the_peer_and_port_it_names_and_no_other() {
    // Conformance 229.
    let world = World::new();
    let _daemon = world.start();
    let _server = world.udp_server(Host::Alice, (ALICE6, 7001));
    let [gateway, own, port, _] = OVER_IPV6;
    let args = ["peer", gateway, own, port, port, "[2001:db8:ffff::2]:9000"];
    let mut client = crab_nat(&world, &args);
    client.says(["mapped 2001:db8:1::10 7001 [2001:db8:ffff::2]:9000 600"]);
    assert_eq!(world.rows(), [hole("UDP", 7001, "[2001:db8:ffff::2]:9000")]);
    let to = SocketAddr::new(ALICE6.into(), 7001);
    let peer = FROM_PEER6.port(9000);
    assert_eq!(world.udp(peer, to), Ok(peer.source));
    for other in [FROM_PEER6.port(9001), FROM_OTHER_PEER6.port(9000)] {
        assert!(world.udp(other, to).is_err(), "{other:?}");
    }
    let renewed = "renewed 2001:db8:1::10 7001 [2001:db8:ffff::2]:9000 600";
    renews(&world, &mut client, &[renewed.into()]);
    assert_eq!(world.rows(), [hole("UDP", 7001, "[2001:db8:ffff::2]:9000")]);
}
