//! The WAN side: silence, and following what becomes of the device and its address.

use crate::clients::{ask, header, msearch, ControlPoint, GROUP, IGD1, IGD2};
use crate::traffic::{End, FROM_ALICE, FROM_PEER, REFUSED};
use crate::world::{Host, World, ALICE, EXTERNAL, PEER, ROUTER};
use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

/// Another address of the same network.
const NEXT: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 44);

/// Asserts that packets to `address` pass within two seconds, by a new flow each try.
fn passes_soon(world: &World, address: Ipv4Addr) {
    let start = Instant::now();
    let to = SocketAddrV4::new(address, 17000);
    let mut port = 41000;
    world.wait_for(|world| {
        port += 1;
        world.udp(FROM_PEER.port(port), to) == Ok(FROM_PEER.port(port).source)
    });
    println!("packets to {address} pass after {} ms", start.elapsed().as_millis());
}

fn with_mapping(world: &World) -> ControlPoint<'_> {
    let alice = world.control_point(FROM_ALICE, IGD1);
    alice.add(&ask("UDP", 17000, 7000)).unwrap();
    passes_soon(world, EXTERNAL);
    alice
}

const KEPT: &str = "-> 192.168.1.10:7000 remote=null 'a test' upnp enabled=true";

/// Asserts that the one mapping is still listed.
fn assert_kept(world: &World) {
    let rows = world.rows();
    assert!(rows.len() == 1 && rows[0].ends_with(KEPT), "{rows:?}");
}

#[test]
fn nothing_answers_on_the_wan_side_even_with_the_firewall_open() {
    // Conformance 255.
    let world = World::new();
    let daemon = world.start();
    world.firewall_stop();
    let _server = world.udp_server(Host::Router, (EXTERNAL, 9));
    assert!(world.udp(FROM_PEER, SocketAddrV4::new(EXTERNAL, 9)).is_ok(), "the firewall is open");
    let searches = ["ssdp:all", "upnp:rootdevice", IGD1, IGD2];
    let places = [GROUP, SocketAddrV4::new(EXTERNAL, 1900), SocketAddrV4::new(ROUTER, 1900)];
    for target in searches {
        for place in places {
            let answers = world.ask_udp(FROM_PEER, place, &msearch(target, "MX: 1\r\n"));
            assert_eq!(answers, [], "{target} at {place}");
        }
    }
    for address in [EXTERNAL, ROUTER] {
        assert_eq!(world.tcp(FROM_PEER, (address, 5000)), REFUSED, "{address}");
    }
    // It is alive all the same.
    assert!(!world.search(FROM_ALICE, IGD1).is_empty());
    drop(daemon);
}

#[test]
fn what_the_router_itself_listens_on_is_not_taken_from_it() {
    // Conformance 129, 207, 252.
    let world = World::new();
    let _daemon = world.start();
    // As WireGuard, a web server for both families, and a service of the LAN alone.
    let _wireguard = world.udp_server(Host::Router, (Ipv4Addr::UNSPECIFIED, 51820));
    let _web = world.tcp_server(Host::Router, (std::net::Ipv6Addr::UNSPECIFIED, 8443));
    let _inside = world.udp_server(Host::Router, (ROUTER, 5353));
    // Bound to a device, as a DHCP client is to the WAN's.
    let bound = |device: &[u8], port: u16| {
        world.inside(Host::Router, || {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
            socket.bind_device(Some(device)).unwrap();
            socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into()).unwrap();
            socket
        })
    };
    let _bound = [bound(b"wan", 20068), bound(b"br-lan", 20067)];
    let alice = world.control_point(FROM_ALICE, IGD1);
    assert_eq!(alice.add(&ask("UDP", 20068, 7000)), Err(718));
    assert_eq!(alice.add(&ask("UDP", 20067, 7000)), Ok(()));
    assert_eq!(alice.add(&ask("UDP", 51820, 7000)), Err(718));
    assert_eq!(alice.add(&ask("TCP", 8443, 7000)), Err(718));
    assert_eq!(alice.add(&ask("TCP", 51820, 7000)), Ok(()));
    assert_eq!(alice.add(&ask("UDP", 5353, 7001)), Ok(()));
    let other = crate::pcp_client::map(FROM_ALICE, 7002, 51820).open(&world);
    assert!(other != 51820 && other >= 1024);
    let second = world.control_point(FROM_ALICE, IGD2);
    assert_eq!(second.add(&ask("TCP", 8443, 7000)), Err(729));
}

