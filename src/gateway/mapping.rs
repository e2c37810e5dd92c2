//! The words of the core: what a mapping is, what is asked, what is refused.
//!
//! No protocol's codes appear here; each protocol owns one table from [`Refusal`] to its own.

use crate::gateway::guard::Guard;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

/// Longest description kept, in bytes of UTF-8. Longer ones are cut at a character boundary.
///
/// The description rides in the kernel element's userdata, which holds 254 bytes in all.
pub const DESCRIPTION_MAX: usize = 100;

/// A transport protocol that has ports. Other IP protocols are never mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Transmission Control Protocol, IP protocol 6.
    Tcp,
    /// User Datagram Protocol, IP protocol 17.
    Udp,
}

impl Protocol {
    /// Both, in the order they are listed.
    pub const ALL: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

    /// The IP protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }

    /// The protocol with this IP protocol number, if it is one that can be mapped.
    pub const fn from_number(number: u8) -> Option<Protocol> {
        match number {
            6 => Some(Protocol::Tcp),
            17 => Some(Protocol::Udp),
            _ => None,
        }
    }

    /// `TCP` or `UDP`, as UPnP writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        }
    }

    /// The protocol of this name, in any case.
    pub fn from_name(name: &str) -> Option<Protocol> {
        Protocol::ALL.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which protocol a mapping was asked by, or that its owner is the router's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// UPnP IGD.
    Upnp,
    /// NAT-PMP, RFC 6886.
    NatPmp,
    /// PCP, RFC 6887.
    Pcp,
    /// The router's owner. The permission rules, which are for hosts, do not bind it, and no host
    /// can change or delete it.
    Manual,
}

impl Origin {
    /// Every origin.
    pub const ALL: [Origin; 4] = [Origin::Upnp, Origin::NatPmp, Origin::Pcp, Origin::Manual];

    /// `upnp`, `natpmp`, `pcp` or `manual`, as `postern list --json` writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Origin::Upnp => "upnp",
            Origin::NatPmp => "natpmp",
            Origin::Pcp => "pcp",
            Origin::Manual => "manual",
        }
    }

    /// The origin with this [`name`](Origin::name).
    pub fn from_name(name: &str) -> Option<Origin> {
        Origin::ALL.into_iter().find(|o| o.name() == name)
    }

    /// What is wrong with a client outside of every LAN: for the owner, who asks in the name of a
    /// host, that there is no such host.
    pub(crate) const fn stranger(self) -> Refusal {
        match self {
            Origin::Manual => Refusal::InvalidTarget,
            _ => Refusal::Denied,
        }
    }

    /// Whether who asks by this may change what came by `other`: the owner what is the owner's, a
    /// host what is a host's.
    pub const fn is_of(self, other: Origin) -> bool {
        matches!(self, Origin::Manual) == matches!(other, Origin::Manual)
    }
}

/// A mapping's name for its whole life, over restarts too. Never reused while it could be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(pub u64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The outside of a mapping: what makes it distinct from every other.
///
/// Two mappings may differ in `remote` alone (WANIPConnection:2 §2.5.16), but then both belong to
/// the same host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct External {
    /// Transport protocol.
    pub protocol: Protocol,
    /// External port, never 0.
    pub port: u16,
    /// The only remote host let through, or `None` for any.
    pub remote: Option<Ipv4Addr>,
}

/// One open gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Its name.
    pub id: Id,
    /// Where packets arrive.
    pub external: External,
    /// Where they go. Its address is the mapping's owner.
    pub internal: SocketAddrV4,
    /// When it ends, or `None` for a mapping without end.
    pub expires: Option<Instant>,
    /// `false`: stored and listed, but no packet passes (WANIPConnection:2 §2.4.6).
    pub enabled: bool,
    /// Which protocol asked.
    pub origin: Origin,
    /// The asker's words, cleaned by [`clean_description`].
    pub description: String,
    /// What PCP keeps with it, if it was asked for by PCP.
    pub guard: Option<Box<Guard>>,
}

impl Mapping {
    /// Time left at `now`, or `None` for a mapping without end.
    pub fn remaining(&self, now: Instant) -> Option<Duration> {
        self.expires.map(|at| at.saturating_duration_since(now))
    }

    /// [`remaining`](Mapping::remaining) in whole seconds, rounded up: what has not ended has at
    /// least one left.
    pub fn seconds_left(&self, now: Instant) -> Option<u64> {
        let left = self.remaining(now)?;
        Some(left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0)))
    }
}

/// Which external port will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// This one or a refusal.
    Exactly(u16),
    /// This one if it is free, else another. 0 means no preference.
    Preferably(u16),
}

