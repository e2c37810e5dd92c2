//! Mappings as NAT-PMP and PCP ask for them (RFC 6886 §3.3, RFC 6887 §11.3, §12.3): an internal
//! endpoint has one mapping whatever external port is suggested, and who asked by PCP alone can
//! change it.
//!
//! The order of refusals is that of [`add`](Gateway::add). A mapping that another protocol made of
//! the same endpoint is used, and its lease never shortened; the owner's is told and left alone.

use crate::gateway::elements::Plan;
use crate::gateway::guard::{self, Guard, FILTERS_MAX, FILTERS_PER_MAPPING};
use crate::gateway::mapping::{Id, Mapping, Origin, Port, Protocol, Refusal, Request};
use crate::gateway::network::is_target;
use crate::gateway::{Event, Gateway, Reason, LEASE_MIN};
use crate::netfilter::{Backend, Flow};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

/// A request by NAT-PMP or PCP, in the core's words.
#[derive(Clone, Debug)]
pub struct MapRequest {
    /// The host that asks. It asks for itself, or the caller knows that it may ask for another.
    pub client: Ipv4Addr,
    /// By which of the two.
    pub origin: Origin,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Where packets shall go. Port never 0.
    pub internal: SocketAddrV4,
    /// External port wanted.
    pub port: Port,
    /// Of PEER the remote peer; its port is in the guard.
    pub remote: Option<Ipv4Addr>,
    /// Lease time.
    pub lease: Duration,
    /// Of PCP the client, and filters that are added.
    pub guard: Option<Guard>,
    /// The filters that were there go.
    pub replaces_filters: bool,
}

/// What a mapping that was asked for is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Its name.
    pub id: Id,
    /// Its external port.
    pub port: u16,
    /// When it ends, or `None` for a mapping without end.
    pub expires: Option<Instant>,
    /// It is the owner's, and has been left alone.
    pub is_static: bool,
}

impl Mapped {
    fn of(mapping: &Mapping) -> Mapped {
        Mapped {
            id: mapping.id,
            port: mapping.external.port,
            expires: mapping.expires,
            is_static: mapping.origin == Origin::Manual,
        }
    }
}

impl<B: Backend> Gateway<B> {
    /// The enabled mapping of an internal endpoint for this remote host, or for any.
    pub fn endpoint(
        &self,
        protocol: Protocol,
        internal: SocketAddrV4,
        remote: Option<Ipv4Addr>,
    ) -> Option<&Mapping> {
        let mut own = self.table.at_internal(protocol, internal);
        own.find(|m| m.enabled && m.external.remote == remote)
    }

    /// Makes or renews a mapping. A lease below [`LEASE_MIN`] is lengthened to it.
    ///
    /// # Errors
    /// `Denied`, `InvalidTarget`; `NotOwner` for another nonce; `Conflict` for an exact port that
    /// cannot be had; `NoExternalAddress`, `PrivateExternalAddress`, `QuotaExceeded`, `TableFull`,
    /// `NoFreePort`; `TooManyFilters`; `Backend`. Nothing has changed then.
    pub fn map(&mut self, request: &MapRequest, now: Instant) -> Result<Mapped, Refusal> {
        self.handle_timeout(now);
        let MapRequest { client, protocol, internal, remote, .. } = *request;
        if !self.lans.iter().any(|lan| lan.contains(client.into())) {
            return Err(Refusal::Denied);
        }
        if internal.port() == 0 || !is_target(&self.lans, client, *internal.ip()) {
            return Err(Refusal::InvalidTarget);
        }
        let expires = now.checked_add(request.lease.max(LEASE_MIN)).ok_or(Refusal::Denied)?;
        let old = self.endpoint(protocol, internal, remote);
        if old.is_none() && remote.is_some() {
            // What lets anybody in serves this peer, too, and packets leave from its port.
            if let Some(any) = self.endpoint(protocol, internal, None) {
                return Ok(Mapped::of(any));
            }
        }
        let new = old.is_none();
        let mapping = match old.cloned() {
            Some(old) => {
                let exactly = |port| remote.is_none() && port != old.external.port;
                if matches!(request.port, Port::Exactly(port) if exactly(port)) {
                    return Err(Refusal::Conflict);
                }
                if old.origin == Origin::Manual {
                    let asked = request.guard.as_ref();
                    renew_guard(&mut None, asked, request.replaces_filters)?;
                    return Ok(Mapped::of(&old));
                }
                // NAT-PMP has no words for a mapping that does not let everybody in.
                if request.guard.is_none() && !guard::filters(&old.guard).is_empty() {
                    return Err(Refusal::NotOwner);
                }
                self.renewed(old, request, expires)?
            }
            None => self.placed(request, expires, now)?,
        };
        self.make(Plan::put(mapping.clone()), now).map_err(|_| Refusal::Backend)?;
        let mapped = Mapped::of(&mapping);
        self.tell(Event::Added { mapping, new });
        Ok(mapped)
    }

