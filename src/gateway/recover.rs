//! Getting back in step: with the kernel after a crash or an edit behind our back, with an earlier
//! run after a restart.

use crate::gateway::elements::{self, difference, CLOCK_TOLERANCE};
use crate::gateway::guard::{self, Client, Filter, Guard, FILTERS_MAX, FILTERS_PER_MAPPING};
use crate::gateway::mapping::{clean_description, External, Id, Mapping};
use crate::gateway::pinhole::{Hole, Pinhole};
use crate::gateway::table::ADOPTED_ID_MAX;
use crate::gateway::{holes, Gateway};
use crate::netfilter::{Backend, BackendError, Installed, Note, Rule};
use std::net::SocketAddrV4;
use std::time::Instant;

/// Most changes that a resync makes in one batch. What is put right again need not be atomic, and
/// a full table in one message would take megabytes.
pub const RESYNC_BATCH: usize = 1024;

impl<B: Backend> Gateway<B> {
    /// Reads mappings and pinholes back from the kernel after a crash: called once, before anything is added.
    /// Returns how many there are. What the rules forbid by now, conflicts, or is over the limits
    /// is left out, and the kernel is made to agree; its flows have no leave any more.
    ///
    /// For the LAN nothing has happened, so there is no event.
    ///
    /// # Errors
    /// The kernel could not be read: nothing has changed. Or it could not be put in step: the
    /// mappings are adopted all the same, and a [`resync`](Gateway::resync) is due.
    pub fn adopt(&mut self, now: Instant) -> Result<usize, BackendError> {
        let found = Found::of(self.backend.list()?, now);
        let mappings = found.mappings.into_iter().map(|(mapping, _)| mapping).collect();
        let pinholes = found.pinholes.into_iter().map(|(pinhole, _)| pinhole).collect();
        let count = self.admit(mappings, now).len() + self.admit_pinholes(pinholes, now).len();
        self.resync(now)?;
        Ok(count)
    }

    /// Puts back mappings and pinholes saved by an earlier run, with new ids where the old are taken.
    /// What has ended, conflicts with what is there, is forbidden by the rules, or is over the limits,
    /// is left out, and its flows have no leave any more. Returns how many are back. There is no event.
    ///
    /// # Errors
    /// The kernel refuses: none is back.
    pub fn restore(
        &mut self,
        saved: Vec<Mapping>,
        holes: Vec<Pinhole>,
        now: Instant,
    ) -> Result<usize, BackendError> {
        self.handle_timeout(now);
        let ids = self.admit(saved, now);
        let holes = self.admit_pinholes(holes, now);
        if let Err(error) = self.resync(now) {
            for id in ids {
                self.table.take(id);
            }
            self.pinholes.take(|pinhole| holes.binary_search(&pinhole.id).is_ok());
            return Err(error);
        }
        Ok(ids.len() + holes.len())
    }

    /// After a crash: of what an earlier run had saved the kernel has ended what was due, whose flows
    /// have no leave any more. What else is not there was deleted, which may have spared its flows.
    pub fn note_ended(&mut self, mappings: &[Mapping], pinholes: &[Pinhole], now: Instant) {
        for mapping in mappings.iter().filter(|m| m.expires.is_some_and(|end| end <= now)) {
            self.closed.note_mapping(mapping, self.table.find(&mapping.external));
        }
        for pinhole in pinholes.iter().filter(|pinhole| pinhole.expires <= now) {
            self.closed.note_pinhole(pinhole, self.pinholes.find(&pinhole.hole));
        }
    }

    /// Makes the kernel hold exactly what the table holds.
    ///
    /// # Errors
    /// Some of it may be done then; [`needs_resync`](Gateway::needs_resync) says so until a later
    /// resync, or the next change, has done the rest.
    pub fn resync(&mut self, now: Instant) -> Result<(), BackendError> {
        self.expire(now);
        self.repair(now)
    }

