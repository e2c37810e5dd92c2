//! PCP messages (RFC 6887 §7, §11.1, §12.1, §13): requests read, answers and announcements
//! written.
//!
//! Pure. Reading never panics on any bytes. What is wrong with a request is found in the order of
//! §8.2.

use crate::gateway::guard::Filter;
use std::net::{IpAddr, Ipv6Addr};

/// The version that is spoken (§9).
pub const VERSION: u8 = 2;
/// Longest message, in bytes (§7).
pub const MESSAGE_MAX: usize = 1100;
/// Where announcements go to by IPv6 (§14.1.3).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const HEADER_LEN: usize = 24;
const MAP_LEN: usize = 36;
const PEER_LEN: usize = 56;
const ANSWER: u8 = 0x80;
/// Options with this bit need not be understood (§7.3).
const OPTIONAL: u8 = 0x80;

const ANNOUNCE: u8 = 0;
const MAP: u8 = 1;
const PEER: u8 = 2;

const THIRD_PARTY: u8 = 1;
const PREFER_FAILURE: u8 = 2;
const FILTER: u8 = 3;

/// Result codes (§7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Done.
    Success = 0,
    /// Another version is spoken here.
    UnsuppVersion = 1,
    /// Not for this client.
    NotAuthorized = 2,
    /// Not to be understood.
    MalformedRequest = 3,
    /// No such opcode.
    UnsuppOpcode = 4,
    /// No such option here, though it must be understood.
    UnsuppOption = 5,
    /// An option that is not to be understood or makes no sense.
    MalformedOption = 6,
    /// There is no external address.
    NetworkFailure = 7,
    /// No room or no port.
    NoResources = 8,
    /// Neither TCP nor UDP, or all ports of them.
    UnsuppProtocol = 9,
    /// This host has as many as it may have.
    UserExQuota = 10,
    /// The suggested external port or address cannot be had.
    CannotProvideExternal = 11,
    /// The request has passed a NAT on its way here.
    AddressMismatch = 12,
    /// So many filters cannot be made.
    ExcessiveRemotePeers = 13,
}

impl Code {
    /// How long the same request will be answered the same, in seconds (§7.4).
    pub const fn lifetime(self) -> u32 {
        const SHORT: u32 = 30;
        const LONG: u32 = 30 * 60;
        match self {
            Code::Success => 0,
            Code::NetworkFailure
            | Code::NoResources
            | Code::UserExQuota
            | Code::CannotProvideExternal => SHORT,
            Code::UnsuppVersion
            | Code::NotAuthorized
            | Code::MalformedRequest
            | Code::UnsuppOpcode
            | Code::UnsuppOption
            | Code::MalformedOption
            | Code::UnsuppProtocol
            | Code::AddressMismatch
            | Code::ExcessiveRemotePeers => LONG,
        }
    }
}

/// Why a message is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is answered.
    Silent,
    /// This is answered.
    Answer(Code),
}

impl From<Code> for Fault {
    fn from(code: Code) -> Fault {
        Fault::Answer(code)
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What is asked.
    pub body: Body<'a>,
    /// Seconds.
    pub lifetime: u32,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// Whether the server is there.
    Announce,
    /// A mapping for any remote peer.
    Map(Mapping, Options<'a>),
    /// A mapping for one remote peer.
    Peer(Mapping, Peer, Options<'a>),
}

/// What MAP and PEER tell, and what their answers tell, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Mapping Nonce.
    pub nonce: [u8; 12],
    /// IP protocol number; 0 for all.
    pub protocol: u8,
    /// Internal port; 0 for all.
    pub internal_port: u16,
    /// Suggested or assigned external port.
    pub external_port: u16,
    /// Suggested or assigned external address; 0.0.0.0 and :: for none.
    pub external: IpAddr,
}

/// The remote peer of PEER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its port.
    pub port: u16,
    /// Its address.
    pub address: IpAddr,
}

/// The options of a request that are understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    /// THIRD_PARTY: another host than the one that asks.
    pub third_party: Option<IpAddr>,
    /// PREFER_FAILURE: the suggested external port and address, or none.
    pub prefer_failure: bool,
    /// FILTER: who is let in, beside those before.
    pub filters: Vec<Filter>,
    /// FILTER with a prefix of 0: those before go.
    pub clears_filters: bool,
    /// Their bytes, in the order of the request.
    bytes: Vec<&'a [u8]>,
}

