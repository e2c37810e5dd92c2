//! Port mappings, one at a time.

use super::*;
use crate::gateway::mapping::{Origin, Port, Protocol, Request};
use crate::gateway::policy::Limits;
use std::net::SocketAddrV4;

const ENTRY: &str = "NewInternalPort=8000 NewInternalClient=192.168.1.100 NewEnabled=1 \
                     NewPortMappingDescription=web NewLeaseDuration=3600";

pub(super) fn at_index(index: &str) -> [(&str, &str); 1] {
    [("NewPortMappingIndex", index)]
}

pub(super) fn outside<'a>(port: &'a str, protocol: &'a str) -> [(&'a str, &'a str); 3] {
    [("NewRemoteHost", ""), ("NewExternalPort", port), ("NewProtocol", protocol)]
}

/// A mapping that PCP made.
fn by_pcp(world: &mut World, client: &str, port: u16) {
    let request = of(Origin::Pcp, Protocol::Tcp, client, port);
    world.gateway.add(&request, world.now).unwrap();
}

fn of(origin: Origin, protocol: Protocol, client: &str, port: u16) -> Request<'static> {
    let client: Ipv4Addr = client.parse().unwrap();
    Request {
        client,
        origin,
        protocol,
        port: Port::Exactly(port),
        remote: None,
        internal: SocketAddrV4::new(client, port),
        lease: Some(Duration::from_secs(60)),
        enabled: true,
        description: "",
        high_ports_only: false,
    }
}

#[test]
fn a_mapping_is_made_listed_and_deleted_items_111_139_144_145() {
    for at in [V1, V2, V1_AT_2] {
        let mut world = world();
        assert_eq!(world.ask(at, "AddPortMapping", &mapping(&[])), "200");
        assert_eq!(
            world.ask(at, "GetGenericPortMappingEntry", &at_index("0")),
            format!("200 NewRemoteHost= NewExternalPort=8080 NewProtocol=TCP {ENTRY}")
        );
        assert_eq!(world.ask(at, "GetGenericPortMappingEntry", &at_index("1")), "713");
        assert_eq!(world.ask(at, "GetGenericPortMappingEntry", &at_index("65536")), "601");
        let specific = "GetSpecificPortMappingEntry";
        assert_eq!(world.ask(at, specific, &outside("8080", "tcp")), format!("200 {ENTRY}"));
        assert_eq!(world.ask(at, specific, &outside("8080", "UDP")), "714");
        assert_eq!(world.ask(at, specific, &outside("8081", "TCP")), "714");
        assert_eq!(world.ask(at, specific, &outside("0", "TCP")), "714");
        assert_eq!(world.ask(at, "DeletePortMapping", &outside("8080", "TCP")), "200");
        assert_eq!(world.ask(at, "DeletePortMapping", &outside("8080", "TCP")), "714");
        assert_eq!(world.ask(at, "GetGenericPortMappingEntry", &at_index("0")), "713");
    }
}

#[test]
fn the_same_client_refreshes_and_another_conflicts_items_112_113() {
    for at in [V1, V2] {
        let mut world = world();
        assert_eq!(world.ask(at, "AddPortMapping", &mapping(&[])), "200");
        let refresh = mapping(&[
            ("NewInternalPort", "8001"),
            ("NewPortMappingDescription", "b"),
            ("NewLeaseDuration", "7"),
        ]);
        assert_eq!(world.ask(at, "AddPortMapping", &refresh), "200");
        assert_eq!(
            world.ask(at, "GetGenericPortMappingEntry", &at_index("0")),
            "200 NewRemoteHost= NewExternalPort=8080 NewProtocol=TCP NewInternalPort=8001 \
             NewInternalClient=192.168.1.100 NewEnabled=1 NewPortMappingDescription=b NewLeaseDuration=7"
        );
        let other = mapping(&[("NewInternalClient", OTHER)]);
        assert_eq!(world.as_host(OTHER).ask(at, "AddPortMapping", &other), "718");
        assert_eq!(world.gateway.len(), 1);
    }
}

#[test]
fn a_conflict_with_another_protocols_mapping_has_its_own_code_in_version_2_item_128() {
    let mut world = world();
    by_pcp(&mut world, OTHER, 8080);
    assert_eq!(world.ask(V1, "AddPortMapping", &mapping(&[])), "718");
    assert_eq!(world.ask(V2, "AddPortMapping", &mapping(&[])), "729");
    assert_eq!(world.ask(V1_AT_2, "AddPortMapping", &mapping(&[])), "718");
    // NAT-PMP keeps the port of the other protocol for its host, too.
    let request = of(Origin::NatPmp, Protocol::Udp, OTHER, 9000);
    world.gateway.add(&request, world.now).unwrap();
    let at_9000 = mapping(&[("NewExternalPort", "9000")]);
    assert_eq!(world.ask(V1, "AddPortMapping", &at_9000), "718");
    assert_eq!(world.ask(V2, "AddPortMapping", &at_9000), "729");
}

