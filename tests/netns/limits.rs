//! A hostile LAN: what it can make the daemon hold, all at once, stays below the ceiling that the
//! README states, and it keeps nobody else waiting.

use crate::clients::{ask, bob_asks, msearch, GROUP, IGD2};
use crate::malformed::{control, with_length};
use crate::pinholes::{FIREWALL, UDP};
use crate::traffic::{FROM_ALICE, FROM_BOB};
use crate::world::{Host, World, ALICE, ROUTER};
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The ceiling in KiB, of a debug build.
const CEILING: u64 = 28 << 10;
/// `max_mappings`, and more than one host may have.
const FULL: u16 = 8192;
/// Connections of one host.
const CONNECTIONS: usize = 32;
/// Pinholes to one address.
const PINHOLES_PER_ADDRESS: u16 = 64;
/// Subscriptions of one host.
const SUBSCRIPTIONS_PER_HOST: usize = 16;

/// One answered request on a connection that stays open.
fn exchange(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        let read = stream.read(&mut bytes).unwrap();
        answer.extend_from_slice(&bytes[..read]);
        let text = String::from_utf8_lossy(&answer);
        if read == 0 || text.contains("</s:Envelope>") {
            return text.into_owned();
        }
    }
}

fn soap(action: &str, arguments: &str) -> String {
    with_length(control(action, arguments, ""))
}

/// Asks for mappings of ports `from..` until one is refused; how many were made, and the refusal.
fn fill(world: &World, host: Host, client: &str, from: u16) -> (u16, String) {
    world.inside(host, || {
        let mut made = 0;
        loop {
            let mut stream = TcpStream::connect((ROUTER, 5000)).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            for _ in 0..99 {
                let arguments = format!(
                    "<NewRemoteHost/><NewExternalPort>{port}</NewExternalPort>\
                     <NewProtocol>TCP</NewProtocol><NewInternalPort>{port}</NewInternalPort>\
                     <NewInternalClient>{client}</NewInternalClient><NewEnabled>1</NewEnabled>\
                     <NewPortMappingDescription>{}</NewPortMappingDescription>\
                     <NewLeaseDuration>3600</NewLeaseDuration>",
                    "d".repeat(100),
                    port = from + made
                );
                let answer = exchange(&mut stream, &soap("AddPortMapping", &arguments));
                if !answer.starts_with("HTTP/1.1 200") {
                    let code = answer.split("<errorCode>").nth(1).unwrap();
                    return (made, code.split('<').next().unwrap().to_string());
                }
                made += 1;
            }
        }
    })
}

#[test]
fn everything_filled_at_once_stays_below_the_ceiling() {
    // Conformance 127, 159, 262, 263, 265, 266.
    let world = World::new();
    world.firewall_stop();
    let daemon = world.start();
    let alice = fill(&world, Host::Alice, "192.168.1.10", 10_000);
    assert_eq!(alice, (6144, "728".to_string()));
    let bob = fill(&world, Host::Bob, "192.168.1.20", 20_000);
    assert_eq!(bob, (FULL - 6144, "728".to_string()));
    // A full table still refreshes, and still answers others in their protocol's words.
    let control = world.control_point(FROM_ALICE, IGD2);
    assert_eq!(control.add(&ask("TCP", 10_000, 10_000)), Ok(()));
    assert_eq!(world.control_point(FROM_BOB, IGD2).add(&bob_asks("UDP", 9000, 9000)), Err(728));

    let firewall = control.service(FIREWALL);
    for port in 0..PINHOLES_PER_ADDRESS {
        firewall.pinhole(("", 0), 10_000 + port, UDP, 3600).unwrap();
    }
    assert_eq!(firewall.pinhole(("", 0), 9000, UDP, 3600), Err(701));
    // Each is told at once, and never answers.
    let ear = world.inside(Host::Alice, || TcpListener::bind((ALICE, 9)).unwrap());
    let callback = "CALLBACK: <http://192.168.1.10:9/>\r\nNT: upnp:event\r\n";
    for _ in 0..SUBSCRIPTIONS_PER_HOST {
        assert_eq!(control.event_request("SUBSCRIBE", callback).status, 200);
    }
    assert_eq!(control.event_request("SUBSCRIBE", callback).status, 503);

    let list = soap(
        "GetListOfPortMappings",
        "<NewStartPort>0</NewStartPort><NewEndPort>65535</NewEndPort>\
         <NewProtocol>TCP</NewProtocol><NewManage>1</NewManage><NewNumberOfPorts>0</NewNumberOfPorts>",
    );
    let unfinished = format!("GET /x HTTP/1.1\r\nHost: {}\r\n", "h".repeat(8000));
    let busy: Vec<Vec<TcpStream>> = [Host::Alice, Host::Bob]
        .map(|host| {
            world.inside(host, || {
                let connect = |i: usize| {
                    let mut stream = TcpStream::connect((ROUTER, 5000)).unwrap();
                    let request = if i < CONNECTIONS / 2 { &list } else { &unfinished };
                    stream.write_all(request.as_bytes()).unwrap();
                    stream
                };
                (0..CONNECTIONS).map(connect).collect()
            })
        })
        .into();
    thread::sleep(Duration::from_secs(1));
    assert_eq!(control.external_address(), "11.22.33.1", "others are served meanwhile");
    let peak = daemon.peak();
    println!("at most {peak} KiB");
    assert!(peak < CEILING, "{peak} KiB");
    drop((busy, ear));
}

