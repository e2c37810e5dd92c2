//! Forged sources: who is heard, and how much a victim can be sent.

use crate::clients::{msearch, GROUP, IGD1};
use crate::pcp_client::{head, map, natpmp};
use crate::traffic::FROM_BOB;
use crate::world::{Host, World, BOB, EXTERNAL, PEER, ROUTER};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// Where a forged source's answers would arrive.
const VICTIM_PORT: u16 = 4444;

/// An IPv4 datagram of UDP with any source. The kernel fills in what is left 0 of the IP header; a
/// UDP checksum of 0 is none.
fn forged(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let udp = 8 + payload.len() as u16;
    let mut out = vec![0x45, 0];
    out.extend((20 + udp).to_be_bytes());
    out.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    out.extend(from.ip().octets());
    out.extend(to.ip().octets());
    out.extend(from.port().to_be_bytes());
    out.extend(to.port().to_be_bytes());
    out.extend(udp.to_be_bytes());
    out.extend([0, 0]);
    out.extend(payload);
    out
}

/// A socket that sends [`forged`] datagrams out of a host.
struct Forger(Socket);

impl Forger {
    fn at(world: &World, host: Host) -> Forger {
        // IPPROTO_RAW.
        let raw = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).unwrap();
        let socket = world.inside(host, raw);
        socket.set_broadcast(true).unwrap();
        Forger(socket)
    }

    fn send(&self, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
        self.0.send_to(&forged(from, to, payload), &SockAddr::from(to)).unwrap();
    }
}

/// Counts what arrives at a socket until nothing has for a while: datagrams and bytes, with headers.
fn drain(socket: &UdpSocket, quiet: Duration) -> (usize, usize) {
    socket.set_read_timeout(Some(quiet)).unwrap();
    let (mut count, mut bytes, mut buffer) = (0, 0, [0; 2048]);
    while let Ok((length, _)) = socket.recv_from(&mut buffer) {
        count += 1;
        bytes += 28 + length;
    }
    (count, bytes)
}

/// Bob's socket at [`VICTIM_PORT`], which asks for nothing.
fn victim(world: &World, at: Ipv4Addr) -> UdpSocket {
    world.inside(Host::Bob, || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        // Whatever comes must be counted.
        set_socket_recv_buffer_size_force(&socket, 8 << 20).unwrap();
        socket.bind(&SockAddr::from(SocketAddrV4::new(at, VICTIM_PORT))).unwrap();
        UdpSocket::from(socket)
    })
}

/// Leaves nothing but the daemon to stop a source where it does not belong.
fn believe_all_sources(world: &World) {
    world.inside(Host::Router, || {
        for file in ["all/rp_filter", "wan/rp_filter", "br-lan/rp_filter"] {
            fs::write(format!("/proc/sys/net/ipv4/conf/{file}"), "0").unwrap();
        }
    });
}

#[test]
fn a_source_of_the_lan_that_arrives_on_the_wan_is_not_heard_255_256() {
    let world = World::new();
    let _daemon = world.start();
    world.firewall_stop();
    believe_all_sources(&world);
    let bob = SocketAddrV4::new(BOB, VICTIM_PORT);
    let victim = victim(&world, BOB);
    let search = msearch(IGD1, "MX: 1\r\n");
    let pcp = map(FROM_BOB, 7000, 17000).bytes();
    let send_all = |forger: &Forger| {
        for to in [ROUTER, EXTERNAL] {
            forger.send(bob, SocketAddrV4::new(to, 1900), search.as_bytes());
            for request in [&natpmp(1, 7001, 17001, 600)[..], &[0, 0], &pcp] {
                forger.send(bob, SocketAddrV4::new(to, 5351), request);
            }
        }
    };
    let control = world.inside(Host::Router, || UdpSocket::bind((ROUTER, 9)).unwrap());
    control.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let outside = Forger::at(&world, Host::Internet);
    outside.send(bob, SocketAddrV4::new(ROUTER, 9), b"x");
    assert_eq!(control.recv_from(&mut [0; 8]).unwrap(), (1, bob.into()), "they arrive");
    send_all(&outside);
    assert_eq!(drain(&victim, Duration::from_millis(500)), (0, 0));
    assert_eq!(world.rows(), [""; 0]);
    // The same from within is heard: the bytes are good. A LAN that lets its hosts forge each other's
    // addresses lets them ask in each other's names.
    send_all(&Forger::at(&world, Host::Alice));
    assert_eq!(drain(&victim, Duration::from_millis(500)).0, 4);
    let rows = world.rows();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows.iter().all(|row| row.contains(&format!(" -> {BOB}:"))), "{rows:?}");
}

