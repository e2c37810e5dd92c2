//! A backend in memory, for tests: it keeps elements as the kernel would, ends them on its own
//! clock, refuses what the kernel would refuse, and fails on demand.

use crate::gateway::mapping::Protocol;
use crate::gateway::network::Wan;
use crate::netfilter::{
    Backend, BackendError, Change, Element, Flow, Installed, Rule, Slot, WanRules,
};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddrV4;
use std::time::Instant;

/// What [`Memory`] holds under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The element.
    pub element: Element,
    /// Connections counted so far.
    pub connections: u64,
    /// No connection may have come that is not counted.
    pub fresh: bool,
}

/// The kernel's half, without a kernel.
#[derive(Debug, Default)]
pub struct Memory {
    /// The table is there.
    exists: bool,
    /// Its WAN part, as last ensured.
    wan: WanRules,
    elements: BTreeMap<Slot, Kept>,
    /// Its clock; only goes forward.
    now: Option<Instant>,
    /// What the next calls answer, before anything is looked at.
    failures: VecDeque<BackendError>,
    applies: usize,
    changes: usize,
    flows: BTreeMap<Flow, SocketAddrV4>,
    listeners: Vec<(Protocol, u16)>,
}

impl Memory {
    /// Nothing there, not even the table.
    pub fn new() -> Self {
        Memory::default()
    }

    /// The clock moves to `now`, unless it is there already; what has ended by then is gone.
    pub fn set_now(&mut self, now: Instant) {
        self.now = self.now.max(Some(now));
        let now = self.now;
        self.elements.retain(|_, kept| kept.element.expires.is_none_or(|end| Some(end) > now));
    }

    /// The next `calls` of `ensure`, `apply`, `list` or `remove` fail.
    pub fn fail_next(&mut self, calls: usize) {
        for _ in 0..calls {
            self.fail_with(BackendError::Failed("told to fail".into()));
        }
    }

    /// One more of the coming calls of `ensure`, `apply`, `list` or `remove` fails, with `error`.
    pub fn fail_with(&mut self, error: BackendError) {
        self.failures.push_back(error);
    }

    /// No more failures. Returns how many were left.
    pub fn heal(&mut self) -> usize {
        let left = self.failures.len();
        self.failures.clear();
        left
    }

    /// Sets the connection count of an element that is there.
    pub fn set_connections(&mut self, slot: &Slot, connections: u64) {
        if let Some(kept) = self.elements.get_mut(slot) {
            kept.connections = connections;
        }
    }

    /// A flow that leaves from `external`.
    pub fn add_flow(&mut self, flow: Flow, external: SocketAddrV4) {
        self.flows.insert(flow, external);
    }

    /// A program of the router that listens on a port.
    pub fn add_listener(&mut self, protocol: Protocol, port: u16) {
        self.listeners.push((protocol, port));
    }

    /// Whether the table is there.
    pub fn exists(&self) -> bool {
        self.exists
    }

    /// The WAN part as last ensured.
    pub fn wan(&self) -> &WanRules {
        &self.wan
    }

    /// What is there.
    pub fn elements(&self) -> &BTreeMap<Slot, Kept> {
        &self.elements
    }

    /// What is there, for edits behind the gateway's back.
    pub fn elements_mut(&mut self) -> &mut BTreeMap<Slot, Kept> {
        &mut self.elements
    }

    /// How many batches were asked for, the failed ones too.
    pub fn applies(&self) -> usize {
        self.applies
    }

    /// How many changes were made.
    pub fn changes(&self) -> usize {
        self.changes
    }

    /// Puts back what was there before each step, the last step first.
    fn undo(&mut self, steps: Vec<(Slot, Option<Kept>)>) {
        for (slot, old) in steps.into_iter().rev() {
            match old {
                Some(kept) => self.elements.insert(slot, kept),
                None => self.elements.remove(&slot),
            };
        }
    }

