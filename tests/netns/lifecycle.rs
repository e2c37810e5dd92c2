//! Stop, start, crash, new configuration: no lease is lost.

use crate::clients::{ask, bob_asks, header, Ask, IGD1, IGD2};
use crate::daemon::{assert_expires_in, row};
use crate::traffic::{FROM_ALICE, FROM_BOB, FROM_PEER};
use crate::world::{succeed, Host, World, ALICE, EXTERNAL, ROUTER};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Resident memory of a debug build with a handful of mappings, in KiB.
const RSS_CEILING: u64 = 8 * 1024;

/// Makes mappings of every kind; `postern list` afterwards.
fn some_mappings(world: &World) -> Vec<Value> {
    let alice = world.control_point(FROM_ALICE, IGD2);
    let bob = world.control_point(FROM_BOB, IGD1);
    alice.add(&ask("UDP", 17000, 7000)).unwrap();
    alice.add(&Ask { remote: "11.22.33.3", lease: 900, ..ask("TCP", 17001, 7001) }).unwrap();
    alice.add(&Ask { enabled: false, ..ask("TCP", 17002, 7002) }).unwrap();
    bob.add(&Ask { lease: 0, ..bob_asks("TCP", 17003, 7000) }).unwrap();
    let list = world.list();
    assert_eq!(
        list.iter().map(row).collect::<Vec<_>>(),
        [
            "ipv4 UDP 11.22.33.1:17000 -> 192.168.1.10:7000 remote=null 'a test' upnp enabled=true",
            "ipv4 TCP 11.22.33.1:17001 -> 192.168.1.10:7001 remote=11.22.33.3 'a test' upnp enabled=true",
            "ipv4 TCP 11.22.33.1:17002 -> 192.168.1.10:7002 remote=null 'a test' upnp enabled=false",
            "ipv4 TCP 11.22.33.1:17003 -> 192.168.1.20:7000 remote=null 'a test' upnp enabled=true",
        ]
    );
    list
}

/// Asserts that the list is what it was `since` ago, with that much less time left.
fn assert_kept(world: &World, before: &[Value], since: Instant) {
    let after = world.list();
    let words = |list: &[Value]| list.iter().map(|e| (e["id"].clone(), row(e))).collect::<Vec<_>>();
    assert_eq!(words(&after), words(before));
    for (before, after) in before.iter().zip(&after) {
        match before["expires_in"].as_u64() {
            Some(left) => assert_expires_in(after, left - since.elapsed().as_secs()),
            None => assert!(after["expires_in"].is_null(), "{after}"),
        }
    }
}

#[test]
fn a_crash_interrupts_no_flow_and_the_next_start_knows_every_lease() {
    let world = World::new();
    let daemon = world.start();
    let before = some_mappings(&world);
    let since = Instant::now();
    let stream = world.stream(SocketAddrV4::new(EXTERNAL, 17000), 7000);
    thread::sleep(Duration::from_millis(200));
    daemon.crash();
    thread::sleep(Duration::from_millis(1000));
    let _daemon = world.start();
    assert_kept(&world, &before, since);
    thread::sleep(Duration::from_millis(500));
    let (sent, lost) = stream.finish();
    assert_eq!(lost, [0; 0], "of {sent}");
    println!("{sent} new flows over a crash and a start, none lost");

    // The owner is known too: the other host can neither take nor close it.
    let bob = world.control_point(FROM_BOB, IGD2);
    assert_eq!(bob.add(&bob_asks("UDP", 17000, 7000)), Err(718));
    assert_eq!(bob.delete("UDP", 17000), Err(606));
    let alice = world.control_point(FROM_ALICE, IGD2);
    alice.delete("UDP", 17000).unwrap();
    assert_eq!(world.list().len(), before.len() - 1);
}

