//! Making and refreshing mappings: who may, where, and in which order it is asked.
//!
//! What is wrong for ever is said first, what may pass by waiting last:
//! 1. the asker is a LAN host ([`Refusal::Denied`]), asks for itself in secure mode
//!    ([`Refusal::NotOwner`]), and for a host of its own LAN ([`Refusal::InvalidTarget`]);
//! 2. the port is nobody else's and not forbidden ([`Refusal::Reserved`], [`Refusal::Denied`],
//!    [`Refusal::Conflict`]);
//! 3. for a new mapping only: there is an external address that is worth it, the quotas are not
//!    used up, and (unless the port is settled) some port is free;
//! 4. the kernel agrees.
//!
//! A refresh needs neither a WAN nor room: a reconnect loses nothing. It keeps the mapping's id
//! and origin, because a mapping stays what it was made as; a PCP nonce, say, still guards it.

use crate::gateway::elements::Plan;
use crate::gateway::guard;
use crate::gateway::map::later;
use crate::gateway::mapping::{
    clean_description, External, Id, Mapping, Origin, Port, Protocol, Refusal, Request,
};
use crate::gateway::network::{is_target, ExternalState};
use crate::gateway::{ports, Event, Gateway, Granted};
use crate::netfilter::Backend;
use std::time::{Duration, Instant};

/// The shortest lease that is kept; a shorter one is lengthened to it. An end that has passed
/// before the kernel hears of it could be taken for "never".
pub const LEASE_MIN: Duration = Duration::from_secs(1);

/// Most mappings of one external port, which differ in their remote host. They share kernel
/// elements, so a change of one looks at all.
pub const REMOTES_MAX: usize = 64;

/// How many ports are chosen that the router turns out to listen on itself.
const CHOICES_MAX: usize = 16;

/// Where a request will end up.
enum Place {
    /// In the place of a mapping that is there.
    Refresh(Id),
    /// At this port, which is free.
    At(u16),
    /// At any port.
    Anywhere,
}

impl<B: Backend> Gateway<B> {
    /// Makes or refreshes a mapping (WANIPConnection:2 §2.5.16, §2.5.17).
    ///
    /// The same external port, protocol, remote host and internal client is a refresh: internal
    /// port, description, enabled and lease are taken from the request, id and origin stay.
    /// With [`Port::Preferably`] only the same internal port too is a refresh, and when the
    /// preferred port cannot be had, a mapping of the same internal endpoint and remote host is
    /// refreshed at the port it has before another is made.
    ///
    /// A lease below [`LEASE_MIN`] is lengthened to it; one beyond the clock's range has no end.
    ///
    /// # Errors
    /// In the order of the module's list; nothing has changed then.
    pub fn add(&mut self, request: &Request<'_>, now: Instant) -> Result<Granted, Refusal> {
        self.handle_timeout(now);
        self.check_parties(request)?;
        let mut place = self.place(request)?;
        if let (Place::At(port), Port::Preferably(_)) = (&place, request.port) {
            let own = self.own(request);
            if let Some(own) = own.filter(|_| self.is_taken(request, *port, now)) {
                place = Place::Refresh(own);
            }
        }
        let (old, port) = match place {
            Place::Refresh(id) => (self.table.get(id), None),
            Place::At(port) => (None, Some(port)),
            Place::Anywhere => (None, None),
        };
        let (id, origin, external) = match old {
            Some(old) => (old.id, old.origin, old.external),
            None => {
                self.check_external()?;
                self.check_room(request, now)?;
                let taken = |gateway: &mut Self, port| gateway.is_taken(request, port, now);
                let port = match port {
                    Some(port) if self.is_crowded(request.protocol, port) => {
                        return Err(Refusal::QuotaExceeded);
                    }
                    Some(port) if !taken(self, port) => port,
                    Some(_) if matches!(request.port, Port::Exactly(_)) => {
                        return Err(Refusal::Reserved);
                    }
                    _ => self.choose_port(request, now)?,
                };
                (self.table.fresh_id(), request.origin, outside(request, port))
            }
        };
        let new = self.table.get(id).is_none();
        let expires = request.lease.and_then(|lease| now.checked_add(lease.max(LEASE_MIN)));
        let guarded = self.table.get(id).filter(|old| old.guard.is_some());
        let mapping = match guarded {
            // Others may only lengthen it, and must not believe that everybody is let in.
            Some(old)
                if old.internal != request.internal
                    || !request.enabled
                    || !guard::filters(&old.guard).is_empty() =>
            {
                return Err(Refusal::Conflict);
            }
            Some(old) => Mapping { expires: later(old.expires, expires), ..old.clone() },
            None => Mapping {
                id,
                external,
                internal: request.internal,
                expires,
                enabled: request.enabled,
                origin,
                description: clean_description(request.description),
                guard: None,
            },
        };
        self.make(Plan::put(mapping.clone()), now).map_err(|_| Refusal::Backend)?;
        self.tell(Event::Added { mapping, new });
        Ok(Granted { id, port: external.port, new })
    }

