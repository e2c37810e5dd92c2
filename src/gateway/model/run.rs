//! Plays a history to the gateway and to the model, and compares them after every step.

use super::history::{luck, op, Ask, Luck, Op, TICK};
use super::world::{lans, policy, wan, HOSTS, REMOTES};
use super::{desired, Model};
use crate::gateway::mapping::{External, Id, Mapping, Port, Protocol, Refusal, Request};
use crate::gateway::{Asker, Event, Gateway};
use crate::netfilter::memory::Memory;
use crate::netfilter::{BackendError, Element, Rule, Slot};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

struct Run {
    gateway: Gateway<Memory>,
    model: Model,
    /// The table as the events tell it.
    told: BTreeMap<Id, Mapping>,
}

impl Run {
    fn new() -> Self {
        let mut gateway = Gateway::new(Memory::new(), policy(0), 1);
        gateway.set_lans(lans(true), Instant::now());
        gateway.set_wan(wan(2)).unwrap();
        gateway.next_event();
        let model = Model {
            rows: vec![],
            seen: vec![],
            holds: vec![],
            policy: 0,
            wan: 2,
            guests: true,
            last_id: 0,
            now: Instant::now(),
        };
        Run { gateway, model, told: BTreeMap::new() }
    }

    fn step(&mut self, op: &Op, luck: Luck) {
        match luck {
            Luck::Good => {}
            Luck::OutOfStepOnce => {
                self.gateway.backend().fail_with(BackendError::OutOfStep("told".into()));
            }
            Luck::Fails(calls) => self.gateway.backend().fail_next(calls),
        }
        let failing = matches!(luck, Luck::Fails(_));
        match op {
            Op::Add(ask) => self.add(ask, failing),
            Op::Delete { asker, protocol, port, remote } => {
                self.delete(*asker, *protocol, *port, REMOTES[*remote], failing);
            }
            Op::DeleteRange { asker, protocol, first, last, all } => {
                let (asker, all) = (*asker, *all);
                let wanted = |model: &Model, m: &Mapping| {
                    m.external.protocol == *protocol
                        && (*first..=*last).contains(&m.external.port)
                        && model.may_delete(asker, m, all)
                };
                let gone = self.drop_where(wanted);
                let (ports, now) = (*first..=*last, self.model.now);
                let got = self.gateway.delete_range(who(asker), *protocol, ports, all, now);
                let count = gone.0;
                let want = if count == 0 { Err(Refusal::NoSuchMapping) } else { Ok(count) };
                self.settle(gone.1, want, got, failing);
            }
            Op::DeleteId(index) => {
                let id = self.model.rows.get(*index).map_or(Id(0), |m| m.id);
                let gone = self.drop_where(|_, m| m.id == id);
                let got = self.gateway.delete_id(id, self.model.now);
                let want = if gone.0 == 0 { Err(Refusal::NoSuchMapping) } else { Ok(()) };
                self.settle(gone.1, want, got, failing);
            }
            Op::Flush => {
                let gone = self.drop_where(|_, _| true);
                let got = self.gateway.flush(self.model.now);
                self.settle(gone.1, Ok(gone.0), got, failing);
            }
            Op::Advance(seconds) => {
                self.model.now += Duration::from_secs(*seconds);
                self.model.expire();
                // The kernel's clock needs no daemon.
                self.gateway.backend().set_now(self.model.now);
                self.gateway.handle_timeout(self.model.now);
            }
            Op::Wan(which) => {
                self.model.wan = *which;
                let done = self.gateway.set_wan(wan(*which));
                assert_eq!(done.is_err(), self.gateway.needs_resync());
            }
            Op::Lans(guests) => {
                self.model.guests = *guests;
                self.gateway.set_lans(lans(*guests), self.model.now);
            }
            Op::Policy(which) => {
                let before = self.model.clone();
                self.model.policy = *which;
                let allowed = |model: &Model, m: &Mapping| {
                    let External { protocol, port, .. } = m.external;
                    model.allowed(protocol, port, *m.internal.ip(), false).is_none()
                };
                self.drop_where(|model, m| !allowed(model, m));
                if self.gateway.set_policy(policy(*which), self.model.now).is_err() {
                    assert!(luck != Luck::Good);
                    self.model = before;
                }
            }
            Op::Tamper(places) => self.tamper(places),
            Op::Crash => self.crash(),
            Op::Restart => self.restart(),
        }
        self.check();
    }

