//! A gateway over a kernel in memory, with two hosts of both families, for rows of messages; and
//! what must hold of it after each and at the end.

use postern::gateway::mapping::Protocol::Tcp;
use postern::gateway::mapping::{External, Id, Mapping};
use postern::gateway::pinhole::Pinhole;
use postern::gateway::policy::{Limits, PermRule, Policy};
use postern::gateway::{
    Event, Gateway, Lan, Wan, EVENTS_MAX, FILTERS_MAX, PINHOLES_MAX, PINHOLES_PER_ADDRESS,
};
use postern::netfilter::memory::Memory;
use postern::netfilter::{Note, Rule, Slot};
use postern::pcp::{answer, Packet, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Limits that a row can reach, but high enough for [`FILTERS_MAX`].
const LIMITS: Limits = Limits { mappings: 20, mappings_per_host: 12 };

const PREFIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);

/// One host's addresses are the first and third, the other's the second and fourth.
pub const HOSTS: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(192, 168, 1, 10)),
    IpAddr::V4(Ipv4Addr::new(192, 168, 1, 20)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x20)),
];

/// Whether two addresses are one host's.
pub fn same_host(one: IpAddr, other: IpAddr) -> bool {
    let number = |address| HOSTS.iter().position(|host| *host == address).map(|at| at % 2);
    one == other || (number(one).is_some() && number(one) == number(other))
}

/// What a message may have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// It was refused, or only asked for something: nothing has changed.
    Nothing,
    /// Only what is the asker's own.
    Own,
    /// Anything.
    All,
}

/// The gateway with its clock.
pub struct World {
    pub gateway: Gateway<Memory>,
    pub now: Instant,
    /// The table as the events tell it.
    told: BTreeMap<Id, Mapping>,
    told6: BTreeMap<Id, Pinhole>,
    /// The kernel was changed behind the gateway's back, which has not looked since.
    tampered: bool,
}

type Tables = (Vec<Mapping>, Vec<Pinhole>, u32);

impl World {
    pub fn new() -> World {
        let gateway = Gateway::new(Memory::new(), policy(0), 42);
        let (told, told6) = Default::default();
        let mut world = World { gateway, now: Instant::now(), told, told6, tampered: false };
        world.set_lans(true);
        world.set_wan(1);
        world
    }

    /// What happens to the gateway beside messages, `step` 0 to 5: time passes, the kernel refuses,
    /// somebody changes its elements, the WAN, the LAN or the rules are others. Returns how many
    /// bytes of `data` it was told by.
    pub fn happen(&mut self, step: u8, length: u8, data: &[u8]) -> usize {
        match step {
            0 => self.advance(u64::from(length) * 10),
            1 => self.gateway.backend().fail_next(1 + usize::from(length % 3)),
            2 => self.set_wan(length),
            3 => {
                let places = &data[..data.len().min(length.into())];
                self.tamper(places);
                return places.len();
            }
            4 => self.set_lans(length % 2 == 0),
            _ => self.set_policy(length),
        }
        0
    }

    fn advance(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        // The kernel's clock needs no daemon.
        self.gateway.backend().set_now(self.now);
    }

    /// None, a public address, a private one, or two.
    fn set_wan(&mut self, which: u8) {
        let address = |last| Ipv4Addr::new(203, 0, 113, last);
        let addresses = match which % 4 {
            0 => vec![],
            1 => vec![address(1)],
            2 => vec![Ipv4Addr::new(100, 64, 0, 1)],
            _ => vec![address(2), address(1)],
        };
        let wan = Wan { device: Some("wan0".into()), device6: None, addresses };
        let done = self.gateway.set_wan(wan);
        assert!(done.is_ok() || self.gateway.needs_resync());
    }

    /// With its IPv6 prefix, or without.
    fn set_lans(&mut self, ipv6: bool) {
        let lan =
            |address: IpAddr, prefix_len| Lan { device: "br-lan".into(), address, prefix_len };
        let mut lans = vec![lan(Ipv4Addr::new(192, 168, 1, 1).into(), 24)];
        lans.extend(ipv6.then(|| lan(PREFIX.into(), 64)));
        self.gateway.set_lans(lans, self.now);
    }