#[test]
fn a_forged_source_is_sent_no_more_than_its_share_26_261() {
    /// Searches a second, and for how long.
    const RATE: u32 = 400;
    const TIME: Duration = Duration::from_secs(1);
    /// Bytes of one answer with its headers.
    const ANSWER_MAX: usize = 450;
    let world = World::new();
    believe_all_sources(&world);
    let _daemon = world.start();
    let search = msearch("ssdp:all", "MX: 1\r\n");
    let forger = Forger::at(&world, Host::Alice);
    let flood = |sources: &[Ipv4Addr], to: Ipv4Addr| {
        let (start, mut sent) = (Instant::now(), 0);
        while start.elapsed() < TIME {
            let from = SocketAddrV4::new(sources[sent as usize % sources.len()], VICTIM_PORT);
            forger.send(from, SocketAddrV4::new(to, 1900), search.as_bytes());
            sent += 1;
            thread::sleep((TIME * sent / (RATE * 2)).saturating_sub(start.elapsed()));
        }
        (sent as usize * (28 + search.len()), start)
    };
    // One search by itself: the worst that a byte is worth.
    let one = victim(&world, BOB);
    forger.send(
        SocketAddrV4::new(BOB, VICTIM_PORT),
        SocketAddrV4::new(ROUTER, 1900),
        search.as_bytes(),
    );
    let (count, bytes_out) = drain(&one, Duration::from_millis(400));
    println!("one search: {} bytes in, {count} answers, {bytes_out} bytes out", 28 + search.len());
    assert!(count == 10 && bytes_out < 10 * ANSWER_MAX, "{count} answers, {bytes_out} bytes");
    thread::sleep(Duration::from_millis(600));

    // One source: 160 answers at once, 16 a second after.
    let (bytes_in, start) = flood(&[BOB], ROUTER);
    let (count, bytes_out) = drain(&one, Duration::from_millis(400));
    let most = 160 + 16 * (start.elapsed().as_secs() as usize + 1);
    println!("one source: {bytes_in} bytes in, {count} answers, {bytes_out} bytes out");
    assert!((160..=most).contains(&count), "{count} answers, at most {most}");
    assert!(bytes_out < most * ANSWER_MAX, "{bytes_out} bytes out for {bytes_in} in");
    drop(one);

    // A hundred sources: 512 at once, 256 a second after.
    let hundred: Vec<Ipv4Addr> = (100..200).map(|last| Ipv4Addr::new(192, 168, 1, last)).collect();
    let addresses: Vec<String> =
        hundred.iter().map(|address| format!("addr add {address}/24 dev eth0")).collect();
    world.ip(Host::Bob, &addresses.join("\n"));
    let all = victim(&world, Ipv4Addr::UNSPECIFIED);
    thread::sleep(Duration::from_secs(1));
    let (bytes_in, start) = flood(&hundred, ROUTER);
    let (count, bytes_out) = drain(&all, Duration::from_millis(400));
    let most = 512 + 256 * (start.elapsed().as_secs() as usize + 1);
    println!("100 sources: {bytes_in} bytes in, {count} answers, {bytes_out} bytes out");
    assert!((512..=most).contains(&count), "{count} answers, at most {most}");
    assert!(bytes_out < most * ANSWER_MAX, "{bytes_out} bytes out for {bytes_in} in");

    // A source outside the LAN gets nothing at all, though what the daemon's sockets, which are bound to
    // the LAN's device, sent there would arrive.
    let source = SocketAddrV4::new(PEER, VICTIM_PORT);
    world.ip(Host::Bob, &format!("addr add {PEER}/32 dev eth0"));
    let control = world.inside(Host::Router, || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.bind_device(Some(b"br-lan")).unwrap();
        socket.bind(&SockAddr::from(SocketAddrV4::new(ROUTER, 9))).unwrap();
        UdpSocket::from(socket)
    });
    control.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    forger.send(source, SocketAddrV4::new(ROUTER, 9), b"x");
    assert_eq!(control.recv_from(&mut [0; 8]).unwrap(), (1, source.into()));
    control.send_to(b"x", source).unwrap();
    assert_eq!(drain(&all, Duration::from_millis(500)), (1, 29));
    // Nor is it the budget that is silent.
    thread::sleep(Duration::from_secs(1));
    for to in [ROUTER, *GROUP.ip()] {
        forger.send(source, SocketAddrV4::new(to, 1900), search.as_bytes());
        forger.send(source, SocketAddrV4::new(to, 5351), &[0, 0]);
    }
    assert_eq!(drain(&all, Duration::from_millis(500)), (0, 0));
}

#[test]
fn natpmp_and_pcp_answer_one_datagram_with_one_of_about_its_length_261() {
    let world = World::new();
    let _daemon = world.start();
    let forger = Forger::at(&world, Host::Alice);
    let socket = victim(&world, BOB);
    let bob = SocketAddrV4::new(BOB, VICTIM_PORT);
    let mut long = map(FROM_BOB, 7000, 17000).bytes();
    long.extend([0x80, 0, 4, 0]);
    long.resize(1100, 0);
    for (request, answers) in [
        (vec![0, 0], 20),
        (natpmp(1, 7000, 17000, 600), 20),
        (vec![0, 9], 20),
        (vec![9], 0),
        (map(FROM_BOB, 7000, 17000).bytes(), 20),
        (head(0, 0, BOB.into()), 20),
        (long, 20),
    ] {
        for _ in 0..20 {
            forger.send(bob, SocketAddrV4::new(ROUTER, 5351), &request);
        }
        let (count, bytes) = drain(&socket, Duration::from_millis(200));
        let bytes_in = 20 * (28 + request.len());
        assert_eq!(count, answers, "{request:?}");
        // The most is an address (12 bytes) for 2, and an error of version 0 (8) for 2.
        assert!(bytes * 100 <= bytes_in * 134, "{bytes} for {bytes_in}: {request:?}");
    }
}
