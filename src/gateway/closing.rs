//! Which flows a change of the table may have left without leave, and which of them have none.
//!
//! A rule that is gone lets no new flow in, but the kernel's connection table lets those go on that
//! were let in. The gateway notes where something was closed, within [`CLOSED_MAX`]; the driver
//! looks there, and ends what the table would not let in as it is then. So a mapping that has come
//! back meanwhile keeps its flows.
//!
//! A new mapping of UDP, too, leaves flows behind that go another way than it says: those of its
//! endpoint that leave from another port, those of other hosts that leave from its port, which its
//! endpoint cannot have towards the same peer then, and those that went to the router itself.

use crate::gateway::guard;
use crate::gateway::mapping::{External, Mapping, Protocol};
use crate::gateway::pinhole::{Hole, Pinhole};
use crate::gateway::Gateway;
use crate::netfilter::Backend;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

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
    /// An external port that has got an endpoint, which may not be the one that flows leave it from.
    Opened(Protocol, u16),
}

/// What is to be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// Sorted, each once.
    pub places: Vec<Place>,
    /// Not all that were closed found room.
    pub everywhere: bool,
    /// Not all that were opened did.
    pub opened_everywhere: bool,
    /// An external address is ours no more.
    pub address: bool,
}

impl Closed {
    /// Whether this is one of the places.
    pub fn has(&self, place: &Place) -> bool {
        let all = match place {
            Place::Port(..) | Place::Host(..) => self.everywhere,
            Place::Endpoint(..) | Place::Opened(..) => self.opened_everywhere,
        };
        all || self.places.binary_search(place).is_ok()
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        *self == Closed::default()
    }

    fn note(&mut self, place: Place) {
        let Err(at) = self.places.binary_search(&place) else { return };
        match place {
            _ if self.places.len() < CLOSED_MAX => self.places.insert(at, place),
            Place::Port(..) | Place::Host(..) => self.everywhere = true,
            Place::Endpoint(..) | Place::Opened(..) => self.opened_everywhere = true,
        }
    }

    /// Notes what another has noted.
    fn join(&mut self, other: Closed) {
        self.everywhere |= other.everywhere;
        self.opened_everywhere |= other.opened_everywhere;
        self.address |= other.address;
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
        if let Some(new) = new.filter(|new| !old.enabled || new.internal != old.internal) {
            self.note_new(new);
        }
    }

    /// A mapping has come, been enabled, or has another endpoint. Only of UDP, whose programs stand a
    /// new port.
    pub(super) fn note_new(&mut self, new: &Mapping) {
        if new.enabled && new.external.protocol == Protocol::Udp {
            self.note(Place::Endpoint(Protocol::Udp, new.internal));
            self.note(Place::Opened(Protocol::Udp, new.external.port));
        }
    }

    /// An internal endpoint leaves from the port of another of its mappings.
    pub(super) fn note_heir(&mut self, heir: &Mapping) {
        if heir.enabled && heir.external.protocol == Protocol::Udp {
            self.note(Place::Endpoint(Protocol::Udp, heir.internal));
        }
    }

    /// An external address is ours no more.
    pub(super) fn note_address(&mut self) {
        self.address = true;
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

    /// Whether packets to this address may be for our mappings: it is one of the WAN's, or the owner
    /// says that it stands in front of it.
    pub fn is_external(&self, address: IpAddr) -> bool {
        self.external_addresses().any(|own| IpAddr::V4(own) == address)
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
        self.leads(protocol, host, remote, port).any(|m| m.internal == internal)
    }

    /// The mappings that let a remote host's packets to a port in.
    fn leads(
        &self,
        protocol: Protocol,
        host: Ipv4Addr,
        remote: SocketAddr,
        port: u16,
    ) -> impl Iterator<Item = &Mapping> {
        let find = move |remote| self.table.find(&External { protocol, port, remote });
        let here = [Some(host), None].into_iter().filter_map(find);
        here.filter(move |m| m.enabled && passes(&m.guard, remote))
    }

    /// Whether a flow that went to the router itself, at `external`, would go to a host if it began
    /// anew.
    pub fn leads_on(&self, protocol: Protocol, remote: SocketAddr, external: SocketAddr) -> bool {
        let IpAddr::V4(host) = remote.ip() else { return false };
        let is_own = self.is_external(remote.ip());
        !is_own
            && self.is_external(external.ip())
            && self.leads(protocol, host, remote, external.port()).next().is_some()
    }

    /// Whether an external port is that of other endpoints than this one.
    pub fn is_of_others(&self, protocol: Protocol, port: u16, internal: SocketAddrV4) -> bool {
        let mut here = self.table.at_port(protocol, port).filter(|m| m.enabled).peekable();
        here.peek().is_some() && here.all(|m| m.internal != internal)
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
