//! WANIPv6FirewallControl:1, and hosts that ask over the other family.

use super::*;
use crate::gateway::PINHOLES_PER_ADDRESS;
use crate::netfilter::Slot;

const AT: (&str, &str) = ("/igd2/ipv6firewall/control", "WANIPv6FirewallControl:1");
const HOST6: &str = "2001:db8:1::10";

/// A world whose LAN has IPv6, asked by a host of it.
fn world6() -> World {
    let mut world = world();
    let mut lans = world.gateway.lans().to_vec();
    for address in ["2001:db8:1::1", "fe80::1"] {
        let address = address.parse().unwrap();
        lans.push(Lan { device: "br-lan".into(), address, prefix_len: 64 });
    }
    world.gateway.set_lans(lans, world.now);
    world.as_host(HOST6);
    world
}

/// AddPinhole's arguments, some of them changed.
fn arguments<'a>(changed: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let usual = [
        ("RemoteHost", ""),
        ("RemotePort", "0"),
        ("InternalClient", HOST6),
        ("InternalPort", "3000"),
        ("Protocol", "17"),
        ("LeaseTime", "3600"),
    ];
    let value = |name| changed.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
    usual.map(|(name, usual)| (name, value(name).unwrap_or(usual))).to_vec()
}

impl World {
    fn add(&mut self, changed: &[(&str, &str)]) -> String {
        self.ask(AT, "AddPinhole", &arguments(changed))
    }

    fn about(&mut self, action: &str, unique_id: &str) -> String {
        self.ask(AT, action, &[("UniqueID", unique_id)])
    }
}

#[test]
fn the_firewall_is_on_and_takes_pinholes_153() {
    let mut world = world6();
    assert_eq!(
        world.ask(AT, "GetFirewallStatus", &[]),
        "200 FirewallEnabled=1 InboundPinholeAllowed=1"
    );
}

#[test]
fn a_pinhole_is_opened_kept_counted_and_closed_154_155_161_162_163_164() {
    let mut world = world6();
    assert_eq!(world.add(&[]), "200 UniqueID=1");
    assert_eq!(world.add(&[("InternalClient", "2001:0DB8:0001::0010")]), "200 UniqueID=1");
    assert_eq!(world.add(&[("Protocol", "6")]), "200 UniqueID=2");
    assert_eq!(
        world.add(&[("RemoteHost", "2001:db8:9::9"), ("RemotePort", "4000")]),
        "200 UniqueID=3"
    );
    assert_eq!(world.add(&[("RemoteHost", "*")]), "200 UniqueID=1");
    assert_eq!(world.about("GetPinholePackets", "1"), "200 PinholePackets=0");
    assert_eq!(world.about("CheckPinholeWorking", "1"), "709");
    let hole = world.gateway.pinhole(1).unwrap().hole;
    world.gateway.backend().set_connections(&Slot::Pinhole(hole), (1 << 32) + 7);
    assert_eq!(world.about("GetPinholePackets", "1"), "200 PinholePackets=7", "modulo 2^32");
    assert_eq!(world.about("CheckPinholeWorking", "1"), "200 IsWorking=1");

    let update = [("UniqueID", "1"), ("NewLeaseTime", "86400")];
    assert_eq!(world.after(3000).ask(AT, "UpdatePinhole", &update), "200");
    world.after(3600);
    assert_eq!(world.about("GetPinholePackets", "2"), "704", "its time is up");
    assert_eq!(world.about("DeletePinhole", "1"), "200");
    for action in ["DeletePinhole", "GetPinholePackets", "CheckPinholeWorking"] {
        assert_eq!(world.about(action, "1"), "704");
    }
    assert_eq!(world.ask(AT, "UpdatePinhole", &update), "704");
    assert_eq!(world.gateway.pinholes().count(), 0);
}

#[test]
fn every_bad_argument_has_its_code_156_159_160() {
    let mut world = world6();
    for (name, value, code) in [
        ("LeaseTime", "0", "402"),
        ("LeaseTime", "86401", "402"),
        ("LeaseTime", "-1", "402"),
        ("LeaseTime", "", "402"),
        ("RemoteHost", "example.com", "402"),
        ("RemoteHost", "192.0.2.1", "402"),
        ("RemotePort", "65536", "601"),
        ("RemotePort", "x", "402"),
        ("InternalClient", "192.168.1.10", "402"),
        ("InternalClient", "", "708"),
        ("InternalClient", "::", "708"),
        ("InternalPort", "0", "706"),
        ("InternalPort", "1023", "606"),
        ("Protocol", "65535", "707"),
        ("Protocol", "0", "705"),
        ("Protocol", "58", "705"),
        ("Protocol", "262", "705"),
        ("Protocol", "SCTP", "402"),
    ] {
        assert_eq!(world.add(&[(name, value)]), code, "{name} {value}");
    }
    assert_eq!(world.gateway.pinholes().count(), 0);
    let update = [("UniqueID", "1"), ("NewLeaseTime", "0")];
    assert_eq!(world.ask(AT, "UpdatePinhole", &update), "402");
    assert_eq!(world.about("DeletePinhole", "0"), "704");
    assert_eq!(world.about("DeletePinhole", "70000"), "601");
}

