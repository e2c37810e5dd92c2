//! A listing of mappings, written piece by piece, so that a long one is never in memory whole.

use super::mappings::{lease_left, remote_text};
use crate::gateway::mapping::{Mapping, Protocol};
use crate::gateway::Gateway;
use crate::igd::identity::Face;
use crate::netfilter::Backend;
use crate::proto::xml::{close, element, open};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::time::Instant;

/// Bytes after which a piece of a listing ends with the entry under way.
pub const PIECE_LEN: usize = 8 << 10;

const BEGIN: &str = "<![CDATA[<?xml version=\"1.0\"?><p:PortMappingList \
     xmlns:p=\"urn:schemas-upnp-org:gw:WANIPConnection\" \
     xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
     xsi:schemaLocation=\"urn:schemas-upnp-org:gw:WANIPConnection \
     http://www.upnp.org/schemas/gw/WANIPConnection-v2.xsd\">";
const END: &str = "</p:PortMappingList>]]>";
/// What follows the listing in the reply begins with this, which no escaped value has.
const AFTER: &str = "</NewPortListing>";

/// What is left of a listing. What changes meanwhile is told as it is when its turn comes.
#[derive(Debug)]
pub struct Listing {
    protocol: Protocol,
    ports: RangeInclusive<u16>,
    /// Only mappings of this host.
    own: Option<IpAddr>,
    /// Entries still wanted.
    most: usize,
    /// The last entry written: its port and remote host.
    last: Option<(u16, Option<Ipv4Addr>)>,
    /// What comes after the last entry; empty when all is written.
    end: Vec<u8>,
}

impl Listing {
    /// All mappings of a protocol and range, up to `most`; only those of `own` if it is given.
    pub fn new(
        protocol: Protocol,
        ports: RangeInclusive<u16>,
        own: Option<IpAddr>,
        most: usize,
    ) -> Listing {
        Listing { protocol, ports, own, most, last: None, end: Vec::new() }
    }

    /// Writes the beginning. Returns whether that is all of it, with its end.
    ///
    /// The document inside the document is a CDATA section, which is one of the two ways XML has for
    /// it (XML 1.0 §2.7) and the only one that miniupnpc reads. No `]]>` gets into it: values are
    /// escaped.
    pub fn begin<B: Backend>(
        &mut self,
        gateway: &Gateway<B>,
        now: Instant,
        out: &mut String,
    ) -> bool {
        out.push_str(BEGIN);
        let whole = self.piece(gateway, now, out);
        if whole {
            out.push_str(END);
        }
        whole
    }

    /// Takes what follows the listing off a reply in which it has only begun.
    pub fn cut(&mut self, body: &mut Vec<u8>) {
        let after = AFTER.as_bytes();
        let at = body.windows(after.len()).rposition(|window| window == after);
        self.end = END.into();
        self.end.extend(body.drain(at.unwrap_or(body.len())..));
    }

    /// The next piece of the reply, up to about [`PIECE_LEN`]; `None` after the last.
    pub fn next<B: Backend>(&mut self, gateway: &Gateway<B>, now: Instant) -> Option<Vec<u8>> {
        if self.end.is_empty() {
            return None;
        }
        let mut out = String::new();
        let whole = self.piece(gateway, now, &mut out);
        let mut bytes = out.into_bytes();
        if whole {
            bytes.append(&mut self.end);
        }
        Some(bytes)
    }

    /// Appends entries until a piece is full; whether there are no more.
    fn piece<B: Backend>(&mut self, gateway: &Gateway<B>, now: Instant, out: &mut String) -> bool {
        let key = |mapping: &Mapping| (mapping.external.port, mapping.external.remote);
        let first = self.last.map_or(*self.ports.start(), |(port, _)| port);
        let (last, own) = (self.last, self.own);
        let wanted = gateway
            .range(self.protocol, first..=*self.ports.end())
            .filter(|mapping| last.is_none_or(|last| key(mapping) > last))
            .filter(|mapping| own.is_none_or(|own| own == *mapping.internal.ip()))
            .filter(|mapping| mapping.expires.is_none_or(|end| end > now));
        let full = out.len() + PIECE_LEN;
        for mapping in wanted {
            if self.most == 0 {
                return true;
            }
            if out.len() >= full {
                return false;
            }
            write_entry(out, mapping, now);
            self.last = Some(key(mapping));
            self.most -= 1;
        }
        true
    }
}

/// One `PortMappingEntry` (WANIPConnection:2 §2.3.25).
fn write_entry(out: &mut String, mapping: &Mapping, now: Instant) {
    let external = &mapping.external;
    open(out, "p:PortMappingEntry");
    element(out, "p:NewRemoteHost", &remote_text(mapping));
    element(out, "p:NewExternalPort", &external.port.to_string());
    element(out, "p:NewProtocol", external.protocol.name());
    element(out, "p:NewInternalPort", &mapping.internal.port().to_string());
    element(out, "p:NewInternalClient", &mapping.internal.ip().to_string());
    element(out, "p:NewEnabled", if mapping.enabled { "1" } else { "0" });
    element(out, "p:NewDescription", &mapping.description);
    element(out, "p:NewLeaseTime", &lease_left(mapping, Face::V2, now).to_string());
    close(out, "p:PortMappingEntry");
}
