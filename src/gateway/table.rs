//! The lease table: every mapping, in the order they were made, and the indexes that make each
//! question about them O(log n).
//!
//! No rules here: whoever puts a mapping in has asked the policy and the kernel before.

use crate::gateway::mapping::{External, Id, Mapping, Protocol};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::time::Instant;

/// The largest id that is taken over from outside (the kernel, a file). A larger one gets a new
/// id, so that counting on can never overflow.
pub(crate) const ADOPTED_ID_MAX: u64 = u64::MAX / 2;

/// An [`External`] packed into one number that sorts by protocol, port and remote host, so that
/// the comparisons on the way through an index cost next to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Outside(u64);

impl Outside {
    /// 33 bits are the remote host's: 0 is none, which is not the same as the host 0.0.0.0.
    fn of(external: &External) -> Self {
        let protocol = u64::from(external.protocol.number());
        let remote = external.remote.map_or(0, |host| u64::from(host.to_bits()) + 1);
        Outside(protocol << 49 | u64::from(external.port) << 33 | remote)
    }
}

/// An internal endpoint packed likewise, and behind it, in two bits, how fit a mapping is to be the
/// one whose port packets leave from: first those for any remote host, last the disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Inside(u64);

impl Inside {
    fn first_of(protocol: Protocol, internal: SocketAddrV4) -> Self {
        let address = u64::from(internal.ip().to_bits());
        let protocol = u64::from(protocol.number());
        Inside(protocol << 50 | address << 18 | u64::from(internal.port()) << 2)
    }

    fn last_of(protocol: Protocol, internal: SocketAddrV4) -> Self {
        Inside(Inside::first_of(protocol, internal).0 | 3)
    }

    fn of(mapping: &Mapping) -> Self {
        let External { protocol, remote, .. } = mapping.external;
        let rank = match (mapping.enabled, remote) {
            (true, None) => 0,
            (true, Some(_)) => 1,
            (false, _) => 2,
        };
        Inside(Inside::first_of(protocol, mapping.internal).0 | rank)
    }
}

/// Every mapping.
#[derive(Debug)]
pub(crate) struct Table {
    /// By id. Boxed, so that a removal in the middle moves pointers only.
    #[allow(clippy::vec_box)]
    rows: Vec<Box<Mapping>>,
    externals: BTreeMap<Outside, Id>,
    internals: BTreeSet<(Inside, Id)>,
    /// Mappings of each host that has any.
    hosts: BTreeMap<Ipv4Addr, usize>,
    ends: BTreeSet<(Instant, Id)>,
    next_id: u64,
}

impl Table {
    /// An empty one. The first id is 1.
    pub(crate) fn new() -> Self {
        Table {
            rows: Vec::new(),
            externals: BTreeMap::new(),
            internals: BTreeSet::new(),
            hosts: BTreeMap::new(),
            ends: BTreeSet::new(),
            next_id: 1,
        }
    }

    /// Puts a mapping in, or in the place of the one with the same id.
    ///
    /// Its outside must not be that of a mapping with another id.
    pub(crate) fn put(&mut self, mapping: Mapping) {
        self.take(mapping.id);
        let (id, host) = (mapping.id, *mapping.internal.ip());
        let clash = self.externals.insert(Outside::of(&mapping.external), id);
        debug_assert!(clash.is_none(), "two mappings with one outside");
        self.internals.insert((Inside::of(&mapping), id));
        *self.hosts.entry(host).or_insert(0) += 1;
        if let Some(end) = mapping.expires {
            self.ends.insert((end, id));
        }
        self.next_id = self.next_id.max(id.0.saturating_add(1));
        let place = self.rows.partition_point(|row| row.id < id);
        self.rows.insert(place, Box::new(mapping));
    }

    /// Takes a mapping out.
    pub(crate) fn take(&mut self, id: Id) -> Option<Mapping> {
        let place = self.place(id)?;
        let mapping = *self.rows.remove(place);
        self.externals.remove(&Outside::of(&mapping.external));
        self.internals.remove(&(Inside::of(&mapping), id));
        if let Some(count) = self.hosts.get_mut(mapping.internal.ip()) {
            *count -= 1;
            if *count == 0 {
                self.hosts.remove(mapping.internal.ip());
            }
        }
        if let Some(end) = mapping.expires {
            self.ends.remove(&(end, id));
        }
        Some(mapping)
    }