#[test]
fn a_port_of_the_router_is_a_conflict_item_129() {
    let policy = Policy { reserved: vec![(Protocol::Tcp, 8080)], ..Policy::default() };
    let mut world = world_with(policy);
    assert_eq!(world.ask(V1, "AddPortMapping", &mapping(&[])), "718");
    assert_eq!(world.ask(V2, "AddPortMapping", &mapping(&[])), "729");
}

#[test]
fn every_bad_argument_has_its_code_in_both_versions_items_117_to_122_131_to_133() {
    let cases = [
        ("NewExternalPort", "0", "716", "716"),
        ("NewInternalPort", "0", "402", "732"),
        ("NewInternalClient", "", "715", "715"),
        ("NewInternalClient", "*", "715", "715"),
        ("NewInternalClient", "0.0.0.0", "715", "715"),
        ("NewInternalClient", "nas.lan", "402", "402"),
        ("NewInternalClient", "::1", "402", "402"),
        ("NewInternalClient", OTHER, "606", "606"),
        ("NewInternalClient", "192.168.1.1", "606", "606"),
        ("NewInternalClient", "127.0.0.1", "606", "606"),
        ("NewProtocol", "ICMP", "402", "601"),
        ("NewProtocol", "", "402", "601"),
        ("NewRemoteHost", "example.org", "726", "402"),
        ("NewRemoteHost", "2001:db8::1", "726", "402"),
        ("NewExternalPort", "80", "200", "606"),
        ("NewInternalPort", "80", "200", "606"),
    ];
    for (name, value, first, second) in cases {
        for (at, expected) in [(V1, first), (V2, second), (V1_AT_2, first)] {
            let mut world = world();
            let answer = world.ask(at, "AddPortMapping", &mapping(&[(name, value)]));
            assert_eq!(answer, expected, "{name} {value:?} {at:?}");
            assert_eq!(world.gateway.is_empty(), expected != "200");
        }
    }
}

#[test]
fn off_lan_targets_are_refused_even_without_secure_mode_item_133() {
    for target in
        ["192.168.1.1", "192.168.1.255", "127.0.0.1", "224.0.0.1", "8.8.8.8", "255.255.255.255"]
    {
        let mut world = world_with(Policy { secure_mode: false, ..Policy::default() });
        let arguments = mapping(&[("NewInternalClient", target)]);
        assert_eq!(world.ask(V1, "AddPortMapping", &arguments), "402", "{target}");
        assert_eq!(world.ask(V2, "AddPortMapping", &arguments), "606", "{target}");
    }
}

#[test]
fn every_spelling_of_any_host_is_the_same_mapping_item_117() {
    for at in [V1, V2] {
        let mut world = world();
        for any in ["", "*", "0.0.0.0", " ", "undefined"] {
            let arguments = mapping(&[("NewRemoteHost", any)]);
            assert_eq!(world.ask(at, "AddPortMapping", &arguments), "200");
        }
        assert_eq!(world.gateway.len(), 1);
    }
}

#[test]
fn protocol_and_remote_host_make_mappings_distinct_items_114_116() {
    let mut world = world();
    for changed in [("NewProtocol", "TCP"), ("NewProtocol", "udp"), ("NewRemoteHost", "9.9.9.9")] {
        assert_eq!(world.ask(V2, "AddPortMapping", &mapping(&[changed])), "200");
    }
    assert_eq!(world.gateway.len(), 3);
    let remote =
        [("NewRemoteHost", "9.9.9.9"), ("NewExternalPort", "8080"), ("NewProtocol", "TCP")];
    assert_eq!(world.ask(V2, "GetSpecificPortMappingEntry", &remote), format!("200 {ENTRY}"));
    assert!(world
        .ask(V2, "GetGenericPortMappingEntry", &at_index("2"))
        .starts_with("200 NewRemoteHost=9.9.9.9 NewExternalPort=8080 NewProtocol=TCP "));
    assert_eq!(world.ask(V2, "DeletePortMapping", &remote), "200");
    assert_eq!(world.ask(V2, "DeletePortMapping", &remote), "714");
    assert_eq!(world.gateway.len(), 2);
}

#[test]
fn a_disabled_mapping_is_stored_and_listed_item_125() {
    let mut world = world();
    assert_eq!(world.ask(V1, "AddPortMapping", &mapping(&[("NewEnabled", "0")])), "200");
    let entry = world.ask(V1, "GetSpecificPortMappingEntry", &outside("8080", "TCP"));
    assert!(entry.contains(" NewEnabled=0 "), "{entry}");
}

#[test]
fn another_hosts_mapping_is_seen_but_not_deleted_items_140_148() {
    for at in [V1, V2] {
        let mut world = world();
        assert_eq!(world.ask(at, "AddPortMapping", &mapping(&[])), "200");
        world.as_host(OTHER);
        assert!(world.ask(at, "GetGenericPortMappingEntry", &at_index("0")).starts_with("200 "));
        assert_eq!(world.ask(at, "DeletePortMapping", &outside("8080", "TCP")), "606");
        assert_eq!(world.ask(at, "DeletePortMapping", &outside("8080", "")), "606");
        assert_eq!(world.gateway.len(), 1);
    }
}

