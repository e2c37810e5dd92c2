//! Links, addresses and routes made through rtnetlink(7), where no `ip` is.

use crate::outcome::{Because, Outcome};
use postern::netlink::socket::Socket;
use postern::netlink::wire::Writer;
use postern::netlink::wire::{ACK, CREATE, EXCLUSIVE, REQUEST};
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

/// The loopback device of every namespace.
pub const LOOPBACK: u32 = 1;

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;

const LINK_NAME: u16 = 3;
const LINK_INFO: u16 = 18;
const LINK_NAMESPACE: u16 = 28;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const VETH_PEER: u16 = 1;
const FLAG_UP: u32 = 1;

const ADDRESS_ADDRESS: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;

const ROUTE_GATEWAY: u16 = 5;
const TABLE_MAIN: u8 = 254;
const BY_ADMINISTRATOR: u8 = 4;
const UNICAST: u8 = 1;

const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// The address is usable at once: nobody is asked whether it has it.
const NO_DUPLICATE_DETECTION: u8 = 2;
/// What makes something that must not be there yet.
const MAKE: u16 = CREATE | EXCLUSIVE;

/// One end of a pair of devices. The number is chosen, so that nobody has to look it up.
#[derive(Clone, Copy)]
pub struct End {
    /// Name.
    pub name: &'static str,
    /// Number in its namespace.
    pub index: u32,
}

/// A socket to the namespace it was opened in.
pub struct Rtnetlink {
    socket: Socket,
    writer: Writer,
}

impl Rtnetlink {
    /// Opens one.
    pub fn open() -> Outcome<Rtnetlink> {
        let socket = Socket::rtnetlink(&[]).because("rtnetlink")?;
        Ok(Rtnetlink { socket, writer: Writer::new(1) })
    }

    /// Makes a pair of devices: one end here, the other in another namespace.
    pub fn pair(&mut self, here: End, there: End, namespace: &File) -> Outcome {
        let what = format!("making the devices {} and {}", here.name, there.name);
        self.request(&what, NEW_LINK, MAKE, |w| {
            w.raw(&link(here.index, 0));
            w.text(LINK_NAME, here.name);
            w.nest(LINK_INFO, |w| {
                w.text(INFO_KIND, "veth");
                w.nest(INFO_DATA, |w| {
                    w.nest(VETH_PEER, |w| {
                        w.raw(&link(there.index, 0));
                        w.text(LINK_NAME, there.name);
                        w.bytes(LINK_NAMESPACE, &namespace.as_raw_fd().to_ne_bytes());
                    });
                });
            });
        })
    }

    /// Switches a device on.
    pub fn up(&mut self, index: u32) -> Outcome {
        let what = format!("switching device {index} on");
        self.request(&what, NEW_LINK, 0, |w| w.raw(&link(index, FLAG_UP)))
    }

    /// Gives a device an address in a network of 24 bits, or of 64 for IPv6.
    pub fn address(&mut self, index: u32, address: impl Into<IpAddr>) -> Outcome {
        let address = address.into();
        let what = format!("giving device {index} the address {address}");
        let (family, prefix_len, flags) = match address {
            IpAddr::V4(_) => (IPV4, 24, 0),
            IpAddr::V6(_) => (IPV6, 64, NO_DUPLICATE_DETECTION),
        };
        self.request(&what, NEW_ADDRESS, MAKE, |w| {
            let [a, b, c, d] = index.to_ne_bytes();
            w.raw(&[family, prefix_len, flags, 0, a, b, c, d]);
            w.bytes(ADDRESS_LOCAL, &octets(address));
            w.bytes(ADDRESS_ADDRESS, &octets(address));
        })
    }

    /// Sends to a gateway what goes anywhere else.
    pub fn default_route(&mut self, gateway: impl Into<IpAddr>) -> Outcome {
        let gateway = gateway.into();
        let what = format!("making the default route by {gateway}");
        let family = if gateway.is_ipv4() { IPV4 } else { IPV6 };
        self.request(&what, NEW_ROUTE, MAKE, |w| {
            w.raw(&[family, 0, 0, 0, TABLE_MAIN, BY_ADMINISTRATOR, 0, UNICAST, 0, 0, 0, 0]);
            w.bytes(ROUTE_GATEWAY, &octets(gateway));
        })
    }

    fn request(
        &mut self,
        what: &str,
        kind: u16,
        flags: u16,
        fill: impl FnOnce(&mut Writer),
    ) -> Outcome {
        self.writer.message(kind, REQUEST | ACK | flags);
        fill(&mut self.writer);
        self.socket.ask(&self.writer.finish(), &mut |_| {}).because(what).map(drop)
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The header of a message about a link: family, type, number, flags and which of them count.
fn link(index: u32, flags: u32) -> [u8; 16] {
    let mut header = [0; 16];
    for (place, number) in header.chunks_exact_mut(4).skip(1).zip([index, flags, flags]) {
        place.copy_from_slice(&number.to_ne_bytes());
    }
    header
}
