//! What RFC 6886 and RFC 6887 demand of a server, a sentence each, over the memory backend. Names
//! begin with the section; numbers at the end are those of the conformance checklist.

mod interworking;
mod map;
mod natpmp;
mod options;
mod peer;

use super::{answer, Packet, Settings};
use crate::gateway::mapping::{External, Id, Mapping, Origin, Port, Protocol, Refusal, Request};
use crate::gateway::pinhole::Pinhole;
use crate::gateway::policy::{Limits, PermRule, Policy};
use crate::gateway::{Event, Gateway, Lan, Wan};
use crate::netfilter::memory::Memory;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ALICE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
const BOB: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const EXTERNAL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const ALICE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
const BOB6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x20);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const PEER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 7);
const NONCE: [u8; 12] = *b"abcdefghijkl";
const OTHER_NONCE: [u8; 12] = *b"ABCDEFGHIJKL";
const EPOCH: u32 = 0x0102_0304;

/// A router with a LAN, a public address, and NAT-PMP and PCP.
struct Lab {
    gateway: Gateway<Memory>,
    settings: Settings,
    now: Instant,
}

impl Lab {
    fn new() -> Lab {
        Lab::with(Policy::default())
    }

    fn with(mut policy: Policy) -> Lab {
        policy.reserved = [5350, 5351].map(|port| (Protocol::Udp, port)).to_vec();
        let now = Instant::now();
        let lan =
            |address: IpAddr, prefix_len| Lan { device: "br-lan".into(), address, prefix_len };
        let mut gateway = Gateway::new(Memory::new(), policy, 42);
        gateway.set_lans(vec![lan(ROUTER.into(), 24), lan(ROUTER6.into(), 64)], now);
        let mut lab = Lab {
            gateway,
            settings: Settings { min_lifetime: 120, max_lifetime: 86_400, third_party: vec![] },
            now,
        };
        lab.wan(&[EXTERNAL]);
        lab
    }

    fn wan(&mut self, addresses: &[Ipv4Addr]) {
        let wan = Wan { device: Some("wan0".into()), device6: None, addresses: addresses.to_vec() };
        self.gateway.set_wan(wan).unwrap();
        self.events();
    }

    /// What a host is answered, from its port 4000.
    fn ask(&mut self, host: impl Into<IpAddr>, bytes: &[u8]) -> Option<Vec<u8>> {
        let source = SocketAddr::new(host.into(), 4000);
        let packet = Packet { bytes, source, epoch: EPOCH, now: self.now };
        answer(&mut self.gateway, &self.settings, &packet)
    }

    /// A PCP request that must be answered.
    fn pcp(&mut self, request: &Pcp) -> Told {
        let bytes = request.bytes();
        let out = self.ask(request.host, &bytes).unwrap();
        assert_eq!((out[0], out[1]), (2, 0x80 | bytes[1]));
        assert_eq!(out[8..24], [&EPOCH.to_be_bytes()[..], &[0; 12]].concat());
        assert!(out.len() % 4 == 0 && out.len() <= 1100);
        let told = Told::of(&out);
        if told.code != 0 {
            assert_eq!(out[24..], bytes[24..], "an error gives back the request");
        }
        told
    }

    /// Asks a NAT-PMP opcode with three fields; the answer's code, ports and lifetime.
    fn natpmp(&mut self, host: Ipv4Addr, opcode: u8, ports: (u16, u16), lifetime: u32) -> [u32; 4] {
        let mut bytes = vec![0, opcode, 0, 0];
        bytes.extend(ports.0.to_be_bytes());
        bytes.extend(ports.1.to_be_bytes());
        bytes.extend(lifetime.to_be_bytes());
        let out = self.ask(host, &bytes).unwrap();
        assert_eq!((out.len(), out[0], out[1]), (16, 0, 0x80 | opcode));
        assert_eq!(out[4..8], EPOCH.to_be_bytes());
        let short = |at: usize| u32::from(u16::from_be_bytes([out[at], out[at + 1]]));
        [short(2), short(8), short(10), u32::from_be_bytes(out[12..].try_into().unwrap())]
    }

    /// By UPnP, from a host to itself.
    fn upnp(&mut self, host: Ipv4Addr, external: u16, internal: u16) -> Result<u16, Refusal> {
        let request = Request {
            client: host,
            origin: Origin::Upnp,
            protocol: Protocol::Udp,
            port: Port::Exactly(external),
            remote: None,
            internal: SocketAddrV4::new(host, internal),
            lease: None,
            enabled: true,
            description: "upnp",
            high_ports_only: false,
        };
        self.gateway.add(&request, self.now).map(|granted| granted.port)
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.gateway.backend().set_now(self.now);
        self.gateway.handle_timeout(self.now);
    }

