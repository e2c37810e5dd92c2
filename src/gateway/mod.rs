//! The gateway: policy and lease table over a [`Backend`]; `plan` → `apply` → `commit`.
//!
//! Every change is computed first (pure), then made in the kernel in one atomic batch, and only
//! then written into the table: a mapping the kernel refused does not exist. Nothing here reads a
//! clock; every call that needs the time takes `now`.

pub mod guard;
pub mod mapping;
pub mod network;
pub mod pinhole;
pub mod policy;

mod add;
mod closing;
mod delete;
mod elements;
pub(crate) mod holds;
mod holes;
mod map;
mod map6;
mod pace;
mod pinholes;
mod ports;
mod recover;
mod table;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use add::{LEASE_MIN, REMOTES_MAX};
pub use closing::{Closed, Place, CLOSED_MAX};
pub use guard::{FILTERS_MAX, FILTERS_PER_MAPPING};
pub use holds::{HOLDS_MAX, HOLDS_PER_HOST, HOLD_SHORT, HOLD_TCP, HOLD_UDP};
pub use map::{MapRequest, Mapped};
pub use map6::Map6Request;
pub use network::{ExternalState, Lan, Wan};
pub use pinholes::{PINHOLES_MAX, PINHOLES_PER_ADDRESS, PREFIX_GRACE};
pub(crate) use recover::Found;
pub use recover::RESYNC_BATCH;

use crate::netfilter::{Backend, BackendError, Change, Slot, WanRules, WAN_ADDRESSES_MAX};
use elements::Plan;
use holds::Holds;
use mapping::{External, Id, Mapping, Origin, Protocol, Refusal};
use network::is_private;
use pace::Pace;
use pinhole::{Hole, Pinhole};
use pinholes::Pinholes;
use policy::Policy;
use ports::Rng;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::time::Instant;
use table::Table;

/// Most events that wait for [`Gateway::next_event`]. A full table can be flushed without losing
/// one. Beyond it the oldest goes: what it told is in the table, and who watches the table is
/// better served by the latest news.
pub const EVENTS_MAX: usize = 65_536;

/// What a mapping that was asked for has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Its name.
    pub id: Id,
    /// Its external port.
    pub port: u16,
    /// `false` when a mapping that was there has been refreshed.
    pub new: bool,
}

/// Who asks for a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A LAN host, by one of its addresses: only its own mappings (with secure mode off: all).
    Host(IpAddr),
    /// The router's owner.
    Owner,
}

/// Something that has happened, for the log and for those who subscribed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A mapping was made or refreshed.
    Added {
        /// The mapping as it is now.
        mapping: Mapping,
        /// `false` when it was there already.
        new: bool,
    },
    /// A mapping is gone.
    Removed {
        /// The mapping as it was.
        mapping: Mapping,
        /// Why.
        reason: Reason,
    },
    /// A pinhole was made or refreshed.
    PinholeAdded {
        /// The pinhole as it is now.
        pinhole: Pinhole,
        /// `false` when it was there already.
        new: bool,
    },
    /// A pinhole is gone.
    PinholeRemoved {
        /// The pinhole as it was.
        pinhole: Pinhole,
        /// Why.
        reason: Reason,
    },
    /// The external address is another one.
    External(ExternalState),
}

/// Why a mapping is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Somebody deleted it.
    Deleted,
    /// Its time was up.
    Expired,
    /// The rules do not allow it any more.
    Policy,
    /// Its IPv6 prefix is gone.
    Withdrawn,
}

/// The lease table and all decisions about it.
pub struct Gateway<B: Backend> {
    backend: B,
    policy: Policy,
    table: Table,
    pinholes: Pinholes,
    /// The kernel counts the packets of pinholes.
    counting: bool,
    /// When the pinholes of prefixes that are gone end.
    orphans_end: Option<Instant>,
    /// Ports given up a moment ago.
    holds: Holds,
    /// Who makes how much anew.
    pace: Pace,
    /// Where flows may have lost their leave.
    closed: Closed,
    rng: Rng,
    wan: Wan,
    /// The WAN's addresses when it had some last.
    reached: Vec<Ipv4Addr>,
    lans: Vec<Lan>,
    events: VecDeque<Event>,
    update_id: u32,
    /// The kernel may not hold what the table holds.
    behind: bool,
}

