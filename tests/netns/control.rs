//! The owner's command line.

use crate::clients::{ask, bob_asks, IGD1};
use crate::daemon::program;
use crate::traffic::{FROM_ALICE, FROM_BOB, FROM_PEER};
use crate::world::{succeed, Host, World, ALICE, EXTERNAL};
use std::net::SocketAddrV4;

#[test]
fn the_owner_deletes_one_mapping_by_its_id_and_then_all() {
    let world = World::new();
    let _daemon = world.start();
    let _server = world.tcp_server(Host::Alice, (ALICE, 7000));
    let alice = world.control_point(FROM_ALICE, IGD1);
    alice.add(&ask("TCP", 17000, 7000)).unwrap();
    alice.add(&ask("TCP", 17001, 7000)).unwrap();
    world.control_point(FROM_BOB, IGD1).add(&bob_asks("TCP", 17002, 7000)).unwrap();
    let id = world.list()[0]["id"].to_string();

    succeed("delete", world.cli(&["delete", &id]));
    assert!(world.tcp(FROM_PEER, SocketAddrV4::new(EXTERNAL, 17000)).is_err());
    assert!(world.tcp(FROM_PEER, SocketAddrV4::new(EXTERNAL, 17001)).is_ok());
    assert_eq!(
        world.rows(),
        [
            "ipv4 TCP 11.22.33.1:17001 -> 192.168.1.10:7000 remote=null 'a test' upnp enabled=true",
            "ipv4 TCP 11.22.33.1:17002 -> 192.168.1.20:7000 remote=null 'a test' upnp enabled=true",
        ]
    );
    let again = world.cli(&["delete", &id]);
    assert!(!again.status.success());
    assert_eq!(world.list().len(), 2);

    succeed("delete --all", world.cli(&["delete", "--all"]));
    assert_eq!(world.rows(), [""; 0]);
    assert!(world.tcp(FROM_PEER, SocketAddrV4::new(EXTERNAL, 17001)).is_err());
    assert_eq!(alice.delete("TCP", 17001), Err(714));
}

#[test]
fn delete_without_a_name_or_with_both_is_refused_and_deletes_nothing() {
    let world = World::new();
    let _daemon = world.start();
    world.control_point(FROM_ALICE, IGD1).add(&ask("TCP", 17000, 7000)).unwrap();
    for args in [&["delete"][..], &["delete", "1", "--all"], &["delete", "abc"], &["delete", "999"]]
    {
        assert!(!world.cli(args).status.success(), "{args:?}");
        assert_eq!(world.list().len(), 1, "{args:?}");
    }
}

#[test]
fn list_reads_the_kernel_when_the_daemon_is_down_and_says_so() {
    let world = World::new();
    let daemon = world.start();
    world.control_point(FROM_ALICE, IGD1).add(&ask("TCP", 17000, 7000)).unwrap();
    let live = succeed("list", world.cli(&["list"]));
    assert!(live.contains("17000") && live.contains("192.168.1.10"), "{live}");
    let rows = world.rows();
    daemon.crash();
    let out = world.cli(&["list"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let listed = succeed("list", out);
    assert!(listed.contains("17000") && listed.contains("192.168.1.10"), "{listed}");
    assert!((said + &listed).contains("kernel"), "does not say where it reads: {listed}");
    let offline = world.rows();
    assert_eq!(offline.len(), 1);
    assert!(offline[0].contains(":17000 -> 192.168.1.10:7000 "), "{offline:?} was {rows:?}");
    assert!(!world.cli(&["status"]).status.success());
}

#[test]
fn a_command_line_that_makes_no_sense_is_told_from_a_refusal() {
    let world = World::new();
    for args in [&["foo"][..], &["status", "--bogus"], &["delete", "abc"], &["delete"]] {
        let mut command = world.command(Host::Router, program());
        assert_eq!(command.args(args).output().unwrap().status.code(), Some(64), "{args:?}");
    }
    assert_eq!(world.cli(&["status"]).status.code(), Some(1));
    world.configure(&world.config("\tlist internal_device 'wan'"));
    let both = world.run(&[]);
    assert_eq!(both.status.code(), Some(78));
    let words = String::from_utf8(both.stderr).unwrap();
    assert!(words.contains("wan cannot be the WAN and a LAN"), "{words}");
}