    fn add(&mut self, ask: &Ask, failing: bool) {
        let request = Request {
            client: HOSTS[ask.client],
            origin: ask.origin,
            protocol: ask.protocol,
            port: if ask.exactly { Port::Exactly(ask.port) } else { Port::Preferably(ask.port) },
            remote: REMOTES[ask.remote],
            internal: self.model.internal(ask),
            lease: ask.lease.map(Duration::from_secs),
            enabled: ask.enabled,
            description: " words\n",
            high_ports_only: ask.high_ports_only,
        };
        match (self.model.judge(ask), self.gateway.add(&request, self.model.now)) {
            (Ok(_), Err(Refusal::Backend)) if failing => {}
            (Ok(verdict), Ok(granted)) => self.model.grant(ask, verdict, granted),
            (Err(want), Err(got)) => assert_eq!(want, got),
            (want, got) => panic!("{want:?} but {got:?}"),
        }
    }

    fn delete(
        &mut self,
        asker: Option<usize>,
        protocol: Option<Protocol>,
        port: u16,
        remote: Option<Ipv4Addr>,
        failing: bool,
    ) {
        let here = |m: &Mapping| {
            m.external.port == port
                && m.external.remote == remote
                && protocol.is_none_or(|p| p == m.external.protocol)
        };
        let any = self.model.rows.iter().any(here);
        let gone =
            self.drop_where(|model, m| here(m) && model.may_delete(asker, m, protocol.is_some()));
        let want = match (any, gone.0) {
            (false, _) => Err(Refusal::NoSuchMapping),
            (true, 0) => Err(Refusal::NotOwner),
            _ => Ok(()),
        };
        let got = self.gateway.delete(who(asker), protocol, port, remote, self.model.now);
        self.settle(gone.1, want, got, failing);
    }

    /// Drops rows from the model. Returns how many, and the rows before.
    fn drop_where(&mut self, gone: impl Fn(&Model, &Mapping) -> bool) -> (usize, Vec<Mapping>) {
        let before = self.model.rows.clone();
        let model = self.model.clone();
        self.model.rows.retain(|m| !gone(&model, m));
        (before.len() - self.model.rows.len(), before)
    }

    /// The gateway's answer is the model's, or the backend's failure, and then nothing has changed.
    fn settle<T: std::fmt::Debug + PartialEq>(
        &mut self,
        before: Vec<Mapping>,
        want: Result<T, Refusal>,
        got: Result<T, Refusal>,
        failing: bool,
    ) {
        if failing && want.is_ok() && got == Err(Refusal::Backend) {
            self.model.rows = before;
        } else {
            assert_eq!(want, got);
        }
    }

    /// Somebody takes elements away, changes one and adds one; a resync follows.
    fn tamper(&mut self, places: &[usize]) {
        let later = self.model.now + Duration::from_secs(1000);
        let memory = self.gateway.backend();
        for place in places {
            let Some(slot) = memory.elements().keys().nth(*place).copied() else {
                continue;
            };
            if place % 2 == 0 {
                memory.elements_mut().remove(&slot);
            } else if let Some(kept) = memory.elements_mut().get_mut(&slot) {
                kept.element.expires = Some(later);
            }
        }
        if let Some(slot) = memory.elements().keys().next().copied() {
            let rule = Rule::Gate { protocol: Protocol::Udp, port: 9 };
            let mut foreign = memory.elements()[&slot].clone();
            foreign.element.rule = rule.clone();
            memory.elements_mut().insert(rule.slot(), foreign);
        }
        let _ = self.gateway.resync(self.model.now);
    }

