//! Who may map what: the owner's permission rules, reserved ports, quotas.

use crate::gateway::mapping::{Origin, Protocol, Refusal};
use crate::gateway::network::prefix_contains;
use crate::gateway::ports::CHOSEN_MIN;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::ops::RangeInclusive;

/// One `perm_rule`: the first that matches decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermRule {
    /// `action allow`.
    pub allow: bool,
    /// `ext_ports`.
    pub external: RangeInclusive<u16>,
    /// `int_addr`: network address of either family and prefix length. 0.0.0.0/0 is every host of
    /// both, see [`Policy::permits6`].
    pub internal: (IpAddr, u8),
    /// `int_ports`.
    pub internal_ports: RangeInclusive<u16>,
}

/// What the rules say of one triple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A rule allows it.
    Allowed,
    /// No rule matches: allowed, as OpenWrt's upnpd always did.
    AllowedByDefault,
    /// A rule denies it.
    Denied,
}

/// How much is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Mappings in all, 1..=65535.
    pub mappings: u16,
    /// Mappings of one host, 1..=`mappings`.
    pub mappings_per_host: u16,
    /// Mappings and pinholes that one host makes anew within a minute; 0 is any number.
    pub new_per_minute: u16,
}

/// Mappings in all unless configured.
pub const MAPPINGS_DEFAULT: u16 = 1024;
/// Mappings of one host unless configured.
pub const MAPPINGS_PER_HOST_DEFAULT: u16 = 512;
/// Those that it makes anew within a minute unless configured.
pub const NEW_PER_MINUTE_DEFAULT: u16 = 300;

impl Default for Limits {
    fn default() -> Self {
        Limits {
            mappings: MAPPINGS_DEFAULT,
            mappings_per_host: MAPPINGS_PER_HOST_DEFAULT,
            new_per_minute: NEW_PER_MINUTE_DEFAULT,
        }
    }
}

/// The owner's will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A host may map to itself only.
    pub secure_mode: bool,
    /// `perm_rule` sections in file order.
    pub rules: Vec<PermRule>,
    /// External ports that the router itself uses.
    pub reserved: Vec<(Protocol, u16)>,
    /// Quotas.
    pub limits: Limits,
    /// Serve although the external address is private (`ext_allow_private_ipv4`).
    pub allow_private_external: bool,
    /// The address to report instead of the WAN device's (`external_ip`).
    pub external_ip: Option<Ipv4Addr>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            secure_mode: true,
            rules: Vec::new(),
            reserved: Vec::new(),
            limits: Limits::default(),
            allow_private_external: false,
            external_ip: None,
        }
    }
}

/// Ports below this one need a rule that allows them when the protocol says so.
const HIGH_PORT_MIN: u16 = 1024;

impl Policy {
    /// First match wins.
    pub fn verdict(&self, external: u16, internal: Ipv4Addr, internal_port: u16) -> Verdict {
        let rule = self.rules.iter().find(|rule| {
            rule.external.contains(&external)
                && prefix_contains(rule.internal, internal.into())
                && rule.internal_ports.contains(&internal_port)
        });
        match rule {
            Some(rule) if rule.allow => Verdict::Allowed,
            Some(_) => Verdict::Denied,
            None => Verdict::AllowedByDefault,
        }
    }

    /// Whether the router itself uses this external port.
    pub fn reserves(&self, protocol: Protocol, port: u16) -> bool {
        self.reserved.contains(&(protocol, port))
    }

    /// Whether this external port may lead to `internal` at all. `high_ports_only`: either port
    /// below 1024 needs a rule that allows it (WANIPConnection:2 §2.5.16.2).
    ///
    /// # Errors
    /// `Reserved`; `Denied`, for port 0 too.
    pub fn permits(
        &self,
        protocol: Protocol,
        port: u16,
        internal: SocketAddrV4,
        high_ports_only: bool,
    ) -> Result<(), Refusal> {
        if self.reserves(protocol, port) {
            return Err(Refusal::Reserved);
        }
        match self.allows(port, internal, high_ports_only) {
            true => Ok(()),
            false => Err(Refusal::Denied),
        }
    }

    /// [`permits`](Policy::permits) by who asks. The rules are for hosts: what the owner makes by
    /// hand only must not take a port that the router needs.
    ///
    /// # Errors
    /// `Reserved`; `Denied`, for port 0 too.
    pub fn admits(
        &self,
        origin: Origin,
        protocol: Protocol,
        port: u16,
        internal: SocketAddrV4,
        high_ports_only: bool,
    ) -> Result<(), Refusal> {
        match origin {
            Origin::Manual if self.reserves(protocol, port) => Err(Refusal::Reserved),
            Origin::Manual if port == 0 => Err(Refusal::Denied),
            Origin::Manual => Ok(()),
            _ => self.permits(protocol, port, internal, high_ports_only),
        }
    }

