//! Packets from the Internet through the router, one after the other.
//!
//! A packet sent over veth devices is taken through the router and to the host behind it before
//! `send` returns, on the same processor and in the sender's time: how long the sending takes is
//! what the whole way costs. A rule at the host's door drops and counts what arrives.

use super::flows::Flows;
use crate::world::{Host, World, ALICE, EXTERNAL, PEER};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::net::{SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Bytes behind the UDP header of what is measured, the most that the shortest frame holds. The
/// greeting is shorter, and is let in.
const PAYLOAD_LEN: usize = 18;
const IP_LEN: usize = 20;
const UDP_LEN: usize = 8 + PAYLOAD_LEN;
/// Source port of the flow that is there already.
const KNOWN: u16 = 1000;
/// First source port of new flows.
const NEW: u16 = 1024;
/// `IPPROTO_RAW`: the IP header is written here.
const RAW: i32 = 255;

/// A sender on the Internet, and the connection table of the router before it.
pub struct Flood {
    raw: Socket,
    flows: Flows,
    known: UdpSocket,
    server: Option<UdpSocket>,
    packet: [u8; IP_LEN + UDP_LEN],
}

impl Flood {
    /// One for this world; mapped packets will come to this port of the LAN host.
    pub fn in_world(world: &World, internal: Option<u16>) -> Flood {
        let door = format!(
            "table netdev bench {{ chain door {{ type filter hook ingress device eth0 priority 0; \
             udp length {UDP_LEN} counter drop; }}; }}"
        );
        let mut nft = world.command(Host::Alice, "nft");
        crate::world::succeed("nft", nft.arg(door).output().unwrap());
        let (raw, known) = world.inside(Host::Internet, || {
            let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW))).unwrap();
            raw.connect(&SockAddr::from(SocketAddr::from((EXTERNAL, 0)))).unwrap();
            (raw, UdpSocket::bind((PEER, KNOWN)).unwrap())
        });
        let server = |port| world.inside(Host::Alice, || UdpSocket::bind((ALICE, port)).unwrap());
        Flood {
            raw,
            flows: Flows::of(world),
            known,
            server: internal.map(server),
            packet: packet(),
        }
    }

    /// Nanoseconds for each of so many packets to a port, every one of a new flow.
    pub fn new_flows(&mut self, external: u16, count: u16) -> f64 {
        self.empty_table();
        self.aim(external);
        let begin = Instant::now();
        for port in NEW..NEW + count {
            self.send_from(port);
        }
        begin.elapsed().as_nanos() as f64 / f64::from(count)
    }

    /// Nanoseconds for each of so many packets of a flow that has been answered.
    pub fn established(&mut self, external: u16, count: u16) -> f64 {
        self.empty_table();
        self.greet(external);
        self.aim(external);
        let begin = Instant::now();
        for _ in 0..count {
            self.send_from(KNOWN);
        }
        begin.elapsed().as_nanos() as f64 / f64::from(count)
    }

    /// Leaves so many flows to a port in the router's table.
    pub fn fill_table(&mut self, external: u16, count: u16) {
        self.aim(external);
        (NEW..NEW + count).for_each(|port| self.send_from(port));
    }

    /// One packet there and one back.
    fn greet(&mut self, external: u16) {
        let server = self.server.as_ref().expect("nobody to greet");
        self.known.send_to(b"hello", (EXTERNAL, external)).unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut room = [0; 64];
        let (_, from) = server.recv_from(&mut room).expect("the mapping lets nothing in");
        server.send_to(b"hello", from).unwrap();
        self.known.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        self.known.recv_from(&mut room).expect("the answer does not come back");
    }

    fn empty_table(&mut self) {
        self.flows.flush();
        // The kernel frees them a little later.
        sleep(Duration::from_micros(500));
    }

    fn aim(&mut self, external: u16) {
        self.packet[IP_LEN + 2..IP_LEN + 4].copy_from_slice(&external.to_be_bytes());
    }

    fn send_from(&mut self, port: u16) {
        self.packet[IP_LEN..IP_LEN + 2].copy_from_slice(&port.to_be_bytes());
        self.raw.send(&self.packet).unwrap();
    }
}

/// A datagram to the router, without ports. The kernel adds the IP checksum; one of
/// UDP is not needed.
fn packet() -> [u8; IP_LEN + UDP_LEN] {
    let mut bytes = [0; IP_LEN + UDP_LEN];
    let total = u16::try_from(bytes.len()).unwrap();
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&total.to_be_bytes());
    bytes[8..10].copy_from_slice(&[64, 17]);
    bytes[12..16].copy_from_slice(&PEER.octets());
    bytes[16..20].copy_from_slice(&EXTERNAL.octets());
    bytes[24..26].copy_from_slice(&u16::try_from(UDP_LEN).unwrap().to_be_bytes());
    bytes
}

/// How many packets the LAN host's door has counted.
pub fn arrived(world: &World) -> u64 {
    let mut nft = world.command(Host::Alice, "nft");
    let out = nft.args(["list", "table", "netdev", "bench"]).output().unwrap();
    let text = crate::world::succeed("nft", out);
    text.split("packets ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap()
}
