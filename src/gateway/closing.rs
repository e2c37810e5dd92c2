//! Which flows a change of the table may have left without leave, and which of them have none.
//!
//! A rule that is gone lets no new flow in, but the kernel's connection table lets those go on that
//! were let in. The gateway notes where something was closed, within [`CLOSED_MAX`]; the driver
//! looks there, and ends what the table would not let in as it is then. So a mapping that has come
//! back meanwhile keeps its flows.

use crate::gateway::guard;
use crate::gateway::mapping::{External, Mapping, Protocol};
use crate::gateway::pinhole::{Hole, Pinhole};
use crate::gateway::Gateway;
use crate::netfilter::Backend;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4};

/// Most places noted at once; beyond it all flows are looked at.
pub const CLOSED_MAX: usize = 64;

/// Where flows may have lost their leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// An external port of IPv4.
    Port(Protocol, u16),
    /// A port of an IPv6 host.
    Host(Protocol, Ipv6Addr, u16),
    /// An internal endpoint that has got an external port, which its flows may not leave from.
    Endpoint(Protocol, SocketAddrV4),
}

/// What is to be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// Sorted, each once.
    pub places: Vec<Place>,
    /// Not all of them found room.
    pub everywhere: bool,
}

impl Closed {
    /// Whether this is one of the places.
    pub fn has(&self, place: &Place) -> bool {
        self.everywhere || self.places.binary_search(place).is_ok()
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty() && !self.everywhere
    }

    fn note(&mut self, place: Place) {
        let Err(at) = self.places.binary_search(&place) else { return };
        match self.places.len() < CLOSED_MAX {
            true => self.places.insert(at, place),
            false => self.everywhere = true,
        }
    }

    /// Notes what another has noted.
    fn join(&mut self, other: Closed) {
        self.everywhere |= other.everywhere;
        other.places.into_iter().for_each(|place| self.note(place));
    }

    /// A mapping has gone, or become `new`.
    pub(super) fn note_mapping(&mut self, old: &Mapping, new: Option<&Mapping>) {
        let stays = new.is_some_and(|new| {
            new.enabled
                && new.internal == old.internal
                && guard::filters(&new.guard) == guard::filters(&old.guard)
        });
        if old.enabled && !stays {
            self.note(Place::Port(old.external.protocol, old.external.port));
        }
    }

    /// A mapping has come: what its endpoint sends by UDP may leave from another port yet. Only of
    /// UDP, whose programs stand a new port.
    pub(super) fn note_new(&mut self, new: &Mapping) {
        if new.enabled && new.external.protocol == Protocol::Udp {
            self.note(Place::Endpoint(Protocol::Udp, new.internal));
        }
    }

    /// A pinhole has gone, or become `new`.
    pub(super) fn note_pinhole(&mut self, old: &Pinhole, new: Option<&Pinhole>) {
        let stays = new.is_some_and(|new| guard::filters(&new.guard) == guard::filters(&old.guard));
        if !stays {
            let Hole { protocol, internal, internal_port, .. } = old.hole;
            self.note(Place::Host(protocol, internal, internal_port));
        }
    }
}

impl<B: Backend> Gateway<B> {
    /// Whether [`take_closed`](Gateway::take_closed) would give anything.
    pub fn has_closed(&self) -> bool {
        !self.closed.is_empty()
    }

    /// What is to be looked at since the last call.
    pub fn take_closed(&mut self) -> Closed {
        std::mem::take(&mut self.closed)
    }

    /// What was taken could not be looked at: it is to be looked at with what has come since.
    pub fn put_back(&mut self, closed: Closed) {
        self.closed.join(closed);
    }

    /// Whether a flow that came in to `external` from `remote` may go on to `internal`.
    pub fn lets_in(
        &self,
        protocol: Protocol,
        remote: SocketAddr,
        external: SocketAddr,
        internal: SocketAddr,
    ) -> bool {
        let port = external.port();
        let (IpAddr::V4(host), SocketAddr::V4(internal)) = (remote.ip(), internal) else {
            return self.lets_in_6(protocol, remote, internal);
        };
        [Some(host), None].into_iter().any(|remote_host| {
            let mapping = self.table.find(&External { protocol, port, remote: remote_host });
            mapping.is_some_and(|m| m.enabled && m.internal == internal && passes(&m.guard, remote))
        })
    }

    fn lets_in_6(&self, protocol: Protocol, remote: SocketAddr, internal: SocketAddr) -> bool {
        let (IpAddr::V6(host), IpAddr::V6(remote_host)) = (internal.ip(), remote.ip()) else {
            return false;
        };
        [None, Some(remote_host)].into_iter().any(|remote_host| {
            [None, Some(remote.port())].into_iter().any(|remote_port| {
                let hole = Hole {
                    internal: host,
                    internal_port: internal.port(),
                    protocol,
                    remote: remote_host,
                    remote_port,
                };
                self.pinholes.find(&hole).is_some_and(|p| passes(&p.guard, remote))
            })
        })
    }

    /// The external port that packets of an internal endpoint leave from, if it has one.
    pub fn leaving_port(&self, protocol: Protocol, internal: SocketAddrV4) -> Option<u16> {
        let first = self.table.at_internal(protocol, internal).next()?;
        first.enabled.then_some(first.external.port)
    }
}

/// Whether filters, if there are any, let a remote peer in.
fn passes(guard: &Option<Box<guard::Guard>>, remote: SocketAddr) -> bool {
    let filters = guard::filters(guard);
    filters.is_empty() || filters.iter().any(|filter| filter.lets_in(remote))
}