/// Reads a message that came from `source`. `third_party`: this host may ask for others.
///
/// # Errors
/// What is to be answered instead, if anything.
pub fn read(bytes: &[u8], source: IpAddr, third_party: bool) -> Result<Request<'_>, Fault> {
    let [version, opcode, ..] = *bytes else { return Err(Fault::Silent) };
    if opcode & ANSWER != 0 {
        return Err(Fault::Silent);
    }
    if version != VERSION {
        return Err(Code::UnsuppVersion.into());
    }
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Err(Fault::Silent);
    };
    let length = match opcode {
        MAP => MAP_LEN,
        PEER => PEER_LEN,
        _ => 0,
    };
    if bytes.len() > MESSAGE_MAX || bytes.len() % 4 != 0 || rest.len() < length {
        return Err(Code::MalformedRequest.into());
    }
    let (body, rest) = rest.split_at(length);
    if address(&header[8..]) != Some(source) {
        return Err(Code::AddressMismatch.into());
    }
    let [_, _, _, _, a, b, c, d, ..] = *header;
    let lifetime = u32::from_be_bytes([a, b, c, d]);
    let options = || Options::read(rest, opcode, source, third_party);
    let body = match opcode {
        ANNOUNCE => options().map(|_| Body::Announce)?,
        MAP => {
            let (mapping, options) = (read_mapping(body)?, options()?);
            let makes_no_sense = options.prefer_failure
                && (lifetime == 0 || mapping.external_port == 0)
                || lifetime == 0 && (options.clears_filters || !options.filters.is_empty());
            if makes_no_sense {
                return Err(Code::MalformedOption.into());
            }
            Body::Map(mapping, options)
        }
        PEER => {
            let (map, peer) = body.split_at(MAP_LEN);
            let [high, low, _, _, host @ ..] = peer else { return Err(Fault::Silent) };
            let peer = Peer {
                port: u16::from_be_bytes([*high, *low]),
                address: address(host).ok_or(Code::MalformedRequest)?,
            };
            Body::Peer(read_mapping(map)?, peer, options()?)
        }
        _ => return Err(Code::UnsuppOpcode.into()),
    };
    Ok(Request { body, lifetime })
}

fn read_mapping(body: &[u8]) -> Result<Mapping, Fault> {
    let fields = || {
        let (nonce, rest) = body.split_first_chunk::<12>()?;
        let [protocol, _, _, _, a, b, c, d, external @ ..] = rest else { return None };
        Some(Mapping {
            nonce: *nonce,
            protocol: *protocol,
            internal_port: u16::from_be_bytes([*a, *b]),
            external_port: u16::from_be_bytes([*c, *d]),
            external: address(external)?,
        })
    };
    fields().ok_or(Code::MalformedRequest.into())
}

impl<'a> Options<'a> {
    fn read(
        mut bytes: &'a [u8],
        opcode: u8,
        source: IpAddr,
        third_party: bool,
    ) -> Result<Options<'a>, Fault> {
        if !is_list(bytes) {
            return Err(Code::MalformedOption.into());
        }
        let mut options = Options::default();
        while let [code, _, high, low, rest @ ..] = bytes {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let padded = length.next_multiple_of(4);
            let (Some(value), Some(after)) = (rest.get(..length), rest.get(padded..)) else {
                return Err(Code::MalformedOption.into());
            };
            match (*code, opcode) {
                (THIRD_PARTY, MAP | PEER) if third_party => {
                    let host = address(value).filter(|_| length == 16);
                    let host = host.ok_or(Code::MalformedOption)?;
                    if host == source {
                        return Err(Code::MalformedRequest.into());
                    }
                    if options.third_party.replace(host).is_some() {
                        return Err(Code::MalformedOption.into());
                    }
                }
                (PREFER_FAILURE, MAP) => {
                    let again = std::mem::replace(&mut options.prefer_failure, true);
                    if again || length != 0 {
                        return Err(Code::MalformedOption.into());
                    }
                }
                // Its meaning is PEER's own (§12.1).
                (PREFER_FAILURE, PEER) => return Err(Code::MalformedRequest.into()),
                (FILTER, MAP) => options.filter(value, source)?,
                (FILTER, PEER) => return Err(Code::MalformedOption.into()),
                (OPTIONAL.., _) => {
                    bytes = after;
                    continue;
                }
                _ => return Err(Code::UnsuppOption.into()),
            }
            options.bytes.push(&bytes[..4 + padded]);
            bytes = after;
        }
        Ok(options)
    }

    /// §13.3.
    fn filter(&mut self, value: &[u8], source: IpAddr) -> Result<(), Fault> {
        let wrong = Fault::Answer(Code::MalformedOption);
        let [_, prefix_len, high, low, host @ ..] = value else { return Err(wrong) };
        let host = address(host).ok_or(wrong)?;
        if *prefix_len == 0 {
            self.filters.clear();
            self.clears_filters = true;
            return Ok(());
        }
        if host.is_ipv4() != source.is_ipv4() {
            return Err(wrong);
        }
        let len = match host {
            IpAddr::V4(_) => prefix_len.checked_sub(96).ok_or(wrong)?,
            IpAddr::V6(_) => *prefix_len,
        };
        let port = u16::from_be_bytes([*high, *low]);
        self.filters.push(Filter::new(host, len, port).ok_or(wrong)?);
        Ok(())
    }
}

