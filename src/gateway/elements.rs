//! Which kernel elements a set of mappings wants, and how to get from one set to the next.
//!
//! - Every mapping has an element of its own: [`Rule::Forward`], or [`Rule::Held`] while disabled, or
//!   with filters one [`Rule::Filtered`] for each of them and a [`Rule::Select`].
//! - The enabled mappings of one external port share one [`Rule::Gate`]. It ends with the last of
//!   them, so the kernel's own clock always ends it at the right time.
//! - The enabled mappings of one internal endpoint share one [`Rule::Reverse`], because packets
//!   can leave from one port only: that of the lowest id without a remote host, else that of the
//!   lowest id. It ends with that mapping; the next one takes over in
//!   [`handle_timeout`](crate::gateway::Gateway::handle_timeout). The oldest and not the
//!   longest-lived is taken, so that a refresh never moves a host's outgoing port.
//!
//! Everything here is pure, and a mutation costs O(log n) for each mapping it touches and each
//! mapping that shares its external port, of which there are at most
//! [`REMOTES_MAX`](crate::gateway::REMOTES_MAX).

use crate::gateway::guard::{self, Filter};
use crate::gateway::mapping::{External, Id, Mapping, Protocol};
use crate::gateway::table::{inside, outside, Pair, Table};
use crate::netfilter::{Change, Element, Installed, Note, Rule, Slot};
use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// How far the kernel's idea of a lease may be off ours before a resync corrects it. Time passes
/// while a table is read, and the kernel counts in ticks.
pub(crate) const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);

/// A mutation of the table that has not been made yet.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// What goes, sorted.
    remove: Vec<Id>,
    /// What comes, or takes the place of the mapping with the same id.
    put: Option<Mapping>,
}

impl Plan {
    /// One mapping comes, or takes the place of the one with the same id.
    pub(crate) fn put(mapping: Mapping) -> Self {
        Plan { remove: Vec::new(), put: Some(mapping) }
    }

    /// Some mappings go.
    pub(crate) fn remove(mut ids: Vec<Id>) -> Self {
        ids.sort_unstable();
        Plan { remove: ids, put: None }
    }

    /// What goes, sorted, and what comes.
    pub(crate) fn into_parts(self) -> (Vec<Id>, Option<Mapping>) {
        (self.remove, self.put)
    }
}

/// What the kernel must be told so that `plan` can be made.
///
/// The elements of the mapping that `plan` puts are told again even if they stay as they are: a
/// "yes" to a refresh is then the kernel's own.
pub(crate) fn changes(table: &Table, plan: &Plan) -> Vec<Change> {
    let mut slots = Vec::new();
    let put = plan.put.as_ref();
    for id in plan.remove.iter().copied().chain(put.map(|mapping| mapping.id)) {
        slots.extend(table.get(id).into_iter().flat_map(slots_of));
    }
    let restated: Vec<Slot> = put.into_iter().flat_map(slots_of).collect();
    slots.extend(&restated);
    slots.sort_unstable();
    slots.dedup();

    let (before, after) = (View { table, plan: None }, View { table, plan: Some(plan) });
    let mut changes = Vec::new();
    for slot in slots {
        match (before.element(&slot), after.element(&slot)) {
            (None, Some(new)) => changes.push(Change::Add(new)),
            (Some(old), Some(new)) if old != new || restated.contains(&slot) => {
                changes.push(Change::Replace(new));
            }
            (Some(_), None) => changes.push(Change::Remove(slot)),
            _ => {}
        }
    }
    changes
}

/// The elements of a table's filters, mapping by mapping.
pub(crate) fn filtered(table: &Table) -> impl Iterator<Item = Vec<Element>> + '_ {
    let view = View { table, plan: None };
    let with_filters = |m: &&Mapping| m.enabled && !guard::filters(&m.guard).is_empty();
    table.iter().filter(with_filters).map(move |mapping| {
        let slots = slots_of(mapping).filter(|slot| matches!(slot, Slot::Filtered(..)));
        slots.filter_map(|slot| view.element(&slot)).collect()
    })
}

