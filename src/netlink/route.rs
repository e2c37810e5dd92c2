//! Links, addresses and default routes as rtnetlink tells of them (rtnetlink(7)).
//!
//! Pure: [`Net`] is fed messages and asked questions. It holds what was told and judges when it
//! is asked, because single messages mislead: a new address first comes as a secondary one and
//! may go with the primary; a link that goes down loses its routes without a word; a redial keeps
//! the device's name and changes its index. Reading never panics on any bytes.

use crate::netlink::wire::{self, ne32, text, Message, Writer};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most links kept; more are ignored.
pub const LINKS_MAX: usize = 256;
/// Most addresses kept; more are ignored.
pub const ADDRESSES_MAX: usize = 1024;
/// Most default routes kept; more are ignored.
pub const ROUTES_MAX: usize = 64;

/// Groups whose announcements are wanted: links, addresses and routes of IPv4 and IPv6.
pub const GROUPS: [u32; 5] = [1, 5, 9, 7, 11];

const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const DEL_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const DEL_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;

const IPV4: u8 = 2;
const IPV6: u8 = 10;

const LINK_HEADER: usize = 16;
const LINK_NAME: u16 = 3;
const FLAG_UP: u32 = 0x1;
const FLAG_RUNNING: u32 = 0x40;

const ADDRESS_HEADER: usize = 8;
const ADDRESS_ADDRESS: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;
const ADDRESS_FLAGS: u16 = 8;
/// Of IPv4; for IPv6 the same bit says that the address is a temporary one.
const SECONDARY: u32 = 0x01;
const DAD_FAILED: u32 = 0x08;
const DEPRECATED: u32 = 0x20;
const TENTATIVE: u32 = 0x40;
const SCOPE_GLOBAL: u8 = 0;
const SCOPE_LINK: u8 = 253;

const ROUTE_HEADER: usize = 12;
const ROUTE_DESTINATION: u16 = 1;
const ROUTE_DEVICE: u16 = 4;
const ROUTE_METRIC: u16 = 6;
const ROUTE_MULTIPATH: u16 = 9;
const ROUTE_TABLE: u16 = 15;
const REPLACE: u16 = 0x100;
const TABLE_MAIN: u32 = 254;
const UNICAST: u8 = 1;

/// What can be asked for as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All links.
    Links,
    /// All addresses, IPv4 and IPv6.
    Addresses,
    /// All routes, IPv4 and IPv6.
    Routes,
}

impl Part {
    /// All of them, in the order they should be asked for.
    pub const ALL: [Part; 3] = [Part::Links, Part::Addresses, Part::Routes];
}

/// Writes the request for all of one part; returns its number.
pub fn request(writer: &mut Writer, part: Part) -> u32 {
    let (kind, header) = match part {
        Part::Links => (GET_LINK, LINK_HEADER),
        Part::Addresses => (GET_ADDRESS, ADDRESS_HEADER),
        Part::Routes => (GET_ROUTE, ROUTE_HEADER),
    };
    let sequence = writer.message(kind, wire::REQUEST | wire::DUMP);
    writer.raw(&[0; LINK_HEADER][..header]);
    sequence
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    index: u32,
    name: String,
    up: bool,
    fresh: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    index: u32,
    address: IpAddr,
    prefix_len: u8,
    scope: u8,
    flags: u32,
    fresh: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    family: u8,
    index: u32,
    metric: u32,
    fresh: bool,
}

/// What is known of this host's network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Net {
    links: Vec<Link>,
    addresses: Vec<Address>,
    routes: Vec<Route>,
    stale: bool,
}

impl Net {
    /// Knows nothing yet.
    pub fn new() -> Net {
        Net::default()
    }

    /// Takes one message. `true` if an answer to one of the questions below may be another now.
    /// Messages of other kinds, and such as cannot be understood, change nothing.
    pub fn apply(&mut self, message: &Message<'_>) -> bool {
        match message.kind {
            NEW_LINK | DEL_LINK => self.link(message),
            NEW_ADDRESS | DEL_ADDRESS => self.address(message),
            NEW_ROUTE | DEL_ROUTE => self.route(message),
            _ => None,
        }
        .unwrap_or(false)
    }

    /// A link has changed its state since the last call: routes may have gone with it without a
    /// word, so ask for them anew.
    pub fn take_stale(&mut self) -> bool {
        std::mem::take(&mut self.stale)
    }

    /// An answer to [`request`] begins.
    pub fn begin(&mut self, part: Part) {
        match part {
            Part::Links => self.links.iter_mut().for_each(|l| l.fresh = false),
            Part::Addresses => self.addresses.iter_mut().for_each(|a| a.fresh = false),
            Part::Routes => self.routes.iter_mut().for_each(|r| r.fresh = false),
        }
    }