    /// [`permits6`](Policy::permits6) by who asks, likewise.
    ///
    /// # Errors
    /// `Denied`, for port 0 too.
    pub fn admits6(
        &self,
        origin: Origin,
        internal: Ipv6Addr,
        port: u16,
        high_ports_only: bool,
    ) -> Result<(), Refusal> {
        match origin {
            Origin::Manual if port != 0 => Ok(()),
            _ => self.permits6(internal, port, high_ports_only),
        }
    }

    /// Whether a pinhole to this IPv6 endpoint may be at all; both its ports are the internal one.
    ///
    /// A rule for an IPv6 prefix is for that, one for 0.0.0.0/0 for every host. Which IPv6
    /// addresses the hosts of a narrower IPv4 network have cannot be told: a rule that allows
    /// something to them is not for IPv6, and one that denies something denies it to all.
    ///
    /// # Errors
    /// `Denied`, for port 0 too.
    pub fn permits6(
        &self,
        internal: Ipv6Addr,
        port: u16,
        high_ports_only: bool,
    ) -> Result<(), Refusal> {
        let is_for = |rule: &&PermRule| match rule.internal {
            (IpAddr::V4(_), len) => len == 0 || !rule.allow,
            prefix => prefix_contains(prefix, internal.into()),
        };
        let rule = self
            .rules
            .iter()
            .filter(|rule| rule.external.contains(&port) && rule.internal_ports.contains(&port))
            .find(is_for);
        let allowed = match rule {
            Some(rule) => rule.allow,
            None => !high_ports_only || port >= HIGH_PORT_MIN,
        };
        match allowed && port != 0 {
            true => Ok(()),
            false => Err(Refusal::Denied),
        }
    }

    /// The external ports, from 1024 up, that the rules let lead to `internal`: disjoint ranges in
    /// rising order. Reserved ports are among them.
    ///
    /// No rule begins or ends inside a range between two neighbouring cuts, so one question
    /// decides for all of its ports.
    pub(crate) fn open_ports(
        &self,
        internal: SocketAddrV4,
        high_ports_only: bool,
    ) -> Vec<RangeInclusive<u16>> {
        let edges = self
            .rules
            .iter()
            .flat_map(|rule| [*rule.external.start(), rule.external.end().saturating_add(1)]);
        let mut cuts: Vec<u16> =
            edges.chain([CHOSEN_MIN]).filter(|cut| *cut >= CHOSEN_MIN).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let ends = cuts.iter().skip(1).map(|cut| cut - 1).chain([u16::MAX]);
        let ranges = cuts.iter().zip(ends).map(|(first, last)| *first..=last);
        ranges.filter(|range| self.allows(*range.start(), internal, high_ports_only)).collect()
    }

