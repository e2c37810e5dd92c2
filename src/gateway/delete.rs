//! Ending mappings before their time.

use crate::gateway::elements::{self, Plan};
use crate::gateway::mapping::{External, Id, Mapping, Origin, Protocol, Refusal};
use crate::gateway::{holes, Asker, Event, Gateway, Reason, RESYNC_BATCH};
use crate::netfilter::{Backend, BackendError};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::time::Instant;

impl<B: Backend> Gateway<B> {
    /// Deletes one mapping. `protocol` `None` (a client that leaves it empty) deletes the asker's
    /// own entries of that port, whatever their protocol; the owner's are all.
    ///
    /// # Errors
    /// `NoSuchMapping`; `NotOwner` when it belongs to another host; `Backend`.
    pub fn delete(
        &mut self,
        asker: Asker,
        protocol: Option<Protocol>,
        port: u16,
        remote: Option<Ipv4Addr>,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.handle_timeout(now);
        let protocols = protocol.as_ref().map_or(&Protocol::ALL[..], std::slice::from_ref);
        let found: Vec<&Mapping> = protocols
            .iter()
            .filter_map(|&protocol| self.table.find(&External { protocol, port, remote }))
            .collect();
        if found.is_empty() {
            return Err(Refusal::NoSuchMapping);
        }
        // Without a protocol the request is vague: even where a host may delete everything, it
        // does not mean its neighbour's.
        let mine = |m: &&Mapping| self.may_delete(asker, m, protocol.is_some());
        let ids: Vec<Id> = found.into_iter().filter(mine).map(|m| m.id).collect();
        if ids.is_empty() {
            return Err(Refusal::NotOwner);
        }
        self.drop_ids(ids, Reason::Deleted, now).map_err(|_| Refusal::Backend)
    }

    /// Deletes every mapping of `ports` that the asker may delete, in one batch
    /// (WANIPConnection:2 §2.5.19). `all` asks for other hosts' too; what the asker may not delete
    /// is skipped.
    ///
    /// # Errors
    /// `NoSuchMapping` when nothing was deleted; `Backend`.
    pub fn delete_range(
        &mut self,
        asker: Asker,
        protocol: Protocol,
        ports: RangeInclusive<u16>,
        all: bool,
        now: Instant,
    ) -> Result<usize, Refusal> {
        self.handle_timeout(now);
        let found = self.table.range(protocol, ports);
        let ids: Vec<Id> = found.filter(|m| self.may_delete(asker, m, all)).map(|m| m.id).collect();
        let count = ids.len();
        if count == 0 {
            return Err(Refusal::NoSuchMapping);
        }
        self.drop_ids(ids, Reason::Deleted, now).map_err(|_| Refusal::Backend)?;
        Ok(count)
    }

    /// Deletes one mapping or pinhole by name, as the owner.
    ///
    /// # Errors
    /// `NoSuchMapping`; `Backend`.
    pub fn delete_id(&mut self, id: Id, now: Instant) -> Result<(), Refusal> {
        self.handle_timeout(now);
        if self.table.get(id).is_none() && !self.pinholes.has(id) {
            return Err(Refusal::NoSuchMapping);
        }
        self.drop_ids(vec![id], Reason::Deleted, now).map_err(|_| Refusal::Backend)
    }

    /// Deletes everything, as the owner, in batches of [`RESYNC_BATCH`]. Returns how many there were.
    ///
    /// # Errors
    /// `Backend`; what went before the kernel refused is gone.
    pub fn flush(&mut self, now: Instant) -> Result<usize, Refusal> {
        self.handle_timeout(now);
        let mappings = self.table.iter().map(|m| m.id);
        let ids: Vec<Id> = mappings.chain(self.pinholes.iter().map(|p| p.id)).collect();
        self.drop_many(&ids, now).map_err(|_| Refusal::Backend)?;
        Ok(ids.len())
    }

    /// Deletes what a host has asked for that is no longer there (RFC 6887 §15); what the owner made
    /// for it stays. Returns how many there were.
    ///
    /// # Errors
    /// `Backend`; what went before the kernel refused is gone.
    pub fn flush_host(&mut self, host: IpAddr, now: Instant) -> Result<usize, Refusal> {
        self.handle_timeout(now);
        let its = |internal: IpAddr, origin| internal == host && origin != Origin::Manual;
        let mappings = self.table.iter().filter(|m| its((*m.internal.ip()).into(), m.origin));
        let pinholes = self.pinholes.iter().filter(|p| its(p.hole.internal.into(), p.origin));
        let ids: Vec<Id> = mappings.map(|m| m.id).chain(pinholes.map(|p| p.id)).collect();
        self.drop_many(&ids, now).map_err(|_| Refusal::Backend)?;
        Ok(ids.len())
    }

    /// Deletes mappings and pinholes that are there, in batches of [`RESYNC_BATCH`].
    pub(super) fn drop_many(&mut self, ids: &[Id], now: Instant) -> Result<(), BackendError> {
        let mut batches = ids.chunks(RESYNC_BATCH);
        batches.try_for_each(|some| self.drop_ids(some.to_vec(), Reason::Deleted, now))
    }

    /// Deletes one that is there and ends no flow under way, as a host does by PCP (RFC 6887 §15).
    pub(super) fn drop_sparing(&mut self, id: Id, now: Instant) -> Result<(), BackendError> {
        let closed = self.closed.clone();
        self.drop_ids(vec![id], Reason::Deleted, now)?;
        self.closed = closed;
        Ok(())
    }

    /// Ends mappings and pinholes that are there, in the kernel first, in one batch.
    pub(super) fn drop_ids(
        &mut self,
        mut ids: Vec<Id>,
        reason: Reason,
        now: Instant,
    ) -> Result<(), BackendError> {
        if ids.is_empty() {
            return Ok(());
        }
        ids.sort_unstable();
        let plan = Plan::remove(ids.clone());
        let mut changes = elements::changes(&self.table, &plan);
        changes.extend(holes::changes(&self.pinholes, &ids, None));
        let unused = self.apply(&changes, now)?;
        for mapping in ids.iter().filter_map(|id| self.take(*id, &unused)).collect::<Vec<_>>() {
            self.hold(&mapping, now);
            self.tell(Event::Removed { mapping, reason });
        }
        self.forget_pinholes(&ids, reason);
        Ok(())
    }

    /// Its own, but never what the owner made for it; other hosts' if it asks for them and nothing but secure mode is against it.
    fn may_delete(&self, asker: Asker, mapping: &Mapping, others: bool) -> bool {
        match asker {
            Asker::Owner => true,
            Asker::Host(_) if mapping.origin == Origin::Manual => false,
            Asker::Host(host) => {
                IpAddr::V4(*mapping.internal.ip()) == host || (others && !self.policy.secure_mode)
            }
        }
    }
}