/// A request for a mapping, in the core's words.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The host that asks: the packet's source.
    pub client: Ipv4Addr,
    /// Which protocol it asks by.
    pub origin: Origin,
    /// Transport protocol.
    pub protocol: Protocol,
    /// External port wanted.
    pub port: Port,
    /// The only remote host to let through, or `None` for any.
    pub remote: Option<Ipv4Addr>,
    /// Where packets shall go. Port never 0.
    pub internal: SocketAddrV4,
    /// Lease time, or `None` for a mapping without end.
    pub lease: Option<Duration>,
    /// Whether packets pass.
    pub enabled: bool,
    /// Free text; cleaned and cut by the gateway.
    pub description: &'a str,
    /// The protocol forbids ports below 1024 unless the owner's rules allow them explicitly
    /// (WANIPConnection:2 §2.5.16.2).
    pub high_ports_only: bool,
}

/// Why something is not done. Nothing has changed when one of these is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The kernel said no.
    Backend,
    /// The port belongs to another host.
    Conflict,
    /// A permission rule forbids it, or the port is below 1024 and no rule allows it.
    Denied,
    /// The internal address is no host of this LAN: the router itself, broadcast, multicast, or
    /// outside.
    InvalidTarget,
    /// There is no external address.
    NoExternalAddress,
    /// No external port is left that the asker may have.
    NoFreePort,
    /// Nothing there.
    NoSuchMapping,
    /// The mapping or the target belongs to another host.
    NotOwner,
    /// The external address is private (RFC 1918, RFC 6598): a mapping would open nothing.
    PrivateExternalAddress,
    /// The asker has as many mappings as one host may have.
    QuotaExceeded,
    /// The router needs this port itself.
    Reserved,
    /// The table is full.
    TableFull,
    /// More filters than one mapping, or all of them, may have.
    TooManyFilters,
}

impl Refusal {
    /// Every refusal, for tables that must name them all.
    pub const ALL: [Refusal; 13] = [
        Refusal::Backend,
        Refusal::Conflict,
        Refusal::Denied,
        Refusal::InvalidTarget,
        Refusal::NoExternalAddress,
        Refusal::NoFreePort,
        Refusal::NoSuchMapping,
        Refusal::NotOwner,
        Refusal::PrivateExternalAddress,
        Refusal::QuotaExceeded,
        Refusal::Reserved,
        Refusal::TableFull,
        Refusal::TooManyFilters,
    ];
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Backend => "the kernel refused the mapping",
            Refusal::Conflict => "the port belongs to another host",
            Refusal::Denied => "not permitted by the router's rules",
            Refusal::InvalidTarget => "the internal address is not a host of this LAN",
            Refusal::NoExternalAddress => "the router has no external address",
            Refusal::NoFreePort => "no free port",
            Refusal::NoSuchMapping => "no such mapping",
            Refusal::NotOwner => "only the host itself may do that",
            Refusal::PrivateExternalAddress => "the router's external address is private",
            Refusal::QuotaExceeded => "too many mappings for one host",
            Refusal::Reserved => "the router uses this port itself",
            Refusal::TableFull => "the mapping table is full",
            Refusal::TooManyFilters => "too many filters",
        })
    }
}

/// The description as it is kept: control characters removed, surrounding space trimmed, cut to
/// [`DESCRIPTION_MAX`] bytes at a character boundary. One that is as it is kept stays so.
pub fn clean_description(text: &str) -> String {
    let mut out = String::new();
    let kept = text.chars().filter(|c| !c.is_control());
    for c in kept.skip_while(|c| c.is_whitespace()) {
        if out.len() + c.len_utf8() > DESCRIPTION_MAX {
            break;
        }
        out.push(c);
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_cut_at_a_character_and_loses_control_characters() {
        assert_eq!(clean_description(" a\tb\r\nc\0 "), "abc");
        let long = "é".repeat(80);
        let kept = clean_description(&long);
        assert_eq!(kept.len(), DESCRIPTION_MAX);
        assert_eq!(kept.chars().count(), DESCRIPTION_MAX / 2);
        // What is kept is read back from lease files and the kernel, and cleaned once more.
        assert_eq!(clean_description("\u{1} a \u{1}"), "a");
        let cut = clean_description(&format!("{}  b", "a".repeat(DESCRIPTION_MAX - 1)));
        assert_eq!(cut, "a".repeat(DESCRIPTION_MAX - 1));
    }

    #[test]
    fn names_and_numbers_come_back() {
        for p in Protocol::ALL {
            assert_eq!(Protocol::from_number(p.number()), Some(p));
            assert_eq!(Protocol::from_name(&p.name().to_lowercase()), Some(p));
        }
        for o in Origin::ALL {
            assert_eq!(Origin::from_name(o.name()), Some(o));
        }
        assert_eq!((Protocol::from_number(47), Protocol::from_name("GRE")), (None, None));
    }
}