    fn allows(&self, port: u16, internal: SocketAddrV4, high_ports_only: bool) -> bool {
        let low = port < HIGH_PORT_MIN || internal.port() < HIGH_PORT_MIN;
        match self.verdict(port, *internal.ip(), internal.port()) {
            Verdict::Denied => false,
            Verdict::AllowedByDefault => port != 0 && !(high_ports_only && low),
            Verdict::Allowed => port != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);

    fn rule(
        allow: bool,
        external: RangeInclusive<u16>,
        len: u8,
        internal_ports: RangeInclusive<u16>,
    ) -> PermRule {
        PermRule { allow, external, internal: (HOST.into(), len), internal_ports }
    }

    fn policy(rules: &[PermRule]) -> Policy {
        Policy { rules: rules.to_vec(), ..Policy::default() }
    }

    #[test]
    fn the_first_rule_that_matches_decides_273() {
        let policy = policy(&[
            rule(false, 2000..=2000, 32, 0..=65535),
            rule(true, 1024..=65535, 24, 1024..=65535),
            rule(false, 0..=65535, 16, 0..=65535),
        ]);
        let other = Ipv4Addr::new(192, 168, 1, 11);
        let far = Ipv4Addr::new(192, 168, 2, 1);
        let cases = [
            (2000, HOST, 3000, Verdict::Denied),
            (2000, other, 3000, Verdict::Allowed),
            (1023, other, 3000, Verdict::Denied),
            (1024, other, 1024, Verdict::Allowed),
            (1024, other, 1023, Verdict::Denied),
            (65535, other, 65535, Verdict::Allowed),
            (2001, far, 3000, Verdict::Denied),
            (2001, Ipv4Addr::new(10, 0, 0, 1), 3000, Verdict::AllowedByDefault),
        ];
        for (external, internal, internal_port, expected) in cases {
            let verdict = policy.verdict(external, internal, internal_port);
            assert_eq!(verdict, expected, "{external} {internal} {internal_port}");
        }
    }

    #[test]
    fn a_permission_names_what_is_against_it_129_132() {
        let mut policy = policy(&[rule(true, 80..=80, 32, 80..=80)]);
        policy.reserved = vec![(Protocol::Tcp, 5000)];
        let permits = |protocol, port, internal_port, high| {
            policy.permits(protocol, port, SocketAddrV4::new(HOST, internal_port), high)
        };
        assert_eq!(permits(Protocol::Tcp, 5000, 5000, false), Err(Refusal::Reserved));
        assert_eq!(permits(Protocol::Udp, 5000, 5000, true), Ok(()));
        assert_eq!(permits(Protocol::Tcp, 0, 5000, false), Err(Refusal::Denied));
        assert_eq!(permits(Protocol::Tcp, 80, 80, true), Ok(()));
        assert_eq!(permits(Protocol::Tcp, 80, 81, true), Err(Refusal::Denied));
        assert_eq!(permits(Protocol::Tcp, 80, 81, false), Ok(()));
        assert_eq!(permits(Protocol::Tcp, 1023, 1024, true), Err(Refusal::Denied));
        assert_eq!(permits(Protocol::Tcp, 1024, 1023, true), Err(Refusal::Denied));
        assert_eq!(permits(Protocol::Tcp, 1024, 1024, true), Ok(()));
    }

    #[test]
    fn the_open_ports_are_exactly_those_that_the_rules_let_through() {
        let cases = [
            policy(&[]),
            policy(&[rule(true, 5000..=5010, 32, 0..=65535), rule(false, 0..=65535, 0, 0..=65535)]),
            policy(&[
                rule(false, 0..=2000, 32, 0..=65535),
                rule(false, 60000..=65535, 0, 0..=65535),
            ]),
            policy(&[rule(false, 65535..=65535, 0, 0..=79), rule(false, 1024..=1024, 0, 80..=80)]),
            policy(&[rule(false, 0..=65535, 0, 0..=65535)]),
        ];
        for policy in cases {
            for internal in [SocketAddrV4::new(HOST, 80), SocketAddrV4::new(HOST, 3000)] {
                for high in [false, true] {
                    let open = policy.open_ports(internal, high);
                    let found: Vec<u16> = open.into_iter().flatten().collect();
                    let expected: Vec<u16> = (1024..=65535)
                        .filter(|&p| policy.permits(Protocol::Udp, p, internal, high).is_ok())
                        .collect();
                    assert_eq!(found, expected);
                }
            }
        }
    }

    #[test]
    fn rules_for_ipv4_networks_can_only_deny_to_ipv6_hosts_157() {
        let host: Ipv6Addr = "2001:db8:1::10".parse().unwrap();
        let rule = |allow, ports: RangeInclusive<u16>, internal: &str, len| PermRule {
            allow,
            external: ports.clone(),
            internal: (internal.parse().unwrap(), len),
            internal_ports: ports,
        };
        let policy = |rules| Policy { rules, ..Policy::default() };
        let allows = |policy: &Policy, port| policy.permits6(host, port, true).is_ok();

        let none = policy(vec![]);
        assert!(allows(&none, 1024) && !allows(&none, 1023) && !allows(&none, 0));
        let usual = policy(vec![
            rule(true, 1024..=65535, "0.0.0.0", 0),
            rule(false, 0..=65535, "0.0.0.0", 0),
        ]);
        assert!(allows(&usual, 1024) && !allows(&usual, 1023));
        let one_host = policy(vec![
            rule(true, 80..=3000, "192.168.1.10", 32),
            rule(false, 3000..=3999, "192.168.1.20", 32),
        ]);
        assert!(!allows(&one_host, 80), "who may is not known to be who asks");
        assert!(!allows(&one_host, 3000), "nor who may not");
        assert!(allows(&one_host, 4000));
        let ipv6 = policy(vec![
            rule(true, 80..=80, "2001:db8:1::", 64),
            rule(true, 81..=81, "2001:db8:2::", 64),
            rule(false, 0..=65535, "0.0.0.0", 0),
        ]);
        assert!(allows(&ipv6, 80) && !allows(&ipv6, 81) && !allows(&ipv6, 4000));
        let v4 = SocketAddrV4::new(HOST, 80);
        assert!(ipv6.permits(Protocol::Tcp, 80, v4, false).is_err(), "not for IPv4");
    }
}
