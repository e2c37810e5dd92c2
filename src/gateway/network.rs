//! The two sides of the router: WAN addresses and what they are worth, LAN prefixes and who is a
//! host of one.

use super::Gateway;
use crate::netfilter::Backend;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The WAN side as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wan {
    /// Device name, if one is known.
    pub device: Option<String>,
    /// The device of IPv6, if that is another one.
    pub device6: Option<String>,
    /// Its IPv4 addresses, the primary first.
    pub addresses: Vec<Ipv4Addr>,
}

/// One LAN prefix: the router's address in it and its length.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lan {
    /// Device name.
    pub device: String,
    /// The router's address.
    pub address: IpAddr,
    /// Prefix length: 0..=32 for IPv4, 0..=128 for IPv6.
    pub prefix_len: u8,
}

impl Lan {
    /// Whether a packet that came in on the device can be of a host here: its source lies inside
    /// the prefix, or is a link's address in answer to any IPv6 one.
    pub fn hears(&self, source: IpAddr) -> bool {
        match source {
            IpAddr::V6(source) if source.is_unicast_link_local() => self.address.is_ipv6(),
            _ => self.contains(source),
        }
    }

    /// Whether `address` lies inside the prefix.
    pub fn contains(&self, address: IpAddr) -> bool {
        prefix_contains((self.address, self.prefix_len), address)
    }

    /// Whether `address` is that of all routers of an IPv6 prefix: its host bits are 0
    /// (RFC 4291 §2.6.1). Prefixes of 127 and 128 bits have none (RFC 6164).
    pub(crate) fn is_anycast(&self, address: Ipv6Addr) -> bool {
        self.contains(address.into())
            && self.prefix_len < 127
            && address.to_bits() & (u128::MAX >> self.prefix_len) == 0
    }

    /// Whether `address` is not a host's here although it lies inside the prefix: the router's
    /// own, or the network's or broadcast address, which prefixes of 31 and 32 bits do not have
    /// (RFC 3021).
    fn withholds(&self, address: Ipv4Addr) -> bool {
        let host = address.to_bits() & !mask(self.prefix_len);
        let special = host == 0 || host == !mask(self.prefix_len);
        self.address == address || (self.prefix_len < 31 && special)
    }
}

/// Whether `target` can be a host that `client`, on the same LAN prefix, may name: no address of
/// the router, no network or broadcast address, no loopback, multicast or reserved one, and no
/// host of another LAN.
pub(crate) fn is_target(lans: &[Lan], client: Ipv4Addr, target: Ipv4Addr) -> bool {
    let never = target.is_unspecified()
        || target.is_loopback()
        || target.is_multicast()
        || target.is_broadcast();
    !never
        && lans.iter().any(|lan| lan.contains(client.into()) && lan.contains(target.into()))
        && !lans.iter().any(|lan| lan.contains(target.into()) && lan.withholds(target))
}

impl<B: Backend> Gateway<B> {
    /// Whether a host may ask for another one, of whichever family: secure mode is off, and both are
    /// of one LAN device. An address of the link says which device it is of only where there is one.
    pub fn may_ask_for(&self, client: IpAddr, target: IpAddr) -> bool {
        let devices = |host: IpAddr| {
            let of_host = self.lans.iter().filter(move |lan| lan.contains(host));
            of_host.map(|lan| &lan.device)
        };
        let device = devices(client).next();
        !self.policy.secure_mode
            && devices(client).all(|other| Some(other) == device)
            && devices(target).any(|other| Some(other) == device)
    }
}

/// What is known of the external address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternalState {
    /// Public, or declared good by the owner.
    Active(Ipv4Addr),
    /// Private, and the owner did not allow that: no new mapping is made.
    Private(Ipv4Addr),
    /// None.
    None,
}

