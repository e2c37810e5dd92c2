//! The few hosts, rules and networks that histories play in: few, so that they meet often.

use crate::gateway::mapping::Protocol;
use crate::gateway::policy::{Limits, PermRule, Policy};
use crate::gateway::{Lan, Wan};
use std::net::Ipv4Addr;

pub(super) const HOSTS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(192, 168, 1, 10),
    Ipv4Addr::new(192, 168, 1, 11),
    Ipv4Addr::new(192, 168, 2, 10),
    // On no LAN.
    Ipv4Addr::new(10, 9, 9, 9),
];

pub(super) const REMOTES: [Option<Ipv4Addr>; 3] =
    [None, Some(Ipv4Addr::new(198, 51, 100, 1)), Some(Ipv4Addr::new(198, 51, 100, 2))];

pub(super) const POLICIES: usize = 4;

pub(super) fn policy(which: usize) -> Policy {
    let usual = Policy { reserved: vec![(Protocol::Tcp, 5000)], ..Policy::default() };
    let rule = |allow, external, host: Ipv4Addr, len| PermRule {
        allow,
        external,
        internal: (host.into(), len),
        internal_ports: 0..=65535,
    };
    match which {
        0 => usual,
        1 => Policy { secure_mode: false, limits: limits(5, 2), ..usual },
        2 => Policy {
            rules: vec![
                rule(true, 443..=443, HOSTS[0], 32),
                rule(false, 2003..=2004, HOSTS[0], 24),
                rule(true, 2000..=2010, Ipv4Addr::UNSPECIFIED, 0),
                rule(false, 0..=65535, Ipv4Addr::UNSPECIFIED, 0),
            ],
            ..usual
        },
        _ => Policy { allow_private_external: true, limits: limits(8, 4), ..usual },
    }
}

fn limits(mappings: u16, mappings_per_host: u16) -> Limits {
    Limits { mappings, mappings_per_host, new_per_minute: 0 }
}

pub(super) fn wan(which: usize) -> Wan {
    let addresses = match which {
        0 => vec![],
        1 => vec![Ipv4Addr::new(100, 64, 0, 1)],
        n => vec![Ipv4Addr::new(203, 0, 113, n as u8)],
    };
    Wan { device: Some("wan0".into()), device6: None, addresses }
}

pub(super) fn lans(guests: bool) -> Vec<Lan> {
    let lan = |device: &str, third| Lan {
        device: device.into(),
        address: Ipv4Addr::new(192, 168, third, 1).into(),
        prefix_len: 24,
    };
    let mut lans = vec![lan("br-lan", 1), lan("br-guest", 2)];
    lans.truncate(if guests { 2 } else { 1 });
    lans
}
