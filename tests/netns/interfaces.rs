//! Logical networks: netifd, over ubus, says which devices they are.

use crate::clients::{ask, ControlPoint, IGD1};
use crate::traffic::FROM_ALICE;
use crate::world::{Host, World};
use rustix::process::Signal;
use serde_json::{json, Value};
use std::thread;
use std::time::Duration;

fn alice(world: &World) -> ControlPoint<'_> {
    world.control_point(FROM_ALICE, IGD1)
}

#[test]
fn netifd_s_word_on_the_wan_device_is_followed_and_no_lease_is_lost() {
    let world = World::new();
    second_wan(&world);
    let ubusd = world.ubusd();
    ubusd.network("wan", "wan");
    ubusd.network("lan", "br-lan");
    let names = "\toption external_iface 'wan'\n\tlist internal_iface 'lan'";
    let _daemon = world.start_with(&world.ubus_config(names));
    ubusd.wait_for_daemon();
    alice(&world).add(&ask("TCP", 17000, 7000)).unwrap();
    let kept = world.list()[0]["id"].clone();
    let up = json!({"action": "ifup", "interface": "wan"});
    ubusd.network("wan", "wan2");
    ubusd.event("network.interface", up.clone());
    world.wait_for(|world| world.status()["external"]["device"] == "wan2");
    world.wait_for(|world| world.status()["external"]["address"] == "11.22.44.1");
    assert_eq!(world.list()[0]["id"], kept);
    assert!(world.table().unwrap().contains("11.22.44.1"));
    // Down, it keeps its device; the address is the kernel's word.
    ubusd.network("wan", "");
    ubusd.event("network.interface", json!({"action": "ifdown", "interface": "wan"}));
    ubusd.network("wan", "wan");
    ubusd.notify("interface.update", json!({"interface": "wan"}));
    world.wait_for(|world| world.status()["external"]["device"] == "wan");
    // A netifd that is back says so, too.
    ubusd.network("wan", "wan2");
    ubusd.event("ubus.object.add", json!({"id": 7, "path": "network.interface"}));
    world.wait_for(|world| world.status()["external"]["device"] == "wan2");
    assert_eq!(world.list()[0]["id"], kept);
}

#[test]
fn what_netifd_notifies_while_it_is_asked_is_not_left_for_later() {
    let world = World::new();
    second_wan(&world);
    let ubusd = world.ubusd();
    ubusd.network("wan", "wan");
    let _daemon = world.start_with(&world.ubus_config("\toption external_iface 'wan'"));
    ubusd.wait_for_daemon();
    // It has been asked once, and has subscribed.
    ubusd.notify("interface.update", json!({"interface": "wan"}));
    ubusd.moves_while_asked("wan", "wan2");
    ubusd.event("network.interface", json!({"action": "ifup", "interface": "wan"}));
    world.wait_for(|world| world.status()["external"]["device"] == "wan2");
}

/// Gives the router another device with a public address.
fn second_wan(world: &World) {
    world.ip(
        Host::Router,
        "link add wan2 type veth peer name wan2peer\n\
         addr add 11.22.44.1/24 dev wan2\n\
         link set wan2 up\n\
         link set wan2peer up",
    );
}

/// Gives the router another LAN.
fn guest_lan(world: &World) {
    world.ip(
        Host::Router,
        "link add br-guest type bridge\n\
         addr add 192.168.2.1/24 dev br-guest\n\
         link add guest1 type veth peer name guest2\n\
         link set guest1 master br-guest up\n\
         link set guest2 up\n\
         link set br-guest up",
    );
}

/// The LAN devices that are served, by IPv4.
fn devices(world: &World) -> Vec<String> {
    let internal = world.status()["internal"].clone();
    let v4 = |entry: &&Value| entry["address"].as_str().unwrap().contains('.');
    let rows: Vec<Value> = internal.as_array().unwrap().iter().filter(v4).cloned().collect();
    rows.iter().map(|row| row["device"].as_str().unwrap().to_owned()).collect()
}

const LAN_AND_GUEST: &str = "\tlist internal_iface 'lan'\n\tlist internal_iface 'guest'";

