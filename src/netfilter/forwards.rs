//! Ports that the router's owner forwards by the main firewall, which come before our own.
//!
//! Read from the rules themselves, whoever made them: from every chain that translates
//! destinations before ours does, and the chains that it asks. Kept until somebody changes rules.

pub mod rule;

use crate::gateway::mapping::Protocol;
use crate::gateway::network::Wan;
use crate::netfilter::element;
use crate::netfilter::ruleset::{BEFORE_US, TABLE};
use crate::netlink::nfnl::{self, attribute as a, message as m};
use crate::netlink::socket::Socket;
use crate::netlink::wire::{self, be16, be32, text, Writer};
use rule::{Action, Field, Seen, Test};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Most chains, rules and sets that one reading looks into, and most forwards kept. What is beyond is
/// not known of.
const CHAINS_MAX: usize = 64;
const RULES_MAX: usize = 1024;
const ELEMENTS_MAX: usize = 256;
const FORWARDS_MAX: usize = 256;

const PREROUTING: u32 = 0;
const ELEMENT_FLAGS: u16 = 3;
const INTERVAL_END: u32 = 1;

/// Every port.
const ALL: (u16, u16) = (0, u16::MAX);

/// A forward of the owner's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Forward {
    /// Of this protocol, or of both.
    protocol: Option<Protocol>,
    /// These external ports.
    ports: (u16, u16),
    /// To there, where that is known.
    target: Option<(Ipv4Addr, Option<u16>)>,
}

impl Forward {
    /// Whether it takes a port away from who wants it forwarded to `internal`: not if it does just
    /// that.
    fn takes(&self, protocol: Protocol, port: u16, internal: SocketAddrV4) -> bool {
        let (first, last) = self.ports;
        let same = |(address, to): (Ipv4Addr, Option<u16>)| {
            address == *internal.ip() && to.unwrap_or(port) == internal.port()
        };
        self.protocol.is_none_or(|of| of == protocol)
            && (first..=last).contains(&port)
            && !self.target.is_some_and(same)
    }
}

/// The forwards as they were read last.
#[derive(Debug, Default)]
pub struct Forwards {
    list: Vec<Forward>,
    /// What they were read for.
    read: Option<(Option<String>, Vec<Ipv4Addr>)>,
}

impl Forwards {
    /// Somebody has changed rules: what is kept counts no more.
    pub fn forget(&mut self) {
        self.read = None;
    }

    /// Whether a port that shall be forwarded to `internal` is forwarded elsewhere. Where the rules
    /// cannot be read, it is not.
    pub fn has(
        &mut self,
        socket: &mut Socket,
        writer: &mut Writer,
        wan: &Wan,
        (protocol, port, internal): (Protocol, u16, SocketAddrV4),
    ) -> bool {
        let read = self.read.as_ref();
        if read.is_none_or(|read| (&read.0, &read.1) != (&wan.device, &wan.addresses)) {
            self.read = Some((wan.device.clone(), wan.addresses.clone()));
            let mut reader = Reader { socket, writer, wan, found: Vec::new() };
            if let Err(e) = reader.read() {
                log::debug!("the firewall's port forwards cannot be read: {e}");
            }
            self.list = reader.found;
            log::debug!("{} port forwards of the firewall", self.list.len());
        }
        self.list.iter().any(|forward| forward.takes(protocol, port, internal))
    }
}

/// A chain, and what packets that come there are known to be.
struct Place {
    family: u8,
    table: String,
    chain: String,
    scope: Scope,
}

#[derive(Clone)]
struct Scope {
    protocol: Option<Protocol>,
    /// These ports, or any.
    ports: Option<Vec<(u16, u16)>>,
    /// Every test was understood.
    whole: bool,
}

struct Reader<'a> {
    socket: &'a mut Socket,
    writer: &'a mut Writer,
    wan: &'a Wan,
    found: Vec<Forward>,
}

