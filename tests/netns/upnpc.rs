//! Debian's `upnpc`, unmodified, does everything it can do; packets prove each step.

use crate::clients::{IGD1, IGD2};
use crate::daemon::assert_expires_in;
use crate::traffic::{FROM_ALICE, FROM_BOB, FROM_PEER, REFUSED};
use crate::world::{Host, World, ALICE, BOB, EXTERNAL};
use rustix::process::Signal;
use std::net::SocketAddrV4;
use std::thread;
use std::time::{Duration, Instant};

/// The lines `upnpc -l` and `-L` print for mappings, with the lease left out.
fn listed(output: &str) -> Vec<String> {
    let lines = output.lines().filter(|line| line.contains("->192."));
    lines.map(|line| line.rsplit_once(' ').unwrap().0.trim().to_string()).collect()
}

#[test]
fn upnpc_finds_the_gateway_and_reads_its_status_and_address() {
    // Conformance 1, 29, 108, 110.
    let world = World::new();
    let _daemon = world.start();
    let out = world.upnpc(Host::Alice, &["-s"]);
    for line in [
        "Found valid IGD : http://192.168.1.1:5000/",
        "Local LAN ip address : 192.168.1.10",
        "Connection Type : IP_Routed",
        "Status : Connected, uptime=",
        "LastConnectionError : ERROR_NONE",
        "ExternalIPAddress = 11.22.33.1",
    ] {
        assert!(out.contains(line), "no {line:?} in:\n{out}");
    }
}

#[test]
fn upnpc_opens_lists_refreshes_and_closes_a_tcp_and_a_udp_port() {
    // Conformance 111, 112, 115, 139, 144, 145, 146, 244, 253, 272.
    let world = World::new();
    let daemon = world.start();
    let _tcp = world.tcp_server(Host::Alice, (ALICE, 7000));
    let _udp = world.udp_server(Host::Alice, (ALICE, 7001));
    let (tcp, udp) = (SocketAddrV4::new(EXTERNAL, 17000), SocketAddrV4::new(EXTERNAL, 17001));
    assert_eq!(world.tcp(FROM_PEER, tcp), REFUSED);
    assert_eq!(world.udp(FROM_PEER, udp), REFUSED);

    // With discovery, as a person would.
    let out =
        world.upnpc(Host::Alice, &["-e", "web & more", "-a", "@", "7000", "17000", "TCP", "600"]);
    assert!(
        out.contains("external 11.22.33.1:17000 TCP is redirected to internal 192.168.1.10:7000"),
        "{out}"
    );
    let url = world.control_point(FROM_ALICE, IGD1).location;
    let url = &["-u", &url[..]];
    let upnpc = |args: &[&str]| world.upnpc(Host::Alice, &[url, args].concat());
    let out = upnpc(&["-e", "game", "-a", "@", "7001", "17001", "UDP", "0"]);
    assert!(out.contains("(duration=0)"), "version 1: no end: {out}");

    assert_eq!(world.tcp(FROM_PEER.port(40000), tcp), Ok(FROM_PEER.port(40000).source));
    assert_eq!(world.udp(FROM_PEER.port(40001), udp), Ok(FROM_PEER.port(40001).source));
    // upnpc sends `&` as it is and shows entities as they are.
    assert_eq!(world.list()[0]["description"], "web & more");
    assert_eq!(
        listed(&upnpc(&["-l"])),
        [
            "0 TCP 17000->192.168.1.10:7000  'web &amp; more' ''",
            "1 UDP 17001->192.168.1.10:7001  'game' ''",
        ]
    );
    let list = world.list();
    assert_expires_in(&list[0], 600);
    assert!(list[1]["expires_in"].is_null(), "{list:?}");

    let out = upnpc(&["-e", "web", "-a", "@", "7000", "17000", "TCP", "1200"]);
    assert!(out.contains("is redirected to"), "{out}");
    assert_eq!(listed(&upnpc(&["-l"]))[0], "0 TCP 17000->192.168.1.10:7000  'web' ''");
    let refreshed = world.list();
    assert_eq!(refreshed[0]["id"], list[0]["id"]);
    assert_expires_in(&refreshed[0], 1200);

    let out = upnpc(&["-d", "17000", "TCP"]);
    assert!(out.contains("UPNP_DeletePortMapping() returned : 0"), "{out}");
    assert_eq!(world.tcp(FROM_PEER, tcp), REFUSED);
    assert_eq!(world.udp(FROM_PEER, udp).map(|seen| seen.ip()), Ok(FROM_PEER.source.ip()));
    let out = upnpc(&["-d", "17000", "TCP"]);
    assert!(out.contains("UPNP_DeletePortMapping() failed with code : 714"), "{out}");
    let out = upnpc(&["-d", "17001", "UDP"]);
    assert!(out.contains("returned : 0"), "{out}");
    assert_eq!(world.udp(FROM_PEER, udp), REFUSED);
    assert_eq!(world.rows(), [""; 0]);
    for line in [
        "opened TCP 17000 -> 192.168.1.10:7000 for 600 s, by upnp: web & more\n",
        "opened UDP 17001 -> 192.168.1.10:7001 for ever, by upnp: game\n",
        "closed TCP 17000 -> 192.168.1.10:7000: deleted\n",
        "closed UDP 17001 -> 192.168.1.10:7001: deleted\n",
    ] {
        assert_eq!(daemon.log().matches(line).count(), 1, "{line}{}", daemon.log());
    }
}

