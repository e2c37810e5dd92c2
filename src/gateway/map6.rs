//! Pinholes as PCP asks for them (RFC 6887 §11.3, §12.3): nothing is translated, so an endpoint's
//! external address and port are its own.

use crate::gateway::guard::{self, Guard, FILTERS_MAX};
use crate::gateway::map::{checked, opens, renew_guard};
use crate::gateway::mapping::{Origin, Protocol, Refusal};
use crate::gateway::pinhole::{Hole, Pinhole};
use crate::gateway::{Gateway, LEASE_MIN};
use crate::netfilter::Backend;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

/// UDP ports of PCP itself, which are never mapped.
const PCP_PORTS: [u16; 2] = [5350, 5351];

/// A request by PCP, in the core's words.
#[derive(Clone, Debug)]
pub struct Map6Request {
    /// The host that asks. It asks for itself, or the caller knows that it may ask for another.
    pub client: Ipv6Addr,
    /// What shall be let through; only of PEER from one remote host and port.
    pub hole: Hole,
    /// Lease time.
    pub lease: Duration,
    /// The client, and filters that are added.
    pub guard: Guard,
    /// The filters that were there go.
    pub replaces_filters: bool,
}

impl<B: Backend> Gateway<B> {
    /// The pinhole that lets exactly this through.
    pub fn find_pinhole(&self, hole: &Hole) -> Option<&Pinhole> {
        self.pinholes.find(hole)
    }

    /// Opens or renews a pinhole; returns when it ends. A lease below [`LEASE_MIN`] is lengthened
    /// to it.
    ///
    /// # Errors
    /// `Denied`, `InvalidTarget`; `NotOwner` for another nonce; `QuotaExceeded`, `TableFull`;
    /// `TooManyFilters`; `Backend`. Nothing has changed then.
    pub fn map6(&mut self, request: &Map6Request, now: Instant) -> Result<Instant, Refusal> {
        self.handle_timeout(now);
        let Map6Request { client, hole, .. } = *request;
        if !self.lans.iter().any(|lan| lan.contains(client.into())) {
            return Err(Refusal::Denied);
        }
        if hole.internal_port == 0 || !self.is_pinhole_target(client.into(), hole.internal) {
            return Err(Refusal::InvalidTarget);
        }
        let mut expires = now.checked_add(request.lease.max(LEASE_MIN)).ok_or(Refusal::Denied)?;
        let old = self.pinholes.find(&hole).cloned();
        if old.is_none() {
            self.policy.admits6(Origin::Pcp, hole.internal, hole.internal_port, false)?;
            // RFC 6887 §11.3.
            if hole.protocol == Protocol::Udp && PCP_PORTS.contains(&hole.internal_port) {
                return Err(Refusal::Denied);
            }
        }
        let new = old.is_none();
        let before = old.as_ref().map_or(0, |old| guard::filters(&old.guard).len());
        let pinhole = match old {
            Some(old) if old.origin == Origin::Manual => {
                renew_guard(&mut None, Some(&request.guard), request.replaces_filters)?;
                return Ok(old.expires);
            }
            Some(mut old) => {
                renew_guard(&mut old.guard, Some(&request.guard), request.replaces_filters)?;
                // By PEER a mapping is never shortened (RFC 6887 §12.1).
                if old.origin != Origin::Pcp || hole.remote.is_some() {
                    expires = expires.max(old.expires);
                }
                Pinhole { expires, ..old }
            }
            None => {
                self.check_pace(hole.internal.into(), Origin::Pcp, now)?;
                self.check_pinhole_room(hole.internal)?;
                let filters = checked(request.guard.filters.clone())?;
                let guard = Guard { client: request.guard.client, filters };
                Pinhole {
                    id: self.table.fresh_id(),
                    unique_id: self.pinholes.fresh_unique_id(),
                    hole,
                    expires,
                    origin: Origin::Pcp,
                    description: String::new(),
                    guard: Some(Box::new(guard)),
                }
            }
        };
        let after = guard::filters(&pinhole.guard).len();
        let all: usize = self.pinholes.iter().map(|p| guard::filters(&p.guard).len()).sum();
        if after > before && all - before + after > FILTERS_MAX {
            return Err(Refusal::TooManyFilters);
        }
        self.make_pinhole(pinhole, new, now)?;
        Ok(expires)
    }

    /// Closes the pinhole to an endpoint, as the host itself. Nothing there is fine; no flow under
    /// way is ended (RFC 6887 §15).
    ///
    /// # Errors
    /// `NotOwner`: it is not guarded by this nonce, or made by PEER; `Backend`.
    pub fn unmap6(&mut self, hole: &Hole, nonce: &[u8; 12], now: Instant) -> Result<(), Refusal> {
        self.handle_timeout(now);
        let Some(found) = self.pinholes.find(hole) else {
            let of_peer = |p: &Pinhole| {
                let same = Hole { remote: None, remote_port: None, ..p.hole };
                same == *hole && p.guard.is_some()
            };
            return match self.pinholes.iter().any(of_peer) {
                true => Err(Refusal::NotOwner),
                false => Ok(()),
            };
        };
        if !opens(&found.guard, Some(nonce)) {
            return Err(Refusal::NotOwner);
        }
        let id = found.id;
        self.drop_sparing(id, now).map_err(|_| Refusal::Backend)
    }
}