    fn fail(&mut self) -> Result<(), BackendError> {
        match self.failures.pop_front() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl Backend for Memory {
    fn ensure(&mut self, wan: &WanRules) -> Result<bool, BackendError> {
        self.fail()?;
        let existed = std::mem::replace(&mut self.exists, true);
        self.wan.clone_from(wan);
        Ok(!existed)
    }

    fn is_whole(&mut self) -> Result<bool, BackendError> {
        self.fail()?;
        Ok(self.exists)
    }

    fn apply(&mut self, changes: &[Change], now: Instant) -> Result<Vec<Slot>, BackendError> {
        self.applies += 1;
        self.fail()?;
        self.set_now(now);
        if !self.exists {
            return Err(BackendError::OutOfStep("no table".into()));
        }
        let (mut undo, mut unused) = (Vec::new(), Vec::new());
        for change in changes {
            let (slot, element) = match change {
                Change::Add(element) | Change::Restore(element) | Change::Replace(element) => {
                    (element.rule.slot(), Some(element))
                }
                Change::Remove(slot) => (*slot, None),
            };
            let old = self.elements.remove(&slot);
            let clash = old.is_some() && matches!(change, Change::Add(_) | Change::Restore(_));
            if let Some(element) = element {
                let element = element.clone();
                let connections = old.as_ref().map_or(0, |kept| kept.connections);
                let fresh = matches!(change, Change::Add(_));
                self.elements.insert(slot, Kept { element, connections, fresh });
            } else if slot.tells_use()
                && old.as_ref().is_some_and(|old| old.fresh && old.connections == 0)
            {
                unused.push(slot);
            }
            undo.push((slot, old));
            if clash {
                self.undo(undo);
                return Err(BackendError::OutOfStep("element exists".into()));
            }
        }
        self.changes += changes.len();
        Ok(unused)
    }

    fn list(&mut self) -> Result<Vec<Installed>, BackendError> {
        self.fail()?;
        let now = self.now;
        let installed = self.elements.values().map(|Kept { element, connections, .. }| Installed {
            rule: element.rule.clone(),
            remaining: element
                .expires
                .map(|end| now.map_or_else(Default::default, |now| end.duration_since(now))),
            connections: match element.rule {
                Rule::Forward { .. }
                | Rule::Filtered { .. }
                | Rule::Pinhole { .. }
                | Rule::Filtered6 { .. } => *connections,
                _ => 0,
            },
        });
        Ok(installed.collect())
    }

    fn connections(&mut self, slot: &Slot) -> Result<u64, BackendError> {
        Ok(self.elements.get(slot).map_or(0, |kept| kept.connections))
    }

    fn leaves_from(&mut self, flow: &Flow) -> Result<Option<SocketAddrV4>, BackendError> {
        Ok(self.flows.get(flow).copied())
    }

    fn is_taken(
        &mut self,
        protocol: Protocol,
        port: u16,
        _: SocketAddrV4,
        _: &Wan,
        _: Instant,
    ) -> bool {
        self.listeners.contains(&(protocol, port))
    }

    fn remove(&mut self) -> Result<(), BackendError> {
        self.fail()?;
        self.exists = false;
        self.wan = WanRules::default();
        self.elements.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::mapping::Protocol;
    use std::time::Duration;

    fn gate(port: u16, expires: Option<Instant>) -> Element {
        Element { rule: Rule::Gate { protocol: Protocol::Udp, port }, expires }
    }

    #[test]
    fn a_batch_is_made_whole_or_not_at_all() {
        let now = Instant::now();
        let mut memory = Memory::new();
        let add = [Change::Add(gate(1, None)), Change::Add(gate(2, None))];
        assert_eq!(memory.apply(&add, now), Err(BackendError::OutOfStep("no table".into())));
        memory.ensure(&WanRules::default()).unwrap();
        memory.apply(&add, now).unwrap();
        let clash = [Change::Remove(Slot::Gate(Protocol::Udp, 1)), Change::Add(gate(2, None))];
        assert_eq!(
            memory.apply(&clash, now),
            Err(BackendError::OutOfStep("element exists".into()))
        );
        assert_eq!(memory.list().unwrap().len(), 2);
        assert_eq!((memory.applies(), memory.changes()), (3, 2));
    }

    #[test]
    fn an_element_ends_on_time_and_may_be_removed_or_replaced_after() {
        let now = Instant::now();
        let end = now + Duration::from_secs(10);
        let slot = Slot::Gate(Protocol::Udp, 1);
        let mut memory = Memory::new();
        memory.ensure(&WanRules::default()).unwrap();
        memory.apply(&[Change::Add(gate(1, Some(end)))], now).unwrap();
        memory.set_connections(&slot, 7);
        memory.apply(&[Change::Replace(gate(1, Some(end)))], now).unwrap();
        assert_eq!(memory.connections(&slot), Ok(7));
        memory.set_now(now + Duration::from_secs(4));
        assert_eq!(memory.list().unwrap()[0].remaining, Some(Duration::from_secs(6)));
        memory.set_now(end);
        assert_eq!(memory.list(), Ok(vec![]));
        memory.apply(&[Change::Remove(slot)], end).unwrap();
        memory.apply(&[Change::Replace(gate(1, None))], end).unwrap();
        assert_eq!(memory.connections(&slot), Ok(0));
        assert_eq!(memory.list().unwrap()[0].remaining, None);
    }

    #[test]
    fn it_fails_as_often_as_it_is_told() {
        let mut memory = Memory::new();
        memory.fail_next(1);
        memory.fail_with(BackendError::OutOfStep("x".into()));
        memory.fail_next(3);
        let failed = BackendError::Failed("told to fail".into());
        assert_eq!(memory.ensure(&WanRules::default()), Err(failed.clone()));
        assert_eq!(memory.list(), Err(BackendError::OutOfStep("x".into())));
        assert_eq!(memory.remove(), Err(failed));
        assert_eq!(memory.heal(), 2);
        assert_eq!(memory.ensure(&WanRules::default()), Ok(true));
        assert_eq!(memory.ensure(&WanRules::default()), Ok(false));
    }
}
