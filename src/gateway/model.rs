//! The gateway against a naive model of itself, over random histories.
//!
//! After every step the table, the kernel's elements, the deadline, the events and the counters
//! must be what the model says. The model keeps a plain list and answers every question by
//! looking at all of it.

mod history;
mod run;
mod world;

use super::mapping::{External, Id, Mapping, Origin, Protocol, Refusal};
use super::policy::Limits;
use super::{Granted, HOLD_SHORT, HOLD_TCP, HOLD_UDP};
use crate::netfilter::{Element, Note, Rule, Slot};
use history::Ask;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};
use world::{lans, policy, HOSTS, REMOTES};

/// What every element must be, by the words of the `elements` module and nothing else.
fn desired(rows: &[Mapping]) -> BTreeMap<Slot, Element> {
    let mut wanted = BTreeMap::new();
    let mut rows: Vec<&Mapping> = rows.iter().collect();
    rows.sort_by_key(|m| (m.external.remote.is_some(), m.id));
    for m in rows {
        let External { protocol, port, remote } = m.external;
        let internal = m.internal;
        let note =
            Note { id: m.id, origin: m.origin, client: None, description: m.description.clone() };
        let expires = m.expires;
        let mut want = |rule: Rule| {
            wanted.entry(rule.slot()).or_insert(Element { rule, expires });
        };
        if !m.enabled {
            want(Rule::Held { protocol, port, remote, internal, note });
            continue;
        }
        want(Rule::Forward { protocol, port, remote, internal, note });
        want(Rule::Reverse { protocol, internal, port });
        want(Rule::Gate { protocol, port });
        if let Some(gate) = wanted.get_mut(&Slot::Gate(protocol, port)) {
            gate.expires = match (gate.expires, expires) {
                (Some(a), Some(b)) => Some(a.max(b)),
                _ => None,
            };
        }
    }
    wanted
}

/// Where the model thinks a request must end up.
#[derive(Debug, PartialEq)]
enum Verdict {
    Refresh(Id),
    At(u16),
    Any,
}

#[derive(Clone)]
struct Model {
    rows: Vec<Mapping>,
    /// The rows when ports were last looked at that somebody has given up.
    seen: Vec<Mapping>,
    /// Ports given up, by whom, and until when nobody else is offered them.
    holds: Vec<(Protocol, u16, Ipv4Addr, Instant)>,
    policy: usize,
    wan: usize,
    guests: bool,
    last_id: u64,
    now: Instant,
}

impl Model {
    fn expire(&mut self) {
        let now = self.now;
        self.rows.retain(|m| m.expires.is_none_or(|end| end > now));
        self.hold();
    }

    /// Looks at what is gone since the last time.
    fn hold(&mut self) {
        for m in std::mem::take(&mut self.seen) {
            let (protocol, port) = (m.external.protocol, m.external.port);
            let asked_once = matches!(m.origin, Origin::NatPmp | Origin::Pcp);
            if asked_once && !self.rows.iter().any(|row| row.id == m.id) {
                let until = self.now
                    + match protocol {
                        Protocol::Tcp => HOLD_TCP,
                        Protocol::Udp => HOLD_UDP,
                    };
                self.holds.retain(|hold| (hold.0, hold.1) != (protocol, port));
                self.holds.push((protocol, port, *m.internal.ip(), until));
            }
        }
        self.seen = self.rows.clone();
    }

    fn is_held_strictly(&self, ask: &Ask, port: u16) -> bool {
        let time = if ask.protocol == Protocol::Tcp { HOLD_TCP } else { HOLD_UDP };
        let later = Model { now: self.now + time - HOLD_SHORT, ..self.clone() };
        later.is_held(ask, port)
    }

    fn is_held(&self, ask: &Ask, port: u16) -> bool {
        self.holds.iter().any(|(protocol, held, host, until)| {
            (*protocol, *held) == (ask.protocol, port)
                && *host != HOSTS[ask.target]
                && *until > self.now
        })
    }

    fn internal(&self, ask: &Ask) -> SocketAddrV4 {
        SocketAddrV4::new(HOSTS[ask.target], ask.internal_port)
    }

    fn lan_of(&self, host: usize) -> Option<u8> {
        let third = HOSTS[host].octets()[2];
        lans(self.guests)
            .iter()
            .any(|lan| lan.address == Ipv4Addr::new(192, 168, third, 1))
            .then_some(third)
    }

    fn allowed(&self, protocol: Protocol, port: u16, host: Ipv4Addr, low: bool) -> Option<Refusal> {
        let explicit = self.policy == 2 && (2000..=2002).contains(&port);
        let special = self.policy == 2 && port == 443 && host == HOSTS[0];
        let guest = self.policy == 2
            && (2003..=2010).contains(&port)
            && (port >= 2005 || host.octets()[2] != 1);
        if port == 5000 && protocol == Protocol::Tcp {
            Some(Refusal::Reserved)
        } else if port == 0 {
            Some(Refusal::Denied)
        } else if self.policy == 2 {
            (!explicit && !special && !guest).then_some(Refusal::Denied)
        } else {
            low.then_some(Refusal::Denied)
        }
    }

    fn asked_allowed(&self, ask: &Ask, port: u16) -> Option<Refusal> {
        let low = ask.high_ports_only && (port < 1024 || ask.internal_port < 1024);
        self.allowed(ask.protocol, port, HOSTS[ask.target], low)
    }

    fn free_for(&self, ask: &Ask, port: u16) -> bool {
        let host = HOSTS[ask.target];
        let here: Vec<_> = self.rows.iter().filter(|m| m.external.port == port).collect();
        let same: Vec<_> = here.iter().filter(|m| m.external.protocol == ask.protocol).collect();
        match same.is_empty() {
            false => same.iter().all(|m| *m.internal.ip() == host),
            true => here.iter().all(|m| {
                let pmp = m.origin == Origin::NatPmp || ask.origin == Origin::NatPmp;
                *m.internal.ip() == host || !pmp
            }),
        }
    }