#[test]
fn a_network_added_to_the_lan_is_served_and_one_taken_away_is_not() {
    let world = World::new();
    let ubusd = world.ubusd();
    guest_lan(&world);
    ubusd.network("lan", "br-lan");
    ubusd.network("guest", "");
    let _daemon = world.start_with(&world.ubus_config(LAN_AND_GUEST));
    ubusd.wait_for_daemon();
    assert_eq!(devices(&world), ["br-lan"]);
    ubusd.network("guest", "br-guest");
    ubusd.event("network.interface", json!({"action": "ifup", "interface": "guest"}));
    world.wait_for(|world| devices(world) == ["br-lan", "br-guest"]);
    ubusd.forget_network("guest");
    ubusd.event("network.interface", json!({"action": "ifdown", "interface": "guest"}));
    world.wait_for(|world| devices(world) == ["br-lan"]);
}

#[test]
fn a_netifd_too_busy_to_tell_of_all_takes_no_lan_away() {
    let world = World::new();
    let ubusd = world.ubusd();
    guest_lan(&world);
    ubusd.network("lan", "br-lan");
    ubusd.network("guest", "br-guest");
    ubusd.busy(&["guest"]);
    let config =
        world.ubus_config(&[LAN_AND_GUEST, "\n\tlist internal_device 'br-guest'"].concat());
    let _daemon = world.start_with(&config);
    ubusd.wait_for_daemon();
    assert_eq!(devices(&world), ["br-lan", "br-guest"]);
    // Three seconds, in which an answer may come.
    thread::sleep(Duration::from_millis(3500));
    assert_eq!(devices(&world), ["br-lan", "br-guest"]);
    // It is asked again with whatever comes next.
    ubusd.network("guest", "");
    ubusd.forget_network("guest");
    ubusd.busy(&[]);
    ubusd.call("postern", "status", json!({}));
    world.wait_for(|world| devices(world) == ["br-lan"]);
}

#[test]
fn a_start_without_devices_is_helped_by_netifd_or_told_which_option_to_set() {
    let world = World::new();
    let logical = |world: &World, wan: &str| {
        let devices = "\toption external_device 'wan'\n\tlist internal_device 'br-lan'\n";
        let names = format!("\toption external_iface '{wan}'\n\toption internal_iface 'lan'\n");
        world.ubus_config("").replace(devices, &names)
    };
    let refused = |wan: &str, option: &str| {
        world.configure(&logical(&world, wan));
        let out = world.run(&["--state", world.state().to_str().unwrap()]);
        let words = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(78), "{words}");
        assert!(words.contains(option), "{words}");
    };
    refused("wan", "internal_iface 'lan' is no device");
    let ubusd = world.ubusd();
    refused("wan", "internal_iface 'lan' is no device");
    ubusd.network("lan", "br-lan");
    ubusd.network("wan", "");
    refused("wam", "external_iface 'wam' is no device");

    // A network that is down is not one that does not exist, and no other takes its place.
    let daemon = world.start_with(&logical(&world, "wan"));
    ubusd.wait_for_daemon();
    let status = world.status();
    assert_eq!(status["state"], "no-external-address");
    assert_eq!(status["reason"], "the network of external_iface is down");
    assert_eq!(status["external"]["device"], Value::Null);
    assert_eq!(status["internal"][0]["device"], "br-lan");
    ubusd.network("wan", "wan");
    ubusd.event("network.interface", json!({"action": "ifup", "interface": "wan"}));
    world.wait_for_state("active");
    alice(&world).add(&ask("TCP", 17000, 7000)).unwrap();

    // A reload asks before it changes anything.
    world.configure(&logical(&world, "wam"));
    daemon.signal(Signal::HUP);
    world.wait_for(|_| daemon.log().contains("external_iface 'wam' is no device"));
    assert_eq!(world.status()["state"], "active");
    second_wan(&world);
    ubusd.network("wwan", "wan2");
    world.configure(&logical(&world, "wwan"));
    daemon.signal(Signal::HUP);
    world.wait_for(|world| world.status()["external"]["address"] == "11.22.44.1");
    assert_eq!(world.list().len(), 1);
}

#[test]
fn devices_written_without_networks_stay_whatever_netifd_says() {
    let world = World::new();
    second_wan(&world);
    let ubusd = world.ubusd();
    ubusd.network("lan", "wan2");
    let _daemon = world.start_with(&world.ubus_config(""));
    ubusd.wait_for_daemon();
    let up = json!({"action": "ifup", "interface": "lan"});
    ubusd.event("network.interface", up);
    // An answer comes after what an event before it has led to.
    ubusd.call("postern", "status", json!({}));
    let status = world.status();
    assert_eq!(status["external"]["device"], "wan");
    assert_eq!(status["internal"][0]["device"], "br-lan");
}