#[test]
fn a_stop_closes_the_ports_and_the_next_start_opens_them_again() {
    // Conformance 243, 253, 303.
    let world = World::new();
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    let to = SocketAddrV4::new(EXTERNAL, 17000);
    let daemon = world.start();
    let before = some_mappings(&world);
    let since = Instant::now();
    assert!(world.udp(FROM_PEER, to).is_ok());
    daemon.stop();
    assert_eq!(world.table(), None);
    assert!(world.udp(FROM_PEER, to).is_err());
    thread::sleep(Duration::from_millis(1200));
    let _daemon = world.start();
    assert_kept(&world, &before, since);
    assert_eq!(world.udp(FROM_PEER.port(40000), to), Ok(FROM_PEER.port(40000).source));
    assert_eq!(world.control_point(FROM_BOB, IGD2).delete("UDP", 17000), Err(606), "owner kept");
}

#[test]
fn a_lease_that_ends_while_the_daemon_is_down_does_not_come_back() {
    let world = World::new();
    let daemon = world.start();
    let alice = world.control_point(FROM_ALICE, IGD2);
    alice.add(&Ask { lease: 1, ..ask("UDP", 17000, 7000) }).unwrap();
    alice.add(&ask("UDP", 17001, 7000)).unwrap();
    daemon.stop();
    thread::sleep(Duration::from_millis(1500));
    let _daemon = world.start();
    assert_eq!(
        world.rows(),
        ["ipv4 UDP 11.22.33.1:17001 -> 192.168.1.10:7000 remote=null 'a test' upnp enabled=true"]
    );
}

#[test]
fn a_reload_takes_the_new_rules_and_keeps_every_lease_they_allow() {
    // Conformance 305.
    let world = World::new();
    let daemon = world.start();
    let before = some_mappings(&world);
    let since = Instant::now();
    let stream = world.stream(SocketAddrV4::new(EXTERNAL, 17000), 7000);
    let rule = "config perm_rule\n\toption action 'deny'\n\toption ext_ports '20000-20010'\n\
                \toption int_addr '0.0.0.0/0'\n\toption int_ports '0-65535'\n";
    let alice = world.control_point(FROM_ALICE, IGD2);
    world.configure(&world.config(rule));
    daemon.signal(Signal::HUP);
    world.wait_for(|_| {
        alice.add(&ask("TCP", 20000, 7000)) == Err(606) || alice.delete("TCP", 20000).is_err()
    });
    assert_eq!(alice.add(&ask("TCP", 20005, 7000)), Err(606));
    assert_kept(&world, &before, since);

    // A configuration that cannot be used changes nothing.
    world.configure("config upnpd 'config'\n\toption port 'many'\n\toption external_iface 'wan'\n");
    daemon.signal(Signal::HUP);
    thread::sleep(Duration::from_millis(300));
    assert_kept(&world, &before, since);
    assert_eq!(alice.add(&ask("TCP", 20005, 7000)), Err(606));
    let (sent, lost) = stream.finish();
    assert_eq!(lost, [0; 0], "of {sent}");

    // Rules that deny a live lease end it.
    world.configure(&world.config(&rule.replace("20000-20010", "17001")));
    daemon.signal(Signal::HUP);
    world.wait_for(|world| world.list().len() == before.len() - 1);
    assert!(world.rows().iter().all(|row| !row.contains(":17001 ")), "{:?}", world.rows());
}

#[test]
fn a_reload_with_a_port_that_cannot_be_served_changes_nothing_305() {
    let world = World::new();
    let daemon = world.start();
    let alice = world.control_point(FROM_ALICE, IGD2);
    // Taken by another program; or lower than who is not root, or has given that up, may bind to.
    let _taken = world.inside(Host::Router, || TcpListener::bind((ROUTER, 6000)).unwrap());
    for port in ["6000", "80"] {
        world.configure(&world.config(&format!("\toption port '{port}'")));
        daemon.signal(Signal::HUP);
        world.wait_for(|_| daemon.log().contains(&format!("port {port}: ")));
        alice.add(&ask("TCP", 17000, 7000)).unwrap();
    }
    world.configure(&world.config("\toption port '6001'"));
    daemon.signal(Signal::HUP);
    let at = SocketAddr::from((ROUTER, 6001));
    world.wait_for(|world| {
        world
            .inside(Host::Alice, || TcpStream::connect_timeout(&at, Duration::from_secs(1)).is_ok())
    });
    assert_eq!(world.list().len(), 1);
}

