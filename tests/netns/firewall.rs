//! The main firewall reloads and restarts under traffic; no flow is lost.

use crate::clients::{ask, IGD1, IGD2};
use crate::traffic::{FROM_ALICE, FROM_PEER, FROM_PEER6};
use crate::world::{Host, World, ALICE, ALICE6, EXTERNAL, FIREWALL};
use std::io::ErrorKind;
use std::net::{SocketAddrV4, SocketAddrV6};
use std::thread;
use std::time::{Duration, Instant};

/// How often the firewall is reloaded or restarted.
const TIMES: usize = 20;

fn no_flow_is_lost_while(disturb: impl Fn(&World)) {
    let world = World::new();
    let _daemon = world.start();
    world.control_point(FROM_ALICE, IGD1).add(&ask("UDP", 17000, 7000)).unwrap();
    let stream = world.stream(SocketAddrV4::new(EXTERNAL, 17000), 7000);
    let start = Instant::now();
    thread::sleep(Duration::from_millis(100));
    for _ in 0..TIMES {
        disturb(&world);
        thread::sleep(Duration::from_millis(100));
    }
    let (sent, lost) = stream.finish();
    let rate = f64::from(sent) / start.elapsed().as_secs_f64();
    // A busy machine makes fewer than are asked for.
    assert!(rate > 300.0, "only {rate:.0} flows a second");
    assert_eq!(lost, [0; 0], "of {sent}");
    println!("{sent} new flows, {rate:.0} a second, none lost");
    assert_eq!(world.status()["firewall"]["forward_hook"], "ok");
}

#[test]
fn reloading_the_firewall_twenty_times_under_new_flows_loses_none() {
    // Conformance 254, 301.
    no_flow_is_lost_while(World::firewall_reload);
}

#[test]
fn restarting_the_firewall_twenty_times_under_new_flows_loses_none() {
    // Conformance 254, 301.
    no_flow_is_lost_while(World::firewall_restart);
}

/// What the package ships for the forward chain.
const BY_LABEL: &str = include_str!("../../openwrt/postern/files/forward-label.nft");
const BY_MARK: &str = include_str!("../../openwrt/postern/files/forward-mark.nft");

#[test]
fn the_firewall_of_these_tests_has_the_packaged_line() {
    assert_eq!(FIREWALL.matches(BY_LABEL).count(), 1);
}

#[test]
fn the_packaged_line_by_mark_lets_mappings_and_pinholes_through_reloads() {
    let world = World::new();
    let firewall = FIREWALL.replace(BY_LABEL, BY_MARK);
    world.nft(&firewall);
    let _daemon = world.start_with(&world.config("\toption ct_mark '0x40000000'"));
    let _servers = [
        world.tcp_server(Host::Alice, (ALICE, 7000)),
        world.tcp_server(Host::Alice, (ALICE6, 7000)),
    ];
    world.control_point(FROM_ALICE, IGD1).add(&ask("TCP", 17000, 7000)).unwrap();
    let pinholes = world.control_point(FROM_ALICE, IGD2).service(":WANIPv6FirewallControl:");
    pinholes.open(7000, "6", 60);
    for _ in 0..2 {
        assert_eq!(world.status()["firewall"]["forward_hook"], "ok");
        assert!(world.tcp(FROM_PEER, SocketAddrV4::new(EXTERNAL, 17000)).is_ok());
        assert!(world.tcp(FROM_PEER6, SocketAddrV6::new(ALICE6, 7000, 0, 0)).is_ok());
        world.nft(&firewall);
    }
}

#[test]
fn a_firewall_without_the_forward_line_is_reported() {
    let world = World::new();
    let without: Vec<_> = FIREWALL.lines().filter(|line| !line.contains("ct label")).collect();
    world.nft(&without.join("\n"));
    let _daemon = world.start();
    assert_eq!(world.status()["firewall"]["signal"], "ct-label");
    assert_eq!(world.status()["firewall"]["forward_hook"], "missing");
    world.firewall_reload();
    assert_eq!(world.status()["firewall"]["forward_hook"], "ok");
}

#[test]
fn with_a_mark_as_signal_the_firewall_lets_through_what_bears_it() {
    let world = World::new();
    let line = "ct mark & 0x20000000 == 0x20000000 accept";
    world.nft(&FIREWALL.replace("ct label 127 accept", line));
    let _daemon = world.start_with(&world.config("\toption ct_mark '0x20000000'"));
    let _server = world.tcp_server(Host::Alice, (ALICE, 7000));
    world.control_point(FROM_ALICE, IGD1).add(&ask("TCP", 17000, 7000)).unwrap();
    let to = SocketAddrV4::new(EXTERNAL, 17000);
    let peer = FROM_PEER.port(40000);
    assert_eq!(world.tcp(peer, to), Ok(peer.source));
    assert_eq!(world.status()["firewall"]["signal"], "ct-mark");
    assert_eq!(world.status()["firewall"]["forward_hook"], "ok");

    // The usual firewall looks for the label, which nothing bears now.
    world.firewall_reload();
    assert_eq!(world.tcp(FROM_PEER.port(40001), to), Err(ErrorKind::ConnectionRefused));
    assert_eq!(world.status()["firewall"]["forward_hook"], "missing");
}
