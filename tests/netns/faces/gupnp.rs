//! GUPnP of Debian: what finds a gateway, and what opens ports for Pidgin and Farstream.

use super::{assert_open, row, Script};
use crate::clients::{IGD1, IGD2};
use crate::daemon::UUID;
use crate::world::{succeed, Host, World, ALICE};
use std::thread;
use std::time::Duration;

/// The resources that `gssdp-discover` finds for a target, as `USN LOCATION`.
fn discovered(world: &World, target: &str) -> Vec<String> {
    let mut command = world.command(Host::Alice, "gssdp-discover");
    // It searches once; the answers come within three seconds.
    command.args(["--interface=eth0", "--timeout=4", "--message-type=available"]);
    command.arg(format!("--target={target}"));
    let out = succeed("gssdp-discover", command.output().unwrap());
    let mut words = out.split("resource available").skip(1).map(|resource| {
        let field = |name: &str| resource.split(name).nth(1).unwrap().split_whitespace().next();
        format!("{} {}", field("USN:").unwrap(), field("Location:").unwrap())
    });
    let mut found: Vec<String> = words.by_ref().collect();
    found.sort();
    found
}

#[test]
fn gssdp_discover_finds_the_root_device_and_either_version_where_they_are() {
    // Conformance 1, 7, 8, 15, 29, 279.
    let world = World::new();
    let _daemon = world.start();
    let (one, two) =
        ("http://192.168.1.1:5000/igd1/desc.xml", "http://192.168.1.1:5000/igd2/desc.xml");
    for (target, location) in [("upnp:rootdevice", one), (IGD1, one), (IGD2, two)] {
        let found = discovered(&world, target);
        assert_eq!(found.len(), 1, "{target}: {found:?}");
        let (usn, at) = found[0].split_once(' ').unwrap();
        assert_eq!(at, location, "{target}");
        assert!(usn.starts_with("uuid:") && usn.ends_with(&format!("::{target}")), "{usn}");
        assert_eq!(usn.starts_with(&format!("uuid:{UUID}")), location == one, "{usn}");
    }
    let all = discovered(&world, "ssdp:all");
    assert_eq!(all.len(), 10, "{all:?}");
    assert!(all.iter().all(|resource| resource.ends_with(one)), "{all:?}");
}

#[test]
fn the_library_of_pidgin_opens_ports_and_signals_where_they_are() {
    // Conformance 79, 109, 111, 139.
    let world = World::new();
    let daemon = world.start();
    let _tcp = world.tcp_server(Host::Alice, (ALICE, 7001));
    let _udp = world.udp_server(Host::Alice, (ALICE, 7001));
    let source = include_str!("../../clients/gupnp-igd.py");
    // Debian's bindings are for Debian's own Python.
    let args = ["-c", source, "192.168.1.10", "7001", "17001"];
    let mut client = Script::program(&world, "/usr/bin/python3", &args);
    let protocols = ["TCP", "UDP"];
    client.says(protocols.map(|protocol| {
        format!("mapped {protocol} 11.22.33.1:17001 192.168.1.10:7001 gupnp & <igd>")
    }));
    let mut rows = world.rows();
    // It sends both at once.
    rows.sort();
    assert_eq!(rows, protocols.map(|protocol| row(protocol, 17001, 7001, "gupnp & <igd>")));
    for protocol in protocols {
        assert_open(&world, protocol, 17001, true);
    }
    assert_eq!(world.status()["subscriptions"], 1);
    // Then it is told of the end of both, too.
    world.wait_for(|_| daemon.log().contains("event 0 to 192.168.1.10"));
    thread::sleep(Duration::from_millis(300));
    client.go_on();
    client.says(["unmapped"]);
    // It does not say when the gateway has answered.
    world.wait_for(|world| world.rows().is_empty());
    for protocol in protocols {
        assert_open(&world, protocol, 17001, false);
    }
    // It has missed no event, or it would subscribe anew at the next one.
    world.wait_for(|_| daemon.log().contains("event 1 to 192.168.1.10"));
    thread::sleep(Duration::from_millis(200));
    assert_eq!(daemon.log().matches(": SUBSCRIBE /igd1/wanip/event -> 200").count(), 1);
}