    /// Puts right what somebody else has changed in the kernel. Of a table that is whole, what is
    /// gone was taken away on purpose: the mapping or pinhole is deleted. What was added there, or is
    /// half there, is undone.
    ///
    /// # Errors
    /// As those of [`resync`](Gateway::resync).
    pub fn reconcile(&mut self, now: Instant) -> Result<(), BackendError> {
        self.handle_timeout(now);
        if self.behind || !self.backend.is_whole()? {
            return self.resync(now);
        }
        let installed = self.backend.list()?;
        let mut there: Vec<Id> =
            installed.iter().filter_map(|found| Some(found.rule.note()?.id)).collect();
        there.sort_unstable();
        // What ends now may be gone there already.
        let soon = now + CLOCK_TOLERANCE;
        let gone = |id: &Id, end: Option<Instant>| {
            end.is_none_or(|end| end > soon) && there.binary_search(id).is_err()
        };
        let mappings = self.table.iter().filter(|m| gone(&m.id, m.expires)).map(|m| m.id);
        let pinholes = self.pinholes.iter().filter(|p| gone(&p.id, Some(p.expires))).map(|p| p.id);
        let ids: Vec<Id> = mappings.chain(pinholes).collect();
        self.drop_many(&ids, now)?;
        self.repair(now)
    }

    /// A resync whose table holds nothing that has ended.
    pub(super) fn repair(&mut self, now: Instant) -> Result<(), BackendError> {
        self.behind = true;
        self.ensure()?;
        let installed = self.backend.list()?;
        let filtered = elements::filtered(&self.table).chain(holes::filtered(&self.pinholes));
        let (unwanted, filters) = elements::filters(filtered, &installed, now);
        for batch in unwanted.chunks(RESYNC_BATCH) {
            self.backend.apply(batch, now)?;
        }
        if !filters.is_empty() {
            self.backend.apply(&filters, now)?;
        }
        let holes = holes::difference(&self.pinholes, &installed, now);
        let mut changes = difference(&self.table, &installed, now).chain(holes);
        loop {
            let batch: Vec<_> = changes.by_ref().take(RESYNC_BATCH).collect();
            if batch.is_empty() {
                break;
            }
            self.backend.apply(&batch, now)?;
        }
        self.behind = false;
        Ok(())
    }

    /// Puts those of `found` into the table that may be there, the oldest first, and names them.
    fn admit(&mut self, mut found: Vec<Mapping>, now: Instant) -> Vec<Id> {
        found.sort_by_key(|mapping| mapping.id);
        let mut last = None;
        let (mut named, mut nameless) = (Vec::new(), Vec::new());
        for mapping in found {
            let id = mapping.id;
            let usable = (1..=ADOPTED_ID_MAX).contains(&id.0);
            match usable && self.table.get(id).is_none() && last.replace(id) != Some(id) {
                true => named.push(mapping),
                false => nameless.push(mapping),
            }
        }
        let mut admitted = Vec::new();
        let named = named.into_iter().map(|mapping| (mapping, true));
        // Only after those is it known which ids are free.
        for (mut mapping, has_name) in named.chain(nameless.into_iter().map(|m| (m, false))) {
            if !self.is_admissible(&mapping, now) {
                self.closed.note_mapping(&mapping, self.table.find(&mapping.external));
                continue;
            }
            if !has_name {
                mapping.id = self.table.fresh_id();
            }
            admitted.push(mapping.id);
            self.closed.note_new(&mapping);
            self.put(mapping);
        }
        admitted
    }

    fn is_admissible(&self, mapping: &Mapping, now: Instant) -> bool {
        let External { protocol, port, .. } = mapping.external;
        let host = mapping.internal.ip();
        let limits = self.policy.limits;
        let filters = guard::filters(&mapping.guard).len();
        mapping.internal.port() != 0
            && mapping.expires.is_none_or(|end| end > now)
            && self.policy.admits(mapping.origin, protocol, port, mapping.internal, false).is_ok()
            && self.table.len() < usize::from(limits.mappings)
            && self.table.count_of(*host) < usize::from(limits.mappings_per_host)
            && filters <= FILTERS_PER_MAPPING
            && self.table.filters() + filters <= FILTERS_MAX
            && self.table.find(&mapping.external).is_none()
            && self
                .table
                .at_port(protocol, port)
                .all(|other| other.internal.ip() == host && mapping.origin.is_of(other.origin))
    }
}

