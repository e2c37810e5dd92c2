//! What must hold of a [`World`] at any time and at its end.

use super::{World, HOSTS, LIMITS};
use postern::gateway::mapping::{External, Id, Mapping, Origin, Protocol};
use postern::gateway::pinhole::Pinhole;
use postern::gateway::{
    Event, Gateway, EVENTS_MAX, FILTERS_MAX, PINHOLES_MAX, PINHOLES_PER_ADDRESS,
};
use postern::netfilter::{Note, Rule, Slot};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

impl World {
    /// What must hold at any time.
    pub fn check(&mut self) {
        self.gateway.backend().set_now(self.now);
        self.hear();
        let due = self.gateway.poll_timeout().is_some_and(|end| end <= self.now);
        if !due && !self.tampered && !self.gateway.needs_resync() {
            self.in_step();
        }
        let (mappings, pinholes, _) = self.tables();
        assert!(mappings.iter().all(|m| self.is_allowed(m)), "{mappings:?}");
        assert!(mappings.iter().eq(self.told.values()));
        assert!(pinholes
            .iter()
            .map(|p| p.id)
            .collect::<BTreeSet<_>>()
            .iter()
            .eq(self.told6.keys()));
        assert!(pinholes.iter().all(|p| self.told6.get(&p.id) == Some(p)));

        let of_host = |host: &Ipv4Addr| mappings.iter().filter(|m| m.internal.ip() == host).count();
        assert!(mappings.len() <= usize::from(LIMITS.mappings));
        let per_host = usize::from(LIMITS.mappings_per_host);
        assert!(mappings.iter().all(|m| of_host(m.internal.ip()) <= per_host));
        let mut owners = BTreeMap::new();
        for m in &mappings {
            assert_eq!(self.gateway.find(&m.external), Some(m));
            let owner = owners.entry((m.external.protocol, m.external.port));
            assert_eq!(owner.or_insert(*m.internal.ip()), m.internal.ip());
        }
        let of_address =
            |p: &Pinhole| pinholes.iter().filter(|o| o.hole.internal == p.hole.internal).count();
        assert!(pinholes.len() <= PINHOLES_MAX);
        assert!(pinholes.iter().all(|p| of_address(p) <= PINHOLES_PER_ADDRESS));
    }

    /// Whether a mapping leads to a host of the LAN, and is none that the rules of now forbid.
    fn is_allowed(&self, m: &Mapping) -> bool {
        let host = *m.internal.ip();
        let is_host =
            host.octets()[..3] == [192, 168, 1] && !matches!(host.octets()[3], 0 | 1 | 255);
        let External { protocol, port, .. } = m.external;
        let is_denied = !self.gateway.policy().rules.is_empty()
            && HOSTS[0] == host
            && (7002..=7003).contains(&port);
        let is_reserved = (protocol, port) == (Protocol::Tcp, 5000);
        is_host && (m.origin == Origin::Manual || !is_denied && !is_reserved)
    }

    /// The events tell what has become of each mapping and pinhole.
    fn hear(&mut self) {
        let (mut count, mut external) = (0, None);
        while let Some(event) = self.gateway.next_event() {
            count += 1;
            match event {
                Event::Added { mapping, new } => {
                    assert_eq!(self.told.insert(mapping.id, mapping).is_none(), new);
                }
                Event::Removed { mapping, .. } => {
                    assert_eq!(self.told.remove(&mapping.id), Some(mapping));
                }
                Event::PinholeAdded { pinhole, new } => {
                    assert_eq!(self.told6.insert(pinhole.id, pinhole).is_none(), new);
                }
                Event::PinholeRemoved { pinhole, .. } => {
                    assert_eq!(self.told6.remove(&pinhole.id), Some(pinhole));
                }
                Event::External(state) => external = Some(state),
            }
        }
        assert!(external.is_none_or(|told| told == self.gateway.external()));
        assert!(count <= EVENTS_MAX);
    }

    /// Nothing fails any more: the kernel holds what the table wants, and no less can be read back
    /// from it.
    pub fn end(mut self) {
        self.gateway.backend().heal();
        self.gateway.handle_timeout(self.now);
        let behind = self.gateway.needs_resync() || self.tampered;
        let before = self.gateway.backend().changes();
        self.gateway.resync(self.now).unwrap();
        let after = self.gateway.backend().changes();
        assert!(behind || after == before, "the kernel was not in step");
        self.gateway.resync(self.now).unwrap();
        assert_eq!(self.gateway.backend().changes(), after, "it does not come into step");
        self.check();
        self.in_step();

        let (mappings, pinholes, _) = self.tables();
        let mut again =
            Gateway::new(std::mem::take(self.gateway.backend()), self.gateway.policy().clone(), 1);
        again.set_lans(self.gateway.lans().to_vec(), self.now);
        again.set_wan(self.gateway.wan().clone()).unwrap();
        assert_eq!(again.adopt(self.now), Ok(mappings.len() + pinholes.len()));
        let before = (self.gateway.len(), again.backend().changes());
        again.resync(self.now).unwrap();
        assert_eq!((again.len(), again.backend().changes()), before);
        self.gateway = again;
        let read = self.tables();
        let words = |m: &Mapping| {
            let name = (m.id, m.origin, m.description.clone(), m.guard.clone());
            (name, m.external, m.internal, m.enabled)
        };
        assert!(read.0.iter().map(words).eq(mappings.iter().map(words)));
        let ends = read.0.iter().map(|m| m.expires).zip(mappings.iter().map(|m| m.expires));
        assert!(ends.into_iter().all(|(read, kept)| is_near(read, kept)));
        let words = |p: &Pinhole| (p.id, p.unique_id, p.origin, p.hole, p.guard.clone());
        assert!(read.1.iter().map(words).eq(pinholes.iter().map(words)));
        let ends = read.1.iter().map(|p| p.expires).zip(pinholes.iter().map(|p| p.expires));
        assert!(ends.into_iter().all(|(read, kept)| is_near(Some(read), Some(kept))));
    }

