//! Which kernel elements pinholes want, and how to get from one set to the next.
//!
//! A pinhole has an element of its own; with filters one for each of them, and its host one
//! [`Rule::Select6`] that ends with the last such pinhole. Everything here is pure.

use crate::gateway::elements::agree;
use crate::gateway::guard;
use crate::gateway::mapping::Id;
use crate::gateway::pinhole::Pinhole;
use crate::gateway::pinholes::Pinholes;
use crate::netfilter::{Change, Element, Installed, Note, Rule, Slot};
use std::net::Ipv6Addr;
use std::time::Instant;

/// What the kernel must be told so that the pinholes with the ids of `gone`, sorted, go and `put`
/// comes, or takes the place of the one with the same hole. What `put` wants is told again even if
/// it stays as it is.
pub(super) fn changes(pinholes: &Pinholes, gone: &[Id], put: Option<&Pinhole>) -> Vec<Change> {
    let stays = |p: &&Pinhole| {
        gone.binary_search(&p.id).is_err() && put.is_none_or(|put| put.hole != p.hole)
    };
    let mut before = Vec::new();
    let mut after: Vec<Element> = put.into_iter().flat_map(elements).collect();
    let restated = after.len();
    let mut hosts: Vec<Ipv6Addr> = put.into_iter().map(|put| put.hole.internal).collect();
    for pinhole in pinholes.iter().filter(|p| !stays(p)) {
        before.extend(elements(pinhole));
        hosts.push(pinhole.hole.internal);
    }
    hosts.sort_unstable();
    hosts.dedup();
    for host in hosts {
        before.extend(select(pinholes.iter(), host));
        after.extend(select(pinholes.iter().filter(stays).chain(put), host));
    }
    let has = |elements: &[Element], slot: &Slot| elements.iter().any(|e| e.rule.slot() == *slot);
    let slots = before.iter().map(|element| element.rule.slot());
    let mut changes: Vec<Change> =
        slots.filter(|slot| !has(&after, slot)).map(Change::Remove).collect();
    for (i, element) in after.into_iter().enumerate() {
        match has(&before, &element.rule.slot()) {
            true if i < restated || !before.contains(&element) => {
                changes.push(Change::Replace(element));
            }
            true => {}
            false => changes.push(Change::Add(element)),
        }
    }
    changes
}

/// The elements of the pinholes' filters, pinhole by pinhole.
pub(super) fn filtered(pinholes: &Pinholes) -> impl Iterator<Item = Vec<Element>> + '_ {
    pinholes.iter().filter(|p| !guard::filters(&p.guard).is_empty()).map(elements)
}

/// What must be told to a kernel that holds `installed`, as far as it is of pinholes, but for their
/// filters.
pub(super) fn difference(
    pinholes: &Pinholes,
    installed: &[Installed],
    now: Instant,
) -> Vec<Change> {
    let unfiltered = pinholes.iter().filter(|p| guard::filters(&p.guard).is_empty());
    let mut wanted: Vec<Element> = unfiltered.flat_map(elements).collect();
    let mut hosts: Vec<Ipv6Addr> = pinholes.iter().map(|p| p.hole.internal).collect();
    hosts.dedup();
    wanted.extend(hosts.into_iter().filter_map(|host| select(pinholes.iter(), host)));
    wanted.sort_by_key(|element| element.rule.slot());
    let mut changes = Vec::new();
    let mut seen = vec![false; wanted.len()];
    for found in installed {
        let slot = found.rule.slot();
        if !matches!(slot, Slot::Pinhole(_) | Slot::Select6(_)) {
            continue;
        }
        match wanted.binary_search_by_key(&slot, |element| element.rule.slot()) {
            Err(_) => changes.push(Change::Remove(slot)),
            Ok(place) => {
                seen[place] = true;
                if !agree(&wanted[place], found, now) {
                    changes.push(Change::Replace(wanted[place].clone()));
                }
            }
        }
    }
    let missing = wanted.into_iter().zip(seen).filter(|(_, seen)| !seen);
    changes.extend(missing.map(|(element, _)| Change::Add(element)));
    changes
}

/// A pinhole's own elements.
pub(super) fn elements(pinhole: &Pinhole) -> Vec<Element> {
    let note = || Note {
        id: pinhole.id,
        origin: pinhole.origin,
        client: guard::client(&pinhole.guard),
        description: pinhole.description.clone(),
    };
    let (hole, unique_id, expires) = (pinhole.hole, pinhole.unique_id, Some(pinhole.expires));
    let filters = guard::filters(&pinhole.guard);
    if filters.is_empty() {
        return vec![Element { rule: Rule::Pinhole { hole, unique_id, note: note() }, expires }];
    }
    let filtered = |filter: &_| Rule::Filtered6 { hole, filter: *filter, unique_id, note: note() };
    filters.iter().map(|filter| Element { rule: filtered(filter), expires }).collect()
}

/// That a host has pinholes with filters, if it does.
fn select<'a>(pinholes: impl Iterator<Item = &'a Pinhole>, internal: Ipv6Addr) -> Option<Element> {
    let filtered = pinholes
        .filter(|p| p.hole.internal == internal && !guard::filters(&p.guard).is_empty())
        .map(|p| p.expires);
    Some(Element { rule: Rule::Select6 { internal }, expires: Some(filtered.max()?) })
}