    fn check_parties(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let (client, target) = (request.client, request.internal);
        if !self.lans.iter().any(|lan| lan.contains(client.into())) {
            return Err(request.origin.stranger());
        }
        if self.policy.secure_mode && *target.ip() != client {
            return Err(Refusal::NotOwner);
        }
        if target.port() == 0 || !is_target(&self.lans, client, *target.ip()) {
            return Err(Refusal::InvalidTarget);
        }
        Ok(())
    }

    fn place(&self, request: &Request<'_>) -> Result<Place, Refusal> {
        match request.port {
            Port::Exactly(port) => {
                self.permits(request, port)?;
                let host = *request.internal.ip();
                let held = request.origin != Origin::Manual
                    && self.holds.keeps_strictly(host, request.protocol, port);
                if held || self.is_foreign(request, port) {
                    return Err(Refusal::Conflict);
                }
                let here = self.table.find(&outside(request, port));
                Ok(here.map_or(Place::At(port), |old| Place::Refresh(old.id)))
            }
            Port::Preferably(port) => {
                let held = self.holds.keeps_from(*request.internal.ip(), request.protocol, port);
                if !held && self.permits(request, port).is_ok() && !self.is_foreign(request, port) {
                    match self.table.find(&outside(request, port)) {
                        None => return Ok(Place::At(port)),
                        Some(old) if old.internal == request.internal => {
                            return Ok(Place::Refresh(old.id));
                        }
                        Some(_) => {}
                    }
                }
                Ok(self.own(request).map_or(Place::Anywhere, Place::Refresh))
            }
        }
    }

    /// The mapping that a host has already of the very internal endpoint and remote host.
    fn own(&self, request: &Request<'_>) -> Option<Id> {
        let own = self
            .table
            .at_internal(request.protocol, request.internal)
            .filter(|own| own.external.remote == request.remote)
            .filter(|own| request.origin.is_of(own.origin))
            .find(|own| self.permits(request, own.external.port).is_ok());
        own.map(|own| own.id)
    }

    /// Whether it is NAT-PMP or PCP that has a port, or keeps it for its host, where UPnP asks for it
    /// (WANIPConnection:2 §2.5.16.3, code 729).
    pub fn is_of_other_mechanism(&self, request: &Request<'_>, port: u16) -> bool {
        let Request { protocol, internal, .. } = *request;
        let other = |m: &Mapping| m.origin != Origin::Upnp;
        let beside = |m: &Mapping| m.origin == Origin::NatPmp && m.internal.ip() != internal.ip();
        self.table.at_port(protocol, port).any(other)
            || self.table.at_port(companion(protocol), port).any(beside)
            || self.holds.keeps_strictly(*internal.ip(), protocol, port)
    }

    pub(super) fn permits(&self, request: &Request<'_>, port: u16) -> Result<(), Refusal> {
        let Request { protocol, internal, high_ports_only, .. } = *request;
        self.policy.admits(request.origin, protocol, port, internal, high_ports_only)
    }

