//! What must hold of a [`World`] at any time and at its end.

use super::{World, LIMITS};
use postern::gateway::mapping::{External, Id, Mapping};
use postern::gateway::pinhole::Pinhole;
use postern::gateway::{
    Event, Gateway, EVENTS_MAX, FILTERS_MAX, PINHOLES_MAX, PINHOLES_PER_ADDRESS,
};
use postern::netfilter::{Note, Rule, Slot};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

impl World {
    /// What must hold at any time.
    pub fn check(&mut self) {
        self.gateway.backend().set_now(self.now);
        self.hear();
        let (mappings, pinholes, _) = self.tables();
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
        let words = |m: &Mapping| (m.id, m.external, m.internal, m.enabled, m.description.clone());
        assert!(read.0.iter().map(words).eq(mappings.iter().map(words)));
        let words = |p: &Pinhole| (p.id, p.unique_id, p.hole, p.guard.clone());
        assert!(read.1.iter().map(words).eq(pinholes.iter().map(words)));
    }

    /// Each element is some mapping's or pinhole's, and each of these has its own.
    fn in_step(&mut self) {
        let (mappings, pinholes, _) = self.tables();
        let elements = self.gateway.backend().elements();
        let rules = || elements.values().map(|kept| &kept.element.rule);
        let noted: BTreeSet<Id> = rules().filter_map(Rule::note).map(|note| note.id).collect();
        let ids = mappings.iter().map(|m| m.id).chain(pinholes.iter().map(|p| p.id));
        assert_eq!(noted, ids.collect());
        assert!(rules().filter_map(Rule::note).all(|note| !Note::is_foreign(note)));
        for rule in rules() {
            let of = |enabled: bool, to: &dyn Fn(&Mapping) -> bool| {
                assert!(mappings.iter().any(|m| m.enabled == enabled && to(m)), "{rule:?}");
            };
            match rule {
                Rule::Gate { protocol, port } | Rule::Select { protocol, port } => {
                    of(true, &|m| (m.external.protocol, m.external.port) == (*protocol, *port));
                }
                Rule::Forward { internal, note, .. } | Rule::Filtered { internal, note, .. } => {
                    of(true, &|m| (m.id, m.internal) == (note.id, *internal));
                }
                Rule::Held { internal, note, .. } => {
                    of(false, &|m| (m.id, m.internal) == (note.id, *internal));
                }
                Rule::Reverse { protocol, internal, port } => of(true, &|m| {
                    let External { protocol: of, port: from, .. } = m.external;
                    (of, m.internal, from) == (*protocol, *internal, *port)
                }),
                Rule::Pinhole { hole, note, .. } | Rule::Filtered6 { hole, note, .. } => {
                    assert!(pinholes.iter().any(|p| (p.id, p.hole) == (note.id, *hole)));
                }
                Rule::Select6 { internal } => {
                    assert!(pinholes.iter().any(|p| p.hole.internal == *internal));
                }
            }
        }
        for m in mappings.iter().filter(|m| m.enabled) {
            let External { protocol, port, .. } = m.external;
            assert!(elements.contains_key(&Slot::Gate(protocol, port)), "{m:?}");
            assert!(elements.contains_key(&Slot::Reverse(protocol, m.internal)), "{m:?}");
        }
        let of = |is: fn(&&Slot) -> bool| elements.keys().filter(is).count();
        assert!(of(|slot| matches!(slot, Slot::Filtered(..))) <= FILTERS_MAX);
        assert!(of(|slot| matches!(slot, Slot::Filtered6(..))) <= FILTERS_MAX);
    }
}
