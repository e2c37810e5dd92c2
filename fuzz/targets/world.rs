//! A gateway over a kernel in memory, with two hosts of both families, for rows of messages; what
//! may change by each. What must hold after it is in [`oracles`].

#[path = "oracles.rs"]
mod oracles;

use postern::gateway::guard::Guard;
use postern::gateway::mapping::Protocol::Tcp;
use postern::gateway::mapping::{Id, Mapping, Origin, Port, Refusal, Request};
use postern::gateway::pinhole::{Hole, Pinhole, PinholeRequest};
use postern::gateway::policy::{Limits, PermRule, Policy};
use postern::gateway::{Gateway, Lan, Wan};
use postern::netfilter::memory::Memory;
use postern::netfilter::{Backend, BackendError, Rule, Slot};
use postern::pcp::{answer, Packet, Settings};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

/// Limits that a row can reach, but high enough for the most filters.
const LIMITS: Limits = Limits { mappings: 40, mappings_per_host: 32, new_per_minute: 0 };

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
    /// Of that, elements were taken out, or given an end that takes them out later.
    taken_out: bool,
}

type Tables = (Vec<Mapping>, Vec<Pinhole>, u32);

impl World {
    pub fn new() -> World {
        let gateway = Gateway::new(Memory::new(), policy(0), 42);
        let (now, told, told6) = (Instant::now(), BTreeMap::new(), BTreeMap::new());
        let (tampered, taken_out) = (false, false);
        let mut world = World { gateway, now, told, told6, tampered, taken_out };
        world.set_lans(true);
        world.set_wan(1);
        world
    }

