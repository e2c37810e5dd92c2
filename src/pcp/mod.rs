//! NAT-PMP (RFC 6886) and PCP (RFC 6887): one datagram in, at most one out, over the gateway.
//!
//! No I/O and no clock: the daemon says what came from where, and when. A host asks for itself;
//! the owner may let some ask for others by PCP.

mod codes;
mod map;
mod natpmp;
mod peer;

pub use map::update;

use crate::gateway::guard::{Client, Guard};
use crate::gateway::{ExternalState, Gateway};
use crate::netfilter::Backend;
use crate::proto;
use crate::proto::pcp::{Body, Code, Fault, Mapping, Options};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// The owner's will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Shortest lifetime that PCP grants, in seconds (§15).
    pub min_lifetime: u32,
    /// Longest lifetime granted, in seconds.
    pub max_lifetime: u32,
    /// Who may ask for other hosts by THIRD_PARTY (§13.1).
    pub third_party: Vec<IpAddr>,
}

/// Shortest lifetime unless configured (RFC 6887 §15).
pub const MIN_LIFETIME_DEFAULT: u32 = 120;
/// Longest lifetime unless configured (RFC 6887 §15).
pub const MAX_LIFETIME_DEFAULT: u32 = 86_400;

/// One datagram and its moment.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// What came.
    pub bytes: &'a [u8],
    /// From a host of the LAN.
    pub source: SocketAddr,
    /// Seconds since the mappings were lost last, or since ever (RFC 6886 §3.6, RFC 6887 §8.5).
    pub epoch: u32,
    /// When.
    pub now: Instant,
}

/// What is answered, if anything.
pub fn answer<B: Backend>(
    gateway: &mut Gateway<B>,
    settings: &Settings,
    packet: &Packet<'_>,
) -> Option<Vec<u8>> {
    gateway.handle_timeout(packet.now);
    let source = packet.source.ip();
    if let (IpAddr::V4(host), Some(0)) = (source, packet.bytes.first()) {
        return natpmp::answer(gateway, settings, packet, host);
    }
    let third_party = settings.third_party.contains(&source);
    let request = match proto::pcp::read(packet.bytes, source, third_party) {
        Ok(request) => request,
        Err(Fault::Silent) => return None,
        Err(Fault::Answer(code)) => return Some(error(packet, code.into())),
    };
    let answered = match &request.body {
        Body::Announce => Ok(proto::pcp::write_announce(packet.epoch)),
        Body::Map(mapping, options) => {
            map::answer(gateway, settings, packet, request.lifetime, mapping, options)
        }
        Body::Peer(mapping, peer, options) => {
            peer::answer(gateway, settings, packet, request.lifetime, (mapping, peer), options)
        }
    };
    Some(answered.unwrap_or_else(|refused| error(packet, refused)))
}

/// An error, and for how long it will be the same, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused {
    code: Code,
    lifetime: u32,
}

impl From<Code> for Refused {
    fn from(code: Code) -> Refused {
        Refused { code, lifetime: code.lifetime() }
    }
}

fn error(packet: &Packet<'_>, refused: Refused) -> Vec<u8> {
    proto::pcp::write_error(packet.bytes, refused.code, refused.lifetime, packet.epoch)
}

/// The external address, if there is one that mappings are worth something at.
pub fn external<B: Backend>(gateway: &Gateway<B>) -> Option<Ipv4Addr> {
    match gateway.external() {
        ExternalState::Active(address) => Some(address),
        ExternalState::Private(_) | ExternalState::None => None,
    }
}

impl Settings {
    /// What PCP grants of a lifetime.
    fn lease(&self, lifetime: u32) -> Duration {
        let most = self.max_lifetime.max(self.min_lifetime);
        Duration::from_secs(lifetime.clamp(self.min_lifetime, most).into())
    }
}

/// Who asks, as it is kept with the mapping.
fn client(packet: &Packet<'_>, asked: &Mapping, options: &Options<'_>, peer_port: u16) -> Client {
    // What a host is told that asked for another would be lost on the other.
    let port = if options.third_party.is_some() { 0 } else { packet.source.port() };
    Client { nonce: asked.nonce, port, peer_port }
}

/// Whether another nonce than the asker's guards what is there.
fn is_others(guard: &Option<Box<Guard>>, asked: &Mapping) -> bool {
    guard.as_ref().is_some_and(|guard| guard.client.nonce != asked.nonce)
}

/// Whole seconds until `end`, rounded up.
fn seconds_until(end: Instant, now: Instant) -> u32 {
    let left = end.saturating_duration_since(now);
    let seconds = left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0));
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
