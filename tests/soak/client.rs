//! A LAN host with programs of every kind: control points of both versions, `upnpc`, `natpmpc`,
//! NAT-PMP and PCP by hand, pinholes, subscriptions. It remembers what it was told.

use crate::clients::{Ask, ControlPoint, Outcome};
use crate::events::Subscriber;
use crate::ledger::{Held, Ledger, Port, Way};
use crate::pcp_client::{filter, natpmp, Answer, Pcp, NONCE};
use crate::traffic::{End, FROM_ALICE, FROM_ALICE6, FROM_BOB, FROM_BOB6};
use crate::world::{Host, World, ALICE, ALICE6, BOB, BOB6, PEER, PEER6};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

/// Between two turns.
const PAUSE: Duration = Duration::from_millis(60);
/// Ports for each kind of turn.
const SPAN: u16 = 24;
/// Most it holds at a time.
const HELD_MAX: usize = 80;
/// An internal port is the external one and so many.
const INWARDS: u16 = 1000;
/// A port over IPv6 is that of IPv4 and so many: a rule that denies an IPv4 host some ports denies
/// them to all over IPv6.
const HOLES: u16 = 8000;
/// How often it asks by NAT-PMP and PCP.
const TRIES: u8 = 5;
/// Seconds of a lease that does not end.
const LONG: u32 = 3600;

/// See the top.
pub struct Client<'w> {
    world: &'w World,
    host: Host,
    v4: End,
    v6: End,
    address: Ipv4Addr,
    address6: Ipv6Addr,
    /// First of its ports.
    base: u16,
    igd1: ControlPoint<'w>,
    igd2: ControlPoint<'w>,
    firewall: ControlPoint<'w>,
    subscriber: Subscriber<'w>,
    /// What it was told is open.
    pub held: Ledger,
    random: Rng,
    done: BTreeMap<&'static str, u32>,
    refused: BTreeMap<String, u32>,
}

const LOCATIONS: [&str; 2] =
    ["http://192.168.1.1:5000/igd1/desc.xml", "http://192.168.1.1:5000/igd2/desc.xml"];