/// What must be told to a kernel that holds `installed` so that it holds these filters, each mapping's
/// or pinhole's in one of `groups`, and no others: first what goes, then what comes, which must be told
/// at once.
///
/// Where one is lacking all of its group are told anew: the kernel does not take one whose first
/// address and port lie inside another that is there.
pub(crate) fn filters(
    groups: impl Iterator<Item = Vec<Element>>,
    installed: &[Installed],
    now: Instant,
) -> (Vec<Change>, Vec<Change>) {
    let is_filter = |slot: &Slot| matches!(slot, Slot::Filtered(..) | Slot::Filtered6(..));
    let there = installed.iter().map(|found| (found.rule.slot(), found));
    let mut there: Vec<(Slot, &Installed)> = there.filter(|(slot, _)| is_filter(slot)).collect();
    there.sort_unstable_by_key(|(slot, _)| *slot);
    let place = |slot: &Slot| there.binary_search_by_key(slot, |(slot, _)| *slot).ok();
    let mut wanted = vec![false; there.len()];
    let mut puts = Vec::new();
    for group in groups {
        let places: Vec<_> = group.iter().map(|element| place(&element.rule.slot())).collect();
        let mut as_wanted = true;
        for (element, place) in group.iter().zip(&places) {
            as_wanted &= place.is_some_and(|place| agree(element, there[place].1, now));
            if let Some(place) = place {
                wanted[*place] = true;
            }
        }
        if !as_wanted {
            puts.extend(group.into_iter().zip(places).map(|(element, place)| match place {
                Some(_) => Change::Replace(element),
                None => Change::Restore(element),
            }));
        }
    }
    let unwanted = there.iter().zip(wanted).filter(|(_, wanted)| !wanted);
    (unwanted.map(|((slot, _), _)| Change::Remove(*slot)).collect(), puts)
}

/// What must be told to a kernel that holds `installed` so that it holds what `table` wants, but for
/// pinholes and [`filters`].
/// No mapping in `table` may have ended by `now`.
pub(crate) fn difference<'a>(
    table: &'a Table,
    installed: &[Installed],
    now: Instant,
) -> impl Iterator<Item = Change> + 'a {
    let view = View { table, plan: None };
    let mut seen = BTreeSet::new();
    let mut changes = Vec::new();
    for found in installed {
        let slot = found.rule.slot();
        let Some(number) = packed(&slot) else { continue };
        seen.insert(number);
        match view.element(&slot) {
            None => changes.push(Change::Remove(slot)),
            Some(wanted) if !agree(&wanted, found, now) => changes.push(Change::Replace(wanted)),
            Some(_) => {}
        }
    }
    // In the table's order, so that no mapping is long without a part of it.
    let missing = table
        .iter()
        .flat_map(slots_of)
        .filter(move |slot| packed(slot).is_some_and(|number| seen.insert(number)));
    changes
        .into_iter()
        .chain(missing.filter_map(move |slot| view.element(&slot)).map(Change::Restore))
}

/// A mapping's slot in numbers: its kind and its key. Of the type that the table's indexes are of,
/// too. `None`: a filter's or pinhole's.
fn packed(slot: &Slot) -> Option<Pair> {
    let outside = |protocol, port, remote| outside(&External { protocol, port, remote });
    Some(match *slot {
        Slot::Gate(protocol, port) => Pair(0, outside(protocol, port, None)),
        Slot::Forward(protocol, port, remote) => Pair(1, outside(protocol, port, remote)),
        Slot::Held(protocol, port, remote) => Pair(2, outside(protocol, port, remote)),
        Slot::Reverse(protocol, internal) => Pair(3, inside(protocol, internal)),
        Slot::Select(protocol, port) => Pair(4, outside(protocol, port, None)),
        Slot::Filtered(..) | Slot::Pinhole(_) | Slot::Select6(_) | Slot::Filtered6(..) => {
            return None;
        }
    })
}

pub(super) fn agree(wanted: &Element, found: &Installed, now: Instant) -> bool {
    let left = wanted.expires.map(|end| end.saturating_duration_since(now));
    wanted.rule == found.rule
        && match (left, found.remaining) {
            (Some(a), Some(b)) => a.abs_diff(b) <= CLOCK_TOLERANCE,
            (a, b) => a == b,
        }
}

/// Every key under which a mapping may have a say.
fn slots_of(mapping: &Mapping) -> impl Iterator<Item = Slot> + '_ {
    let External { protocol, port, remote } = mapping.external;
    let filters = guard::filters(&mapping.guard);
    let select = (!filters.is_empty()).then_some(Slot::Select(protocol, port));
    [
        Slot::Gate(protocol, port),
        Slot::Forward(protocol, port, remote),
        Slot::Held(protocol, port, remote),
        Slot::Reverse(protocol, mapping.internal),
    ]
    .into_iter()
    .chain(select)
    .chain(filters.iter().map(move |filter| Slot::Filtered(protocol, port, *filter)))
}

/// Whether nothing has come in through a mapping that has gone, of whose elements those in `unused`,
/// sorted, have let nothing in.
pub(super) fn is_unused(mapping: &Mapping, unused: &[Slot]) -> bool {
    let unfiltered = guard::filters(&mapping.guard).is_empty();
    let own = |slot: &Slot| slot.tells_use() && matches!(slot, Slot::Forward(..)) == unfiltered;
    slots_of(mapping).filter(own).all(|slot| unused.binary_search(&slot).is_ok())
}