/// Sends a search of Alice's again and again; how often.
fn searches(
    world: &World,
    search: &str,
    to: SocketAddrV4,
    pause: Duration,
    goes_on: impl Fn() -> bool + Sync,
) -> u32 {
    world.inside(Host::Alice, || {
        let socket = UdpSocket::bind((ALICE, 0)).unwrap();
        let mut sent = 0;
        while goes_on() {
            sent += u32::from(socket.send_to(search.as_bytes(), to).is_ok());
            thread::sleep(pause);
        }
        sent
    })
}

#[test]
fn a_flood_of_searches_does_not_keep_others_waiting() {
    // Conformance 26, 261, 263.
    const FLOOD: Duration = Duration::from_secs(2);
    let world = World::new();
    let _daemon = world.start();
    let search = msearch("ssdp:all", "MX: 1\r\n");
    let (sent, worst) = thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let end = Instant::now() + FLOOD;
            searches(&world, &search, SocketAddrV4::new(ROUTER, 1900), Duration::ZERO, || {
                Instant::now() < end
            })
        });
        let mut worst = Duration::ZERO;
        while !flood.is_finished() {
            let asked = Instant::now();
            assert_eq!(world.get(FROM_BOB, "/igd1/desc.xml").status, 200);
            worst = worst.max(asked.elapsed());
            // Fewer connections than the firewall lets through.
            thread::sleep(Duration::from_millis(100));
        }
        (flood.join().unwrap(), worst)
    });
    println!("{sent} searches; the slowest answer to another host took {worst:?}");
    assert!(sent > 10_000, "only {sent} searches are no flood");
    assert!(worst < Duration::from_millis(500), "{worst:?}");
}

#[test]
fn searches_of_one_host_take_no_place_that_those_of_another_wait_in() {
    // Conformance 26, 261, 263: far more searches than answers that may wait, and than the budget.
    let world = World::new();
    let _daemon = world.start();
    let over = AtomicBool::new(false);
    let search = msearch("upnp:rootdevice", "MX: 5\r\n");
    let (sent, heard) = thread::scope(|scope| {
        let flood = scope.spawn(|| {
            // With pauses, so that none is lost on the way to the daemon.
            let pause = Duration::from_micros(500);
            searches(&world, &search, GROUP, pause, || !over.load(Ordering::Relaxed))
        });
        thread::sleep(Duration::from_millis(300));
        let heard: Vec<_> =
            (0..5).map(|_| world.search(FROM_BOB, "upnp:rootdevice").len()).collect();
        over.store(true, Ordering::Relaxed);
        (flood.join().unwrap(), heard)
    });
    assert!(sent > 1000, "only {sent} searches are no flood");
    assert_eq!(heard, [1; 5]);
}