#[test]
fn upnpc_lists_takes_any_port_and_deletes_ranges_in_either_tree() {
    // Conformance 136, 143, 147. Without `-u`, upnpc takes the first tree.
    for target in [IGD1, IGD2] {
        lists_takes_any_port_and_deletes_ranges(target);
    }
}

fn lists_takes_any_port_and_deletes_ranges(target: &str) {
    let world = World::new();
    let _daemon = world.start();
    let _alice = world.tcp_server(Host::Alice, (ALICE, 7000));
    let _bob = world.tcp_server(Host::Bob, (BOB, 7000));
    let url = world.control_point(FROM_ALICE, target).location;
    let alice = |args: &[&str]| world.upnpc(Host::Alice, &[&["-u", &url[..]], args].concat());
    let bob = |args: &[&str]| world.upnpc(Host::Bob, &[&["-u", &url[..]], args].concat());

    let out = alice(&["-n", "@", "7000", "17000", "TCP", "600"]);
    assert!(
        out.contains("external 11.22.33.1:17000 TCP is redirected to internal 192.168.1.10:7000"),
        "{out}"
    );
    let out = bob(&["-n", "@", "7000", "17000", "TCP", "600"]);
    let list = world.list();
    let port = list[1]["external_port"].as_u64().unwrap() as u16;
    assert!(port >= 1024 && port != 17000, "{list:?}");
    let granted =
        format!("external 11.22.33.1:{port} TCP is redirected to internal 192.168.1.20:7000");
    assert!(out.contains(&granted), "{out}");
    for port in [17000, port] {
        let seen = world.tcp(FROM_PEER.port(40000), SocketAddrV4::new(EXTERNAL, port));
        assert_eq!(seen, Ok(FROM_PEER.port(40000).source), "port {port}");
    }

    for port in ["17001", "17002", "17010"] {
        alice(&["-a", "@", "7000", port, "TCP", "600"]);
    }
    let lines = listed(&alice(&["-L"]));
    let own = lines.iter().filter(|line| line.contains("->192.168.1.10:"));
    let own: Vec<_> = own.map(|line| line.split_once(' ').unwrap().1).collect();
    let line = |port| format!("TCP {port}->192.168.1.10:7000  'libminiupnpc' ''");
    // upnpc shows the last of a list first.
    assert_eq!(own, [17010, 17002, 17001, 17000].map(line));
    let out = alice(&["-N", "17001", "17009", "TCP"]);
    assert!(out.contains("UPNP_DeletePortMappingRange() returned : 0"), "{out}");
    let ports = world.list();
    let ports = ports.iter().filter(|e| e["internal_address"] == "192.168.1.10");
    let ports: Vec<_> = ports.map(|entry| entry["external_port"].as_u64().unwrap()).collect();
    assert_eq!(ports, [17000, 17010]);
    let out = alice(&["-N", "17001", "17009", "TCP"]);
    assert!(out.contains("730"), "{out}");
}

