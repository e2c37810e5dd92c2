//! Every rule of the gateway as a sentence, over the memory backend. Numbers are those of the
//! conformance checklist.

mod adding;
mod closing;
mod ending;
mod manual;
mod pinholes;
mod recovering;
mod refusing;

use super::guard::{Client, Filter, Guard};
use super::mapping::{External, Id, Mapping, Origin, Port, Protocol, Refusal, Request};
use super::policy::{Limits, PermRule, Policy};
use super::{Asker, Event, Gateway, Granted, Lan, MapRequest, Wan, REMOTES_MAX};
use crate::netfilter::memory::Memory;
use crate::netfilter::{Element, Rule, Slot};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

const TCP: Protocol = Protocol::Tcp;
const UDP: Protocol = Protocol::Udp;
const ALICE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
const BOB: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 11);
const GUEST: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 10);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// A router with one LAN, one guest network, and a public address.
struct Lab {
    gateway: Gateway<Memory>,
    now: Instant,
}

impl Lab {
    fn new() -> Self {
        Lab::with(Policy::default())
    }

    fn with(policy: Policy) -> Self {
        let mut gateway = Gateway::new(Memory::new(), policy, 42);
        gateway.set_lans(
            vec![lan("br-lan", ROUTER), lan("br-guest", Ipv4Addr::new(192, 168, 2, 1))],
            Instant::now(),
        );
        gateway.set_wan(wan(&[PUBLIC])).unwrap();
        gateway.next_event();
        Lab { gateway, now: Instant::now() }
    }

    fn add(&mut self, request: &Request<'_>) -> Result<Granted, Refusal> {
        self.gateway.add(request, self.now)
    }

    /// Makes a mapping that must be granted as new.
    fn open(&mut self, request: &Request<'_>) -> Granted {
        let granted = self.add(request).unwrap();
        assert!(granted.new);
        granted
    }

    fn delete(&mut self, asker: Asker, protocol: Protocol, port: u16) -> Result<(), Refusal> {
        self.gateway.delete(asker, Some(protocol), port, None, self.now)
    }

    /// Time passes, for the kernel too.
    fn wait(&mut self, seconds: u64) {
        self.now += secs(seconds);
        self.gateway.backend().set_now(self.now);
        self.gateway.handle_timeout(self.now);
    }

    fn rows(&self) -> Vec<Mapping> {
        (0..self.gateway.len()).filter_map(|i| self.gateway.at(i).cloned()).collect()
    }

    fn ports(&self) -> Vec<u16> {
        self.rows().iter().map(|m| m.external.port).collect()
    }

    fn kernel(&mut self) -> Vec<Element> {
        self.gateway.backend().elements().values().map(|kept| kept.element.clone()).collect()
    }

    fn slots(&mut self) -> Vec<Slot> {
        self.gateway.backend().elements().keys().copied().collect()
    }

    /// The external port that packets of an endpoint leave from.
    fn leaves_from(&mut self, protocol: Protocol, internal: SocketAddrV4) -> Option<u16> {
        let kept = self.gateway.backend().elements().get(&Slot::Reverse(protocol, internal))?;
        match kept.element.rule {
            Rule::Reverse { port, .. } => Some(port),
            _ => None,
        }
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.gateway.next_event()).collect()
    }

    /// Everything that a refusal must leave alone.
    fn state(&mut self) -> (Vec<Mapping>, Vec<Element>, u32, Vec<Event>) {
        (self.rows(), self.kernel(), self.gateway.system_update_id(), self.events())
    }
}

fn lan(device: &str, address: Ipv4Addr) -> Lan {
    Lan { device: device.into(), address: address.into(), prefix_len: 24 }
}

/// By PCP, to the same port of Alice's, for the remote peers of these filters alone.
fn filtered(port: u16, filters: &[Filter]) -> MapRequest {
    let client = Client { nonce: [7; 12], port: 1, peer_port: 0 };
    MapRequest {
        client: ALICE,
        origin: Origin::Pcp,
        protocol: TCP,
        internal: SocketAddrV4::new(ALICE, port),
        port: Port::Exactly(port),
        remote: None,
        lease: secs(3600),
        guard: Some(Guard { client, filters: filters.to_vec() }),
        replaces_filters: false,
    }
}

fn wan(addresses: &[Ipv4Addr]) -> Wan {
    Wan { device: Some("wan0".into()), device6: None, addresses: addresses.into() }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A host asks for TCP, this very external port, to its own port of that number, for an hour.
fn ask(client: Ipv4Addr, port: u16) -> Request<'static> {
    Request {
        client,
        origin: Origin::Upnp,
        protocol: TCP,
        port: Port::Exactly(port),
        remote: None,
        internal: SocketAddrV4::new(client, port),
        lease: Some(secs(3600)),
        enabled: true,
        description: "a game",
        high_ports_only: false,
    }
}

fn any(client: Ipv4Addr, port: u16, internal_port: u16) -> Request<'static> {
    Request {
        port: Port::Preferably(port),
        internal: SocketAddrV4::new(client, internal_port),
        ..ask(client, port)
    }
}

fn external(port: u16) -> External {
    External { protocol: TCP, port, remote: None }
}

fn rule(allow: bool, external: std::ops::RangeInclusive<u16>) -> PermRule {
    PermRule {
        allow,
        external,
        internal: (Ipv4Addr::UNSPECIFIED.into(), 0),
        internal_ports: 0..=65535,
    }
}

fn limits(mappings: u16, mappings_per_host: u16) -> Policy {
    Policy {
        limits: Limits { mappings, mappings_per_host, new_per_minute: 0 },
        ..Policy::default()
    }
}
