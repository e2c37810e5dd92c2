//! Somebody else's hands in the table: what is taken out is deleted, what is put in is undone, what is
//! broken is mended, and the rest goes on as before.

use crate::clients::{ask, IGD1};
use crate::pcp_client::{map, Pcp};
use crate::traffic::{FROM_ALICE, FROM_ALICE6, FROM_PEER};
use crate::world::{Host, World, ALICE, EXTERNAL};
use rustix::process::{kill_process, Pid, Signal};
use std::io::Write;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// How soon a change must be met.
const SOON: Duration = Duration::from_millis(500);

#[track_caller]
fn soon(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < SOON, "not so after {SOON:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_element_that_is_deleted_by_hand_is_a_deletion_and_told() {
    let world = World::new();
    let daemon = world.start();
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    let alice = world.control_point(FROM_ALICE, IGD1);
    alice.add(&ask("UDP", 17000, 7000)).unwrap();
    alice.add(&ask("UDP", 17001, 7001)).unwrap();
    Pcp { protocol: 6, ..map(FROM_ALICE6, 7002, 0) }.open(&world);
    world.nft("delete element inet postern w0_any { udp . 17001 }");
    soon(|| world.rows().len() == 2);
    assert!(daemon.log().contains("closed UDP 17001 -> 192.168.1.10:7001: deleted"));
    assert!(world.table().is_some_and(|table| !table.contains("17001")), "nothing of it is left");
    world.nft("flush set inet postern p6_any");
    soon(|| world.rows().len() == 1);
    assert!(world.rows()[0].contains(":17000 "), "{:?}", world.rows());
    assert!(world.udp(FROM_PEER, (EXTERNAL, 17000)).is_ok());
}

#[test]
fn a_change_among_changes_of_other_tables_is_met_as_well() {
    let world = World::new();
    let daemon = world.start();
    let alice = world.control_point(FROM_ALICE, IGD1);
    alice.add(&ask("UDP", 17000, 7000)).unwrap();
    alice.add(&ask("UDP", 17001, 7001)).unwrap();
    // The kernel tells of one change in one piece, as long as that is not too long.
    let others = (0..200).map(|n| format!("add element ip other many {{ {n} }}\n"));
    let others: String = others.collect();
    let table = "add table ip other\nadd set ip other many { type mark; }\n";
    world.nft(&format!("{table}delete element inet postern w0_any {{ udp . 17000 }}"));
    soon(|| world.rows().len() == 1);
    world.nft(&format!(
        "{table}{others}delete element inet postern w0_any {{ udp . 17001 }}\n{others}"
    ));
    soon(|| world.rows().is_empty());
    let before = daemon.log().matches("changed by somebody else").count();
    world.nft(&format!("flush set ip other many\n{others}"));
    thread::sleep(SOON);
    let after = daemon.log().matches("changed by somebody else").count();
    assert_eq!(after, before, "that was not ours");
}

#[test]
fn a_table_that_is_removed_while_other_things_happen_comes_back_whole_301() {
    let world = World::new();
    let daemon = world.start();
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    world.control_point(FROM_ALICE, IGD1).add(&ask("UDP", 17000, 7000)).unwrap();
    Pcp { protocol: 6, ..map(FROM_ALICE6, 7002, 0) }.open(&world);
    let mut nft = world.command(Host::Router, "nft");
    let mut nft = nft.arg("-i").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut each_line_is_a_change = nft.stdin.take().unwrap();
    for round in 0..10 {
        // After a change of others it is some milliseconds until the next is looked at. Meanwhile the
        // configuration is read, and the table is made anew for that.
        let changes = format!("add table ip other{round}\ndelete table inet postern\n");
        each_line_is_a_change.write_all(changes.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(round));
        daemon.signal(Signal::HUP);
        thread::sleep(Duration::from_millis(100));
        assert_eq!(world.rows().len(), 2, "round {round}:\n{}", daemon.log());
    }
    drop(each_line_is_a_change);
    assert!(nft.wait().unwrap().success());
    assert!(world.udp(FROM_PEER, (EXTERNAL, 17000)).is_ok());
}

