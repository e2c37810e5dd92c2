//! One table for all protocols, and what outlives a crash, a restart and a loss.

use crate::clients::{ask, bob_asks, IGD1, IGD2};
use crate::pcp_client::{map, natpmp, Pcp, OTHER_NONCE};
use crate::traffic::{FROM_ALICE, FROM_BOB, FROM_PEER};
use crate::world::{Host, World, ALICE, EXTERNAL};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

fn alice() -> Pcp {
    map(FROM_ALICE, 7000, 17000)
}

fn epoch(world: &World) -> u64 {
    world.status()["epoch"].as_u64().unwrap()
}

#[test]
fn upnp_lists_and_counts_what_the_others_have_mapped_and_cannot_take_it_238_242() {
    let world = World::new();
    let _daemon = world.start();
    alice().open(&world);
    world.ask_pmp(FROM_ALICE, &natpmp(2, 7001, 17001, 600)).unwrap();
    let control = world.control_point(FROM_ALICE, IGD2);
    let entry = |index: &str| {
        let args = [("NewPortMappingIndex", index)];
        let all = control.call("GetGenericPortMappingEntry", &args).unwrap();
        all.into_iter().map(|(_, value)| value).collect::<Vec<_>>()
    };
    let (pcp, natpmp) = (entry("0"), entry("1"));
    let want = ["", "17000", "UDP", "7000", "192.168.1.10", "1", ""];
    assert_eq!(pcp[..7], want);
    assert_eq!(natpmp[..7], ["", "17001", "TCP", "7001", "192.168.1.10", "1", ""]);
    assert!(pcp[7].parse::<u32>().unwrap() > 7100, "{pcp:?}");
    let bob = world.control_point(FROM_BOB, IGD1);
    assert_eq!(bob.add(&bob_asks("UDP", 17000, 7000)), Err(718));
    assert_eq!(bob.add(&bob_asks("TCP", 17001, 7000)), Err(718));
    assert_eq!(bob.delete("UDP", 17000), Err(606));
    assert_eq!(world.rows().len(), 2);
    let alice = world.control_point(FROM_ALICE, IGD1);
    assert_eq!(alice.add(&ask("UDP", 17000, 7005)), Err(718), "a nonce guards it");
    assert_eq!(alice.add(&ask("UDP", 17000, 7000)), Ok(()));
    assert_eq!(alice.delete("UDP", 17000), Ok(()));
    assert_eq!(world.rows().len(), 1);
}

#[test]
fn a_client_is_known_again_after_a_crash_and_a_restart_and_the_epoch_goes_on_201_243() {
    let world = World::new();
    let daemon = world.start();
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    thread::sleep(Duration::from_millis(1100));
    let first = alice().ask(&world);
    let start = Instant::now();
    let consistent = |then: u32, now: u32| {
        let passed = start.elapsed().as_secs() as u32;
        assert!(now >= then && now.abs_diff(then + passed) <= 2, "{then}, {passed} s later {now}");
    };
    daemon.crash();
    assert!(world.udp(FROM_PEER.port(40000), (EXTERNAL, 17000)).is_ok());
    let daemon = world.start();
    assert_eq!(Pcp { nonce: OTHER_NONCE, ..alice() }.ask(&world).code, 2);
    let renewed = Pcp { external: 0, ..alice() }.ask(&world);
    assert_eq!((renewed.code, renewed.port), (0, 17000));
    consistent(first.epoch, renewed.epoch);
    daemon.stop();
    thread::sleep(Duration::from_millis(1100));
    let _daemon = world.start();
    assert_eq!(Pcp { nonce: OTHER_NONCE, ..alice() }.ask(&world).code, 2);
    let renewed = Pcp { external: 0, ..alice() }.ask(&world);
    assert_eq!((renewed.code, renewed.port), (0, 17000));
    consistent(first.epoch, renewed.epoch);
    assert!(world.udp(FROM_PEER.port(40001), (EXTERNAL, 17000)).is_ok());
}

#[test]
fn a_table_that_is_lost_is_there_again_at_once_and_no_client_is_alarmed_201() {
    let world = World::new();
    let _daemon = world.start();
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    let first = alice().ask(&world);
    thread::sleep(Duration::from_millis(1100));
    let before = world.rows();
    for (i, lose) in ["delete table inet postern", "flush ruleset"].into_iter().enumerate() {
        let start = Instant::now();
        world.nft(lose);
        while !world.table().is_some_and(|table| table.contains("17000")) {
            assert!(start.elapsed() < Duration::from_millis(500), "{lose}");
        }
        // Starting nft to look takes most of this.
        let took = start.elapsed();
        println!("{lose}: there again after {} ms", took.as_millis());
        assert!(took < Duration::from_millis(150), "{took:?}");
        world.firewall_reload();
        let from = FROM_PEER.port(40010 + i as u16);
        assert!(world.udp(from, (EXTERNAL, 17000)).is_ok());
    }
    assert_eq!(world.rows(), before);
    let renewed = alice().ask(&world);
    assert!(renewed.code == 0 && renewed.epoch > first.epoch, "{} {}", renewed.epoch, first.epoch);
}

#[test]
fn who_lost_everything_begins_a_new_epoch_and_says_so_201_232() {
    let world = World::new();
    let daemon = world.start();
    thread::sleep(Duration::from_millis(2100));
    alice().open(&world);
    let before = epoch(&world);
    assert!(before >= 2);
    daemon.crash();
    world.nft("delete table inet postern");
    fs::remove_dir_all(world.state()).unwrap();
    fs::remove_file(world.dir.join("leases")).unwrap();
    let heard = world.announcements(Host::Alice);
    let _daemon = world.start();
    assert!(epoch(&world) <= 1);
    let heard = heard.until(900);
    let announced = heard.iter().filter(|(_, _, bytes)| bytes[..4] == [2, 0x80, 0, 0]);
    assert!(announced.count() >= 2, "{heard:?}");
    assert_eq!(world.rows(), [""; 0]);
    assert_eq!(Pcp { nonce: OTHER_NONCE, ..alice() }.open(&world), 17000, "suggested, and free");
}

#[test]
fn a_reconnect_with_the_same_address_alarms_nobody_and_with_another_all_201() {
    let world = World::new();
    let _daemon = world.start();
    thread::sleep(Duration::from_millis(2100));
    world.unplug_wan();
    world.wait_for_state("no-external-address");
    assert_eq!(alice().ask(&world).code, 7, "no address to be told");
    world.plug_wan();
    world.wan_address(EXTERNAL);
    world.wait_for_state("active");
    assert!(epoch(&world) >= 2);
    world.wan_address(std::net::Ipv4Addr::new(11, 22, 33, 44));
    world.wait_for(|world| world.status()["external"]["address"] == "11.22.33.44");
    assert!(epoch(&world) <= 1);
}
