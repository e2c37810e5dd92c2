//! What mapped ports do to packets: who gets in, from which address packets leave.

use crate::clients::{ask, bob_asks, Ask, IGD1, IGD2};
use crate::traffic::{End, FROM_ALICE, FROM_BOB, FROM_OTHER_PEER, FROM_PEER};
use crate::world::{Host, World, ALICE, BOB, EXTERNAL, OTHER_PEER, PEER};
use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4};

const REFUSED: Result<SocketAddr, ErrorKind> = Err(ErrorKind::ConnectionRefused);

/// The router's WAN side at this port.
fn external(port: u16) -> SocketAddr {
    SocketAddrV4::new(EXTERNAL, port).into()
}

#[test]
fn without_the_daemon_everything_gets_out_and_nothing_gets_in() {
    // What the other tests stand on.
    let world = World::new();
    let _servers = [
        world.tcp_server(Host::Alice, (ALICE, 7000)),
        world.udp_server(Host::Alice, (ALICE, 7000)),
        world.tcp_server(Host::Internet, (PEER, 5000)),
        world.udp_server(Host::Internet, (PEER, 5000)),
    ];
    let peer = SocketAddrV4::new(PEER, 5000);
    assert_eq!(world.tcp(FROM_ALICE.port(6000), peer), Ok(external(6000)));
    assert_eq!(world.udp(FROM_ALICE.port(6000), peer), Ok(external(6000)));
    assert_eq!(world.tcp(FROM_BOB.port(6000), (ALICE, 7000)), Ok(FROM_BOB.port(6000).source));
    for to in [external(7000), SocketAddrV4::new(ALICE, 7000).into()] {
        assert_eq!(world.tcp(FROM_PEER, to), REFUSED);
        assert_eq!(world.udp(FROM_PEER, to), REFUSED);
    }
    world.firewall_stop();
    let open = SocketAddrV4::new(ALICE, 7000);
    assert_eq!(world.udp(FROM_PEER.port(40000), open), Ok(FROM_PEER.port(40000).source));
}

#[test]
fn a_remote_host_limits_a_mapping_to_that_host() {
    // Conformance 114, 116.
    let world = World::new();
    let _daemon = world.start();
    let _servers = [
        world.udp_server(Host::Alice, (ALICE, 7000)),
        world.udp_server(Host::Alice, (ALICE, 7001)),
    ];
    let alice = world.control_point(FROM_ALICE, IGD2);
    alice.add(&Ask { remote: "11.22.33.3", ..ask("UDP", 17000, 7000) }).unwrap();
    let to = external(17000);
    assert_eq!(world.udp(FROM_PEER, to), REFUSED);
    assert_eq!(world.udp(FROM_OTHER_PEER.port(40000), to), Ok(FROM_OTHER_PEER.port(40000).source));

    // An entry for everybody else beside it goes elsewhere; the narrower one wins.
    alice.add(&ask("UDP", 17000, 7001)).unwrap();
    assert_eq!(
        world.rows(),
        [
            "ipv4 UDP 11.22.33.1:17000 -> 192.168.1.10:7000 remote=11.22.33.3 'a test' upnp enabled=true",
            "ipv4 UDP 11.22.33.1:17000 -> 192.168.1.10:7001 remote=null 'a test' upnp enabled=true",
        ]
    );
    assert_eq!(world.udp(FROM_PEER.port(40000), to), Ok(FROM_PEER.port(40000).source));
    alice.delete("UDP", 17000).unwrap();
    assert_eq!(world.udp(FROM_PEER.port(40002), to), REFUSED);
    assert_eq!(world.udp(FROM_OTHER_PEER.port(40002), to), Ok(FROM_OTHER_PEER.port(40002).source));
}