    /// The elements are those of the mappings and pinholes, each with its key, its target and its end.
    fn in_step(&mut self) {
        let (mappings, pinholes, _) = self.tables();
        let mut wanted = BTreeMap::new();
        let mut want = |slot: Slot, target: Target, end: Option<Instant>| {
            let (_, last) = wanted.entry(slot).or_insert((target, end));
            // What several share ends with the last of them.
            *last = last.zip(end).map(|(last, end)| last.max(end));
        };
        for m in &mappings {
            let (id, end) = (m.id, m.expires);
            let External { protocol, port, remote } = m.external;
            let own = Target::Of(id, Some(m.internal));
            let filters = m.guard.as_deref().map_or(&[][..], |guard| &guard.filters);
            if !m.enabled {
                want(Slot::Held(protocol, port, remote), own, end);
                continue;
            }
            want(Slot::Gate(protocol, port), Target::Nobody, end);
            match filters.is_empty() {
                true => want(Slot::Forward(protocol, port, remote), own, end),
                false => want(Slot::Select(protocol, port), Target::Nobody, end),
            }
            for filter in filters {
                want(Slot::Filtered(protocol, port, *filter), own, end);
            }
        }
        for p in &pinholes {
            let (own, end) = (Target::Of(p.id, None), Some(p.expires));
            let filters = p.guard.as_deref().map_or(&[][..], |guard| &guard.filters);
            if filters.is_empty() {
                want(Slot::Pinhole(p.hole), own, end);
                continue;
            }
            want(Slot::Select6(p.hole.internal), Target::Nobody, end);
            for filter in filters {
                want(Slot::Filtered6(p.hole, *filter), own, end);
            }
        }
        // Packets leave from one port: that of the oldest mapping for everybody, else of the oldest.
        let mut leaving: BTreeMap<_, &Mapping> = BTreeMap::new();
        for m in mappings.iter().filter(|m| m.enabled) {
            let rank = |m: &Mapping| (m.external.remote.is_some(), m.id);
            let first = leaving.entry((m.external.protocol, m.internal)).or_insert(m);
            if rank(m) < rank(first) {
                *first = m;
            }
        }
        for ((protocol, internal), m) in leaving {
            let target = Target::Port(m.external.port);
            wanted.insert(Slot::Reverse(protocol, internal), (target, m.expires));
        }

        let elements = self.gateway.backend().elements();
        assert!(elements.keys().eq(wanted.keys()), "{elements:?} {wanted:?}");
        for ((slot, kept), (target, end)) in elements.iter().zip(wanted.values()) {
            let rule = &kept.element.rule;
            assert_eq!((rule.slot(), Target::of(rule)), (*slot, *target));
            assert!(is_near(kept.element.expires, *end), "{kept:?} {end:?}");
            assert!(rule.note().is_none_or(|note| !Note::is_foreign(note)));
        }
        let of = |is: fn(&&Slot) -> bool| elements.keys().filter(is).count();
        assert!(of(|slot| matches!(slot, Slot::Filtered(..))) <= FILTERS_MAX);
        assert!(of(|slot| matches!(slot, Slot::Filtered6(..))) <= FILTERS_MAX);
    }
}

/// Where an element leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// To this mapping's endpoint, or this pinhole.
    Of(Id, Option<SocketAddrV4>),
    /// Out by this port.
    Port(u16),
    /// It only selects.
    Nobody,
}

impl Target {
    fn of(rule: &Rule) -> Target {
        match rule {
            Rule::Forward { internal, note, .. }
            | Rule::Filtered { internal, note, .. }
            | Rule::Held { internal, note, .. } => Target::Of(note.id, Some(*internal)),
            Rule::Pinhole { note, .. } | Rule::Filtered6 { note, .. } => Target::Of(note.id, None),
            Rule::Reverse { port, .. } => Target::Port(*port),
            Rule::Gate { .. } | Rule::Select { .. } | Rule::Select6 { .. } => Target::Nobody,
        }
    }
}

/// Whether two ends are one, as near as the kernel's clock and a repair bring them.
fn is_near(one: Option<Instant>, other: Option<Instant>) -> bool {
    let apart = |one: Instant, other: Instant| {
        one.saturating_duration_since(other).max(other.saturating_duration_since(one))
    };
    match (one, other) {
        (Some(one), Some(other)) => apart(one, other) <= Duration::from_secs(2),
        (one, other) => one == other,
    }
}