#[test]
fn a_host_outside_the_lan_prefix_is_not_served() {
    // Conformance 256.
    let world = World::new();
    world.ip(Host::Router, "route add 192.168.2.0/24 dev br-lan");
    world.ip(Host::Bob, "addr add 192.168.2.50/24 dev eth0");
    let _daemon = world.start();
    let stranger = End::v4(Host::Bob, Ipv4Addr::new(192, 168, 2, 50), 0);
    assert_eq!(world.search(stranger, "ssdp:all"), [""; 0]);
    let url = world.control_point(FROM_ALICE, IGD1).location;
    let answer = world.get(stranger, &url);
    assert!(matches!(answer.status, 0 | 403), "{answer:?}");
    assert_eq!(world.rows(), [""; 0]);
}

#[test]
fn a_new_wan_address_is_followed_within_two_seconds() {
    // Conformance 299.
    let world = World::new();
    let _daemon = world.start();
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    let alice = with_mapping(&world);
    world.wan_address(NEXT);
    passes_soon(&world, NEXT);
    assert_eq!(alice.external_address(), NEXT.to_string());
    assert_eq!(world.rows(), [format!("ipv4 UDP {NEXT}:17000 {KEPT}")]);
    // Whoever has the old address now is somebody else.
    let table = world.table().unwrap();
    assert!(!table.contains(&EXTERNAL.to_string()), "{table}");
    let _peer = world.udp_server(Host::Internet, (PEER, 5000));
    let seen = world.udp(FROM_ALICE.port(7001), SocketAddrV4::new(PEER, 5000));
    assert_eq!(seen, Ok(SocketAddrV4::new(NEXT, 7001).into()));
}

#[test]
fn a_wan_link_that_goes_down_and_comes_up_loses_no_mapping() {
    let world = World::new();
    let _daemon = world.start();
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    let alice = with_mapping(&world);
    world.ip(Host::Router, "link set wan down");
    world.wait_for_state("no-external-address");
    assert_eq!(alice.external_address(), "");
    assert_kept(&world);
    assert!(alice.add(&ask("UDP", 17001, 7000)).is_err(), "nothing to map at");
    assert_eq!(alice.add(&ask("UDP", 17000, 7000)), Ok(()), "but a refresh passes");
    world.ip(Host::Router, "link set wan up");
    world.wan_address(EXTERNAL);
    passes_soon(&world, EXTERNAL);
    world.wait_for_state("active");
    assert_eq!(alice.external_address(), EXTERNAL.to_string());
    assert_kept(&world);
}

#[test]
fn a_wan_device_made_anew_under_its_old_name_is_served_again() {
    let world = World::new();
    let _daemon = world.start();
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    let alice = with_mapping(&world);
    world.unplug_wan();
    world.wait_for_state("no-external-address");
    assert_kept(&world);
    world.plug_wan();
    world.wan_address(NEXT);
    passes_soon(&world, NEXT);
    assert_eq!(alice.external_address(), NEXT.to_string());
    assert_kept(&world);
    let mapped = End::v4(Host::Alice, ALICE, 7002);
    alice.add(&ask("UDP", 17002, 7002)).unwrap();
    let _peer = world.udp_server(Host::Internet, (PEER, 5000));
    let seen = world.udp(mapped, SocketAddrV4::new(PEER, 5000));
    assert_eq!(seen, Ok(SocketAddrV4::new(NEXT, 17002).into()));
}

#[test]
fn a_start_without_a_wan_serves_the_lan_and_follows_the_wan_up() {
    let world = World::without_wan();
    let _daemon = world.start();
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    let status = world.status();
    assert_eq!(status["state"], "no-external-address");
    assert_ne!(status["reason"].as_str().unwrap_or_default(), "");
    let alice = world.control_point(FROM_ALICE, IGD1);
    assert_eq!(alice.external_address(), "");
    assert!(alice.add(&ask("UDP", 17000, 7000)).is_err());
    assert_eq!(world.rows(), [""; 0]);
    world.plug_wan();
    world.wan_address(EXTERNAL);
    world.wait_for_state("active");
    with_mapping(&world);
}

#[test]
fn a_private_wan_address_is_reported_and_nothing_is_mapped() {
    // Conformance 274.
    let world = World::new();
    world.wan_address(Ipv4Addr::new(100, 64, 0, 2));
    let _daemon = world.start();
    assert_eq!(world.status()["state"], "private-external-address");
    let alice = world.control_point(FROM_ALICE, IGD2);
    assert!(alice.add(&ask("UDP", 17000, 7000)).is_err());
    assert_eq!(world.rows(), [""; 0]);
    let answers = world.search(FROM_ALICE, IGD1);
    assert!(!header(&answers[0], "LOCATION").is_empty());
}