impl Reader<'_> {
    fn read(&mut self) -> io::Result<()> {
        let mut places = self.first_chains()?;
        let mut next = 0;
        let mut rules = 0;
        while next < places.len().min(CHAINS_MAX) {
            let seen = self.rules(&places[next], RULES_MAX - rules)?;
            rules += seen.len();
            for seen in seen {
                let Some(scope) = self.narrow(&places[next], &seen)? else { continue };
                match seen.action {
                    Action::Jump(chain) => {
                        let Place { family, table, .. } = &places[next];
                        let place = Place { family: *family, table: table.clone(), chain, scope };
                        // Chains cannot ask each other in a circle; many may ask the same one.
                        if places.len() < CHAINS_MAX {
                            places.push(place);
                        }
                    }
                    Action::Forward(target) => self.found(scope, target),
                }
            }
            next += 1;
        }
        Ok(())
    }

    /// The chains that packets pass before they come to ours.
    fn first_chains(&mut self) -> io::Result<Vec<Place>> {
        let mut places = Vec::new();
        nfnl::message_of(self.writer, m::GET_CHAIN, wire::DUMP, nfnl::ANY_FAMILY);
        self.socket.ask(&self.writer.finish(), &mut |message| {
            let Some(family @ (nfnl::INET | nfnl::IPV4)) = nfnl::family(message) else { return };
            let chain = message.attributes(nfnl::HEADER_LEN);
            let name = |kind: u16| chain.find(kind).and_then(text).map(str::to_owned);
            let hook = chain.nest(a::CHAIN_HOOK);
            let number = |kind: u16| hook.find(kind).and_then(be32);
            let priority = number(a::HOOK_PRIORITY).map(|priority| priority as i32);
            let (Some(table), Some(chain_name)) = (name(a::CHAIN_TABLE), name(a::CHAIN_NAME))
            else {
                return;
            };
            if table != TABLE
                && chain.find(a::CHAIN_TYPE).and_then(text) == Some("nat")
                && number(a::HOOK_NUMBER) == Some(PREROUTING)
                && priority.is_some_and(|priority| priority < BEFORE_US)
                && places.len() < CHAINS_MAX
            {
                let scope = Scope { protocol: None, ports: None, whole: true };
                places.push(Place { family, table, chain: chain_name, scope });
            }
        })?;
        Ok(places)
    }

    fn rules(&mut self, place: &Place, most: usize) -> io::Result<Vec<Seen>> {
        let mut rules = Vec::new();
        nfnl::message_of(self.writer, m::GET_RULE, wire::DUMP, place.family);
        self.writer.text(a::RULE_TABLE, &place.table);
        self.writer.text(a::RULE_CHAIN, &place.chain);
        self.socket.ask(&self.writer.finish(), &mut |message| {
            let chain = message.attributes(nfnl::HEADER_LEN).find(a::RULE_CHAIN).and_then(text);
            // Some kernels do not heed the name.
            if chain == Some(&place.chain) && rules.len() < most {
                rules.extend(rule::read(message));
            }
        })?;
        Ok(rules)
    }

    /// What packets are known to be that pass every test of a rule; `None` if none from the WAN
    /// can.
    fn narrow(&mut self, place: &Place, seen: &Seen) -> io::Result<Option<Scope>> {
        let mut scope = place.scope.clone();
        let mut range = None;
        for (field, test) in &seen.tests {
            match (field, test) {
                (Field::Device, Test::Is(name)) if !self.is_wan(name) => return Ok(None),
                (Field::Device, Test::Among(set)) => {
                    let names = self.elements(place, set)?;
                    if !names.iter().any(|(name, _)| self.is_wan(name)) {
                        return Ok(None);
                    }
                }
                (Field::Family, Test::Is(family)) if *family != [nfnl::IPV4] => return Ok(None),
                (Field::Protocol, Test::Is(number)) => {
                    match number.first().map(|n| i32::from(*n)) {
                        Some(libc::IPPROTO_TCP) => scope.protocol = Some(Protocol::Tcp),
                        Some(libc::IPPROTO_UDP) => scope.protocol = Some(Protocol::Udp),
                        _ => return Ok(None),
                    }
                }
                (Field::Destination, Test::Is(start)) => {
                    // Only the first is told to clients.
                    let address = self.wan.addresses.first();
                    if !address.is_some_and(|address| address.octets().starts_with(start)) {
                        return Ok(None);
                    }
                }
                (Field::Port, Test::Among(set)) => {
                    scope.ports = Some(ranges(&self.elements(place, set)?));
                }
                (Field::Port, Test::Is(port)) => {
                    scope.ports = be16(port).map(|port| vec![(port, port)]);
                }
                (Field::Port, Test::AtLeast(port)) => {
                    range.get_or_insert(ALL).0 = be16(port).unwrap_or_default();
                }
                (Field::Port, Test::AtMost(port)) => {
                    range.get_or_insert(ALL).1 = be16(port).unwrap_or_default();
                }
                (Field::Device | Field::Family, Test::Is(_))
                | (Field::Protocol, Test::Among(_)) => {}
                _ => scope.whole = false,
            }
        }
        if let Some(range) = range {
            scope.ports = Some(vec![range]);
        }
        Ok(Some(scope))
    }

    /// A device name as rules have it: padded with zeros, or the start of one.
    fn is_wan(&self, name: &[u8]) -> bool {
        let device = self.wan.device.as_deref().unwrap_or_default().as_bytes();
        match name.split(|byte| *byte == 0).next() {
            Some(whole) if whole.len() < name.len() => whole == device,
            _ => device.starts_with(name),
        }
    }

    /// The elements of a set, and whether each is the end of an interval.
    fn elements(&mut self, place: &Place, set: &str) -> io::Result<Vec<(Vec<u8>, bool)>> {
        let mut elements = Vec::new();
        nfnl::message_of(self.writer, m::GET_ELEMENT, wire::DUMP, place.family);
        self.writer.text(a::LIST_TABLE, &place.table);
        self.writer.text(a::LIST_SET, set);
        self.socket.ask(&self.writer.finish(), &mut |message| {
            for item in element::items(message) {
                let flags = item.find(ELEMENT_FLAGS).and_then(be32).unwrap_or_default();
                if let Some(key) =
                    element::item_key(&item).filter(|_| elements.len() < ELEMENTS_MAX)
                {
                    elements.push((key.to_vec(), flags & INTERVAL_END != 0));
                }
            }
        })?;
        Ok(elements)
    }

    fn found(&mut self, scope: Scope, target: Option<(Ipv4Addr, Option<u16>)>) {
        let ports = match scope.ports {
            Some(ports) => ports,
            // A rule for some packets of every port takes none away.
            None if !scope.whole => return,
            None => vec![ALL],
        };
        for ports in ports {
            if self.found.len() < FORWARDS_MAX {
                self.found.push(Forward { protocol: scope.protocol, ports, target });
            }
        }
    }
}