    fn rows(&self) -> Vec<String> {
        let left = |m: &Mapping| m.seconds_left(self.now).map_or("ever".into(), |s| s.to_string());
        let rows = (0..self.gateway.len()).filter_map(|i| self.gateway.at(i));
        rows.map(|m| {
            let External { protocol, port, remote } = m.external;
            let from = remote.map(|r| format!(" from {r}")).unwrap_or_default();
            let origin = m.origin.name();
            format!("{protocol} {port}{from} -> {} {} {origin}", m.internal, left(m))
        })
        .collect()
    }

    /// Everything that a refusal must leave alone.
    fn state(&mut self) -> (Vec<Mapping>, Vec<Pinhole>, usize, Vec<Event>) {
        let rows = (0..self.gateway.len()).filter_map(|i| self.gateway.at(i).cloned()).collect();
        let pinholes = self.gateway.pinholes().cloned().collect();
        (rows, pinholes, self.gateway.backend().changes(), self.events())
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.gateway.next_event()).collect()
    }
}

/// A PCP request: MAP, or PEER if a peer is named.
#[derive(Clone)]
struct Pcp {
    host: IpAddr,
    lifetime: u32,
    nonce: [u8; 12],
    protocol: u8,
    internal: u16,
    external: u16,
    address: IpAddr,
    peer: Option<(IpAddr, u16)>,
    options: Vec<u8>,
}

/// MAP of UDP 7000 by Alice.
fn map() -> Pcp {
    Pcp {
        host: ALICE.into(),
        lifetime: 7200,
        nonce: NONCE,
        protocol: UDP,
        internal: 7000,
        external: 0,
        address: Ipv4Addr::UNSPECIFIED.into(),
        peer: None,
        options: vec![],
    }
}

/// PEER of UDP 7000 by Alice to port 9000 of the peer.
fn peer() -> Pcp {
    Pcp { peer: Some((PEER.into(), 9000)), ..map() }
}

/// MAP of UDP 7000 by Alice over IPv6.
fn map6() -> Pcp {
    Pcp { host: ALICE6.into(), address: Ipv6Addr::UNSPECIFIED.into(), ..map() }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

const PREFER_FAILURE: [u8; 4] = [2, 0, 0, 0];

fn filter(host: impl Into<IpAddr>, prefix_len: u8, port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    [&[3, 0, 0, 20, 0, prefix_len, high, low][..], &octets(host.into())].concat()
}

fn third_party(host: impl Into<IpAddr>) -> Vec<u8> {
    [&[1, 0, 0, 16][..], &octets(host.into())].concat()
}

impl Pcp {
    fn bytes(&self) -> Vec<u8> {
        let mut out = vec![2, if self.peer.is_some() { 2 } else { 1 }, 0, 0];
        out.extend(self.lifetime.to_be_bytes());
        out.extend(octets(self.host));
        out.extend(self.nonce);
        out.extend([self.protocol, 0, 0, 0]);
        out.extend(self.internal.to_be_bytes());
        out.extend(self.external.to_be_bytes());
        out.extend(octets(self.address));
        if let Some((host, port)) = self.peer {
            out.extend(port.to_be_bytes());
            out.extend([0, 0]);
            out.extend(octets(host));
        }
        out.extend(&self.options);
        out
    }
}

/// What an answer to MAP or PEER tells.
#[derive(Debug, PartialEq)]
struct Told {
    code: u8,
    lifetime: u32,
    port: u16,
    address: IpAddr,
    options: Vec<u8>,
}

impl Told {
    fn of(out: &[u8]) -> Told {
        let address: [u8; 16] = out[44..60].try_into().unwrap();
        Told {
            code: out[3],
            lifetime: u32::from_be_bytes(out[4..8].try_into().unwrap()),
            port: u16::from_be_bytes([out[42], out[43]]),
            address: Ipv6Addr::from(address).to_canonical(),
            options: out[if out[1] == 0x82 { 80 } else { 60 }..].to_vec(),
        }
    }

    /// That a mapping is granted.
    fn granted(&self) -> (u16, u32) {
        assert_eq!(self.code, 0);
        (self.port, self.lifetime)
    }

    /// That nothing is, and for how long.
    fn refused(&self) -> (u8, u32) {
        assert_ne!(self.code, 0);
        (self.code, self.lifetime)
    }
}
