//! The lease table: every mapping, in the order they were made, and the indexes that make each
//! question about them O(log n).
//!
//! No rules here: whoever puts a mapping in has asked the policy and the kernel before.

use crate::gateway::guard;
use crate::gateway::mapping::{External, Id, Mapping, Protocol};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// The largest id that is taken over from outside (the kernel, a file). A larger one gets a new
/// id, so that counting on can never overflow.
pub(crate) const ADOPTED_ID_MAX: u64 = u64::MAX / 2;

/// An [`External`] packed into one number that sorts by protocol, port and remote host.
///
/// 33 bits are the remote host's: 0 is none, which is not the same as the host 0.0.0.0.
pub(crate) fn outside(external: &External) -> u64 {
    let protocol = u64::from(external.protocol.number());
    let remote = external.remote.map_or(0, |host| u64::from(host.to_bits()) + 1);
    protocol << 49 | u64::from(external.port) << 33 | remote
}

/// An internal endpoint packed likewise; behind it are two bits for a [`rank`].
pub(crate) fn inside(protocol: Protocol, internal: SocketAddrV4) -> u64 {
    let address = u64::from(internal.ip().to_bits());
    u64::from(protocol.number()) << 50 | address << 18 | u64::from(internal.port()) << 2
}

/// How fit a mapping is to be the one whose port packets leave from: first those for any remote
/// host, last the disabled.
fn rank(mapping: &Mapping) -> u64 {
    match (mapping.enabled, mapping.external.remote) {
        (true, None) => 0,
        (true, Some(_)) => 1,
        (false, _) => 2,
    }
}

/// A packed key and what belongs to it; sorts by the key, then by that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair(pub u64, pub u64);

impl Ord for Pair {
    // Each step of a search is one comparison: it must not become a call.
    #[inline(always)]
    fn cmp(&self, other: &Pair) -> Ordering {
        match self.0.cmp(&other.0) {
            Ordering::Equal => self.1.cmp(&other.1),
            different => different,
        }
    }
}

impl PartialOrd for Pair {
    #[inline(always)]
    fn partial_cmp(&self, other: &Pair) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Pairs in order.
///
/// All indexes are of this one type because each type of B-tree costs 6 KB of flash on MIPS.
#[derive(Debug, Default)]
struct Index(BTreeSet<Pair>);

impl Index {
    fn first_of(&self, key: u64) -> Option<u64> {
        self.range(key..=key).next()
    }

    fn range(&self, keys: RangeInclusive<u64>) -> impl Iterator<Item = u64> + '_ {
        let (first, last) = keys.into_inner();
        let from = self.0.range(Pair(first, 0)..);
        from.take_while(move |pair| pair.0 <= last).map(|pair| pair.1)
    }
}

/// Instants as numbers in the same order: nanoseconds from the first one seen, either way.
#[derive(Debug, Default)]
struct Clock(Option<Instant>);

impl Clock {
    const FIRST: u64 = 1 << 63;

    fn number(&self, at: Instant) -> u64 {
        let nanoseconds = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let first = self.0.unwrap_or(at);
        Clock::FIRST
            .saturating_add(nanoseconds(at.saturating_duration_since(first)))
            .saturating_sub(nanoseconds(first.saturating_duration_since(at)))
    }
}

/// Every mapping.
#[derive(Debug)]
pub(crate) struct Table {
    /// By id. Boxed, so that a removal in the middle moves pointers only.
    #[allow(clippy::vec_box)]
    rows: Vec<Box<Mapping>>,
    /// [`outside`] → id.
    externals: Index,
    /// [`inside`] and [`rank`] → id.
    internals: Index,
    /// Address of each host that has mappings → how many.
    hosts: Index,
    /// When a lease ends → id.
    ends: Index,
    clock: Clock,
    next_id: u64,
    /// Filters of all mappings.
    filters: usize,
}

impl Table {
    /// An empty one. The first id is 1.
    pub(crate) fn new() -> Self {
        Table {
            rows: Vec::new(),
            externals: Index::default(),
            internals: Index::default(),
            hosts: Index::default(),
            ends: Index::default(),
            clock: Clock::default(),
            next_id: 1,
            filters: 0,
        }
    }

    /// Puts a mapping in, or in the place of the one with the same id.
    ///
    /// Its outside must not be that of a mapping with another id.
    pub(crate) fn put(&mut self, mapping: Mapping) {
        self.take(mapping.id);
        let id = mapping.id;
        let clash = self.find(&mapping.external);
        debug_assert!(clash.is_none(), "two mappings with one outside");
        self.externals.0.insert(Pair(outside(&mapping.external), id.0));
        self.internals.0.insert(Pair(Table::inside(&mapping), id.0));
        self.count(*mapping.internal.ip(), |count| count + 1);
        if let Some(end) = mapping.expires {
            self.clock.0.get_or_insert(end);
            self.ends.0.insert(Pair(self.clock.number(end), id.0));
        }
        self.filters += guard::filters(&mapping.guard).len();
        self.reserve(id);
        let place = self.rows.partition_point(|row| row.id < id);
        self.rows.insert(place, Box::new(mapping));
    }