/// Port ranges of a set's elements: single ones, or starts and what comes after the last.
fn ranges(elements: &[(Vec<u8>, bool)]) -> Vec<(u16, u16)> {
    let of = |end: bool| {
        let elements = elements.iter().filter(move |(_, is_end)| *is_end == end);
        elements.filter_map(|(key, _)| be16(key))
    };
    let intervals = of(true).next().is_some();
    let last = |first: u16| match intervals {
        true => of(true).filter(|end| *end > first).min().map_or(u16::MAX, |end| end - 1),
        false => first,
    };
    of(false).map(|first| (first, last(first))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forward_takes_its_ports_from_everybody_but_whom_it_serves() {
        let alice: SocketAddrV4 = "192.168.1.10:80".parse().unwrap();
        let bob: SocketAddrV4 = "192.168.1.20:80".parse().unwrap();
        let forward = |port| Forward {
            protocol: Some(Protocol::Tcp),
            ports: (80, 90),
            target: Some((*alice.ip(), port)),
        };
        for (port, internal, taken) in [
            (79, bob, false),
            (80, bob, true),
            (90, bob, true),
            (91, bob, false),
            (80, alice, false),
            (81, alice, true),
        ] {
            let asked = forward(None).takes(Protocol::Tcp, port, internal);
            assert_eq!(asked, taken, "{port} {internal}");
        }
        assert!(!forward(Some(80)).takes(Protocol::Tcp, 85, alice));
        assert!(!forward(None).takes(Protocol::Udp, 80, bob));
        let unknown = Forward { protocol: None, target: None, ..forward(None) };
        assert!(unknown.takes(Protocol::Udp, 80, alice));
    }

    #[test]
    fn sets_of_ports_are_single_ones_or_intervals() {
        let key = |port: u16, end| (port.to_be_bytes().to_vec(), end);
        assert_eq!(ranges(&[key(80, false), key(443, false)]), [(80, 80), (443, 443)]);
        // In whatever order the kernel has them; the last one may have no end.
        let open = [key(81, true), key(3000, false), key(80, false), key(3011, true)];
        assert_eq!(ranges(&open), [(3000, 3010), (80, 80)]);
        assert_eq!(ranges(&[key(65000, false), key(81, true), key(80, false)])[0], (65000, 65535));
        assert_eq!(ranges(&[(vec![1], false)]), []);
    }
}