    fn renewed(
        &self,
        mut mapping: Mapping,
        request: &MapRequest,
        expires: Instant,
    ) -> Result<Mapping, Refusal> {
        let before = guard::filters(&mapping.guard).len();
        renew_guard(&mut mapping.guard, request.guard.as_ref(), request.replaces_filters)?;
        let after = guard::filters(&mapping.guard).len();
        self.check_filters(before, after)?;
        // By PEER a mapping is never shortened (RFC 6887 §12.1); without an end it is where another
        // protocol has asked for that, too.
        let its_own = mapping.origin == request.origin && request.remote.is_none();
        mapping.expires = match its_own && mapping.expires.is_some() {
            true => Some(expires),
            false => later(mapping.expires, Some(expires)),
        };
        Ok(mapping)
    }

    fn placed(
        &mut self,
        request: &MapRequest,
        expires: Instant,
        now: Instant,
    ) -> Result<Mapping, Refusal> {
        let MapRequest { client, origin, protocol, internal, remote, .. } = *request;
        let mut ask = Request {
            client,
            origin,
            protocol,
            port: request.port,
            remote,
            internal,
            lease: Some(request.lease),
            enabled: true,
            description: "",
            high_ports_only: false,
        };
        self.check_external()?;
        self.check_room(&ask, now)?;
        let mut guard = request.guard.clone();
        if let Some(guard) = &mut guard {
            guard.filters = checked(std::mem::take(&mut guard.filters))?;
            self.check_filters(0, guard.filters.len())?;
        }
        if let Some(port) = self.port_in_use(request) {
            // The endpoint leaves from there already (RFC 6887 §11.3, §12.3).
            ask.port = match ask.port {
                _ if remote.is_some() => Port::Exactly(port),
                Port::Exactly(exact) if exact != port => return Err(Refusal::Conflict),
                Port::Exactly(_) => Port::Exactly(port),
                Port::Preferably(_) => Port::Preferably(port),
            };
        }
        // What the rules deny cannot be had either (RFC 6887 §11.3).
        let (Port::Exactly(wanted) | Port::Preferably(wanted)) = ask.port;
        let can = self.permits(&ask, wanted).is_ok()
            && self.is_free(&ask, wanted)
            && !self.is_taken(&ask, wanted, now);
        let port = match (can, ask.port) {
            (true, _) => wanted,
            (false, Port::Exactly(_)) => return Err(Refusal::Conflict),
            (false, Port::Preferably(_)) => self.choose_port(&ask, now)?,
        };
        Ok(Mapping {
            id: self.table.fresh_id(),
            external: super::add::outside(&ask, port),
            internal,
            expires: Some(expires),
            enabled: true,
            origin,
            description: String::new(),
            guard: guard.map(Box::new),
        })
    }

    /// The external port that the endpoint has already: by a mapping for another remote host, or
    /// by the flow to this peer.
    fn port_in_use(&mut self, request: &MapRequest) -> Option<u16> {
        let MapRequest { protocol, internal, .. } = *request;
        let mut own = self.table.at_internal(protocol, internal);
        if let Some(sibling) = own.find(|m| m.enabled && request.origin.is_of(m.origin)) {
            return Some(sibling.external.port);
        }
        let peer_port = request.guard.as_ref()?.client.peer_port;
        let remote = SocketAddrV4::new(request.remote?, peer_port);
        let flow = Flow { protocol, internal, remote };
        let external = self.backend.leaves_from(&flow).ok().flatten()?;
        self.wan.addresses.contains(external.ip()).then_some(external.port())
    }