    /// What happens to the gateway beside messages, `step` 0 to 5: time passes, the kernel refuses,
    /// somebody changes its elements, the WAN, the LAN or the rules are others, the owner has
    /// something done. Returns how many bytes of `data` it was told by.
    pub fn happen(&mut self, step: u8, length: u8, data: &[u8]) -> usize {
        match step {
            0 => self.advance(u64::from(length) * 10),
            1 if length % 8 == 7 => {
                self.gateway.backend().fail_with(BackendError::OutOfStep("told".into()));
            }
            1 => self.gateway.backend().fail_next(1 + usize::from(length % 3)),
            2 => self.set_wan(length),
            3 => {
                let places = &data[..data.len().min(length.into())];
                self.tamper(places);
                return places.len();
            }
            4 => self.set_lans(length % 2 == 0),
            _ if length < 128 => self.set_policy(length),
            _ => self.owner(length),
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

    /// What the owner does by hand.
    fn owner(&mut self, which: u8) {
        let at = usize::from(which & 3);
        let now = self.now;
        let description = "by hand";
        match (which >> 2 & 7, HOSTS[at]) {
            (0, _) => {
                let (mappings, pinholes, _) = self.tables();
                let mut ids = mappings.iter().map(|m| m.id).chain(pinholes.iter().map(|p| p.id));
                let id = ids.nth(at);
                let done = self.gateway.delete_id(id.unwrap_or(Id(u64::MAX)), now);
                assert!(id.is_some() || done == Err(Refusal::NoSuchMapping));
            }
            (1, host) => drop(self.gateway.flush_host(host, now)),
            (2, _) => {
                if self.gateway.flush(now).is_ok() {
                    assert!(self.gateway.is_empty() && self.gateway.pinholes().next().is_none());
                }
            }
            (port, IpAddr::V4(client)) => {
                let request = Request {
                    client,
                    origin: Origin::Manual,
                    protocol: Tcp,
                    port: Port::Exactly(7000 + u16::from(port)),
                    remote: None,
                    internal: SocketAddrV4::new(client, 7000),
                    lease: None,
                    enabled: true,
                    description,
                    high_ports_only: false,
                };
                let _ = self.gateway.add(&request, now);
            }
            (port, IpAddr::V6(client)) => {
                let internal_port = 7000 + u16::from(port);
                let (remote, remote_port) = (None, None);
                let hole =
                    Hole { internal: client, internal_port, protocol: Tcp, remote, remote_port };
                let lease = Duration::from_secs(3600);
                let origin = Origin::Manual;
                let high_ports_only = false;
                let request =
                    PinholeRequest { client, origin, hole, lease, description, high_ports_only };
                let _ = self.gateway.add_pinhole(&request, now);
            }
        }
    }

    /// Somebody takes the whole table away, or changes the kernel's elements, when the gateway is
    /// told to look. What was not taken out by itself stays.
    fn tamper(&mut self, places: &[u8]) {
        self.tampered = true;
        if places.is_empty() {
            let _ = self.gateway.backend().remove();
            return;
        }
        let later = self.now + Duration::from_secs(1000);
        let elements = self.gateway.backend().elements_mut();
        for place in places {
            let Some(slot) = elements.keys().nth(usize::from(*place) / 2).copied() else {
                continue;
            };
            self.taken_out = true;
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
        self.gateway.handle_timeout(self.now);
        let before = self.tables();
        let done = self.gateway.reconcile(self.now);
        assert!(self.taken_out || self.tables() == before);
        if done.is_ok() {
            (self.tampered, self.taken_out) = (false, false);
        }
    }

    /// A message of one host's, and what it may have done by its answer.
    pub fn ask(&mut self, host: IpAddr, message: impl FnOnce(&mut World) -> May) {
        self.gateway.handle_timeout(self.now);
        let before = self.tables();
        let may = message(self);
        let after = self.tables();
        let by_hand = |(mappings, pinholes, _): &Tables| {
            let mappings: Vec<Mapping> =
                mappings.iter().filter(|m| m.origin == Origin::Manual).cloned().collect();
            let pinholes: Vec<Pinhole> =
                pinholes.iter().filter(|p| p.origin == Origin::Manual).cloned().collect();
            (mappings, pinholes)
        };
        assert_eq!(by_hand(&before), by_hand(&after), "no host touches what is the owner's");
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
        let (third, nonce) = (asks_for_third(&datagram), nonce(&datagram));
        self.gateway.handle_timeout(self.now);
        let before = self.tables();
        // NAT-PMP's end of all leaves those that the host may not end, and says so.
        let ends_all = datagram.get(4..6) == Some(&[0; 2]) && datagram.get(8..12) == Some(&[0; 4]);
        self.ask(host, |world| {
            let source = SocketAddr::new(host, 4000);
            let packet = Packet { bytes: &datagram, source, epoch: 7, now: world.now };
            match answer(&mut world.gateway, &settings, &packet).as_deref() {
                None => May::Nothing,
                Some([2, _, _, code, ..]) if *code != 0 => May::Nothing,
                Some([0, _, 0, 2, ..]) if ends_all => May::Own,
                Some([0, _, high, low, ..]) if [*high, *low] != [0, 0] => May::Nothing,
                Some(_) if third && settings.third_party.contains(&host) => May::All,
                Some(_) => May::Own,
            }
        });
        self.guarded(&before, nonce);
    }

    /// Who does not know a mapping's nonce changes nothing of it, but by NAT-PMP its end to a later
    /// one.
    fn guarded(&self, before: &Tables, nonce: Option<[u8; 12]>) {
        let (mappings, pinholes, _) = self.tables();
        let is_others = |guard: &Option<Box<Guard>>| {
            guard.as_deref().is_some_and(|guard| Some(guard.client.nonce) != nonce)
        };
        for old in before.0.iter().filter(|m| is_others(&m.guard)) {
            let new = mappings.iter().find(|m| m.id == old.id).expect("it is guarded");
            let later = nonce.is_none() && new.expires >= old.expires;
            let end = if later { new.expires } else { old.expires };
            assert_eq!(*new, Mapping { expires: end, ..old.clone() });
        }
        for old in before.1.iter().filter(|p| is_others(&p.guard)) {
            assert_eq!(pinholes.iter().find(|p| p.id == old.id), Some(old));
        }
    }

    pub fn tables(&self) -> Tables {
        let mappings = (0..self.gateway.len()).filter_map(|at| self.gateway.at(at).cloned());
        let pinholes = self.gateway.pinholes().cloned();
        (mappings.collect(), pinholes.collect(), self.gateway.system_update_id())
    }
}

/// The Mapping Nonce of MAP or PEER, if it is one of these.
fn nonce(datagram: &[u8]) -> Option<[u8; 12]> {
    let opcode = datagram.get(1).filter(|_| datagram.first() == Some(&2));
    opcode.filter(|opcode| matches!(opcode, 1 | 2))?;
    datagram.get(24..36)?.try_into().ok()
}

/// Whether MAP or PEER has the option THIRD_PARTY.
fn asks_for_third(datagram: &[u8]) -> bool {
    let body = match datagram.get(1) {
        Some(1) => 36,
        _ => 56,
    };
    let mut rest = datagram.get(24 + body..).unwrap_or_default();
    while let [code, _, high, low, ..] = rest {
        if *code == 1 {
            return true;
        }
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        rest = rest.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
    }
    false
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
        2 => Policy { rules: vec![deny], limits: Limits { new_per_minute: 8, ..LIMITS }, ..usual },
        3 => Policy { secure_mode: false, ..usual },
        _ => usual,
    }
}