/// The mappings and pinholes that elements were made for, each with what it has counted.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// In the order of their elements, those with filters last.
    pub mappings: Vec<(Mapping, u64)>,
    /// Likewise.
    pub pinholes: Vec<(Pinhole, u64)>,
}

impl Found {
    /// Of all elements that there are. Gates, reverses and selects have no mapping of their own;
    /// the filters of one mapping make one.
    pub(crate) fn of(installed: Vec<Installed>, now: Instant) -> Found {
        let mut found = Found::default();
        let mut filtered: Vec<(Mapping, u64)> = Vec::new();
        let mut filtered6: Vec<(Pinhole, u64)> = Vec::new();
        let foreign = |rule: &Rule| rule.note().is_some_and(Note::is_foreign);
        for Installed { rule, remaining, connections } in installed {
            if foreign(&rule) {
                continue;
            }
            let expires = remaining.and_then(|left| now.checked_add(left));
            let enabled = !matches!(rule, Rule::Held { .. });
            match rule {
                Rule::Forward { protocol, port, remote, internal, note }
                | Rule::Held { protocol, port, remote, internal, note } => {
                    let external = External { protocol, port, remote };
                    let mapping = mapping(external, internal, note, None, expires, enabled);
                    found.mappings.push((mapping, connections));
                }
                Rule::Filtered { protocol, port, filter, internal, note } => {
                    let external = External { protocol, port, remote: None };
                    let new = mapping(external, internal, note, Some(filter), expires, true);
                    let same = |old: &&mut (Mapping, u64)| {
                        (old.0.id, old.0.external) == (new.id, external)
                    };
                    match filtered.iter_mut().find(same) {
                        Some((old, counted)) => {
                            add_filters(&mut old.guard, new.guard);
                            *counted += connections;
                        }
                        None => filtered.push((new, connections)),
                    }
                }
                Rule::Pinhole { hole, unique_id, note } => {
                    let pinhole = pinhole(hole, unique_id, note, None, expires);
                    found.pinholes.extend(pinhole.map(|pinhole| (pinhole, connections)));
                }
                Rule::Filtered6 { hole, filter, unique_id, note } => {
                    let Some(new) = pinhole(hole, unique_id, note, Some(filter), expires) else {
                        continue;
                    };
                    match filtered6.iter_mut().find(|old| (old.0.id, old.0.hole) == (new.id, hole))
                    {
                        Some((old, counted)) => {
                            add_filters(&mut old.guard, new.guard);
                            *counted += connections;
                        }
                        None => filtered6.push((new, connections)),
                    }
                }
                Rule::Gate { .. }
                | Rule::Reverse { .. }
                | Rule::Select { .. }
                | Rule::Select6 { .. } => {}
            }
        }
        found.mappings.append(&mut filtered);
        found.pinholes.append(&mut filtered6);
        found
    }
}

fn mapping(
    external: External,
    internal: SocketAddrV4,
    note: Note,
    filter: Option<Filter>,
    expires: Option<Instant>,
    enabled: bool,
) -> Mapping {
    let Note { id, origin, client, description } = note;
    let description = clean_description(&description);
    let guard = guard(client, filter);
    Mapping { id, external, internal, expires, enabled, origin, description, guard }
}

fn pinhole(
    hole: Hole,
    unique_id: u16,
    note: Note,
    filter: Option<Filter>,
    expires: Option<Instant>,
) -> Option<Pinhole> {
    let Note { id, origin, client, description } = note;
    let description = clean_description(&description);
    let guard = guard(client, filter);
    Some(Pinhole { id, unique_id, hole, expires: expires?, origin, description, guard })
}

fn guard(client: Option<Client>, filter: Option<Filter>) -> Option<Box<Guard>> {
    let any = client.is_some() || filter.is_some();
    let filters = filter.into_iter().collect();
    any.then(|| Box::new(Guard { client: client.unwrap_or_default(), filters }))
}

fn add_filters(to: &mut Option<Box<Guard>>, from: Option<Box<Guard>>) {
    if let (Some(to), Some(from)) = (to, from) {
        to.filters.extend(from.filters);
        to.filters.sort_unstable();
    }
}