impl<'w> Client<'w> {
    /// One at [`Host::Alice`] or [`Host::Bob`].
    pub fn new(world: &'w World, host: Host, random: Rng) -> Client<'w> {
        let (v4, v6, address, address6, base) = match host {
            Host::Alice => (FROM_ALICE, FROM_ALICE6, ALICE, ALICE6, 20_000),
            _ => (FROM_BOB, FROM_BOB6, BOB, BOB6, 22_000),
        };
        let service = |place: usize, kind| world.control_point_at(v4, LOCATIONS[place], kind);
        Client {
            world,
            host,
            v4,
            v6,
            address,
            address6,
            base,
            igd1: service(0, ":WANIPConnection:"),
            igd2: service(1, ":WANIPConnection:"),
            firewall: service(1, ":WANIPv6FirewallControl:"),
            subscriber: Subscriber::new(world, v4),
            held: Ledger::new(),
            random,
            done: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// One thing after the other at random, every thing once first.
    pub fn take_turns(&mut self, stop: impl Fn() -> bool) {
        let mut order: Vec<u8> = (0..10).collect();
        self.random.shuffle(&mut order);
        while !stop() {
            let turn = order.pop().unwrap_or_else(|| self.random.u8(..10));
            self.turn(turn);
            while self.held.len() > HELD_MAX {
                self.delete();
            }
            thread::sleep(PAUSE);
        }
    }

    fn turn(&mut self, turn: u8) {
        let name = match turn {
            0 => self.add(false),
            1 => self.add(true),
            2 => self.upnpc(),
            3 => self.natpmp(),
            4 => self.natpmpc(),
            5 => self.pcp(),
            6 => self.pinhole(),
            7 => self.list(),
            8 => self.subscriber.turn(&mut self.random, &self.igd2),
            _ => {
                self.delete();
                "delete"
            }
        };
        *self.done.entry(name).or_default() += 1;
    }

    /// Takes note of a refusal: who asks while there is no WAN gets one.
    fn refuse(&mut self, what: &str, code: impl std::fmt::Display) {
        *self.refused.entry(format!("{what} {code}")).or_default() += 1;
    }

    /// A port of the kind with this number, and a protocol.
    fn choose(&mut self, kind: u16) -> (u16, &'static str) {
        let protocol = if self.random.bool() { "TCP" } else { "UDP" };
        (self.base + 100 * kind + self.random.u16(..SPAN), protocol)
    }

    fn hold(
        &mut self,
        protocol: &'static str,
        external: u16,
        to: SocketAddr,
        way: Way,
        lease: u32,
    ) {
        let short = Instant::now() + Duration::from_secs(lease.into());
        let end = (1..LONG).contains(&lease).then_some(short);
        self.held.insert(Port { protocol, external, to }, Held { way, end });
    }

    fn v4_port(&self, external: u16) -> SocketAddr {
        (self.address, external + INWARDS).into()
    }

    /// AddPortMapping, which may be a refresh, or AddAnyPortMapping.
    fn add(&mut self, second: bool) -> &'static str {
        let (external, protocol) = self.choose(u16::from(second));
        let lease = [LONG, LONG, 604_800, 2, 3][self.random.usize(..5)];
        let internal = external + INWARDS;
        let client = self.address;
        let ask = Ask { remote: "", external, protocol, internal, client, enabled: true, lease };
        let igd = if second { &self.igd2 } else { &self.igd1 };
        let any = second && self.random.bool();
        let action = if any { "AddAnyPortMapping" } else { "AddPortMapping" };
        match igd.try_ask(action, &ask).expect("an answer to AddPortMapping") {
            Ok(out) => {
                let port = if any { out[0].1.parse().unwrap() } else { external };
                self.hold(protocol, port, self.v4_port(external), Way::Upnp, lease);
            }
            Err(code) => self.refuse(action, code),
        }
        action
    }

    /// Debian's `upnpc` adds, deletes or lists.
    fn upnpc(&mut self) -> &'static str {
        let (external, protocol) = self.choose(2);
        let (outside, inside) = (external.to_string(), (external + INWARDS).to_string());
        let url = LOCATIONS[self.random.usize(..2)];
        let to = self.v4_port(external);
        let port = Port { protocol, external, to };
        let run = |args: &[&str]| self.world.upnpc(self.host, &[&["-u", url], args].concat());
        if self.held.contains_key(&port) && self.random.bool() {
            let out = run(&["-d", &outside, protocol]);
            assert!(out.contains("UPNP_DeletePortMapping() returned : 0"), "{out}");
            self.held.remove(&port);
            return "upnpc -d";
        }
        if self.random.u8(..3) == 0 {
            let out = run(&[["-l", "-s"][self.random.usize(..2)]]);
            assert!(out.contains("Connection Type : IP_Routed"), "{out}");
            return "upnpc -l, -s";
        }
        let out = run(&["-e", "soak", "-a", "@", &inside, &outside, protocol, "3600"]);
        match out.contains("is redirected to") {
            true => self.hold(protocol, external, to, Way::Upnp, LONG),
            false => {
                let code = out.split("failed with code ").nth(1).unwrap_or_else(|| panic!("{out}"));
                self.refuse("upnpc -a", code.split(' ').next().unwrap());
            }
        }
        "upnpc -a"
    }

    /// Takes note of an answer to NAT-PMP or PCP.
    fn granted(&mut self, protocol: &'static str, internal: u16, external: u16, way: Way) {
        let to = SocketAddr::from((self.address, internal));
        self.held.retain(|held, _| held.protocol != protocol || held.to != to);
        self.hold(protocol, external, to, way, LONG);
    }

    fn natpmp(&mut self) -> &'static str {
        let (external, protocol) = self.choose(3);
        let opcode = if protocol == "UDP" { 1 } else { 2 };
        let request = natpmp(opcode, external + INWARDS, external, LONG);
        let answer = self.ask_pmp(self.v4, &request);
        assert_eq!(answer[1], 128 + opcode, "{answer:?}");
        match u16::from_be_bytes([answer[2], answer[3]]) {
            0 => {
                let granted = u16::from_be_bytes([answer[10], answer[11]]);
                self.granted(protocol, external + INWARDS, granted, Way::NatPmp);
            }
            code => self.refuse("NAT-PMP", code),
        }
        "NAT-PMP"
    }