    /// The answer has ended: what it did not name is gone. `true` if something was.
    pub fn finish(&mut self, part: Part) -> bool {
        let count = |net: &Net| (net.links.len(), net.addresses.len(), net.routes.len());
        let before = count(self);
        match part {
            Part::Links => self.links.retain(|l| l.fresh),
            Part::Addresses => self.addresses.retain(|a| a.fresh),
            Part::Routes => self.routes.retain(|r| r.fresh),
        }
        count(self) != before
    }

    /// The device to the Internet: the configured one, or that of the default route with the
    /// lowest metric whose link is up.
    pub fn wan_device(&self, configured: Option<&str>) -> Option<String> {
        if let Some(name) = configured {
            return Some(name.to_owned());
        }
        self.default_device(IPV4, |_| true)
    }

    /// The device of the IPv6 default route with the lowest metric whose link is up, of those that
    /// `counts` says.
    pub fn wan_device6(&self, counts: impl Fn(&str) -> bool) -> Option<String> {
        self.default_device(IPV6, counts)
    }

    fn default_device(&self, family: u8, counts: impl Fn(&str) -> bool) -> Option<String> {
        let usable =
            self.routes.iter().filter(|route| route.family == family).filter_map(|route| {
                let link = self.links.iter().find(|link| link.index == route.index && link.up)?;
                Some((route.metric, route.index, link)).filter(|_| counts(&link.name))
            });
        usable.min_by_key(|(metric, index, _)| (*metric, *index)).map(|(.., l)| l.name.clone())
    }

    /// The device's IPv4 addresses of global scope with their prefix lengths, the primary first.
    pub fn addresses_v4(&self, device: &str) -> Vec<(Ipv4Addr, u8)> {
        let Some(index) = self.index(device) else {
            return Vec::new();
        };
        let of_device = |a: &&Address| {
            a.index == index
                && a.scope == SCOPE_GLOBAL
                && a.flags & (DEPRECATED | TENTATIVE | DAD_FAILED) == 0
        };
        let mut found: Vec<&Address> = self.addresses.iter().filter(of_device).collect();
        found.sort_by_key(|a| a.flags & SECONDARY);
        let v4 = found.into_iter().filter_map(|a| match a.address {
            IpAddr::V4(address) => Some((address, a.prefix_len)),
            IpAddr::V6(_) => None,
        });
        v4.collect()
    }

    /// The device's IPv6 addresses that last, with their prefix lengths: global ones first, then
    /// unique local ones (RFC 4193), then those of the link alone.
    ///
    /// A deprecated one counts as long as none of its kind is preferred: a prefix that was lost
    /// stands until another has taken its place.
    pub fn addresses_v6(&self, device: &str) -> Vec<(Ipv6Addr, u8)> {
        let Some(index) = self.index(device) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for a in &self.addresses {
            let IpAddr::V6(address) = a.address else { continue };
            if a.index == index
                && [SCOPE_GLOBAL, SCOPE_LINK].contains(&a.scope)
                && a.flags & (SECONDARY | TENTATIVE | DAD_FAILED) == 0
            {
                found.push((kind(address), a.flags & DEPRECATED != 0, address, a.prefix_len));
            }
        }
        found.sort_unstable();
        let preferred: Vec<u8> = found.iter().filter(|a| !a.1).map(|a| a.0).collect();
        found.retain(|a| !a.1 || !preferred.contains(&a.0));
        found.into_iter().map(|(_, _, address, prefix_len)| (address, prefix_len)).collect()
    }

