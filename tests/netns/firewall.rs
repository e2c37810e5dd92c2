//! The main firewall reloads and restarts under traffic; no flow is lost.

use crate::clients::{ask, IGD1};
use crate::traffic::FROM_ALICE;
use crate::world::{World, EXTERNAL, FIREWALL};
use std::net::SocketAddrV4;
use std::thread;
use std::time::Duration;

/// How often the firewall is reloaded or restarted.
const TIMES: usize = 8;

fn no_flow_is_lost_while(disturb: impl Fn(&World)) {
    let world = World::new();
    let _daemon = world.start();
    world.control_point(FROM_ALICE, IGD1).add(&ask("UDP", 17000, 7000)).unwrap();
    let stream = world.stream(SocketAddrV4::new(EXTERNAL, 17000), 7000);
    thread::sleep(Duration::from_millis(100));
    for _ in 0..TIMES {
        disturb(&world);
        thread::sleep(Duration::from_millis(100));
    }
    let (sent, lost) = stream.finish();
    assert!(sent > 100, "only {sent} flows");
    assert_eq!(lost, [0; 0], "of {sent}");
    println!("{sent} new flows, none lost");
    assert_eq!(world.status()["firewall"]["forward_hook"], "ok");
}

#[test]
fn reloading_the_firewall_eight_times_under_new_flows_loses_none() {
    // Conformance 254, 301.
    no_flow_is_lost_while(World::firewall_reload);
}

#[test]
fn restarting_the_firewall_eight_times_under_new_flows_loses_none() {
    // Conformance 254, 301.
    no_flow_is_lost_while(World::firewall_restart);
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