#[test]
fn a_lease_of_three_seconds_ends_in_the_kernel_although_the_daemon_stands_still() {
    // Conformance 126, 253.
    let world = World::new();
    let daemon = world.start();
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    let url = world.control_point(FROM_ALICE, IGD1).location;
    let to = SocketAddrV4::new(EXTERNAL, 17000);
    let before = Instant::now();
    world.upnpc(Host::Alice, &["-u", &url, "-a", "@", "7000", "17000", "UDP", "3"]);
    assert_eq!(world.udp(FROM_PEER.port(40000), to), Ok(FROM_PEER.port(40000).source));
    assert!(world.table().unwrap().contains("17000"));
    daemon.signal(Signal::STOP);
    thread::sleep(Duration::from_millis(3200).saturating_sub(before.elapsed()));
    assert_eq!(world.udp(FROM_PEER, to), REFUSED);
    let table = world.table().unwrap();
    assert!(!table.contains("17000"), "{table}");
    daemon.signal(Signal::CONT);
    assert_eq!(world.rows(), [""; 0]);
    assert_eq!(world.status()["mappings"], 0);
}

#[test]
fn a_port_of_another_host_is_neither_given_away_nor_closed() {
    // Conformance 113, 140.
    let world = World::new();
    let _daemon = world.start();
    let _server = world.tcp_server(Host::Alice, (ALICE, 7000));
    let url = world.control_point(FROM_BOB, IGD1).location;
    let upnpc = |host, args: &[&str]| world.upnpc(host, &[&["-u", &url[..]], args].concat());
    upnpc(Host::Alice, &["-e", "mine", "-a", "@", "7000", "17000", "TCP", "600"]);
    let rows = world.rows();
    assert_eq!(rows.len(), 1);

    let out = upnpc(Host::Bob, &["-a", "@", "7000", "17000", "TCP", "600"]);
    assert!(out.contains("failed with code 718 (ConflictInMappingEntry)"), "{out}");
    let out = upnpc(Host::Bob, &["-d", "17000", "TCP"]);
    assert!(out.contains("UPNP_DeletePortMapping() failed with code : 606"), "{out}");
    let out = upnpc(Host::Bob, &["-a", "192.168.1.10", "7000", "17005", "TCP", "600"]);
    assert!(out.contains("failed with code 606"), "secure mode: {out}");
    assert_eq!(world.rows(), rows);
    let to = SocketAddrV4::new(EXTERNAL, 17000);
    assert_eq!(world.tcp(FROM_PEER.port(40000), to), Ok(FROM_PEER.port(40000).source));
}

#[test]
fn a_flow_under_way_may_outlive_its_mapping_and_a_new_one_finds_the_port_closed() {
    // Conformance 142: a delete closes the gate, and cuts nothing off where that is not wanted.
    let world = World::new();
    let _daemon = world.start_with(&world.config("\toption revoke_flows '0'"));
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    let url = world.control_point(FROM_ALICE, IGD1).location;
    let upnpc = |args: &[&str]| world.upnpc(Host::Alice, &[&["-u", &url[..]], args].concat());
    upnpc(&["-a", "@", "7000", "17000", "UDP", "600"]);
    let to = SocketAddrV4::new(EXTERNAL, 17000);
    let from = FROM_PEER.port(40000);
    assert_eq!(world.udp(from, to), Ok(from.source));
    let out = upnpc(&["-d", "17000", "UDP"]);
    assert!(out.contains("returned : 0"), "{out}");
    assert_eq!(world.udp(from, to), Ok(from.source));
    assert_eq!(world.udp(FROM_PEER, to), REFUSED);
}
