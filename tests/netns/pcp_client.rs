//! NAT-PMP and PCP by hand: each byte of a request as the test wants it.

use crate::traffic::End;
use crate::world::{Host, World, ROUTER, ROUTER6};
use socket2::{Domain, Socket, Type};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How long an answer may take; silence costs this.
const PATIENCE: Duration = Duration::from_millis(600);

/// The Mapping Nonce of most requests.
pub const NONCE: [u8; 12] = *b"abcdefghijkl";
/// Another one.
pub const OTHER_NONCE: [u8; 12] = *b"ABCDEFGHIJKL";
/// The option PREFER_FAILURE.
pub const PREFER_FAILURE: [u8; 4] = [2, 0, 0, 0];

/// An answer to MAP or PEER.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Result code.
    pub code: u8,
    /// Seconds.
    pub lifetime: u32,
    /// Seconds.
    pub epoch: u32,
    /// Assigned external port.
    pub port: u16,
    /// Assigned external address.
    pub address: IpAddr,
    /// All of it.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// Reads one; it must be a whole answer of version 2.
    pub fn of(bytes: &[u8]) -> Answer {
        assert!(bytes.len() >= 60 && bytes[0] == 2 && bytes[1] >= 0x80, "{bytes:?}");
        let long = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let address: [u8; 16] = bytes[44..60].try_into().unwrap();
        Answer {
            code: bytes[3],
            lifetime: long(4),
            epoch: long(8),
            port: u16::from_be_bytes([bytes[42], bytes[43]]),
            address: Ipv6Addr::from(address).to_canonical(),
            bytes: bytes.to_vec(),
        }
    }
}

/// A request: MAP, or PEER if a peer is named.
#[derive(Clone, Debug)]
pub struct Pcp {
    /// Who asks.
    pub from: End,
    /// Seconds.
    pub lifetime: u32,
    /// Mapping Nonce.
    pub nonce: [u8; 12],
    /// IP protocol number.
    pub protocol: u8,
    /// Internal port.
    pub internal: u16,
    /// Suggested external port.
    pub external: u16,
    /// The remote peer of PEER.
    pub peer: Option<SocketAddr>,
    /// Options as they are.
    pub options: Vec<u8>,
}

/// MAP of UDP `internal` for 7200 s, without options.
pub fn map(from: End, internal: u16, external: u16) -> Pcp {
    Pcp {
        from,
        lifetime: 7200,
        nonce: NONCE,
        protocol: 17,
        internal,
        external,
        peer: None,
        options: vec![],
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The option FILTER.
pub fn filter(host: impl Into<IpAddr>, prefix_len: u8, port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    [&[3, 0, 0, 20, 0, prefix_len, high, low][..], &octets(host.into())].concat()
}

/// The option THIRD_PARTY.
pub fn third_party(host: impl Into<IpAddr>) -> Vec<u8> {
    [&[1, 0, 0, 16][..], &octets(host.into())].concat()
}

/// A header of version 2.
pub fn head(opcode: u8, lifetime: u32, client: IpAddr) -> Vec<u8> {
    let mut out = vec![2, opcode, 0, 0];
    out.extend(lifetime.to_be_bytes());
    out.extend(octets(client));
    out
}

impl Pcp {
    /// The datagram.
    pub fn bytes(&self) -> Vec<u8> {
        let client = self.from.source.ip();
        let mut out = head(if self.peer.is_some() { 2 } else { 1 }, self.lifetime, client);
        out.extend(self.nonce);
        out.extend([self.protocol, 0, 0, 0]);
        out.extend(self.internal.to_be_bytes());
        out.extend(self.external.to_be_bytes());
        let none = match client {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        out.extend(octets(none));
        if let Some(peer) = self.peer {
            out.extend(peer.port().to_be_bytes());
            out.extend([0, 0]);
            out.extend(octets(peer.ip()));
        }
        out.extend(&self.options);
        out
    }

    /// Asks the router; it must answer.
    #[track_caller]
    pub fn ask(&self, world: &World) -> Answer {
        let answer = world.ask_pmp(self.from, &self.bytes());
        Answer::of(&answer.unwrap_or_else(|| panic!("no answer to {self:?}")))
    }

    /// Asks for what must be granted; the external port.
    #[track_caller]
    pub fn open(&self, world: &World) -> u16 {
        let answer = self.ask(world);
        assert_eq!(answer.code, 0, "{self:?}");
        answer.port
    }
}

/// NAT-PMP's request for a mapping: opcode, ports, lifetime.
pub fn natpmp(opcode: u8, internal: u16, external: u16, lifetime: u32) -> Vec<u8> {
    let mut out = vec![0, opcode, 0, 0];
    out.extend(internal.to_be_bytes());
    out.extend(external.to_be_bytes());
    out.extend(lifetime.to_be_bytes());
    out
}

impl World {
    /// Sends one datagram to port 5351 of the router's LAN address; the answer, which must come from
    /// there.
    pub fn ask_pmp(&self, from: End, bytes: &[u8]) -> Option<Vec<u8>> {
        let router = match from.source {
            SocketAddr::V4(_) => IpAddr::V4(ROUTER),
            SocketAddr::V6(_) => IpAddr::V6(ROUTER6),
        };
        self.ask_pmp_at(from, (router, 5351).into(), bytes)
    }

    /// The same to any address.
    pub fn ask_pmp_at(&self, from: End, to: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
        self.inside(from.host, || {
            let socket = UdpSocket::bind(from.source).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.send_to(bytes, to).ok()?;
            let mut buffer = [0; 2048];
            let (length, sender) = socket.recv_from(&mut buffer).ok()?;
            assert_eq!(sender, to, "the answer comes from the address asked");
            Some(buffer[..length].to_vec())
        })
    }

    /// Hears announcements as a host does, on port 5350 of the groups.
    pub fn announcements(&self, host: Host) -> Announcements {
        let v4 = self.inside(host, || {
            let socket = UdpSocket::bind((Ipv4Addr::new(224, 0, 0, 1), 5350)).unwrap();
            socket.join_multicast_v4(&Ipv4Addr::new(224, 0, 0, 1), &Ipv4Addr::UNSPECIFIED).unwrap();
            socket
        });
        // Every host is in the group of all nodes.
        let v6 = self.inside(host, || {
            let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
            socket.set_only_v6(true).unwrap();
            socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 5350)).into()).unwrap();
            UdpSocket::from(socket)
        });
        Announcements { v4, v6, since: Instant::now() }
    }
}

/// What a host hears that was not asked for.
pub struct Announcements {
    v4: UdpSocket,
    v6: UdpSocket,
    since: Instant,
}

impl Announcements {
    /// Everything until `for_ms` after the start: when (ms), from where, what.
    pub fn until(&self, for_ms: u64) -> Vec<(u64, SocketAddr, Vec<u8>)> {
        let mut heard = Vec::new();
        let end = self.since + Duration::from_millis(for_ms);
        while Instant::now() < end {
            for socket in [&self.v4, &self.v6] {
                socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
                let mut buffer = [0; 2048];
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let when = self.since.elapsed().as_millis() as u64;
                    heard.push((when, from, buffer[..length].to_vec()));
                }
            }
        }
        heard
    }
}
