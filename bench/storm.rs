//! Everything that a hostile LAN host can do, all at once, while another host goes on using the
//! gateway: the daemon's memory stays below its ceiling, the other host is answered in time, and
//! afterwards nothing is left of it. Conformance 261 to 266.
//!
//! `STORM_SECONDS` says how long, 60 unless set; `STORM_ATTACKS` names the attacks, all unless set.

#![allow(clippy::print_stdout, clippy::unwrap_used, dead_code, unused_imports)]

#[path = "storm/attacks.rs"]
mod attacks;
mod lab;
mod report;
#[path = "../tests/netns/world.rs"]
mod world;

use lab::clients::{add_arguments, delete_arguments, ControlPoint, Datagrams};
use lab::gateway::{Gateway, Kind};
use lab::procfs;
use lab::stats::Sample;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use world::{enter, Host};

/// KiB of its own memory that the daemon may take beyond what it has at rest.
const CEILING: u64 = 512;
/// Within this 99 of 100 AddPortMappings of the other host are answered.
const IN_TIME: Duration = Duration::from_millis(100);
/// For the last connections and their answers to be given up.
const REST: Duration = Duration::from_secs(16);
/// KiB that may stay: the subscriptions, and pages of the heap that hold a little of what lives on.
const LEFT_OVER: u64 = 320;

fn main() {
    let seconds = std::env::var("STORM_SECONDS").map_or(60, |text| text.parse().unwrap());
    let only = std::env::var("STORM_ATTACKS").unwrap_or_default();
    let gateway = Gateway::start(Kind::Shipped);
    let pid = gateway.pid;
    ordinary(&gateway);
    sleep(Duration::from_secs(1));
    let (idle, descriptors) = (own_memory(pid), open_files(pid));
    println!("at rest: {idle} KiB of its own, {descriptors} descriptors");

    let over = AtomicBool::new(false);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (peak, waits, told) = thread::scope(|scope| {
        let attackers: Vec<_> = attacks::ALL
            .into_iter()
            .filter(|(name, _)| only.is_empty() || only.contains(name))
            .map(|(name, attack)| {
                let world = &gateway.world;
                let over = &over;
                scope.spawn(move || {
                    // The processors are the router's here; another machine would not take them.
                    let _ = rustix::process::nice(10);
                    (name, world.inside(Host::Alice, || attack(over)))
                })
            })
            .collect();
        let watch = scope.spawn(|| {
            let mut peak = 0;
            while !over.load(Ordering::Relaxed) {
                peak = peak.max(own_memory(pid));
                sleep(Duration::from_millis(10));
            }
            peak
        });
        let waits = gateway.world.inside(Host::Bob, || well_behaved(gateway.kind.control(), end));
        over.store(true, Ordering::Relaxed);
        let told: Vec<_> = attackers.into_iter().map(|thread| thread.join().unwrap()).collect();
        (watch.join().unwrap(), waits, told)
    });
    for (name, count) in &told {
        println!("{name}: {count}, {} a second", count / seconds.max(1));
    }
    let p99 = Duration::from_secs_f64(waits.quantile(0.99).unwrap());
    println!("{} AddPortMappings of the other host, 99 of 100 within {p99:?}", waits.len());
    println!("at most {} KiB more than at rest", peak - idle);

    sleep(REST);
    let made = flush(&gateway);
    sleep(Duration::from_secs(1));
    ordinary(&gateway);
    sleep(Duration::from_secs(1));
    // An event may be on its way to a subscriber that is not there.
    let until = Instant::now() + REST;
    while open_files(pid) != descriptors && Instant::now() < until {
        sleep(Duration::from_millis(50));
    }
    let (left, left_open) = (own_memory(pid), open_files(pid));
    println!("{made} mappings were made; after it {left} KiB, {left_open} descriptors");
    assert!(told.iter().all(|(_, count)| *count > 0), "an attack did not take place: {told:?}");
    assert!(peak - idle <= CEILING, "{} KiB more than at rest", peak - idle);
    assert!(p99 <= IN_TIME, "{p99:?}");
    assert_eq!(left_open, descriptors, "descriptors are left");
    assert!(left <= idle + LEFT_OVER, "{left} KiB after {idle}");
    assert!(!lab::launch::log(&gateway.world).contains("panicked"));
}

/// KiB that are the process's alone: heap, stack, what it has written.
fn own_memory(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// One of each thing that a well-behaved host does.
fn ordinary(gateway: &Gateway) {
    let control = gateway.kind.control();
    gateway.world.inside(Host::Bob, || {
        let add = add_arguments("TCP", 1).replace("192.168.1.10", "192.168.1.20");
        assert!(control.ask("AddPortMapping", &add).unwrap());
        assert!(control.ask("DeletePortMapping", &delete_arguments("TCP", 1)).unwrap());
        assert!(Datagrams::to(1900).search(Duration::from_secs(3)), "a search is not answered");
    });
}

/// Uses the gateway until `end`; how long each AddPortMapping took, in seconds.
fn well_behaved(control: ControlPoint, end: Instant) -> Sample {
    let mut waits = Sample::default();
    for round in 0u16.. {
        if Instant::now() >= end {
            break;
        }
        // Mostly refreshes; a new one every 8.
        let number = if round % 8 == 0 { 100 + round / 8 } else { round % 8 };
        let add = add_arguments("TCP", number).replace("192.168.1.10", "192.168.1.20");
        let asked = Instant::now();
        let done = control.ask("AddPortMapping", &add);
        waits.add(asked.elapsed().as_secs_f64());
        assert!(done.as_ref().is_ok_and(|done| *done), "the other host is refused: {done:?}");
        if number >= 100 {
            let key = delete_arguments("TCP", number);
            assert!(control.ask("DeletePortMapping", &key).unwrap());
        }
        sleep(Duration::from_millis(35));
    }
    waits
}

/// Deletes everything, as the owner; how many there were.
fn flush(gateway: &Gateway) -> usize {
    let state = gateway.world.dir.join("state").display().to_string();
    let ours = env!("CARGO_BIN_EXE_postern");
    let mut list = gateway.world.command(Host::Router, ours);
    let listed = list.args(["list", "--state", &state]).output().unwrap();
    let mut delete = gateway.world.command(Host::Router, ours);
    let out = delete.args(["delete", "--all", "--state", &state]).output().unwrap();
    world::succeed("delete --all", out);
    String::from_utf8_lossy(&listed.stdout).lines().count().saturating_sub(1)
}