#[test]
fn a_change_that_cannot_be_looked_at_is_looked_at_again() {
    let world = World::new();
    // Nothing else may be sent meanwhile: no announcement either, as there are in the first second.
    let daemon =
        world.start_with(&world.config("\toption seccomp '0'\n\toption enable_natpmp '0'"));
    thread::sleep(Duration::from_secs(2));
    let alice = world.control_point(FROM_ALICE, IGD1);
    for failing in [1, 2] {
        alice.add(&ask("TCP", 17000, 7000)).unwrap();
        thread::sleep(SOON);
        // Of a daemon at rest, this question to the kernel about a change is the first that fails: is
        // the table there? Or the next: what is in it?
        let inject = format!("inject=sendto:error=ENOBUFS:when={failing}");
        let mut strace = world.command(Host::Router, "strace");
        strace.args(["-qq", "-e", "trace=sendto", "-e", &inject, "-p", &daemon.pid().to_string()]);
        let strace = strace.stderr(Stdio::piped()).spawn().unwrap();
        world
            .wait_for(|_| daemon.proc_status().contains(&format!("TracerPid:\t{}\n", strace.id())));
        world.nft("delete element inet postern w0_any { tcp . 17000 }");
        // The list would ask the kernel, too.
        thread::sleep(SOON);
        world.wait_for(|world| world.rows().is_empty());
        kill_process(Pid::from_child(&strace), Signal::TERM).unwrap();
        let said = String::from_utf8(strace.wait_with_output().unwrap().stderr).unwrap();
        assert_eq!(said.matches("(INJECTED)").count(), 1, "{said}");
    }
    let refused = daemon.log().matches("nf_tables: No buffer space available").count();
    assert_eq!(refused, 2, "{}", daemon.log());
    assert!(world.table().is_some_and(|table| !table.contains("17000")));
}

#[test]
fn what_is_put_in_by_hand_is_undone_and_what_is_broken_is_mended() {
    let world = World::new();
    let _daemon = world.start();
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    let alice = world.control_point(FROM_ALICE, IGD1);
    alice.add(&ask("UDP", 17000, 7000)).unwrap();
    // Without times, which differ from listing to listing, and without bytes counted, of which what
    // is put back has one that never came.
    let table = || {
        let table = world.table().unwrap_or_default();
        let words: Vec<&str> = table.split_whitespace().collect();
        let timed = |i: usize| i > 0 && ["timeout", "expires", "bytes"].contains(&words[i - 1]);
        let kept = (0..words.len()).filter(|&i| !timed(i));
        kept.map(|i| words[i]).collect::<Vec<_>>().join(" ")
    };
    let before = (table(), world.rows());
    for edit in [
        "add element inet postern w0_any { tcp . 80 : 192.168.1.10 . 80 }",
        "add element inet postern w0_ext { tcp . 80 }",
        "add element inet postern w0_rh { 11.22.33.2 . tcp . 80 : 192.168.1.10 . 80 }",
        "add element inet postern p6_any { 2001:db8:1::10 . tcp . 22 }",
        "delete element inet postern w0_ext { udp . 17000 }",
        "delete element inet postern w0_rev { 192.168.1.10 . udp . 7000 }",
        "delete element inet postern ext4 { 11.22.33.1 }",
        "add element inet postern in6 { \"br-lan\" : goto p6 }",
        "add rule inet postern w0 drop",
        "flush chain inet postern w0",
        "flush table inet postern",
        "delete table inet postern",
    ] {
        world.nft(edit);
        let start = Instant::now();
        while table() != before.0 {
            assert!(start.elapsed() < SOON, "{edit}: {}\n{}", table(), before.0);
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(world.rows(), before.1, "{edit}");
    }
    assert!(world.udp(FROM_PEER, (EXTERNAL, 17000)).is_ok());
}

#[test]
fn firewall_reloads_do_not_keep_the_daemon_busy() {
    let world = World::new();
    let daemon = world.start();
    for port in 0..500 {
        map(FROM_ALICE, 7000 + port, 17000 + port).open(&world);
    }
    thread::sleep(Duration::from_millis(500));
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    for _ in 0..20 {
        world.firewall_reload();
    }
    thread::sleep(Duration::from_millis(200));
    let spent = ticks() - before;
    // Hundredths of a second.
    assert!(spent <= 5, "{spent}");
    assert_eq!(world.list().len(), 500);
}
