//! IPv6 pinholes: who may have one, and what ends one before its time.
//!
//! The order of refusals is that of mappings: the asker, the port, the room, the kernel. Nothing
//! is translated, so no external address is needed, and one pinhole is one kernel element.

use crate::gateway::mapping::{clean_description, Id, Origin, Refusal};
use crate::gateway::pinhole::{Hole, Pinhole, PinholeGranted, PinholeRequest};
use crate::gateway::{guard, holes, Asker, Event, Gateway, Reason, LEASE_MIN};
use crate::gateway::{FILTERS_MAX, FILTERS_PER_MAPPING};
use crate::netfilter::Backend;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Most pinholes in all.
pub const PINHOLES_MAX: usize = 256;
/// Most pinholes to one address.
pub const PINHOLES_PER_ADDRESS: usize = 64;
/// How long the pinholes of a prefix outlive it while nothing has taken its place: a link that
/// flaps or a reconnect loses nothing.
pub const PREFIX_GRACE: Duration = Duration::from_secs(5);

/// Every pinhole.
///
/// A sorted row and no index beside it: [`PINHOLES_MAX`] are walked in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Pinholes {
    /// By hole. Boxed, so that an insertion in the middle moves pointers only.
    #[allow(clippy::vec_box)]
    rows: Vec<Box<Pinhole>>,
    /// UniqueID last given.
    last_unique_id: u16,
}

impl Pinholes {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pinhole> {
        self.rows.iter().map(|row| &**row)
    }

    pub(crate) fn find(&self, hole: &Hole) -> Option<&Pinhole> {
        self.rows.get(self.place(hole).ok()?).map(|row| &**row)
    }

    pub(crate) fn of_unique_id(&self, unique_id: u16) -> Option<&Pinhole> {
        self.iter().find(|pinhole| pinhole.unique_id == unique_id)
    }

    pub(crate) fn has(&self, id: Id) -> bool {
        self.iter().any(|pinhole| pinhole.id == id)
    }

    pub(crate) fn first_end(&self) -> Option<Instant> {
        self.iter().map(|pinhole| pinhole.expires).min()
    }

    /// Puts one in, or in the place of the one with the same hole.
    fn put(&mut self, pinhole: Pinhole) {
        let pinhole = Box::new(pinhole);
        match self.place(&pinhole.hole) {
            Ok(place) => self.rows[place] = pinhole,
            Err(place) => {
                self.last_unique_id = pinhole.unique_id;
                self.rows.insert(place, pinhole);
            }
        }
    }

    /// Takes out what `goes` says.
    pub(crate) fn take(&mut self, goes: impl Fn(&Pinhole) -> bool) -> Vec<Pinhole> {
        let mut gone = Vec::new();
        let mut place = 0;
        while let Some(row) = self.rows.get(place) {
            match goes(row) {
                true => gone.push(*self.rows.remove(place)),
                false => place += 1,
            }
        }
        gone
    }

    /// A UniqueID that is not in use, and was not for as long as possible.
    pub(crate) fn fresh_unique_id(&self) -> u16 {
        let mut unique_id = self.last_unique_id;
        loop {
            unique_id = unique_id.wrapping_add(1).max(1);
            if self.of_unique_id(unique_id).is_none() {
                return unique_id;
            }
        }
    }

    fn place(&self, hole: &Hole) -> Result<usize, usize> {
        self.rows.binary_search_by(|row| row.hole.cmp(hole))
    }
}