    /// Whether an address is one of the router's, on whichever device.
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|known| known.address == address)
    }

    /// Whether the device is there, switched on and connected.
    pub fn is_up(&self, device: &str) -> bool {
        self.links.iter().any(|link| link.up && link.name == device)
    }

    /// The device's number, which is another after it has been made anew.
    pub fn index(&self, device: &str) -> Option<u32> {
        self.links.iter().find(|link| link.name == device).map(|link| link.index)
    }

    fn link(&mut self, message: &Message<'_>) -> Option<bool> {
        let index = ne32(message.payload.get(4..)?)?;
        // A bridge tells of its ports in the same words; that is not the link itself.
        if *message.payload.first()? != 0 {
            return None;
        }
        let place = self.links.iter().position(|link| link.index == index);
        if message.kind == DEL_LINK {
            self.addresses.retain(|a| a.index != index);
            self.routes.retain(|r| r.index != index);
            place.map(|i| self.links.remove(i));
            return Some(place.is_some());
        }
        let flags = ne32(message.payload.get(8..)?)?;
        let name = message.attributes(LINK_HEADER).find(LINK_NAME).and_then(text)?.to_owned();
        let up = flags & FLAG_UP != 0 && flags & FLAG_RUNNING != 0;
        let link = Link { index, name, up, fresh: true };
        if let Some(old) = place.and_then(|i| self.links.get_mut(i)) {
            let changed = old.name != link.name || old.up != link.up;
            *old = link;
            self.stale |= changed;
            return Some(changed);
        }
        if self.links.len() >= LINKS_MAX {
            return None;
        }
        self.links.push(link);
        Some(true)
    }

    fn address(&mut self, message: &Message<'_>) -> Option<bool> {
        let [family, prefix_len, flags, scope, ..] = *message.payload else {
            return None;
        };
        let index = ne32(message.payload.get(4..)?)?;
        let attributes = message.attributes(ADDRESS_HEADER);
        // On a point-to-point link the other attribute is the far end.
        let local = attributes.find(ADDRESS_LOCAL).or_else(|| attributes.find(ADDRESS_ADDRESS))?;
        let address = ip(family, local)?;
        let flags = attributes.find(ADDRESS_FLAGS).and_then(ne32).unwrap_or(u32::from(flags));
        let same =
            |a: &Address| a.index == index && a.address == address && a.prefix_len == prefix_len;
        let place = self.addresses.iter().position(same);
        if message.kind == DEL_ADDRESS {
            place.map(|i| self.addresses.remove(i));
            return Some(place.is_some());
        }
        let new = Address { index, address, prefix_len, scope, flags, fresh: true };
        if let Some(old) = place.and_then(|i| self.addresses.get_mut(i)) {
            // A renewed lease is the same address with other lifetimes.
            let changed = (old.scope, old.flags) != (scope, flags);
            *old = new;
            return Some(changed);
        }
        if self.addresses.len() >= ADDRESSES_MAX {
            return None;
        }
        self.addresses.push(new);
        Some(true)
    }

    fn route(&mut self, message: &Message<'_>) -> Option<bool> {
        let [family, prefix_len, _, _, table, _, _, kind, ..] = *message.payload else {
            return None;
        };
        let attributes = message.attributes(ROUTE_HEADER);
        let table = attributes.find(ROUTE_TABLE).and_then(ne32).unwrap_or(u32::from(table));
        let default = prefix_len == 0 && attributes.find(ROUTE_DESTINATION).is_none();
        if ![IPV4, IPV6].contains(&family) || table != TABLE_MAIN || kind != UNICAST || !default {
            return None;
        }
        // A replaced route goes without a word of its own.
        self.stale |= message.flags & REPLACE != 0;
        let metric = attributes.find(ROUTE_METRIC).and_then(ne32).unwrap_or(0);
        let mut devices: Vec<u32> =
            attributes.find(ROUTE_DEVICE).and_then(ne32).into_iter().collect();
        devices.extend(hops(attributes.find(ROUTE_MULTIPATH).unwrap_or_default()));
        let mut changed = false;
        for index in devices {
            let same = |r: &Route| (r.family, r.index, r.metric) == (family, index, metric);
            let place = self.routes.iter().position(same);
            match place {
                Some(i) if message.kind == DEL_ROUTE => {
                    self.routes.remove(i);
                    // A second one of this metric may be left: a route by another gateway.
                    self.stale = true;
                    changed = true;
                }
                Some(i) => self.routes[i].fresh = true,
                None if message.kind == NEW_ROUTE && self.routes.len() < ROUTES_MAX => {
                    self.routes.push(Route { family, index, metric, fresh: true });
                    changed = true;
                }
                None => {}
            }
        }
        Some(changed)
    }
}

/// How far an IPv6 address reaches: 0 the Internet, 1 the site, 2 the link.
pub fn kind(address: Ipv6Addr) -> u8 {
    match address {
        _ if address.is_unicast_link_local() => 2,
        _ if address.is_unique_local() => 1,
        _ => 0,
    }
}

fn ip(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        IPV4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        IPV6 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// The devices of a route by several ways: `length u16, flags u8, hops u8, device u32, …` each.
fn hops(mut bytes: &[u8]) -> Vec<u32> {
    const HOP_LEN: usize = 8;
    let mut devices = Vec::new();
    while let (Some(length), Some(device)) = (wire::ne16(bytes), bytes.get(4..).and_then(ne32)) {
        let length = usize::from(length).max(HOP_LEN).next_multiple_of(4);
        devices.push(device);
        bytes = bytes.get(length..).unwrap_or_default();
        if devices.len() >= ROUTES_MAX {
            break;
        }
    }
    devices
}

#[cfg(test)]
mod tests;