#[test]
fn a_disabled_mapping_is_listed_and_passes_nothing_until_it_is_enabled() {
    // Conformance 125.
    let world = World::new();
    let _daemon = world.start();
    let _tcp = world.tcp_server(Host::Alice, (ALICE, 7000));
    let alice = world.control_point(FROM_ALICE, IGD2);
    let off = Ask { enabled: false, ..ask("TCP", 17000, 7000) };
    alice.add(&off).unwrap();
    assert_eq!(
        world.rows(),
        ["ipv4 TCP 11.22.33.1:17000 -> 192.168.1.10:7000 remote=null 'a test' upnp enabled=false"]
    );
    assert_eq!(world.tcp(FROM_PEER, external(17000)), REFUSED);
    alice.add(&Ask { enabled: true, ..off.clone() }).unwrap();
    assert_eq!(world.tcp(FROM_PEER.port(40000), external(17000)), Ok(FROM_PEER.port(40000).source));
    alice.add(&off).unwrap();
    assert_eq!(world.tcp(FROM_PEER, external(17000)), REFUSED);
    assert_eq!(world.list().len(), 1);
}

#[test]
fn a_lan_host_reaches_a_mapped_port_by_the_external_address() {
    // Conformance 245: the server sees the external address.
    let world = World::new();
    let _daemon = world.start();
    let _tcp = world.tcp_server(Host::Alice, (ALICE, 7000));
    let _udp = world.udp_server(Host::Alice, (ALICE, 7000));
    let alice = world.control_point(FROM_ALICE, IGD2);
    alice.add(&ask("TCP", 17000, 7000)).unwrap();
    alice.add(&ask("UDP", 17000, 7000)).unwrap();
    let bob = FROM_BOB.port(7777);
    assert_eq!(world.udp(bob, external(17000)), Ok(external(7777)));
    assert_eq!(world.tcp(bob, external(17000)), Ok(external(7777)));
    let own = world.tcp(FROM_ALICE, external(17000)).map(|seen| seen.ip());
    assert_eq!(own, Ok(EXTERNAL.into()), "the same host to itself");

    // A mapped source shows its external port (RFC 4787 REQ-9).
    world.control_point(FROM_BOB, IGD2).add(&bob_asks("UDP", 57777, 7778)).unwrap();
    assert_eq!(world.udp(FROM_BOB.port(7778), external(17000)), Ok(external(57777)));
}

#[test]
fn a_mapped_endpoint_sends_from_its_external_port_and_nobody_else_does() {
    // Conformance 246.
    let world = World::new();
    let _daemon = world.start();
    let _servers = [
        world.udp_server(Host::Internet, (PEER, 5000)),
        world.udp_server(Host::Internet, (OTHER_PEER, 5000)),
        world.tcp_server(Host::Internet, (PEER, 5000)),
    ];
    let (peer, other) = (SocketAddrV4::new(PEER, 5000), SocketAddrV4::new(OTHER_PEER, 5000));
    let alice = world.control_point(FROM_ALICE, IGD2);
    alice.add(&ask("UDP", 53074, 3074)).unwrap();
    alice.add(&ask("TCP", 53074, 3074)).unwrap();
    let console = FROM_ALICE.port(3074);
    assert_eq!(world.udp(console, peer), Ok(external(53074)));
    assert_eq!(world.udp(console, other), Ok(external(53074)));
    assert_eq!(world.tcp(console, peer), Ok(external(53074)));
    assert_eq!(world.udp(FROM_ALICE.port(3075), peer), Ok(external(3075)), "not mapped");

    let displaced = world.udp(FROM_BOB.port(53074), peer).unwrap();
    assert_eq!(displaced.ip(), EXTERNAL);
    assert_ne!(displaced.port(), 53074);
    assert_eq!(world.udp(console, peer), Ok(external(53074)), "still its own");
}