    /// Debian's `natpmpc` maps.
    fn natpmpc(&mut self) -> &'static str {
        let (external, protocol) = self.choose(4);
        let (outside, inside) = (external.to_string(), (external + INWARDS).to_string());
        // When it has asked for the address twice, it may take the second answer for a mapping.
        let mapped = format!(" protocol {protocol} to local port {inside} ");
        let run = || {
            let mut command = self.world.command(self.host, "natpmpc");
            let out = command.args(["-a", &outside, &inside, protocol, "3600"]).output().unwrap();
            String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
        };
        let wrong = |text: &String| text.contains("Mapped public") && !text.contains(&mapped);
        let text = (0..4).map(|_| run()).find(|text| !wrong(text)).expect("an answer of its own");
        let granted = text.split("Mapped public port ").nth(1);
        match granted.and_then(|rest| rest.split(' ').next()).and_then(|port| port.parse().ok()) {
            Some(port) => self.granted(protocol, external + INWARDS, port, Way::NatPmp),
            None => self.refuse("natpmpc", text.lines().last().unwrap_or("")),
        }
        "natpmpc"
    }

    /// MAP over either family, with a FILTER now and then.
    fn pcp(&mut self) -> &'static str {
        let (external, protocol) = self.choose(5);
        let by_v6 = self.random.u8(..3) == 0;
        let internal = if by_v6 { external + HOLES } else { external + INWARDS };
        let mut request = self.map(protocol, internal, external, by_v6, LONG);
        if self.random.u8(..3) == 0 {
            let peer = if by_v6 { IpAddr::from(PEER6) } else { PEER.into() };
            request.options = filter(peer, 128, 0);
        }
        let answer = self.ask(&request);
        match (answer.code, by_v6) {
            (0, false) => self.granted(protocol, request.internal, answer.port, Way::Pcp),
            (0, true) => {
                let to = SocketAddr::from((self.address6, request.internal));
                self.hold(protocol, request.internal, to, Way::Pcp, LONG);
            }
            (code, _) => self.refuse("PCP", code),
        }
        if by_v6 {
            "PCP over IPv6"
        } else {
            "PCP"
        }
    }

    fn map(&self, protocol: &str, internal: u16, external: u16, v6: bool, lifetime: u32) -> Pcp {
        let from = if v6 { self.v6 } else { self.v4 };
        let protocol = if protocol == "TCP" { 6 } else { 17 };
        let options = Vec::new();
        Pcp { from, lifetime, nonce: NONCE, protocol, internal, external, peer: None, options }
    }

    fn ask(&self, request: &Pcp) -> Answer {
        Answer::of(&self.ask_pmp(request.from, &request.bytes()))
    }

    /// A datagram may be lost in a flood of others: clients ask again.
    fn ask_pmp(&self, from: End, request: &[u8]) -> Vec<u8> {
        let answer = (0..TRIES).find_map(|_| self.world.ask_pmp(from, request));
        answer.expect("an answer to NAT-PMP or PCP")
    }

    fn pinhole(&mut self) -> &'static str {
        let (port, protocol) = self.choose(6);
        let port = port + HOLES;
        let to = SocketAddr::from((self.address6, port));
        let lease = if self.random.u8(..4) == 0 { 2 } else { LONG };
        let before = self.held.get(&Port { protocol, external: port, to }).cloned();
        if let Some(Held { way: Way::Hole(id), end: None }) = before {
            let args = [("UniqueID", &id[..]), ("NewLeaseTime", "7200")];
            assert_eq!(self.firewall.call("UpdatePinhole", &args), Ok(vec![]), "{id}");
            return "UpdatePinhole";
        }
        let made = self.firewall.value(
            "AddPinhole",
            &[
                ("RemoteHost", ""),
                ("RemotePort", "0"),
                ("InternalClient", &self.address6.to_string()),
                ("InternalPort", &port.to_string()),
                ("Protocol", if protocol == "TCP" { "6" } else { "17" }),
                ("LeaseTime", &lease.to_string()),
            ],
        );
        match made {
            Ok(id) => self.hold(protocol, port, to, Way::Hole(id), lease),
            Err(code) => self.refuse("AddPinhole", code),
        }
        "AddPinhole"
    }

    /// Reads everybody's mappings, one by one or in one list.
    fn list(&mut self) -> &'static str {
        if self.random.bool() {
            let args = [
                ("NewStartPort", "0"),
                ("NewEndPort", "65535"),
                ("NewProtocol", if self.random.bool() { "TCP" } else { "UDP" }),
                ("NewManage", "1"),
                ("NewNumberOfPorts", "0"),
            ];
            let list = self.igd2.call("GetListOfPortMappings", &args);
            assert!(matches!(list, Ok(_) | Err(730)), "{list:?}");
            return "GetListOfPortMappings";
        }
        let entry = |index: u32| -> Outcome {
            let index = index.to_string();
            self.igd1.call("GetGenericPortMappingEntry", &[("NewPortMappingIndex", &index)])
        };
        let end = (0..1000).find_map(|index| entry(index).err());
        assert_eq!(end, Some(713));
        "GetGenericPortMappingEntry"
    }

    /// Closes a port of its own, by what opened it.
    fn delete(&mut self) {
        let Some((port, held)) = self.random.choice(self.held.iter()) else { return };
        let (port, held) = (*port, held.clone());
        self.close(port, &held);
        self.held.remove(&port);
    }

    fn close(&self, port: Port, held: &Held) {
        // Of a lease of seconds it is not known whether it has ended.
        let may_be_gone = held.end.is_some();
        let outcome = match &held.way {
            Way::Upnp => self.igd2.delete(port.protocol, port.external),
            Way::Hole(id) => self.firewall.call("DeletePinhole", &[("UniqueID", id)]).map(drop),
            Way::NatPmp => {
                let opcode = if port.protocol == "UDP" { 1 } else { 2 };
                let request = natpmp(opcode, port.to.port(), 0, 0);
                let answer = self.ask_pmp(self.v4, &request);
                let code = u16::from_be_bytes([answer[2], answer[3]]);
                if code == 0 {
                    Ok(())
                } else {
                    Err(code)
                }
            }
            Way::Pcp => {
                let v6 = port.to.is_ipv6();
                let answer = self.ask(&self.map(port.protocol, port.to.port(), 0, v6, 0));
                if answer.code == 0 {
                    Ok(())
                } else {
                    Err(answer.code.into())
                }
            }
        };
        let gone = matches!(outcome, Err(704 | 714)) && may_be_gone;
        assert!(outcome.is_ok() || gone, "{port:?} {held:?}: {outcome:?}");
    }

    /// Closes and unsubscribes everything.
    pub fn close_everything(&mut self) {
        while !self.held.is_empty() {
            self.delete();
        }
        self.subscriber.leave(&self.igd2);
    }

    /// Says what it has done, of which most must have been granted.
    pub fn report(&self) {
        println!("soak: {:?} {:?}", self.host, self.done);
        println!("soak: {:?} was refused {:?}", self.host, self.refused);
        println!("soak: {:?} was told {} events", self.host, self.subscriber.heard());
        let (done, refused): (u32, u32) = (self.done.values().sum(), self.refused.values().sum());
        assert!(refused * 4 < done, "{refused} of {done} were refused");
        assert!(self.subscriber.heard() > 0, "no event came");
    }
}