/// Prefixes that cannot be reached from the Internet (RFC 6890): a mapping there opens nothing.
///
/// The documentation prefixes 192.0.2.0/24, 198.51.100.0/24 and 203.0.113.0/24 and the benchmarking
/// prefix 198.18.0.0/15 are left out on purpose: no provider hands them out, and laboratories use
/// them as the Internet.
const UNREACHABLE: [(Ipv4Addr, u8); 9] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    // Multicast and everything above it.
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Whether the Internet cannot reach this address: RFC 1918, RFC 6598 (carrier-grade NAT),
/// link-local, loopback, multicast, reserved.
pub fn is_private(address: Ipv4Addr) -> bool {
    UNREACHABLE.iter().any(|&(network, len)| prefix_contains((network.into(), len), address.into()))
}

/// Whether `address` lies inside a prefix, whose own host bits do not count. A length above that of
/// the family counts as that.
pub(crate) fn prefix_contains((network, len): (IpAddr, u8), address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (network.to_bits() ^ address.to_bits()) & mask(len) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let shift = 128 - u32::from(len.min(128));
            (network.to_bits() ^ address.to_bits()).checked_shr(shift).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// The prefix's bits set, the host's clear.
fn mask(len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(len.min(32))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_that_the_internet_cannot_reach_is_private_110() {
        let private = [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.0.0",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.1",
            "192.168.0.0",
            "192.168.255.255",
            "224.0.0.0",
            "240.0.0.1",
            "255.255.255.255",
        ];
        let public = [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.2.1",
            "192.167.255.255",
            "192.169.0.0",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "223.255.255.255",
        ];
        for address in private {
            assert!(is_private(ip(address)), "{address}");
        }
        for address in public {
            assert!(!is_private(ip(address)), "{address}");
        }
    }

    #[test]
    fn a_prefix_of_any_length_contains_what_shares_its_bits() {
        let cases = [
            ("10.0.0.1", 32, "10.0.0.1", true),
            ("10.0.0.1", 32, "10.0.0.0", false),
            ("10.0.0.1", 200, "10.0.0.0", false),
            ("10.0.0.1", 31, "10.0.0.0", true),
            ("10.0.0.1", 24, "10.0.0.255", true),
            ("10.0.0.1", 24, "10.0.1.0", false),
            ("10.0.0.1", 1, "127.0.0.0", true),
            ("10.0.0.1", 1, "128.0.0.0", false),
            ("10.0.0.1", 0, "255.255.255.255", true),
        ];
        for (network, len, address, expected) in cases {
            let found = prefix_contains((ip(network).into(), len), ip(address).into());
            assert_eq!(found, expected, "{address} in {network}/{len}");
        }
    }

    #[test]
    fn a_point_to_point_prefix_has_no_network_or_broadcast_address_133() {
        let lan = |prefix_len| {
            [Lan { device: "br-lan".into(), address: ip("192.168.1.1").into(), prefix_len }]
        };
        let target = |len, address| is_target(&lan(len), ip(address), ip(address));
        assert!(target(31, "192.168.1.0"));
        assert!(!target(31, "192.168.1.1"));
        assert!(!target(30, "192.168.1.0"));
        assert!(target(30, "192.168.1.2"));
        assert!(!target(30, "192.168.1.3"));
        assert!(!target(32, "192.168.1.1"));
        assert!(target(0, "8.8.8.8"));
        assert!(!target(0, "127.0.0.1"));
    }

    #[test]
    fn what_one_lan_withholds_no_other_gives() {
        let lan = |address, prefix_len| Lan {
            device: "br".into(),
            address: ip(address).into(),
            prefix_len,
        };
        let lans = [lan("10.0.0.1", 8), lan("10.1.0.1", 24)];
        assert!(!is_target(&lans, ip("10.2.0.1"), ip("10.1.0.1")));
        assert!(!is_target(&lans, ip("10.2.0.1"), ip("10.1.0.255")));
        assert!(is_target(&lans, ip("10.2.0.1"), ip("10.1.0.2")));
    }
}