    fn set_policy(&mut self, which: u8) {
        let before = self.gateway.policy().clone();
        if self.gateway.set_policy(policy(which), self.now).is_err() {
            assert_eq!(*self.gateway.policy(), before);
        }
    }

    /// Somebody changes the kernel's elements, and the gateway is told to look.
    fn tamper(&mut self, places: &[u8]) {
        self.tampered = true;
        let later = self.now + Duration::from_secs(1000);
        let elements = self.gateway.backend().elements_mut();
        for place in places {
            let Some(slot) = elements.keys().nth(usize::from(*place) / 2).copied() else {
                continue;
            };
            if place % 2 == 0 {
                elements.remove(&slot);
            } else if let Some(mut kept) = elements.get(&slot).cloned() {
                kept.element.expires = Some(later);
                elements.insert(slot, kept.clone());
                // Another element, which nobody has asked for.
                if let Slot::Gate(protocol, port) = slot {
                    kept.element.rule = Rule::Gate { protocol, port: port ^ 1 };
                    elements.insert(kept.element.rule.slot(), kept);
                }
            }
        }
        if self.gateway.reconcile(self.now).is_ok() {
            self.tampered = false;
        }
    }

    /// A message of one host's, and what it may have done by its answer.
    pub fn ask(&mut self, host: IpAddr, message: impl FnOnce(&mut World) -> May) {
        self.gateway.handle_timeout(self.now);
        let before = self.tables();
        let may = message(self);
        let after = self.tables();
        match may {
            May::Nothing => assert_eq!(before, after),
            May::Own if self.gateway.policy().secure_mode => {
                let others = |tables: &Tables| {
                    let (mut mappings, mut pinholes, _) = tables.clone();
                    mappings.retain(|m| !same_host((*m.internal.ip()).into(), host));
                    pinholes.retain(|p| !same_host(p.hole.internal.into(), host));
                    (mappings, pinholes)
                };
                assert_eq!(others(&before), others(&after), "{host}");
            }
            May::Own | May::All => {}
        }
    }

    /// A NAT-PMP or PCP packet of the host that `what` says. Its highest bit: with the host's own
    /// address in the header, so that the body is read. The second host may ask for the first.
    pub fn packet(&mut self, what: u8, datagram: &[u8]) {
        let third_party = vec![HOSTS[1], HOSTS[3]];
        let settings = Settings { min_lifetime: 120, max_lifetime: 7200, third_party };
        let host = HOSTS[usize::from(what & 3)];
        let mut datagram = datagram.to_vec();
        if let (true, Some(field)) = (what & 0x80 != 0, datagram.get_mut(8..24)) {
            field.copy_from_slice(&match host {
                IpAddr::V4(host) => host.to_ipv6_mapped().octets(),
                IpAddr::V6(host) => host.octets(),
            });
        }
        self.ask(host, |world| {
            let source = SocketAddr::new(host, 4000);
            let packet = Packet { bytes: &datagram, source, epoch: 7, now: world.now };
            match answer(&mut world.gateway, &settings, &packet).as_deref() {
                None => May::Nothing,
                Some([2, _, _, code, ..]) if *code != 0 => May::Nothing,
                Some([0, _, high, low, ..]) if [*high, *low] != [0, 0] => May::Nothing,
                Some(_) if settings.third_party.contains(&host) => May::All,
                Some(_) => May::Own,
            }
        });
    }

    pub fn tables(&self) -> Tables {
        let mappings = (0..self.gateway.len()).filter_map(|at| self.gateway.at(at).cloned());
        let pinholes = self.gateway.pinholes().cloned();
        (mappings.collect(), pinholes.collect(), self.gateway.system_update_id())
    }

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

/// The usual one, one with rules, or one without secure mode.
fn policy(which: u8) -> Policy {
    let usual = Policy { limits: LIMITS, reserved: vec![(Tcp, 5000)], ..Policy::default() };
    let deny = PermRule {
        allow: false,
        external: 7002..=7003,
        internal: (HOSTS[0], 32),
        internal_ports: 0..=65535,
    };
    match which % 4 {
        2 => Policy { rules: vec![deny], ..usual },
        3 => Policy { secure_mode: false, ..usual },
        _ => usual,
    }
}