    /// The daemon dies and comes back; time has passed in between.
    fn crash(&mut self) {
        self.model.now += Duration::from_secs(TICK);
        self.model.expire();
        let mut memory = std::mem::take(self.gateway.backend());
        memory.heal();
        memory.set_now(self.model.now);
        self.gateway = Gateway::new(memory, policy(self.model.policy), self.model.last_id);
        self.gateway.set_lans(lans(self.model.guests), self.model.now);
        self.model.readmit();
        assert_eq!(self.gateway.adopt(self.model.now), Ok(self.model.rows.len()));
        self.gateway.set_wan(wan(self.model.wan)).unwrap();
        self.come_back();
    }

    /// The daemon ends as it should, taking its table with it, and comes back.
    fn restart(&mut self) {
        let saved = self.model.rows.clone();
        self.model.now += Duration::from_secs(TICK);
        self.model.expire();
        self.gateway = Gateway::new(Memory::new(), policy(self.model.policy), self.model.last_id);
        self.gateway.set_lans(lans(self.model.guests), self.model.now);
        self.gateway.set_wan(wan(self.model.wan)).unwrap();
        self.model.readmit();
        assert_eq!(
            self.gateway.restore(saved, Vec::new(), self.model.now),
            Ok(self.model.rows.len())
        );
        self.come_back();
    }

    fn come_back(&mut self) {
        self.model.holds.clear();
        self.model.seen = self.model.rows.clone();
        self.told = self.model.rows.iter().map(|m| (m.id, m.clone())).collect();
        self.model.last_id = self.model.rows.last().map_or(0, |m| m.id.0);
    }

    fn check(&mut self) {
        self.model.hold();
        let (gateway, model) = (&mut self.gateway, &self.model);
        let now = model.now;

        gateway.backend().heal();
        if gateway.needs_resync() {
            gateway.resync(now).unwrap();
        }
        let memory = gateway.backend();
        memory.set_now(now);
        let kernel: BTreeMap<Slot, Element> =
            memory.elements().iter().map(|(slot, kept)| (*slot, kept.element.clone())).collect();
        assert_eq!(kernel, desired(&model.rows));
        assert_eq!(memory.wan().addresses, wan(model.wan).addresses);

        gateway.table.check();
        assert_eq!(gateway.len(), model.rows.len());
        for (index, row) in model.rows.iter().enumerate() {
            assert_eq!(gateway.at(index), Some(row));
            assert_eq!(gateway.find(&row.external), Some(row));
            assert!(row.expires.is_none_or(|end| end > now));
            for other in &model.rows {
                let (a, b) = (row.external, other.external);
                let shared = (a.protocol, a.port) == (b.protocol, b.port);
                assert!(!shared || row.internal.ip() == other.internal.ip());
            }
        }
        assert_eq!(gateway.at(model.rows.len()), None);
        assert_eq!(gateway.poll_timeout(), model.rows.iter().filter_map(|m| m.expires).min());

        while let Some(event) = gateway.next_event() {
            match event {
                Event::Added { mapping, new } => {
                    assert_eq!(self.told.insert(mapping.id, mapping).is_none(), new);
                }
                Event::Removed { mapping, .. } => {
                    assert_eq!(self.told.remove(&mapping.id), Some(mapping));
                }
                Event::External(state) => assert_eq!(state, gateway.external()),
                other => panic!("{other:?}"),
            }
        }
        assert!(self.told.values().eq(&model.rows));
    }
}

fn who(asker: Option<usize>) -> Asker {
    asker.map_or(Asker::Owner, |host| Asker::Host(HOSTS[host].into()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_table_kernel_events_and_model_agree(
        ops in prop::collection::vec((op(), luck()), 1..60)
    ) {
        let mut run = Run::new();
        for (op, luck) in &ops {
            run.step(op, *luck);
        }
    }
}