#[test]
fn no_lan_host_takes_another_s_port_by_way_of_the_external_address_either() {
    // Conformance 246, 247.
    let world = World::new();
    let _daemon = world.start();
    let _servers = [
        world.udp_server(Host::Alice, (ALICE, 7001)),
        world.tcp_server(Host::Alice, (ALICE, 7001)),
    ];
    let alice = world.control_point(FROM_ALICE, IGD2);
    for protocol in ["UDP", "TCP"] {
        alice.add(&ask(protocol, 17000, 7000)).unwrap();
        alice.add(&ask(protocol, 17001, 7001)).unwrap();
    }
    // Bob's own port is that by which the world, the LAN included, knows Alice's 7000.
    let bob = FROM_BOB.port(17000);
    for seen in [world.udp(bob, external(17001)), world.tcp(bob, external(17001))] {
        let seen = seen.unwrap();
        assert_eq!(seen.ip(), EXTERNAL);
        assert_ne!(seen.port(), 17000);
    }
    assert_eq!(world.udp(FROM_BOB.port(7779), external(17001)), Ok(external(7779)));
}

#[test]
fn an_ipv4_mapping_opens_nothing_for_ipv6() {
    // Design invariant 10.
    let world = World::new();
    let _daemon = world.start();
    let server: Ipv6Addr = "2001:db8:1::10".parse().unwrap();
    let _servers = [
        world.tcp_server(Host::Alice, (Ipv6Addr::UNSPECIFIED, 7000)),
        world.udp_server(Host::Alice, (Ipv6Addr::UNSPECIFIED, 7000)),
    ];
    let peer = End { host: Host::Internet, source: "[2001:db8:ffff::2]:40000".parse().unwrap() };
    let alice = world.control_point(FROM_ALICE, IGD2);
    alice.add(&ask("TCP", 7000, 7000)).unwrap();
    alice.add(&ask("UDP", 7000, 7000)).unwrap();
    assert!(world.tcp(FROM_PEER, external(7000)).is_ok());
    assert_eq!(world.tcp(peer, (server, 7000)), REFUSED);
    assert_eq!(world.udp(peer, (server, 7000)), REFUSED);
    let router: Ipv6Addr = "2001:db8:ffff::1".parse().unwrap();
    assert_eq!(world.tcp(peer, (router, 7000)), REFUSED);
    // Nothing but the firewall is in the way.
    world.firewall_stop();
    assert_eq!(world.tcp(peer, (server, 7000)), Ok(peer.source));
}

#[test]
fn both_hosts_keep_their_own_ports_and_connections_are_counted() {
    // Conformance 114, 244.
    let world = World::new();
    let _daemon = world.start();
    let _servers =
        [world.tcp_server(Host::Alice, (ALICE, 7000)), world.udp_server(Host::Bob, (BOB, 7000))];
    world.control_point(FROM_ALICE, IGD1).add(&ask("TCP", 17000, 7000)).unwrap();
    world.control_point(FROM_BOB, IGD1).add(&bob_asks("UDP", 17000, 7000)).unwrap();
    for port in [40000, 40001, 40002] {
        assert_eq!(
            world.tcp(FROM_PEER.port(port), external(17000)),
            Ok(FROM_PEER.port(port).source)
        );
    }
    assert_eq!(world.udp(FROM_PEER.port(40000), external(17000)), Ok(FROM_PEER.port(40000).source));
    let counted: Vec<_> = world.list().iter().map(|e| e["connections"].as_u64()).collect();
    assert_eq!(counted, [Some(3), Some(1)]);
}

#[test]
fn asking_for_any_port_names_the_port_that_packets_pass() {
    // Conformance 136, 138.
    let world = World::new();
    let _daemon = world.start();
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    let alice = world.control_point(FROM_ALICE, IGD2);
    let port = alice.add_any(&ask("UDP", 0, 7000)).unwrap();
    assert!(port >= 1024, "{port}");
    assert_eq!(alice.add_any(&ask("UDP", port, 7000)), Ok(port), "its own: a refresh");
    assert_eq!(
        world.rows(),
        [format!("ipv4 UDP {EXTERNAL}:{port} -> 192.168.1.10:7000 remote=null 'a test' upnp enabled=true")]
    );
    assert_eq!(world.udp(FROM_PEER.port(40000), external(port)), Ok(FROM_PEER.port(40000).source));
}