    /// An id that no mapping has had.
    pub(crate) fn fresh_id(&self) -> Id {
        Id(self.next_id)
    }

    /// Number of mappings.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The mapping at this place of the dense list.
    pub(crate) fn at(&self, index: usize) -> Option<&Mapping> {
        self.rows.get(index).map(|row| &**row)
    }

    /// Every mapping, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.rows.iter().map(|row| &**row)
    }

    /// The mapping with this id.
    pub(crate) fn get(&self, id: Id) -> Option<&Mapping> {
        self.at(self.place(id)?)
    }

    /// The first mapping with a larger id.
    pub(crate) fn next_after(&self, after: Option<Id>) -> Option<&Mapping> {
        self.at(self.rows.partition_point(|row| Some(row.id) <= after))
    }

    /// The mapping with exactly this outside.
    pub(crate) fn find(&self, external: &External) -> Option<&Mapping> {
        self.get(*self.externals.get(&Outside::of(external))?)
    }

    /// Mappings of one protocol within `ports`, by port, then remote host. An empty range has none.
    pub(crate) fn range(
        &self,
        protocol: Protocol,
        ports: RangeInclusive<u16>,
    ) -> impl Iterator<Item = &Mapping> {
        let edge = |port: &u16, remote| {
            let port = *port;
            Outside::of(&External { protocol, port, remote })
        };
        let first = edge(ports.start(), None);
        let last = edge(ports.end(), Some(Ipv4Addr::BROADCAST));
        let wanted = (!ports.is_empty()).then(|| self.externals.range(first..=last));
        wanted.into_iter().flatten().filter_map(|(_, id)| self.get(*id))
    }

    /// Mappings of one external port, whatever their remote host.
    pub(crate) fn at_port(&self, protocol: Protocol, port: u16) -> impl Iterator<Item = &Mapping> {
        self.range(protocol, port..=port)
    }

    /// Mappings of one internal endpoint: those for any remote host, then those for one, then the
    /// disabled; each by id.
    pub(crate) fn at_internal(
        &self,
        protocol: Protocol,
        internal: SocketAddrV4,
    ) -> impl Iterator<Item = &Mapping> {
        let first = (Inside::first_of(protocol, internal), Id(0));
        let last = (Inside::last_of(protocol, internal), Id(u64::MAX));
        self.internals.range(first..=last).filter_map(|(_, id)| self.get(*id))
    }

    /// How many mappings a host has.
    pub(crate) fn count_of(&self, host: Ipv4Addr) -> usize {
        self.hosts.get(&host).copied().unwrap_or(0)
    }

    /// When the next mapping ends.
    pub(crate) fn first_end(&self) -> Option<Instant> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// Mappings that have ended by `now`, the earliest first.
    pub(crate) fn due(&self, now: Instant) -> impl Iterator<Item = Id> + '_ {
        self.ends.iter().take_while(move |(end, _)| *end <= now).map(|(_, id)| *id)
    }

    fn place(&self, id: Id) -> Option<usize> {
        self.rows.binary_search_by_key(&id, |row| row.id).ok()
    }
}

#[cfg(test)]
impl Table {
    /// Panics unless every index says what the rows say.
    pub(crate) fn check(&self) {
        assert!(self.rows.windows(2).all(|pair| pair[0].id < pair[1].id));
        assert!(self.rows.iter().all(|row| row.id.0 < self.next_id));
        let mut hosts = BTreeMap::new();
        for row in self.iter() {
            *hosts.entry(*row.internal.ip()).or_insert(0) += 1;
        }
        assert_eq!(self.hosts, hosts);
        assert_eq!(self.externals, self.iter().map(|m| (Outside::of(&m.external), m.id)).collect());
        let internals = self.iter().map(|m| (Inside::of(m), m.id)).collect();
        assert_eq!(self.internals, internals);
        let ends = self.iter().filter_map(|m| Some((m.expires?, m.id))).collect();
        assert_eq!(self.ends, ends);
    }
}
