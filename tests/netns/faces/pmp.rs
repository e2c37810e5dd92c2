//! Clients that ask by NAT-PMP and PCP.

mod crab_nat;

use super::{assert_open, installed, Script};
use crate::daemon::assert_expires_in;
use crate::traffic::Server;
use crate::world::{Host, World, ALICE, BOB, EXTERNAL, PEER};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::Duration;

const PROTOCOLS: [&str; 2] = ["TCP", "UDP"];

/// How `postern list` shows a mapping of Alice.
fn row(origin: &str, protocol: &str, external: u16, internal: u16) -> String {
    format!("ipv4 {protocol} 11.22.33.1:{external} -> 192.168.1.10:{internal} remote=null '' {origin} enabled=true")
}

/// Alice listens on a port of one of her addresses, by TCP and UDP.
fn listens(world: &World, at: impl Into<IpAddr>, port: u16) -> [Server; 2] {
    let at = SocketAddr::new(at.into(), port);
    [world.tcp_server(Host::Alice, at), world.udp_server(Host::Alice, at)]
}

/// What `natpmpc` says last of what it has asked for.
fn natpmpc(world: &World, host: Host, args: &[&str]) -> String {
    let out = world.command(host, "natpmpc").args(args).output().unwrap();
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    let said = |line: &&str| {
        ["Mapped ", "Public ", "readnatpmpresponseorretry() failed"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    let line = text.lines().rfind(said);
    line.unwrap_or_else(|| panic!("{text}")).trim_end().to_string()
}

/// How it says that a port is mapped.
fn mapped(external: u16, protocol: &str, internal: u16, lifetime: u32) -> String {
    format!("Mapped public port {external} protocol {protocol} to local port {internal} liftime {lifetime}")
}

#[test]
fn debians_natpmpc_opens_renews_and_closes_a_port_of_either_protocol() {
    // Conformance 168, 169, 170, 171, 172, 174, 176, 177, 188.
    let world = World::new();
    let _daemon = world.start();
    let _servers = listens(&world, ALICE, 7001);
    let alice = |args: &[&str]| natpmpc(&world, Host::Alice, args);
    assert_eq!(alice(&[]), "Public IP address : 11.22.33.1");
    for (protocol, other) in [("UDP", "TCP"), ("TCP", "UDP")] {
        let map = |external, lifetime| alice(&["-a", external, "7001", protocol, lifetime]);
        assert_open(&world, protocol, 17001, false);
        assert_eq!(map("17001", "60"), mapped(17001, protocol, 7001, 60));
        assert_eq!(world.rows(), [row("natpmp", protocol, 17001, 7001)]);
        assert_expires_in(&world.list()[0], 60);
        assert_open(&world, protocol, 17001, true);
        assert_open(&world, other, 17001, false);

        assert_eq!(map("17002", "120"), mapped(17001, protocol, 7001, 120));
        assert_eq!(world.rows(), [row("natpmp", protocol, 17001, 7001)]);
        assert_expires_in(&world.list()[0], 120);

        // The second time as after an answer that was lost.
        for _ in 0..2 {
            assert_eq!(map("17001", "0"), mapped(0, protocol, 7001, 0));
            assert_eq!(world.rows(), [""; 0]);
            assert_open(&world, protocol, 17001, false);
        }
    }
}

#[test]
fn debians_natpmpc_closes_all_ports_of_one_protocol_and_of_its_own_host() {
    // Conformance 171, 174, 178.
    let world = World::new();
    let _daemon = world.start();
    let _servers = (listens(&world, ALICE, 7001), listens(&world, ALICE, 7002));
    let _bob = world.udp_server(Host::Bob, (BOB, 7001));
    for (external, internal, protocol) in
        [("17001", "7001", "udp"), ("17002", "7002", "udp"), ("17001", "7001", "tcp")]
    {
        natpmpc(&world, Host::Alice, &["-a", external, internal, protocol, "60"]);
    }
    natpmpc(&world, Host::Bob, &["-a", "17003", "7001", "udp", "60"]);
    for (protocol, external) in [("UDP", 17001), ("UDP", 17002), ("TCP", 17001), ("UDP", 17003)] {
        assert_open(&world, protocol, external, true);
    }
    let all = natpmpc(&world, Host::Alice, &["-a", "0", "0", "udp", "0"]);
    assert_eq!(all, mapped(0, "UDP", 0, 0));
    let bobs = "ipv4 UDP 11.22.33.1:17003 -> 192.168.1.20:7001 remote=null '' natpmp enabled=true";
    assert_eq!(world.rows(), [row("natpmp", "TCP", 17001, 7001), bobs.into()]);
    assert_open(&world, "UDP", 17001, false);
    assert_open(&world, "UDP", 17002, false);
    assert_open(&world, "TCP", 17001, true);
    assert_open(&world, "UDP", 17003, true);
}

#[test]
fn debians_natpmpc_on_another_host_gets_another_port_of_either_protocol() {
    // Conformance 173, 175, 238.
    let world = World::new();
    let _daemon = world.start();
    let _alice = world.udp_server(Host::Alice, (ALICE, 7001));
    let _bob = (world.tcp_server(Host::Bob, (BOB, 7001)), world.udp_server(Host::Bob, (BOB, 7001)));
    natpmpc(&world, Host::Alice, &["-a", "17001", "7001", "udp", "60"]);
    for protocol in PROTOCOLS {
        let said = natpmpc(&world, Host::Bob, &["-a", "17001", "7001", protocol, "60"]);
        let port = said.strip_prefix("Mapped public port ").and_then(|said| said.split(' ').next());
        let port: u16 = port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{said}"));
        assert_eq!(said, mapped(port, protocol, 7001, 60));
        assert!(port > 1023 && port != 17001, "{port}");
        assert_open(&world, protocol, port, true);
        assert_eq!(world.rows()[0], row("natpmp", "UDP", 17001, 7001));
    }
    assert_eq!(world.list().len(), 3);
    assert_open(&world, "UDP", 17001, true);
    assert_open(&world, "TCP", 17001, false);
}

/// What a library of NAT-PMP does, from finding the gateway to closing the ports and closing them
/// again, as after an answer that was lost.
fn opens_renews_and_closes(world: &World, mut client: Script) {
    client.says(["found 192.168.1.1", "external address 11.22.33.1"]);
    client.says(PROTOCOLS.map(|protocol| format!("mapped {protocol} 17001 7001 600")));
    let rows = PROTOCOLS.map(|protocol| row("natpmp", protocol, 17001, 7001));
    assert_eq!(world.rows(), rows);
    for protocol in PROTOCOLS {
        assert_open(world, protocol, 17001, true);
    }
    client.go_on();
    client.says(PROTOCOLS.map(|protocol| format!("renewed {protocol} 17001 7001 1200")));
    assert_eq!(world.rows(), rows);
    for entry in world.list() {
        assert_expires_in(&entry, 1200);
    }
    client.go_on();
    for _ in 0..2 {
        client.says(PROTOCOLS.map(|protocol| format!("unmapped {protocol} 0 7001 0")));
    }
    assert_eq!(world.rows(), [""; 0]);
    for protocol in PROTOCOLS {
        assert_open(world, protocol, 17001, false);
    }
}

#[test]
fn the_library_nat_pmp_from_pypi_opens_renews_and_closes_ports() {
    // Conformance 169, 170, 171, 172, 177, 188.
    let world = World::new();
    let _daemon = world.start();
    let _servers = listens(&world, ALICE, 7001);
    let source = include_str!("../../clients/nat-pmp.py");
    let client = Script::python(&world, source, &["7001", "17001", "17002"]);
    opens_renews_and_closes(&world, client);
}

#[test]
fn the_crate_natpmp_opens_renews_and_closes_ports() {
    // Conformance 169, 170, 171, 172, 177, 188.
    let world = World::new();
    let _daemon = world.start();
    let _servers = listens(&world, ALICE, 7001);
    let program = installed("clients-rust/debug/natpmp-client");
    let args = ["7001", "17001", "17002"];
    opens_renews_and_closes(&world, Script::program(&world, program.to_str().unwrap(), &args));
}

#[test]
fn the_library_of_js_libp2p_opens_ports_for_as_long_as_it_may() {
    // Conformance 170, 171, 174, 176, 177: it asks for a thousand hours.
    let world = World::new();
    let _daemon = world.start();
    let _servers = listens(&world, ALICE, 17002);
    let source = include_str!("../../clients/nat-port-mapper-pmp.mjs");
    let mut client = Script::node(&world, source, &["192.168.1.10", "17002"]);
    client.says(["external address 11.22.33.1"]);
    client.says(PROTOCOLS.map(|protocol| format!("mapped {protocol} 11.22.33.1:17002")));
    let rows = PROTOCOLS.map(|protocol| row("natpmp", protocol, 17002, 17002));
    for step in ["mapped", "refreshed"] {
        assert_eq!(world.rows(), rows, "{step}");
        for (protocol, entry) in PROTOCOLS.iter().zip(world.list()) {
            assert_expires_in(&entry, 86_400);
            assert_open(&world, protocol, 17002, true);
        }
        client.go_on();
        if step == "mapped" {
            client.says(PROTOCOLS.map(|protocol| format!("refreshed {protocol} 11.22.33.1:17002")));
        }
    }
    client.says(["unmapped"]);
    assert_eq!(world.rows(), [""; 0]);
    for protocol in PROTOCOLS {
        assert_open(&world, protocol, 17002, false);
    }
}

#[test]
fn a_bittorrent_client_is_reached_through_the_port_it_opens_by_pcp() {
    // Conformance 190, 203, 216, 287.
    let world = World::new();
    let _daemon = world.start();
    let source = include_str!("../../clients/libtorrent-pmp.py");
    let mut client = Script::python(&world, source, &["16881"]);
    client.says(["external IP received: 11.22.33.1"]);
    // Its word for both.
    let mapped = "successfully mapped port using NAT-PMP. local: 192.168.1.10 external port";
    client.says(PROTOCOLS.map(|protocol| format!("{mapped}: {protocol}/16881")));
    assert_eq!(world.rows(), PROTOCOLS.map(|protocol| row("pcp", protocol, 16881, 16881)));
    assert_torrent(&world, true);
    client.go_on();
    world.wait_for(|world| world.rows().is_empty());
    assert_torrent(&world, false);
}

/// Asserts that libtorrent answers a peer that connects to it by TCP and by uTP (BEP 29), or not.
fn assert_torrent(world: &World, open: bool) {
    let to = SocketAddrV4::new(EXTERNAL, 16881);
    // Type SYN and version 1; no extension; a connection of this number.
    let mut syn = [0; 20];
    syn[0] = 0x41;
    syn[2..4].copy_from_slice(&7u16.to_be_bytes());
    syn[17] = 1;
    let (tcp, utp) = world.inside(Host::Internet, || {
        let tcp = TcpStream::connect_timeout(&to.into(), Duration::from_secs(2));
        let socket = UdpSocket::bind((PEER, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        socket.connect(to).unwrap();
        socket.send(&syn).unwrap();
        let mut answer = [0; 64];
        (tcp.is_ok(), socket.recv(&mut answer).map(|length| answer[..length].to_vec()))
    });
    assert_eq!(tcp, open);
    match open {
        true => {
            let utp = utp.unwrap();
            assert_eq!((utp[0] & 0xf, &utp[2..4]), (1, &syn[2..4]), "{utp:?}");
        }
        false => assert!(utp.is_err(), "{utp:?}"),
    }
}