    /// Takes a mapping out.
    pub(crate) fn take(&mut self, id: Id) -> Option<Mapping> {
        let place = self.place(id)?;
        let mapping = *self.rows.remove(place);
        self.filters -= guard::filters(&mapping.guard).len();
        self.externals.0.remove(&Pair(outside(&mapping.external), id.0));
        self.internals.0.remove(&Pair(Table::inside(&mapping), id.0));
        self.count(*mapping.internal.ip(), |count| count - 1);
        if let Some(end) = mapping.expires {
            self.ends.0.remove(&Pair(self.clock.number(end), id.0));
        }
        Some(mapping)
    }

    /// An id that no mapping has had.
    pub(crate) fn fresh_id(&self) -> Id {
        Id(self.next_id)
    }

    /// Keeps an id from being given again: something else than a mapping has it.
    pub(crate) fn reserve(&mut self, id: Id) {
        self.next_id = self.next_id.max(id.0.saturating_add(1));
    }

    /// Whether an id from outside can be kept.
    pub(crate) fn may_adopt(&self, id: Id) -> bool {
        (1..=ADOPTED_ID_MAX).contains(&id.0) && self.get(id).is_none()
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
        self.get(Id(self.externals.first_of(outside(external))?))
    }

    /// Mappings of one protocol within `ports`, by port, then remote host. An empty range has none.
    pub(crate) fn range(
        &self,
        protocol: Protocol,
        ports: RangeInclusive<u16>,
    ) -> impl Iterator<Item = &Mapping> {
        let edge = |port: &u16, remote| {
            let port = *port;
            outside(&External { protocol, port, remote })
        };
        let first = edge(ports.start(), None);
        let last = edge(ports.end(), Some(Ipv4Addr::BROADCAST));
        let wanted = (!ports.is_empty()).then(|| self.externals.range(first..=last));
        wanted.into_iter().flatten().filter_map(|id| self.get(Id(id)))
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
        let first = inside(protocol, internal);
        self.internals.range(first..=first | 3).filter_map(|id| self.get(Id(id)))
    }

    /// Mappings of one host and protocol, by their internal port.
    pub(crate) fn of_host(
        &self,
        protocol: Protocol,
        host: Ipv4Addr,
    ) -> impl Iterator<Item = &Mapping> {
        let edge = |port| inside(protocol, SocketAddrV4::new(host, port));
        self.internals.range(edge(0)..=edge(u16::MAX) | 3).filter_map(|id| self.get(Id(id)))
    }

    /// How many filters there are in all.
    pub(crate) fn filters(&self) -> usize {
        self.filters
    }

    /// How many mappings a host has.
    pub(crate) fn count_of(&self, host: Ipv4Addr) -> usize {
        self.hosts.first_of(host.to_bits().into()).unwrap_or(0) as usize
    }

    /// When the next mapping ends.
    pub(crate) fn first_end(&self) -> Option<Instant> {
        self.get(Id(self.ends.0.first()?.1))?.expires
    }

    /// Mappings that have ended by `now`, the earliest first.
    pub(crate) fn due(&self, now: Instant) -> impl Iterator<Item = Id> + '_ {
        self.ends.range(0..=self.clock.number(now)).map(Id)
    }

    fn inside(mapping: &Mapping) -> u64 {
        inside(mapping.external.protocol, mapping.internal) | rank(mapping)
    }

    fn count(&mut self, host: Ipv4Addr, change: impl Fn(u64) -> u64) {
        let key = host.to_bits().into();
        let before = self.hosts.first_of(key).unwrap_or(0);
        self.hosts.0.remove(&Pair(key, before));
        let after = change(before);
        if after > 0 {
            self.hosts.0.insert(Pair(key, after));
        }
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
        let index = |pairs: &mut dyn Iterator<Item = Pair>| pairs.collect::<BTreeSet<_>>();
        let mut hosts = std::collections::BTreeMap::new();
        for row in self.iter() {
            *hosts.entry(u64::from(row.internal.ip().to_bits())).or_insert(0) += 1;
        }
        assert_eq!(
            self.hosts.0,
            index(&mut hosts.into_iter().map(|(host, count)| Pair(host, count)))
        );
        let externals = index(&mut self.iter().map(|m| Pair(outside(&m.external), m.id.0)));
        assert_eq!(externals.len(), self.len());
        assert_eq!(self.externals.0, externals);
        assert_eq!(
            self.internals.0,
            index(&mut self.iter().map(|m| Pair(Table::inside(m), m.id.0)))
        );
        assert_eq!(
            self.filters,
            self.iter().map(|m| guard::filters(&m.guard).len()).sum::<usize>()
        );
        let ends = self.iter().filter_map(|m| Some(Pair(self.clock.number(m.expires?), m.id.0)));
        assert_eq!(self.ends.0, index(&mut ends.into_iter()));
    }
}
