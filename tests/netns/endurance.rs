//! What happens to a router in a year, in a minute: crashes, redials, lost rulesets.

use crate::clients::{ask, ControlPoint, IGD1};
use crate::pcp_client::{map, Answer, Pcp};
use crate::traffic::FROM_ALICE;
use crate::world::{enter, Host, World, ALICE, EXTERNAL, PEER, ROUTER};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

const CRASHES: usize = 200;
const REDIALS: usize = 20;
const FLUSHES: usize = 5;

/// Ports that each kind of client maps, from this one on.
const UPNP_PORTS: u16 = 17_000;
const PCP_PORTS: u16 = 18_000;
const PORTS: u16 = 24;

/// What a client knows of the mapping of an internal port.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    /// It was told that the mapping is there, at this external port.
    Held(u16),
    /// It was told that there is none.
    Absent,
    /// It asked and heard nothing.
    Unheard,
}

/// By "UDP" or "TCP" and internal port.
type Ledger = BTreeMap<(&'static str, u16), Known>;

/// Adds or deletes one TCP mapping over SOAP.
fn upnp_turn(alice: &ControlPoint<'_>, ledger: &mut Ledger, port: u16) {
    let known = ledger.entry(("TCP", port)).or_insert(Known::Absent);
    let before = *known;
    *known = Known::Unheard;
    let text = port.to_string();
    if let Known::Held(_) = before {
        let args = [("NewRemoteHost", ""), ("NewExternalPort", &text[..]), ("NewProtocol", "TCP")];
        match alice.attempt("DeletePortMapping", &args) {
            Some(Ok(_)) => *known = Known::Absent,
            Some(Err(code)) => panic!("a mapping that was acknowledged: {code}"),
            None => {}
        }
    } else if let Some(outcome) = alice.try_ask("AddPortMapping", &ask("TCP", port, port)) {
        outcome.unwrap();
        *known = Known::Held(port);
    }
}

/// Adds or deletes one UDP mapping over PCP.
fn pcp_turn(socket: &UdpSocket, ledger: &mut Ledger, port: u16) {
    let known = ledger.entry(("UDP", port)).or_insert(Known::Absent);
    let before = *known;
    *known = Known::Unheard;
    let lifetime = if let Known::Held(_) = before { 0 } else { 7200 };
    let request = Pcp { lifetime, ..map(FROM_ALICE, port, port) };
    // What is left of earlier turns: answers that came late, words of the kernel.
    let mut buffer = [0; 1100];
    socket.set_nonblocking(true).unwrap();
    while socket.recv(&mut buffer).is_ok() || socket.take_error().unwrap().is_some() {}
    socket.set_nonblocking(false).unwrap();
    if socket.send(&request.bytes()).is_err() {
        return;
    }
    let Ok(length) = socket.recv(&mut buffer) else { return };
    let answer = Answer::of(&buffer[..length]);
    // Nothing is known of an answer that came late, to an earlier turn.
    if buffer[40..42] != port.to_be_bytes() || answer.lifetime != lifetime {
        return;
    }
    assert_eq!(answer.code, 0, "{request:?}");
    *known = if lifetime == 0 { Known::Absent } else { Known::Held(answer.port) };
}

/// Asserts that the daemon's list, the kernel's table and what was acknowledged are the same; how
/// many mappings there are.
fn assert_agree(world: &World, ledgers: &mut [&mut Ledger], crash: usize) -> usize {
    let list = world.list();
    let listed: Ledger = list
        .iter()
        .map(|entry| {
            let number = |key: &str| entry[key].as_u64().unwrap() as u16;
            let protocol = if entry["protocol"] == "TCP" { "TCP" } else { "UDP" };
            ((protocol, number("internal_port")), Known::Held(number("external_port")))
        })
        .collect();
    assert_eq!(listed.len(), list.len(), "crash {crash}: one twice in {list:?}");
    let table = world.table().unwrap();
    // "udp . 17000", as nft writes it.
    let elements = |name: &str| -> BTreeSet<String> {
        let part = table.split(&format!(" {name} {{")).nth(1).unwrap();
        let words: Vec<&str> = part.split("\n\t}").next().unwrap().split_whitespace().collect();
        let keys = words.windows(3).filter(|w| ["tcp", "udp"].contains(&w[0]) && w[1] == ".");
        keys.map(|key| key.join(" ").trim_matches(',').to_owned()).collect()
    };
    let expected = list.iter().map(|entry| {
        format!("{} . {}", entry["protocol"].as_str().unwrap(), entry["external_port"])
            .to_lowercase()
    });
    let expected: BTreeSet<String> = expected.collect();
    for name in ["w0_any", "w0_ext"] {
        assert_eq!(elements(name), expected, "crash {crash}: {name}");
    }
    for (key, known) in ledgers.iter_mut().flat_map(|ledger| ledger.iter_mut()) {
        let there = listed.get(key).copied().unwrap_or(Known::Absent);
        if *known == Known::Unheard {
            *known = there;
        }
        assert_eq!(there, *known, "crash {crash}: {key:?}");
    }
    list.len()
}

/// What the clients do; they stop too when the test fails, or it would wait for them.
#[derive(Default)]
struct Baton {
    stop: AtomicBool,
    pause: AtomicBool,
}

impl Baton {
    /// Takes turns, one after the other, while nobody says otherwise.
    fn run(&self, ledger: &Mutex<Ledger>, mut turn: impl FnMut(&mut Ledger)) {
        while !self.stop.load(Ordering::Relaxed) {
            if !self.pause.load(Ordering::Relaxed) {
                turn(&mut ledger.lock().unwrap());
            }
            thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Stops the clients when dropped.
struct Stop<'a>(&'a Baton);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn two_hundred_crashes_under_load_lose_and_double_no_mapping() {
    let world = World::new();
    // Its limit would make the client wait, a second at a time.
    world.nft("flush chain inet fw4 syn_flood");
    let mut daemon = world.start();
    let (upnp, pcp) = (Mutex::new(Ledger::new()), Mutex::new(Ledger::new()));
    let alice = world.control_point(FROM_ALICE, IGD1);
    // To make the choices of another run, though not its timing.
    let seed =
        env::var("ENDURANCE_SEED").map_or_else(|_| fastrand::u64(..), |s| s.parse().unwrap());
    println!("ENDURANCE_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut for_upnp, mut for_pcp) = (random.fork(), random.fork());
    let baton = Baton::default();
    let outlived = thread::scope(|scope| {
        let _stop = Stop(&baton);
        scope.spawn(|| {
            baton.run(&upnp, |ledger| {
                upnp_turn(&alice, ledger, UPNP_PORTS + for_upnp.u16(..PORTS));
            });
        });
        scope.spawn(|| {
            enter(&world.name(Host::Alice));
            let socket = UdpSocket::bind((ALICE, 0)).unwrap();
            socket.connect((ROUTER, 5351)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            baton.run(&pcp, |ledger| {
                pcp_turn(&socket, ledger, PCP_PORTS + for_pcp.u16(..PORTS));
            });
        });
        let mut outlived = 0;
        for crash in 0..CRASHES {
            thread::sleep(Duration::from_micros(random.u64(..40_000)));
            daemon.crash();
            if random.u8(..3) == 0 {
                // At some moment of a start.
                let starting = world.launch();
                thread::sleep(Duration::from_micros(random.u64(..30_000)));
                starting.crash();
            }
            baton.pause.store(true, Ordering::Relaxed);
            let (mut upnp, mut pcp) = (upnp.lock().unwrap(), pcp.lock().unwrap());
            daemon = world.start();
            outlived += assert_agree(&world, &mut [&mut upnp, &mut pcp], crash);
            baton.pause.store(false, Ordering::Relaxed);
        }
        outlived
    });
    println!("{outlived} mappings outlived {CRASHES} crashes");
    assert!(outlived > CRASHES, "only {outlived} mappings were there at a crash");
}

/// How long it takes until a new flow to `address` arrives at [`ALICE`].
fn first_flow(world: &World, server: &UdpSocket, address: Ipv4Addr) -> Duration {
    let start = Instant::now();
    let name = world.name(Host::Internet);
    let arrived = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            enter(&name);
            while !arrived.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(5) {
                let socket = UdpSocket::bind((PEER, 0)).unwrap();
                let _ = socket.send_to(address.to_string().as_bytes(), (address, 17_000));
                thread::sleep(Duration::from_millis(5));
            }
        });
        let mut buffer = [0; 64];
        let took = loop {
            match server.recv(&mut buffer) {
                // Not one that was on its way to the address before.
                Ok(length) if buffer[..length] == *address.to_string().as_bytes() => {
                    break start.elapsed()
                }
                Ok(_) => {}
                Err(_) => assert!(start.elapsed() < Duration::from_secs(5), "no flow arrives"),
            }
        };
        arrived.store(true, Ordering::Relaxed);
        sender.join().unwrap();
        took
    })
}

/// What [`ALICE`] receives on port 7000, mapped to 17000.
fn mapped_server(world: &World) -> UdpSocket {
    world.control_point(FROM_ALICE, IGD1).add(&ask("UDP", 17_000, 7000)).unwrap();
    let server = world.inside(Host::Alice, || UdpSocket::bind((ALICE, 7000)).unwrap());
    server.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    server
}

#[test]
fn twenty_redials_with_new_device_index_and_address_are_followed() {
    // Conformance 299.
    let world = World::new();
    let _daemon = world.start();
    let server = mapped_server(&world);
    let mut slowest = Duration::ZERO;
    for redial in 1..=REDIALS {
        world.unplug_wan();
        thread::sleep(Duration::from_millis(20));
        world.plug_wan();
        let address = Ipv4Addr::new(11, 22, 33, 40 + redial as u8);
        world.wan_address(address);
        slowest = slowest.max(first_flow(&world, &server, address));
        assert_eq!(world.list().len(), 1, "redial {redial}");
    }
    println!("the slowest of {REDIALS} redials took {} ms", slowest.as_millis());
    assert!(slowest <= Duration::from_secs(1), "{slowest:?}");
}

#[test]
fn a_ruleset_that_is_flushed_has_its_mappings_back_at_once() {
    // Conformance 301.
    let world = World::new();
    let _daemon = world.start();
    let server = mapped_server(&world);
    let mut took = [Duration::ZERO; FLUSHES];
    for took in &mut took {
        // Those that arrived before the flush.
        while server.recv(&mut [0; 64]).is_ok() {}
        let start = Instant::now();
        world.nft("flush ruleset");
        first_flow(&world, &server, EXTERNAL);
        *took = start.elapsed();
        world.firewall_reload();
        first_flow(&world, &server, EXTERNAL);
    }
    took.sort();
    println!("after {took:?}");
    // The start of nft included, and whatever else the machine does.
    assert!(took[FLUSHES / 2] <= Duration::from_millis(200), "{took:?}");
}