#[test]
fn hosts_open_and_handle_their_own_pinholes_only_157_161_162() {
    let mut world = world6();
    for other in ["2001:db8:1::20", "2001:db8:1::1", "2001:db8:9::9", "ff02::1", "fe80::10"] {
        assert_eq!(world.add(&[("InternalClient", other)]), "606", "{other}");
    }
    world.add(&[]);
    for other in ["2001:db8:1::20", "192.168.1.20", "fe80::20"] {
        world.as_host(other);
        assert_eq!(world.add(&[("InternalClient", HOST6)]), "606");
        for action in ["DeletePinhole", "GetPinholePackets", "CheckPinholeWorking"] {
            assert_eq!(world.about(action, "1"), "606");
        }
        let update = [("UniqueID", "1"), ("NewLeaseTime", "5")];
        assert_eq!(world.ask(AT, "UpdatePinhole", &update), "606");
    }
}

#[test]
fn without_secure_mode_any_host_asks_for_any_of_its_own_lan_by_either_family_257_300() {
    let mut world = world6();
    let mut lans = world.gateway.lans().to_vec();
    for (address, prefix_len) in [("192.168.2.1", 24), ("2001:db8:2::1", 64)] {
        let address = address.parse().unwrap();
        lans.push(Lan { device: "guest".into(), address, prefix_len });
    }
    world.gateway.set_lans(lans, world.now);
    let add_both = |world: &mut World, host: &str| {
        world.as_host(host);
        let hole = world.add(&[]);
        let mapping = mapping(&[("NewInternalClient", OTHER)]);
        let at = ("/igd2/wanip/control", "WANIPConnection:2");
        [hole, world.ask(at, "AddPortMapping", &mapping)]
    };
    let hosts = ["192.168.1.30", "2001:db8:1::30", "192.168.2.10", "2001:db8:2::10"];
    for host in hosts {
        assert_eq!(add_both(&mut world, host), ["606", "606"], "{host}");
    }
    let open = Policy { secure_mode: false, ..world.gateway.policy().clone() };
    world.gateway.set_policy(open, world.now).unwrap();
    for host in hosts {
        let expected = match host.contains(".1.") || host.contains(":1:") {
            true => ["200 UniqueID=1", "200"],
            false => ["606", "606"],
        };
        assert_eq!(add_both(&mut world, host), expected, "{host}");
    }
}

#[test]
fn a_host_is_itself_by_all_its_addresses_158() {
    for source in [HOST, "2001:db8:1::abcd", "fe80::10"] {
        let mut world = world6();
        world.as_host(source).also = vec![HOST6.parse().unwrap()];
        assert_eq!(world.add(&[]), "200 UniqueID=1", "{source}");
        assert_eq!(world.about("GetPinholePackets", "1"), "200 PinholePackets=0");
        assert_eq!(world.about("DeletePinhole", "1"), "200");
    }
}

