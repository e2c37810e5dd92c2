//! A LAN host, a router and a host of the Internet: three namespaces and the wires between them.

use crate::namespace::Namespace;
use crate::outcome::{Because, Outcome};
use crate::rtnetlink::{End, Rtnetlink, LOOPBACK};
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The LAN host.
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
/// The router's LAN address.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
/// The router's WAN address. It must look public and exists nowhere but in the namespaces.
pub const EXTERNAL: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 1);
/// The host of the Internet.
pub const PEER: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 2);

/// The LAN host, by IPv6.
pub const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
/// The router's LAN address.
pub const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
/// The router's WAN address.
pub const EXTERNAL6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);
/// The host of the Internet.
pub const PEER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);

/// The router's device to the LAN.
pub const LAN: End = End { name: "lan", index: 10 };
/// The router's device to the Internet.
pub const WAN: End = End { name: "wan", index: 20 };
/// The only device of either host.
pub const ETH0: End = End { name: "eth0", index: 10 };

/// The three namespaces.
pub struct World {
    /// Where [`HOST`] is.
    pub lan: Namespace,
    /// Where [`ROUTER`] and [`EXTERNAL`] are.
    pub router: Namespace,
    /// Where [`PEER`] is.
    pub wan: Namespace,
}

impl World {
    /// Builds it: everything is up, and the router forwards.
    pub fn new() -> Outcome<World> {
        let world =
            World { lan: Namespace::new()?, router: Namespace::new()?, wan: Namespace::new()? };
        let wires = [
            (LAN, world.lan.file()?, ROUTER, ROUTER6),
            (WAN, world.wan.file()?, EXTERNAL, EXTERNAL6),
        ];
        world.router.inside(move || {
            let mut netlink = Rtnetlink::open()?;
            netlink.up(LOOPBACK)?;
            for (end, hosts, address, address6) in &wires {
                netlink.pair(*end, ETH0, hosts)?;
                netlink.address(end.index, *address)?;
                netlink.address(end.index, *address6)?;
                netlink.up(end.index)?;
            }
            netlink.default_route(PEER)?;
            netlink.default_route(PEER6)?;
            fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").because("IPv6 forwarding")?;
            fs::write("/proc/sys/net/ipv4/ip_forward", "1").because("ip_forward")
        })?;
        let hosts = [
            (&world.lan, (HOST, ROUTER), (HOST6, ROUTER6)),
            (&world.wan, (PEER, EXTERNAL), (PEER6, EXTERNAL6)),
        ];
        for (namespace, (address, gateway), (address6, gateway6)) in hosts {
            namespace.inside(move || {
                let mut netlink = Rtnetlink::open()?;
                netlink.up(LOOPBACK)?;
                netlink.address(ETH0.index, address)?;
                netlink.address(ETH0.index, address6)?;
                netlink.up(ETH0.index)?;
                netlink.default_route(gateway)?;
                netlink.default_route(gateway6)
            })?;
        }
        Ok(world)
    }
}