    fn judge(&self, ask: &Ask) -> Result<Verdict, Refusal> {
        let secure = self.policy != 1;
        let client_lan = self.lan_of(ask.client).ok_or(Refusal::Denied)?;
        if secure && ask.client != ask.target {
            return Err(Refusal::NotOwner);
        }
        if ask.internal_port == 0 || self.lan_of(ask.target) != Some(client_lan) {
            return Err(Refusal::InvalidTarget);
        }
        let remote = REMOTES[ask.remote];
        let external = External { protocol: ask.protocol, port: ask.port, remote };
        let at = self.rows.iter().find(|m| m.external == external);
        let verdict = if ask.exactly {
            if let Some(refusal) = self.asked_allowed(ask, ask.port) {
                return Err(refusal);
            }
            if !self.free_for(ask, ask.port) || self.is_held_strictly(ask, ask.port) {
                return Err(Refusal::Conflict);
            }
            at.map_or(Verdict::At(ask.port), |m| Verdict::Refresh(m.id))
        } else {
            let own = self.rows.iter().filter(|m| {
                m.external.protocol == ask.protocol
                    && m.internal == self.internal(ask)
                    && m.external.remote == remote
                    && self.asked_allowed(ask, m.external.port).is_none()
            });
            // One that lets something in before one that is disabled.
            let own = own.min_by_key(|m| (!m.enabled, m.id));
            let preferred = self.asked_allowed(ask, ask.port).is_none()
                && self.free_for(ask, ask.port)
                && !self.is_held(ask, ask.port);
            match (at, own) {
                (None, _) if preferred => Verdict::At(ask.port),
                (Some(m), _) if preferred && m.internal == self.internal(ask) => {
                    Verdict::Refresh(m.id)
                }
                (_, Some(own)) => Verdict::Refresh(own.id),
                _ => Verdict::Any,
            }
        };
        if matches!(verdict, Verdict::Refresh(_)) {
            return Ok(verdict);
        }
        match self.wan {
            0 => return Err(Refusal::NoExternalAddress),
            1 if self.policy != 3 => return Err(Refusal::PrivateExternalAddress),
            _ => {}
        }
        let Limits { mappings, mappings_per_host, .. } = policy(self.policy).limits;
        if self.of_host(HOSTS[ask.target]) >= usize::from(mappings_per_host) {
            return Err(Refusal::QuotaExceeded);
        }
        if self.rows.len() >= usize::from(mappings) {
            return Err(Refusal::TableFull);
        }
        if verdict == Verdict::Any {
            // Nothing is reserved for UDP: what it may not have, the rules deny.
            let unreserved = Ask { protocol: Protocol::Udp, ..ask.clone() };
            let open: Vec<u16> =
                (1024..=65535).filter(|p| self.asked_allowed(&unreserved, *p).is_none()).collect();
            if open.is_empty() {
                return Err(Refusal::Denied);
            }
            if !open.iter().any(|port| self.choosable(ask, *port)) {
                return Err(Refusal::NoFreePort);
            }
        }
        Ok(verdict)
    }

    fn choosable(&self, ask: &Ask, port: u16) -> bool {
        port >= 1024
            && !self.is_held(ask, port)
            && self.asked_allowed(ask, port).is_none()
            && self.rows.iter().filter(|m| m.external.port == port).all(|m| {
                m.external.protocol != ask.protocol && *m.internal.ip() == HOSTS[ask.target]
            })
    }

    fn of_host(&self, host: Ipv4Addr) -> usize {
        self.rows.iter().filter(|m| *m.internal.ip() == host).count()
    }

    fn may_delete(&self, asker: Option<usize>, m: &Mapping, others: bool) -> bool {
        asker.is_none_or(|host| *m.internal.ip() == HOSTS[host] || (others && self.policy == 1))
    }

    /// Makes what the gateway has granted, if that is what it had to grant.
    fn grant(&mut self, ask: &Ask, verdict: Verdict, granted: Granted) {
        let internal = self.internal(ask);
        let expires = ask.lease.map(|s| self.now + Duration::from_secs(s.max(1)));
        match verdict {
            Verdict::Refresh(id) => {
                let old = self.rows.iter_mut().find(|m| m.id == id).unwrap();
                assert_eq!(granted, Granted { id, port: old.external.port, new: false });
                *old = Mapping { internal, expires, enabled: ask.enabled, ..old.clone() };
            }
            Verdict::At(port) => assert_eq!((granted.port, granted.new), (port, true)),
            Verdict::Any => {
                assert!(granted.new && self.choosable(ask, granted.port), "{granted:?}");
            }
        }
        if granted.new {
            assert!(granted.id.0 > self.last_id);
            self.last_id = granted.id.0;
            self.rows.push(Mapping {
                id: granted.id,
                external: External {
                    protocol: ask.protocol,
                    port: granted.port,
                    remote: REMOTES[ask.remote],
                },
                internal,
                expires,
                enabled: ask.enabled,
                origin: ask.origin,
                description: "words".into(),
                guard: None,
            });
        }
    }

    /// What is left when everything is read back under the limits.
    fn readmit(&mut self) {
        let Limits { mappings, mappings_per_host, .. } = policy(self.policy).limits;
        for m in std::mem::take(&mut self.rows) {
            let room = self.rows.len() < usize::from(mappings)
                && self.of_host(*m.internal.ip()) < usize::from(mappings_per_host);
            if room {
                self.rows.push(m);
            }
        }
    }
}