/// The table as it is, or as it will be once `plan` is made.
#[derive(Clone, Copy)]
struct View<'a> {
    table: &'a Table,
    plan: Option<&'a Plan>,
}

impl<'a> View<'a> {
    /// What the kernel shall hold under this key.
    fn element(self, slot: &Slot) -> Option<Element> {
        match *slot {
            Slot::Gate(protocol, port) => {
                let expires = self.last_end(protocol, port, |m| m.enabled)?;
                Some(Element { rule: Rule::Gate { protocol, port }, expires })
            }
            Slot::Select(protocol, port) => {
                let expires = self.last_end(protocol, port, |m| {
                    m.enabled && !guard::filters(&m.guard).is_empty()
                })?;
                Some(Element { rule: Rule::Select { protocol, port }, expires })
            }
            Slot::Forward(protocol, port, remote) => {
                self.own(External { protocol, port, remote }, true, None)
            }
            Slot::Filtered(protocol, port, filter) => {
                self.own(External { protocol, port, remote: None }, true, Some(filter))
            }
            Slot::Held(protocol, port, remote) => {
                self.own(External { protocol, port, remote }, false, None)
            }
            Slot::Reverse(protocol, internal) => self.reverse(protocol, internal),
            Slot::Pinhole(_) | Slot::Select6(_) | Slot::Filtered6(..) => None,
        }
    }

    /// When the last of those mappings of a port that `count` ends; outer `None` without any.
    fn last_end(
        self,
        protocol: Protocol,
        port: u16,
        count: impl Fn(&Mapping) -> bool,
    ) -> Option<Option<Instant>> {
        let here = self.table.at_port(protocol, port);
        let new = |m: &Mapping| (m.external.protocol, m.external.port) == (protocol, port);
        let ends = self.after(here, new).filter(|m| count(m)).map(|m| m.expires);
        // `None` is later than every end, though it sorts first.
        ends.max_by_key(|end| (end.is_none(), *end))
    }

    fn own(self, external: External, enabled: bool, filter: Option<Filter>) -> Option<Element> {
        let here = self.table.find(&external).into_iter();
        let mapping =
            self.after(here, |m| m.external == external).find(|m| m.enabled == enabled)?;
        let filters = guard::filters(&mapping.guard);
        let fits = match filter {
            Some(filter) => filters.contains(&filter),
            None => filters.is_empty() || !enabled,
        };
        if !fits {
            return None;
        }
        let External { protocol, port, remote } = external;
        let internal = mapping.internal;
        let note = Note {
            id: mapping.id,
            origin: mapping.origin,
            client: guard::client(&mapping.guard),
            description: mapping.description.clone(),
        };
        let rule = match (filter, enabled) {
            (Some(filter), _) => Rule::Filtered { protocol, port, filter, internal, note },
            (None, true) => Rule::Forward { protocol, port, remote, internal, note },
            (None, false) => Rule::Held { protocol, port, remote, internal, note },
        };
        Some(Element { rule, expires: mapping.expires })
    }

    fn reverse(self, protocol: Protocol, internal: SocketAddrV4) -> Option<Element> {
        // The index has the fittest first, so that only what the plan takes away is passed over.
        let kept = self.kept(self.table.at_internal(protocol, internal)).find(|m| m.enabled);
        let new = |m: &Mapping| (m.external.protocol, m.internal) == (protocol, internal);
        let coming = self.coming(new).filter(|m| m.enabled);
        let first =
            kept.into_iter().chain(coming).min_by_key(|m| (m.external.remote.is_some(), m.id))?;
        let rule = Rule::Reverse { protocol, internal, port: first.external.port };
        Some(Element { rule, expires: first.expires })
    }

    /// `here` without what the plan removes or replaces, and with what it puts if that is `new`
    /// here.
    fn after(
        self,
        here: impl Iterator<Item = &'a Mapping>,
        new: impl Fn(&Mapping) -> bool,
    ) -> impl Iterator<Item = &'a Mapping> {
        self.kept(here).chain(self.coming(new))
    }

    fn kept(self, here: impl Iterator<Item = &'a Mapping>) -> impl Iterator<Item = &'a Mapping> {
        let put = self.plan.and_then(|plan| plan.put.as_ref());
        let removed = self.plan.map_or(&[][..], |plan| &plan.remove);
        here.filter(move |m| {
            put.is_none_or(|put| put.id != m.id) && removed.binary_search(&m.id).is_err()
        })
    }

    fn coming(self, new: impl Fn(&Mapping) -> bool) -> Option<&'a Mapping> {
        self.plan.and_then(|plan| plan.put.as_ref()).filter(|put| new(put))
    }
}