#[test]
fn an_ipv4_mapping_is_asked_for_over_ipv6_by_its_own_host_134() {
    let at = ("/igd2/wanip/control", "WANIPConnection:2");
    let add = |client, port| {
        [
            ("NewRemoteHost", ""),
            ("NewExternalPort", port),
            ("NewProtocol", "TCP"),
            ("NewInternalPort", "3000"),
            ("NewInternalClient", client),
            ("NewEnabled", "1"),
            ("NewPortMappingDescription", "x"),
            ("NewLeaseDuration", "0"),
        ]
    };
    let which = |port| [("NewRemoteHost", ""), ("NewExternalPort", port), ("NewProtocol", "TCP")];
    let range = [
        ("NewStartPort", "1"),
        ("NewEndPort", "65535"),
        ("NewProtocol", "TCP"),
        ("NewManage", "0"),
    ];
    let mut world = world6();
    world.as_host("192.168.1.20").ask(at, "AddPortMapping", &add("192.168.1.20", "4000"));
    world.as_host(HOST6).also = vec![HOST.parse().unwrap()];
    assert_eq!(world.ask(at, "AddPortMapping", &add(HOST, "3000")), "200");
    assert_eq!(world.ask(at, "AddPortMapping", &add("192.168.1.20", "3001")), "606");
    assert_eq!(world.ask(at, "DeletePortMapping", &which("4000")), "606", "another host's");
    assert_eq!(world.ask(at, "DeletePortMapping", &which("5000")), "714");
    let mut listed = range.to_vec();
    listed.push(("NewNumberOfPorts", "0"));
    let list = world.ask(at, "GetListOfPortMappings", &listed);
    assert!(list.contains("3000") && !list.contains("4000"), "{list}");
    assert_eq!(world.ask(at, "DeletePortMapping", &which("3000")), "200");
    world.ask(at, "AddPortMapping", &add(HOST, "3000"));
    assert_eq!(world.ask(at, "DeletePortMappingRange", &range), "200");
    assert_eq!(world.gateway.len(), 1);

    world.also = Vec::new();
    assert_eq!(world.ask(at, "AddPortMapping", &add(HOST, "3000")), "606", "no such neighbour");
    assert_eq!(world.ask(at, "DeletePortMappingRange", &range), "730");
}

#[test]
fn the_time_of_outbound_connections_is_the_kernels_165() {
    let mut world = world6();
    let ask = |world: &mut World, changed: &[(&str, &str)]| {
        let arguments = &arguments(changed)[..5];
        world.ask(AT, "GetOutboundPinholeTimeout", arguments)
    };
    assert_eq!(ask(&mut world, &[]), "200 OutboundPinholeTimeout=60");
    assert_eq!(
        ask(&mut world, &[("Protocol", "6"), ("InternalPort", "0")]),
        "200 OutboundPinholeTimeout=7440"
    );
    // As `upnpc -G` names it.
    assert_eq!(ask(&mut world, &[("Protocol", "TCP")]), "200 OutboundPinholeTimeout=7440");
    assert_eq!(ask(&mut world, &[("Protocol", "65535")]), "707");
    assert_eq!(ask(&mut world, &[("Protocol", "1")]), "705");
    assert_eq!(ask(&mut world, &[("InternalClient", "x")]), "402");
}

#[test]
fn a_full_table_and_a_refusing_kernel_have_their_codes_159() {
    let mut world = world6();
    world.gateway.backend().fail_next(1);
    assert_eq!(world.add(&[]), "501");
    for port in 0..PINHOLES_PER_ADDRESS {
        world.add(&[("InternalPort", &(2000 + port).to_string())]);
    }
    assert_eq!(world.add(&[("InternalPort", "1999")]), "701");
}

#[test]
fn the_service_is_the_second_faces_and_of_ipv6_alone_91() {
    let mut world = world6();
    assert_eq!(world.get("GET", "/igd2/ipv6firewall/scpd.xml", "").status, 200);
    assert_eq!(world.get("GET", "/igd1/ipv6firewall/scpd.xml", "").status, 404);
    let with = described(&world.identity);
    world.identity.ipv6 = false;
    assert_eq!(world.get("GET", "/igd2/ipv6firewall/scpd.xml", "").status, 404);
    assert_ne!(described(&world.identity), with);
    assert!(!described(&world.identity).contains("WANIPv6"));
}

#[test]
fn pinholes_are_asked_of_the_connection_beside_the_firewall_too() {
    // npm's nat-port-mapper, which js-libp2p uses, does so and names no remote port.
    let mut world = world6();
    let no_port = arguments(&[("RemotePort", "")]);
    assert_eq!(world.ask(V2, "AddPinhole", &no_port), "200 UniqueID=1");
    assert_eq!(world.add(&[]), "200 UniqueID=1", "they are the same");
    let lease = [("UniqueID", "1"), ("NewLeaseTime", "7200")];
    assert_eq!(world.ask(V2, "UpdatePinhole", &lease), "200");
    world.as_host("2001:db8:1::11");
    assert_eq!(world.ask(V2, "AddPinhole", &no_port), "606");
    assert_eq!(world.ask(V2, "DeletePinhole", &[("UniqueID", "1")]), "606");
    world.as_host(HOST6);
    assert_eq!(world.ask(V2, "DeletePinhole", &[("UniqueID", "1")]), "200");
    // Where there is no firewall service, nothing stands in for it.
    assert_eq!(world.ask(V1, "AddPinhole", &no_port), "401");
    assert_eq!(world.ask(COMMON, "AddPinhole", &no_port), "401");
    world.identity.ipv6 = false;
    assert_eq!(world.ask(V2, "AddPinhole", &no_port), "401");
}