    /// Whether a port is another host's, or the owner's where a host asks, or the other way round. Who
    /// has one remote host's share of a port has it whole.
    ///
    /// A NAT-PMP mapping also keeps the same port of the other protocol for its host (RFC 6886
    /// §3.3), so none is made where that one is another host's already.
    pub(super) fn is_foreign(&self, request: &Request<'_>, port: u16) -> bool {
        let host = request.internal.ip();
        let foreign = |m: &Mapping| m.internal.ip() != host;
        if let Some(holder) = self.table.at_port(request.protocol, port).next() {
            return foreign(holder) || !request.origin.is_of(holder.origin);
        }
        self.table
            .at_port(companion(request.protocol), port)
            .any(|other| foreign(other) && [other.origin, request.origin].contains(&Origin::NatPmp))
    }

    pub(super) fn check_external(&self) -> Result<(), Refusal> {
        match self.external() {
            ExternalState::Active(_) => Ok(()),
            ExternalState::Private(_) => Err(Refusal::PrivateExternalAddress),
            ExternalState::None => Err(Refusal::NoExternalAddress),
        }
    }

    pub(super) fn check_room(&self, request: &Request<'_>, now: Instant) -> Result<(), Refusal> {
        let limits = self.policy.limits;
        self.check_pace((*request.internal.ip()).into(), request.origin, now)?;
        if self.table.count_of(*request.internal.ip()) >= usize::from(limits.mappings_per_host) {
            return Err(Refusal::QuotaExceeded);
        }
        if self.table.len() >= usize::from(limits.mappings) {
            return Err(Refusal::TableFull);
        }
        Ok(())
    }

    pub(super) fn is_crowded(&self, protocol: Protocol, port: u16) -> bool {
        self.table.at_port(protocol, port).nth(REMOTES_MAX - 1).is_some()
    }

    /// Whether an external port is the router's own or its owner's.
    pub(super) fn is_taken(&mut self, request: &Request<'_>, port: u16, now: Instant) -> bool {
        let Request { protocol, internal, .. } = *request;
        self.backend.is_taken(protocol, port, internal, &self.wan, now)
    }

    /// A port that nobody has, of neither protocol unless the other's is the asker's own, and that is
    /// not the router's own or its owner's.
    pub(super) fn choose_port(
        &mut self,
        request: &Request<'_>,
        now: Instant,
    ) -> Result<u16, Refusal> {
        let mut taken = Vec::new();
        while taken.len() < CHOICES_MAX {
            let port = self.choose_free(request, &taken)?;
            if !self.is_taken(request, port, now) {
                return Ok(port);
            }
            taken.push(port);
        }
        Err(Refusal::NoFreePort)
    }

    /// A port that no mapping has, but for those `taken`.
    fn choose_free(&mut self, request: &Request<'_>, taken: &[u16]) -> Result<u16, Refusal> {
        let open = self.policy.open_ports(request.internal, request.high_ports_only);
        if open.is_empty() {
            return Err(Refusal::Denied);
        }
        let Request { protocol, internal, .. } = *request;
        let (policy, table, holds) = (&self.policy, &self.table, &self.holds);
        let free = |port| {
            !taken.contains(&port)
                && !policy.reserves(protocol, port)
                && !holds.keeps_from(*internal.ip(), protocol, port)
                && table.at_port(protocol, port).next().is_none()
                && table
                    .at_port(companion(protocol), port)
                    .all(|m| m.internal.ip() == internal.ip())
        };
        ports::choose(&mut self.rng, &open, free).ok_or(Refusal::NoFreePort)
    }
}

pub(super) fn outside(request: &Request<'_>, port: u16) -> External {
    External { protocol: request.protocol, port, remote: request.remote }
}

fn companion(protocol: Protocol) -> Protocol {
    match protocol {
        Protocol::Tcp => Protocol::Udp,
        Protocol::Udp => Protocol::Tcp,
    }
}