#[test]
fn an_empty_protocol_deletes_both_of_ones_own_items_141_281() {
    let mut world = world();
    for protocol in ["TCP", "UDP"] {
        let arguments = mapping(&[("NewProtocol", protocol)]);
        assert_eq!(world.ask(V2, "AddPortMapping", &arguments), "200");
    }
    assert_eq!(world.ask(V2, "DeletePortMapping", &outside("8080", "")), "200");
    assert!(world.gateway.is_empty());
    assert_eq!(world.ask(V2, "DeletePortMapping", &outside("8080", "")), "714");
    assert_eq!(world.ask(V2, "DeletePortMapping", &outside("8080", "ICMP")), "601");
    assert_eq!(world.ask(V1, "DeletePortMapping", &outside("8080", "ICMP")), "402");
}

#[test]
fn mappings_of_other_protocols_are_listed_item_149() {
    let mut world = world();
    by_pcp(&mut world, OTHER, 4000);
    assert_eq!(
        world.ask(V1, "GetGenericPortMappingEntry", &at_index("0")),
        "200 NewRemoteHost= NewExternalPort=4000 NewProtocol=TCP NewInternalPort=4000 \
         NewInternalClient=192.168.1.101 NewEnabled=1 NewPortMappingDescription= NewLeaseDuration=60"
    );
}

#[test]
fn a_walk_that_deletes_as_it_goes_sees_every_entry_item_144() {
    let mut world = world();
    for port in ["2000", "2001", "2002", "2003", "2004"] {
        assert_eq!(world.ask(V1, "AddPortMapping", &mapping(&[("NewExternalPort", port)])), "200");
    }
    let mut seen = Vec::new();
    let mut index = 0;
    loop {
        let at = index.to_string();
        let entry = world.ask(V1, "GetGenericPortMappingEntry", &at_index(&at));
        let Some(port) = entry.split("NewExternalPort=").nth(1).and_then(|t| t.split(' ').next())
        else {
            assert_eq!(entry, "713");
            break;
        };
        seen.push(port.to_owned());
        match seen.len() % 2 {
            // What comes after a deleted entry moves up to its place.
            1 => assert_eq!(world.ask(V1, "DeletePortMapping", &outside(port, "TCP")), "200"),
            _ => index += 1,
        }
    }
    assert_eq!(seen, ["2000", "2001", "2002", "2003", "2004"]);
    assert_eq!(world.gateway.len(), 2);
}

#[test]
fn a_full_table_and_a_refusing_kernel_are_said_so_items_60_127() {
    let limits = Limits { mappings: 1, mappings_per_host: 1, ..Limits::default() };
    let mut world = world_with(Policy { limits, ..Policy::default() });
    assert_eq!(world.ask(V2, "AddPortMapping", &mapping(&[])), "200");
    let next = mapping(&[("NewExternalPort", "8081")]);
    assert_eq!(world.ask(V1, "AddPortMapping", &next), "501");
    assert_eq!(world.ask(V2, "AddPortMapping", &next), "728");
    assert_eq!(world.ask(V2, "AddAnyPortMapping", &next), "728");

    world.gateway.backend().fail_next(100);
    assert_eq!(world.ask(V1, "DeletePortMapping", &outside("8080", "TCP")), "501");
    assert_eq!(world.ask(V2, "AddPortMapping", &mapping(&[])), "501");
    assert_eq!(world.gateway.len(), 1);
}

#[test]
fn a_host_asking_over_ipv6_reads_but_changes_nothing_item_134() {
    let mut world = world();
    assert_eq!(world.ask(V1, "AddPortMapping", &mapping(&[])), "200");
    world.as_host("fe80::1");
    assert_eq!(world.ask(V2, "AddPortMapping", &mapping(&[])), "606");
    assert_eq!(world.ask(V2, "DeletePortMapping", &outside("8080", "TCP")), "606");
    assert!(world.ask(V2, "GetGenericPortMappingEntry", &at_index("0")).starts_with("200 "));
    world.as_host("::ffff:192.168.1.100");
    assert_eq!(world.ask(V2, "DeletePortMapping", &outside("8080", "TCP")), "200");
}

#[test]
fn a_description_comes_back_as_it_was_sent_item_66() {
    let mut world = world();
    let text = "Tom & \"Jerry\" <é€😀>";
    assert_eq!(
        world.ask(V1, "AddPortMapping", &mapping(&[("NewPortMappingDescription", text)])),
        "200"
    );
    let entry = world.ask(V1, "GetGenericPortMappingEntry", &at_index("0"));
    assert!(entry.contains(&format!(" NewPortMappingDescription={text} ")), "{entry}");
}