#[test]
fn bridges_whose_packets_pass_the_firewall_are_told_at_the_start_245() {
    let world = World::new();
    const SWITCH: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    for (value, told) in [("0", false), ("1", true)] {
        // Where the kernel has no such switch, bridged packets pass no firewall.
        let there = world.inside(Host::Router, || fs::write(SWITCH, value).is_ok());
        let daemon = world.start();
        assert_eq!(daemon.log().contains("bridge-nf-call-iptables"), told && there);
        daemon.stop();
    }
}

#[test]
fn the_daemon_is_one_thread_and_small() {
    // Design invariant 7 and §4.
    let world = World::new();
    let daemon = world.start();
    some_mappings(&world);
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap().count();
    assert_eq!(tasks, 1);
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let rss: u64 = header(&status, "VmRSS").trim_end_matches(" kB").parse().unwrap();
    println!("resident memory: {rss} KiB");
    assert!(rss < RSS_CEILING, "{rss} KiB");
}

#[test]
fn status_tells_what_the_daemon_serves() {
    let world = World::new();
    let _daemon = world.start();
    some_mappings(&world);
    let status = world.status();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["state"], "active");
    assert_eq!(status["external"]["device"], "wan");
    assert_eq!(status["external"]["address"], "11.22.33.1");
    assert_eq!(status["mappings"], 4);
    assert_eq!(status["firewall"]["signal"], "ct-label");
    assert_eq!(status["firewall"]["forward_hook"], "ok");
    let internal = status["internal"].to_string();
    assert!(internal.contains("br-lan") && internal.contains("192.168.1.1"), "{internal}");
}

#[test]
fn without_a_named_wan_device_the_default_route_tells_it() {
    let world = World::new();
    let config = world.config("").replace("external_device 'wan'", "notify_interval '900'");
    let daemon = world.start_with(&config);
    assert_eq!(world.status()["external"]["device"], "wan");
    assert_eq!(world.status()["external"]["address"], EXTERNAL.to_string());
    world.unplug_wan();
    world.wait_for_state("no-external-address");
    world.plug_wan();
    world.wan_address(EXTERNAL);
    world.wait_for_state("active");
    daemon.stop();

    // Who names none of OpenWrt's networks' devices is told which option to set.
    let logical = config.replace("list internal_device 'br-lan'", "option internal_iface 'lan'");
    world.configure(&logical);
    let refused = world.run(&[]);
    assert_eq!(refused.status.code(), Some(78));
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(
        words.contains("internal_iface 'lan' is no device: set `list internal_device"),
        "{words}"
    );
}

#[test]
fn a_second_daemon_of_the_same_network_is_refused_whatever_its_state_directory() {
    let world = World::new();
    let _daemon = world.start();
    world.control_point(FROM_ALICE, IGD1).add(&ask("UDP", 17000, 7000)).unwrap();
    let before = world.rows();
    let elsewhere = world.dir.join("elsewhere");
    let refused = world.run(&["--state", elsewhere.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.contains("another postern runs here"), "{words}");
    assert_eq!(world.rows(), before);
    assert!(world.table().unwrap().contains("17000"));
}

#[test]
fn leases_of_a_stopped_run_come_back_although_an_interrupted_start_left_an_empty_table() {
    let world = World::new();
    let daemon = world.start();
    let before = some_mappings(&world);
    daemon.stop();
    // What a start leaves that was killed between making the table and filling it.
    let leases = fs::read(world.state().join("leases")).unwrap();
    let daemon = world.start();
    succeed("delete", world.cli(&["delete", "--all"]));
    daemon.crash();
    fs::write(world.state().join("leases"), leases).unwrap();
    assert!(world.table().is_some());
    let _daemon = world.start();
    assert_eq!(
        world.list().iter().map(row).collect::<Vec<_>>(),
        before.iter().map(row).collect::<Vec<_>>()
    );
}

#[test]
fn a_table_that_somebody_removed_is_made_anew_with_every_mapping() {
    let world = World::new();
    let _daemon = world.start();
    some_mappings(&world);
    let before = world.table().unwrap().matches("17000").count();
    assert!(before > 0);
    world.nft("delete table inet postern");
    assert_eq!(world.status()["state"], "active");
    assert_eq!(world.table().unwrap().matches("17000").count(), before);
}