    fn is_free(&self, ask: &Request<'_>, port: u16) -> bool {
        let host = *ask.internal.ip();
        self.table.find(&super::add::outside(ask, port)).is_none()
            && !self.is_foreign(ask, port)
            && !self.is_crowded(ask.protocol, port)
            && !self.holds.keeps_from(host, ask.protocol, port)
    }

    /// Whether so many filters may come in the place of some.
    fn check_filters(&self, before: usize, after: usize) -> Result<(), Refusal> {
        match after <= before || self.table.filters() - before + after <= FILTERS_MAX {
            true => Ok(()),
            false => Err(Refusal::TooManyFilters),
        }
    }

    /// Ends the mapping of an internal endpoint, as the host itself. Nothing there is fine: the
    /// answer to the request before may be lost. `nonce`: of PCP, by which no flow under way may be
    /// ended (RFC 6887 §15).
    ///
    /// # Errors
    /// `NotOwner`: it is the owner's, or guarded by another nonce, or by none where one is given,
    /// or made by PEER; `Backend`.
    pub fn unmap(
        &mut self,
        protocol: Protocol,
        internal: SocketAddrV4,
        nonce: Option<&[u8; 12]>,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.handle_timeout(now);
        let Some(found) = self.endpoint(protocol, internal, None) else {
            let mut others = self.table.at_internal(protocol, internal);
            return match nonce.is_some() && others.any(|m| m.guard.is_some()) {
                true => Err(Refusal::NotOwner),
                false => Ok(()),
            };
        };
        if found.origin == Origin::Manual || !opens(&found.guard, nonce) {
            return Err(Refusal::NotOwner);
        }
        let id = found.id;
        let dropped = match nonce {
            Some(_) => self.drop_sparing(id, now),
            None => self.drop_ids(vec![id], Reason::Deleted, now),
        };
        dropped.map_err(|_| Refusal::Backend)
    }

    /// Ends every mapping of a host and protocol that NAT-PMP may end (RFC 6886 §3.4).
    ///
    /// # Errors
    /// `NotOwner`: some are the owner's or guarded by a nonce, and are left; `Backend`.
    pub fn unmap_all(
        &mut self,
        protocol: Protocol,
        host: Ipv4Addr,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.handle_timeout(now);
        let may = |m: &&Mapping| m.origin != Origin::Manual && m.guard.is_none();
        let (ids, left): (Vec<&Mapping>, Vec<&Mapping>) =
            self.table.of_host(protocol, host).partition(may);
        let left = !left.is_empty();
        let ids: Vec<Id> = ids.into_iter().map(|m| m.id).collect();
        self.drop_many(&ids, now).map_err(|_| Refusal::Backend)?;
        if left {
            return Err(Refusal::NotOwner);
        }
        Ok(())
    }
}

/// Whether who gives this nonce, or none, may end what is guarded so.
pub(super) fn opens(guard: &Option<Box<Guard>>, nonce: Option<&[u8; 12]>) -> bool {
    guard.as_ref().map(|guard| &guard.client.nonce) == nonce
}

/// Renews a guard by what is asked; filters are added to those that were there.
///
/// # Errors
/// `NotOwner` for another nonce. `TooManyFilters`; also where there is no guard, because then the
/// mapping is another protocol's, which did not ask for filters.
pub(super) fn renew_guard(
    guard: &mut Option<Box<Guard>>,
    asked: Option<&Guard>,
    replaces_filters: bool,
) -> Result<(), Refusal> {
    let Some(asked) = asked else { return Ok(()) };
    let Some(guard) = guard else {
        return if asked.filters.is_empty() { Ok(()) } else { Err(Refusal::TooManyFilters) };
    };
    if guard.client.nonce != asked.client.nonce {
        return Err(Refusal::NotOwner);
    }
    let mut filters = asked.filters.clone();
    if !replaces_filters {
        filters.extend(&guard.filters);
    }
    guard.filters = checked(filters)?;
    guard.client = asked.client;
    Ok(())
}

/// Filters as they are kept.
pub(super) fn checked(filters: Vec<guard::Filter>) -> Result<Vec<guard::Filter>, Refusal> {
    let filters = guard::tidy(filters);
    match filters.len() <= FILTERS_PER_MAPPING {
        true => Ok(filters),
        false => Err(Refusal::TooManyFilters),
    }
}

/// The later of two ends, `None` being none.
pub(super) fn later(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    Some(a?.max(b?))
}