impl<B: Backend> Gateway<B> {
    /// An empty gateway. `seed` drives the choice of ports.
    pub fn new(backend: B, policy: Policy, seed: u64) -> Self {
        Gateway {
            backend,
            policy,
            table: Table::new(),
            pinholes: Pinholes::default(),
            counting: false,
            orphans_end: None,
            holds: Holds::default(),
            pace: Pace::default(),
            closed: Closed::default(),
            rng: Rng::new(seed),
            wan: Wan::default(),
            reached: Vec::new(),
            lans: Vec::new(),
            events: VecDeque::new(),
            update_id: 0,
            behind: false,
        }
    }

    /// Number of mappings.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The mapping at this place of the dense list 0..len, in the order they were made.
    pub fn at(&self, index: usize) -> Option<&Mapping> {
        self.table.at(index)
    }

    /// The mapping with this name.
    pub fn get(&self, id: Id) -> Option<&Mapping> {
        self.table.get(id)
    }

    /// The mapping with exactly this outside.
    pub fn find(&self, external: &External) -> Option<&Mapping> {
        self.table.find(external)
    }

    /// Mappings of one protocol within `ports`, by port.
    pub fn range(
        &self,
        protocol: Protocol,
        ports: RangeInclusive<u16>,
    ) -> Box<dyn Iterator<Item = &Mapping> + '_> {
        Box::new(self.table.range(protocol, ports))
    }

    /// Mappings of one internal endpoint: first the enabled for any remote host, in the order they
    /// were made, then the enabled for one, then the disabled.
    pub fn of_internal(
        &self,
        protocol: Protocol,
        internal: SocketAddrV4,
    ) -> impl Iterator<Item = &Mapping> + '_ {
        self.table.at_internal(protocol, internal)
    }

    /// The first mapping made after `after`, for walks that pause.
    pub fn next_after(&self, after: Option<Id>) -> Option<&Mapping> {
        self.table.next_after(after)
    }

    /// Connections the kernel has counted for a mapping; 0 if it cannot be asked.
    pub fn connections(&mut self, mapping: &External) -> u64 {
        let External { protocol, port, remote } = *mapping;
        let guard = self.find(mapping).and_then(|found| found.guard.as_deref());
        let slots: Vec<Slot> = match guard.map_or(&[][..], |guard| &guard.filters) {
            [] => vec![Slot::Forward(protocol, port, remote)],
            filters => filters.iter().map(|f| Slot::Filtered(protocol, port, *f)).collect(),
        };
        slots.iter().filter_map(|slot| self.backend.connections(slot).ok()).sum()
    }

    /// SystemUpdateID (WANIPConnection:2 §2.3.23): +1 with every change of the table, wrapping to
    /// 0 after 4294967295. A range deleted at once is as many changes as it had mappings.
    pub fn system_update_id(&self) -> u32 {
        self.update_id
    }

    /// What is known of the external address: `external_ip` of the policy stands for the WAN's
    /// primary address, but not for none at all.
    pub fn external(&self) -> ExternalState {
        let Some(&primary) = self.wan.addresses.first() else {
            return ExternalState::None;
        };
        let address = self.policy.external_ip.unwrap_or(primary);
        match is_private(address) && !self.policy.allow_private_external {
            true => ExternalState::Private(address),
            false => ExternalState::Active(address),
        }
    }

    /// The WAN side as last told.
    pub fn wan(&self) -> &Wan {
        &self.wan
    }

    /// The LAN prefixes as last told.
    pub fn lans(&self) -> &[Lan] {
        &self.lans
    }

    /// The owner's will.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Takes new rules. Live mappings stay unless the new rules deny them or the router needs
    /// their port; new quotas end none.
    ///
    /// # Errors
    /// The kernel refuses: the old rules stay, and nothing has changed.
    pub fn set_policy(&mut self, policy: Policy, now: Instant) -> Result<(), BackendError> {
        self.handle_timeout(now);
        let state = self.external();
        let denied = |m: &&Mapping| {
            let External { protocol, port, .. } = m.external;
            policy.admits(m.origin, protocol, port, m.internal, false).is_err()
        };
        let denied6 = |p: &&Pinhole| {
            let Hole { internal, internal_port, .. } = p.hole;
            policy.admits6(p.origin, internal, internal_port, false).is_err()
        };
        let holes = self.pinholes.iter().filter(denied6).map(|p| p.id);
        let ids = self.table.iter().filter(denied).map(|m| m.id).chain(holes).collect();

        let before = std::mem::replace(&mut self.policy, policy);
        let done = self.ensure().and_then(|()| self.drop_ids(ids, Reason::Policy, now));
        if done.is_err() {
            self.policy = before;
            self.behind = true;
        }
        self.tell_external(state);
        done
    }

    /// The WAN side is another one; the kernel's WAN elements follow.
    ///
    /// # Errors
    /// The kernel did not follow. The WAN side is taken all the same, because it is a fact, and a
    /// [`resync`](Gateway::resync) is due.
    pub fn set_wan(&mut self, wan: Wan) -> Result<(), BackendError> {
        let state = self.external();
        self.wan = wan;
        // One that is gone for a moment, as with its link, may come back with its flows.
        if !self.wan.addresses.is_empty() {
            let before = std::mem::replace(&mut self.reached, self.wan.addresses.clone());
            if before.iter().any(|address| !self.is_external((*address).into())) {
                self.closed.note_address();
            }
        }
        self.tell_external(state);
        let done = self.ensure();
        self.behind |= done.is_err();
        done
    }

    /// The LAN side is another one. Mappings of hosts that are gone with it stay until they end;
    /// pinholes of a prefix that is gone end with it, or [`PREFIX_GRACE`] later if no other has
    /// come.
    pub fn set_lans(&mut self, lans: Vec<Lan>, now: Instant) {
        self.lans = lans;
        self.withdraw_pinholes(now);
    }

    /// Whether the kernel may not hold what the table holds, because it refused something that
    /// could not wait, has not said what it made of a change, or had lost its table. The next change
    /// makes it good before anything else; a [`resync`](Gateway::resync) does at once.
    pub fn needs_resync(&self) -> bool {
        self.behind
    }

    /// When [`handle_timeout`](Gateway::handle_timeout) is next due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let ends = [self.table.first_end(), self.pinholes.first_end(), self.orphans_end];
        ends.into_iter().flatten().min()
    }

    /// Drops what has ended by `now`. The kernel has ended it already, and is only told when
    /// another mapping of the same internal endpoint takes over its outgoing packets.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.holds.pass(now);
        let changes = self.expire(now);
        // Nobody waits for an answer; what fails here is made good by the next change.
        self.behind |= !changes.is_empty() && self.apply(&changes, now).is_err();
        if self.orphans_end.is_some_and(|end| end <= now) {
            self.withdraw_pinholes(now);
        }
    }

    /// What has happened since the last call. Drain after every mutation; what waits is bounded by
    /// [`EVENTS_MAX`].
    pub fn next_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if event.is_none() {
            // A flush may have made it large.
            self.events = VecDeque::new();
        }
        event
    }

    /// The driver, for what only the daemon may do (removal at the end, status).
    pub fn backend(&mut self) -> &mut B {
        &mut self.backend
    }

    /// Makes `plan` in the kernel and then in the table. Returns what went.
    fn make(&mut self, plan: Plan, now: Instant) -> Result<Vec<Mapping>, BackendError> {
        let unused = self.apply(&elements::changes(&self.table, &plan), now)?;
        let (gone, put) = plan.into_parts();
        let gone = gone.into_iter().filter_map(|id| self.take(id, &unused)).collect();
        if let Some(mapping) = put {
            match self.table.get(mapping.id) {
                Some(old) => self.closed.note_mapping(old, Some(&mapping)),
                None => {
                    self.closed.note_new(&mapping);
                    self.count_new((*mapping.internal.ip()).into(), mapping.origin, now);
                }
            }
            self.put(mapping);
        }
        Ok(gone)
    }

    /// Takes what has ended out of the table. Returns what the kernel cannot know by itself: which
    /// other mapping takes over an internal endpoint.
    fn expire(&mut self, now: Instant) -> Vec<Change> {
        self.expire_pinholes(now);
        let due: Vec<Id> = self.table.due(now).collect();
        if due.is_empty() {
            return Vec::new();
        }
        let plan = Plan::remove(due.clone());
        let mut changes = elements::changes(&self.table, &plan);
        changes.retain(|change| !matches!(change, Change::Remove(_)));
        for mapping in due.into_iter().filter_map(|id| self.take(id, &[])).collect::<Vec<_>>() {
            self.hold(&mapping, now);
            self.tell(Event::Removed { mapping, reason: Reason::Expired });
        }
        changes
    }

    /// One batch, after a resync if one is due, and once more after another if the kernel's table
    /// turns out not to be what we believe. Returns what was removed unused, sorted.
    fn apply(&mut self, changes: &[Change], now: Instant) -> Result<Vec<Slot>, BackendError> {
        if self.behind {
            self.repair(now)?;
        }
        let done = match self.backend.apply(changes, now) {
            Err(BackendError::OutOfStep(_)) => {
                self.repair(now)?;
                self.backend.apply(changes, now)
            }
            done => done,
        };
        self.behind |= matches!(done, Err(BackendError::Unanswered(_)));
        let mut unused = done?;
        unused.sort_unstable();
        Ok(unused)
    }

    /// Makes the kernel's table exist and follow the WAN.
    fn ensure(&mut self) -> Result<(), BackendError> {
        let rules = self.wan_rules();
        // What was in it has not been deleted by whoever removed it, and is not there.
        let empty = self.is_empty() && self.pinholes.is_empty();
        self.behind |= self.backend.ensure(&rules)? && !empty;
        self.counting = rules.counting;
        Ok(())
    }

    fn put(&mut self, mapping: Mapping) {
        self.table.put(mapping);
        self.update_id = self.update_id.wrapping_add(1);
    }

    /// Takes a mapping out of the table. `unused`: the elements that have let nothing in, sorted.
    fn take(&mut self, id: Id, unused: &[Slot]) -> Option<Mapping> {
        let mapping = self.table.take(id)?;
        if !elements::is_unused(&mapping, unused) {
            self.closed.note_mapping(&mapping, None);
        }
        if let Some(heir) =
            self.table.at_internal(mapping.external.protocol, mapping.internal).next()
        {
            self.closed.note_heir(heir);
        }
        self.update_id = self.update_id.wrapping_add(1);
        Some(mapping)
    }

    /// Whether a host may make a mapping or pinhole anew within this minute.
    fn check_pace(&self, host: IpAddr, origin: Origin, now: Instant) -> Result<(), Refusal> {
        let limit = self.policy.limits.new_per_minute;
        match origin == Origin::Manual || self.pace.has_room(host, limit, now) {
            true => Ok(()),
            false => Err(Refusal::QuotaExceeded),
        }
    }

    /// A host has made a mapping or pinhole anew; the owner may make as many as it likes.
    fn count_new(&mut self, host: IpAddr, origin: Origin, now: Instant) {
        if origin != Origin::Manual {
            self.pace.count(host, now);
        }
    }

    /// Keeps the port of a mapping that has ended for its host, if it was made by NAT-PMP or PCP.
    fn hold(&mut self, mapping: &Mapping, now: Instant) {
        if matches!(mapping.origin, Origin::NatPmp | Origin::Pcp) {
            self.holds.keep(mapping, now);
        }
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn tell_external(&mut self, before: ExternalState) {
        let state = self.external();
        if state != before {
            self.tell(Event::External(state));
        }
    }

    /// The addresses whose mapped ports are ours: the WAN's, and the one that the owner says stands in
    /// front of it.
    fn external_addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.policy.external_ip.into_iter().chain(self.wan.addresses.iter().copied())
    }

    /// The devices, and as many of these addresses as may be.
    fn wan_rules(&self) -> WanRules {
        let addresses = self.external_addresses().take(WAN_ADDRESSES_MAX);
        let mut addresses: Vec<Ipv4Addr> = addresses.collect();
        addresses.sort_unstable();
        addresses.dedup();
        let counting = !self.pinholes.is_empty();
        let Wan { device, device6, .. } = self.wan.clone();
        WanRules { device, device6, addresses, counting }
    }
}