/// Whether these bytes are options, whatever is in them.
fn is_list(mut bytes: &[u8]) -> bool {
    while let [_, _, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low])).next_multiple_of(4);
        let Some(after) = rest.get(length..) else { return false };
        bytes = after;
    }
    true
}

/// An address of 16 bytes; those of IPv4 are mapped (§5).
fn address(bytes: &[u8]) -> Option<IpAddr> {
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical())
}

/// The inverse of [`address`].
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Writes an error: the whole request, as far as there is room, with code and lifetime (§8.2).
pub fn write_error(request: &[u8], code: Code, lifetime: u32, epoch: u32) -> Vec<u8> {
    let mut out = request.get(..MESSAGE_MAX).unwrap_or(request).to_vec();
    out.resize(out.len().max(HEADER_LEN).next_multiple_of(4), 0);
    let opcode = out[1];
    out[..HEADER_LEN].copy_from_slice(&header(opcode, code, lifetime, epoch));
    out
}

/// Writes an announcement, or the answer to [`Body::Announce`] (§14.1).
pub fn write_announce(epoch: u32) -> Vec<u8> {
    header(ANNOUNCE, Code::Success, 0, epoch).to_vec()
}

/// Writes the answer to MAP, or with a peer that to PEER.
pub fn write_mapping(
    mapping: &Mapping,
    peer: Option<&Peer>,
    options: &Options<'_>,
    lifetime: u32,
    epoch: u32,
) -> Vec<u8> {
    let opcode = if peer.is_some() { PEER } else { MAP };
    let mut out = header(opcode, Code::Success, lifetime, epoch).to_vec();
    out.extend_from_slice(&mapping.nonce);
    out.extend_from_slice(&[mapping.protocol, 0, 0, 0]);
    out.extend_from_slice(&mapping.internal_port.to_be_bytes());
    out.extend_from_slice(&mapping.external_port.to_be_bytes());
    out.extend_from_slice(&octets(mapping.external));
    if let Some(peer) = peer {
        out.extend_from_slice(&peer.port.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&octets(peer.address));
    }
    options.bytes.iter().for_each(|option| out.extend_from_slice(option));
    out
}

/// Appends what a Mapping Update tells of a mapping's filters (§14.2).
pub fn write_filters(out: &mut Vec<u8>, filters: &[Filter]) {
    for filter in filters {
        let of_family = if filter.address().is_ipv4() { 96 } else { 0 };
        out.extend_from_slice(&[FILTER, 0, 0, 20, 0, of_family + filter.prefix_len()]);
        out.extend_from_slice(&filter.port().unwrap_or(0).to_be_bytes());
        out.extend_from_slice(&octets(filter.address()));
    }
}

fn header(opcode: u8, code: Code, lifetime: u32, epoch: u32) -> [u8; HEADER_LEN] {
    let mut out = [0; HEADER_LEN];
    out[0] = VERSION;
    out[1] = ANSWER | opcode;
    out[3] = code as u8;
    out[4..8].copy_from_slice(&lifetime.to_be_bytes());
    out[8..12].copy_from_slice(&epoch.to_be_bytes());
    out
}

#[cfg(test)]
mod tests;