impl<B: Backend> Gateway<B> {
    /// Every pinhole, by its internal address and port.
    pub fn pinholes(&self) -> impl Iterator<Item = &Pinhole> + '_ {
        self.pinholes.iter()
    }

    /// The pinhole with this UniqueID.
    pub fn pinhole(&self, unique_id: u16) -> Option<&Pinhole> {
        self.pinholes.of_unique_id(unique_id)
    }

    /// Packets that the kernel has counted for a pinhole; 0 if it is not there or cannot be asked.
    pub fn pinhole_packets(&mut self, unique_id: u16) -> u64 {
        let elements = self.pinhole(unique_id).map(holes::elements).unwrap_or_default();
        let slots = elements.iter().map(|element| element.rule.slot());
        slots.filter_map(|slot| self.backend.connections(&slot).ok()).sum()
    }

    /// Opens or refreshes a pinhole (WANIPv6FirewallControl:1 §2.5.3): the same hole keeps its
    /// names and origin and gets the new lease. A lease below [`LEASE_MIN`] is lengthened to it.
    ///
    /// # Errors
    /// `Denied`, `NotOwner`, `InvalidTarget`, `Conflict` (the owner asks for a
    /// host's), `QuotaExceeded`, `TableFull`, `Backend`; nothing has
    /// changed then.
    pub fn add_pinhole(
        &mut self,
        request: &PinholeRequest<'_>,
        now: Instant,
    ) -> Result<PinholeGranted, Refusal> {
        self.handle_timeout(now);
        self.check_pinhole(request)?;
        let expires = now.checked_add(request.lease.max(LEASE_MIN)).ok_or(Refusal::Denied)?;
        let old = self.pinholes.find(&request.hole).cloned();
        let new = old.is_none();
        let pinhole = match old {
            Some(old) if !request.origin.is_of(old.origin) => {
                return Err(if old.origin == Origin::Manual {
                    Refusal::NotOwner
                } else {
                    Refusal::Conflict
                });
            }
            // Others must not believe that everybody is let in, and never shorten it.
            Some(old) if !guard::filters(&old.guard).is_empty() => return Err(Refusal::Conflict),
            Some(old) if old.origin != request.origin => {
                Pinhole { expires: expires.max(old.expires), ..old }
            }
            Some(old) => Pinhole { expires, ..old },
            None => {
                self.check_pace(request.hole.internal.into(), request.origin, now)?;
                self.check_pinhole_room(request.hole.internal)?;
                Pinhole {
                    id: self.table.fresh_id(),
                    unique_id: self.pinholes.fresh_unique_id(),
                    hole: request.hole,
                    expires,
                    origin: request.origin,
                    description: clean_description(request.description),
                    guard: None,
                }
            }
        };
        let (id, unique_id) = (pinhole.id, pinhole.unique_id);
        self.make_pinhole(pinhole, new, now)?;
        Ok(PinholeGranted { id, unique_id, new })
    }

    /// Gives a pinhole another lease (WANIPv6FirewallControl:1 §2.5.4); one that was asked for by PCP
    /// is only lengthened, as its client counts on the lease it was told.
    ///
    /// # Errors
    /// `NoSuchMapping`, `NotOwner`, `Backend`.
    pub fn update_pinhole(
        &mut self,
        asker: Asker,
        unique_id: u16,
        lease: Duration,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.handle_timeout(now);
        let old = self.own_pinhole(asker, unique_id)?.clone();
        let mut expires = now.checked_add(lease.max(LEASE_MIN)).ok_or(Refusal::Denied)?;
        if old.origin == Origin::Pcp {
            expires = expires.max(old.expires);
        }
        self.make_pinhole(Pinhole { expires, ..old }, false, now)
    }

    /// Closes a pinhole (WANIPv6FirewallControl:1 §2.5.5).
    ///
    /// # Errors
    /// `NoSuchMapping`, `NotOwner`, `Backend`.
    pub fn delete_pinhole(
        &mut self,
        asker: Asker,
        unique_id: u16,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.handle_timeout(now);
        let id = self.own_pinhole(asker, unique_id)?.id;
        self.drop_ids(vec![id], Reason::Deleted, now).map_err(|_| Refusal::Backend)
    }

    fn own_pinhole(&self, asker: Asker, unique_id: u16) -> Result<&Pinhole, Refusal> {
        let pinhole = self.pinhole(unique_id).ok_or(Refusal::NoSuchMapping)?;
        let own = match asker {
            Asker::Owner => true,
            Asker::Host(_) if pinhole.origin == Origin::Manual => false,
            Asker::Host(host) => !self.policy.secure_mode || host == pinhole.hole.internal,
        };
        own.then_some(pinhole).ok_or(Refusal::NotOwner)
    }

    pub(super) fn make_pinhole(
        &mut self,
        pinhole: Pinhole,
        new: bool,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.apply(&holes::changes(&self.pinholes, &[], Some(&pinhole)), now)
            .map_err(|_| Refusal::Backend)?;
        self.table.reserve(pinhole.id);
        match self.pinholes.find(&pinhole.hole) {
            Some(old) => self.closed.note_pinhole(old, Some(&pinhole)),
            None => self.count_new(pinhole.hole.internal.into(), pinhole.origin, now),
        }
        self.pinholes.put(pinhole.clone());
        self.follow_counting();
        self.tell(Event::PinholeAdded { pinhole, new });
        Ok(())
    }

    fn check_pinhole(&self, request: &PinholeRequest<'_>) -> Result<(), Refusal> {
        let Hole { internal, internal_port, .. } = request.hole;
        let client = IpAddr::V6(request.client);
        if !self.lans.iter().any(|lan| lan.contains(client)) {
            return Err(request.origin.stranger());
        }
        if self.policy.secure_mode && internal != request.client {
            return Err(Refusal::NotOwner);
        }
        if internal_port == 0 || !self.is_pinhole_target(client, internal) {
            return Err(Refusal::InvalidTarget);
        }
        self.policy.admits6(request.origin, internal, internal_port, request.high_ports_only)
    }

    /// Whether `target` can be a host on a device where `client` is, too: inside a prefix, no
    /// address of the router, not the prefix's own anycast address (RFC 4291 §2.6.1), nothing of
    /// the link alone.
    pub(super) fn is_pinhole_target(&self, client: IpAddr, target: Ipv6Addr) -> bool {
        let never = target.is_unspecified()
            || target.is_loopback()
            || target.is_multicast()
            || target.is_unicast_link_local();
        let address = IpAddr::V6(target);
        let of_client =
            |device: &str| self.lans.iter().any(|lan| lan.device == device && lan.contains(client));
        !never
            && self.lans.iter().any(|lan| lan.contains(address) && of_client(&lan.device))
            && !self.lans.iter().any(|lan| lan.address == address || lan.is_anycast(target))
    }

    pub(super) fn check_pinhole_room(&self, internal: Ipv6Addr) -> Result<(), Refusal> {
        let own = self.pinholes.iter().filter(|pinhole| pinhole.hole.internal == internal).count();
        if own >= PINHOLES_PER_ADDRESS {
            return Err(Refusal::QuotaExceeded);
        }
        match self.pinholes.iter().count() < PINHOLES_MAX {
            true => Ok(()),
            false => Err(Refusal::TableFull),
        }
    }

    /// Whether a pinhole with so many filters may come.
    fn has_room_for(&self, filters: usize) -> bool {
        let all: usize = self.pinholes.iter().map(|p| guard::filters(&p.guard).len()).sum();
        filters <= FILTERS_PER_MAPPING && all + filters <= FILTERS_MAX
    }

    /// Ends the pinholes of prefixes that are gone: at once where another prefix of its kind has
    /// come, else when [`PREFIX_GRACE`] is over.
    pub(super) fn withdraw_pinholes(&mut self, now: Instant) {
        let prefixes = |lan: &&crate::gateway::Lan| match lan.address {
            IpAddr::V6(address) => !address.is_unicast_link_local(),
            IpAddr::V4(_) => false,
        };
        let kinds: Vec<bool> = self
            .lans
            .iter()
            .filter(prefixes)
            .filter_map(|lan| match lan.address {
                IpAddr::V6(address) => Some(address.is_unique_local()),
                IpAddr::V4(_) => None,
            })
            .collect();
        let orphan = |pinhole: &&Pinhole| {
            !self.lans.iter().any(|lan| lan.contains(pinhole.hole.internal.into()))
        };
        let over = self.orphans_end.is_some_and(|end| end <= now);
        let mut waiting = false;
        let mut ids = Vec::new();
        for pinhole in self.pinholes.iter().filter(orphan) {
            match over || kinds.contains(&pinhole.hole.internal.is_unique_local()) {
                true => ids.push(pinhole.id),
                false => waiting = true,
            }
        }
        if !waiting {
            self.orphans_end = None;
        } else if self.orphans_end.is_none() {
            self.orphans_end = now.checked_add(PREFIX_GRACE);
        }
        if self.drop_ids(ids.clone(), Reason::Withdrawn, now).is_err() {
            // They lead nowhere, whatever the kernel says; a resync makes it agree.
            self.forget_pinholes(&ids, Reason::Withdrawn);
            self.behind = true;
        }
    }

    /// Takes pinholes with these ids, sorted, out of the table alone.
    pub(super) fn forget_pinholes(&mut self, ids: &[Id], reason: Reason) {
        for pinhole in self.pinholes.take(|pinhole| ids.binary_search(&pinhole.id).is_ok()) {
            self.closed.note_pinhole(&pinhole, None);
            self.tell(Event::PinholeRemoved { pinhole, reason });
        }
        self.follow_counting();
    }

    /// Takes what has ended out of the table; the kernel has ended it itself.
    pub(super) fn expire_pinholes(&mut self, now: Instant) {
        for pinhole in self.pinholes.take(|pinhole| pinhole.expires <= now) {
            self.closed.note_pinhole(&pinhole, None);
            self.tell(Event::PinholeRemoved { pinhole, reason: Reason::Expired });
        }
        self.follow_counting();
    }

    /// Has the packets of pinholes counted while there are some, and only then.
    fn follow_counting(&mut self) {
        if self.counting == self.pinholes.is_empty() {
            self.behind |= self.ensure().is_err();
        }
    }

    /// Puts back pinholes of an earlier run or of the kernel. What has ended, is forbidden or over
    /// the limits is left out; names that are taken are given anew. Returns their ids, sorted.
    pub(super) fn admit_pinholes(&mut self, found: Vec<Pinhole>, now: Instant) -> Vec<Id> {
        let mut admitted = Vec::new();
        for mut pinhole in found {
            let Hole { internal, internal_port, .. } = pinhole.hole;
            let admissible = pinhole.expires > now
                && internal_port != 0
                && self.pinholes.find(&pinhole.hole).is_none()
                && self.policy.admits6(pinhole.origin, internal, internal_port, false).is_ok()
                && self.check_pinhole_room(internal).is_ok()
                && self.has_room_for(guard::filters(&pinhole.guard).len());
            if !admissible {
                self.closed.note_pinhole(&pinhole, self.pinholes.find(&pinhole.hole));
                continue;
            }
            if !self.table.may_adopt(pinhole.id) || self.pinholes.has(pinhole.id) {
                pinhole.id = self.table.fresh_id();
            }
            if pinhole.unique_id == 0 || self.pinhole(pinhole.unique_id).is_some() {
                pinhole.unique_id = self.pinholes.fresh_unique_id();
            }
            admitted.push(pinhole.id);
            self.table.reserve(pinhole.id);
            self.pinholes.put(pinhole);
        }
        admitted.sort_unstable();
        admitted
    }
}
