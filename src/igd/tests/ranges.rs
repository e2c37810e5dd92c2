//! What only WANIPConnection:2 has.

use super::*;

fn add(world: &mut World, client: &str, port: &str, protocol: &str) {
    let arguments = mapping(&[
        ("NewExternalPort", port),
        ("NewProtocol", protocol),
        ("NewInternalClient", client),
    ]);
    assert_eq!(world.as_host(client).ask(V2, "AddPortMapping", &arguments), "200");
}

fn range<'a>(start: &'a str, end: &'a str, manage: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("NewStartPort", start),
        ("NewEndPort", end),
        ("NewProtocol", "TCP"),
        ("NewManage", manage),
    ]
}

fn list<'a>(
    start: &'a str,
    end: &'a str,
    manage: &'a str,
    most: &'a str,
) -> Vec<(&'a str, &'a str)> {
    [range(start, end, manage), vec![("NewNumberOfPorts", most)]].concat()
}

/// The external ports that GetListOfPortMappings lists, or its error.
fn listed(world: &mut World, arguments: &[(&str, &str)]) -> Result<Vec<u16>, String> {
    let answer = world.ask(V2, "GetListOfPortMappings", arguments);
    let text = answer.strip_prefix("200 NewPortListing=").ok_or(answer.clone())?;
    let document = roxmltree::Document::parse(text).unwrap();
    let ports = document.descendants().filter(|n| n.tag_name().name() == "NewExternalPort");
    Ok(ports.map(|n| n.text().unwrap().parse().unwrap()).collect())
}

#[test]
fn any_free_port_is_granted_items_41_136_138() {
    let mut world = world();
    let any = "AddAnyPortMapping";
    assert_eq!(world.ask(V2, any, &mapping(&[])), "200 NewReservedPort=8080");
    assert_eq!(world.ask(V2, any, &mapping(&[])), "200 NewReservedPort=8080");
    assert_eq!(world.gateway.len(), 1);

    let other = mapping(&[("NewInternalClient", OTHER)]);
    let granted = |answer: String| -> u16 {
        answer.strip_prefix("200 NewReservedPort=").unwrap().parse().unwrap()
    };
    let port = granted(world.as_host(OTHER).ask(V2, any, &other));
    assert!(port >= 1024 && port != 8080, "{port}");
    let zero = mapping(&[("NewExternalPort", "0"), ("NewInternalPort", "8002")]);
    let port = granted(world.as_host(HOST).ask(V2, any, &zero));
    assert!(port >= 1024, "{port}");
    assert_eq!(world.gateway.len(), 3);
}

#[test]
fn any_port_mapping_refuses_as_add_port_mapping_does_item_137() {
    for (name, value, code) in [
        ("NewProtocol", "ICMP", "601"),
        ("NewInternalClient", OTHER, "606"),
        ("NewInternalClient", "", "715"),
        ("NewInternalPort", "0", "732"),
        ("NewExternalPort", "65536", "601"),
        ("NewRemoteHost", "example.org", "402"),
    ] {
        let mut world = world();
        assert_eq!(world.ask(V2, "AddAnyPortMapping", &mapping(&[(name, value)])), code, "{name}");
        assert!(world.gateway.is_empty());
    }
}

#[test]
fn a_range_is_deleted_except_what_belongs_to_others_item_143() {
    let mut world = world();
    for port in ["2000", "2001", "3000"] {
        add(&mut world, HOST, port, "TCP");
    }
    add(&mut world, HOST, "2000", "UDP");
    add(&mut world, OTHER, "2002", "TCP");
    world.as_host(HOST);
    let mut delete =
        |arguments: &[(&str, &str)]| world.ask(V2, "DeletePortMappingRange", arguments);
    assert_eq!(delete(&range("3000", "2000", "0")), "733");
    assert_eq!(delete(&range("4000", "5000", "1")), "730");
    assert_eq!(delete(&range("2002", "2002", "1")), "730");
    assert_eq!(delete(&range("2000", "2999", "x")), "402");
    assert_eq!(delete(&range("2000", "2999", "1")), "200");
    assert_eq!(delete(&range("2000", "2999", "0")), "730");
    assert_eq!(listed(&mut world, &list("0", "65535", "1", "0")), Ok(vec![2002, 3000]));
    assert_eq!(world.gateway.len(), 3);
}

#[test]
fn the_older_service_name_gets_these_actions_too_by_the_newer_rules_items_136_143_147() {
    for at in [V1, V1_AT_2] {
        let mut world = world();
        let forever = mapping(&[("NewLeaseDuration", "0")]);
        assert_eq!(world.ask(at, "AddAnyPortMapping", &forever), "200 NewReservedPort=8080");
        let list = world.ask(at, "GetListOfPortMappings", &list("0", "65535", "1", "0"));
        assert!(list.contains("<p:NewLeaseTime>604800</p:NewLeaseTime>"), "{list}");
        assert_eq!(world.ask(at, "DeletePortMappingRange", &range("0", "65535", "0")), "200");
        assert_eq!(world.ask(at, "DeletePortMappingRange", &range("0", "65535", "0")), "730");
    }
}

#[test]
fn a_list_is_a_document_in_a_cdata_section_item_147() {
    let mut world = world();
    let arguments =
        mapping(&[("NewRemoteHost", "9.9.9.9"), ("NewPortMappingDescription", "R&D <3 ]]>")]);
    assert_eq!(world.ask(V2, "AddPortMapping", &arguments), "200");
    assert_eq!(
        world.ask(V2, "GetListOfPortMappings", &list("8080", "8080", "0", "0")),
        "200 NewPortListing=<?xml version=\"1.0\"?><p:PortMappingList \
         xmlns:p=\"urn:schemas-upnp-org:gw:WANIPConnection\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
         xsi:schemaLocation=\"urn:schemas-upnp-org:gw:WANIPConnection \
         http://www.upnp.org/schemas/gw/WANIPConnection-v2.xsd\"><p:PortMappingEntry>\
         <p:NewRemoteHost>9.9.9.9</p:NewRemoteHost><p:NewExternalPort>8080</p:NewExternalPort>\
         <p:NewProtocol>TCP</p:NewProtocol><p:NewInternalPort>8000</p:NewInternalPort>\
         <p:NewInternalClient>192.168.1.100</p:NewInternalClient><p:NewEnabled>1</p:NewEnabled>\
         <p:NewDescription>R&amp;D &lt;3 ]]&gt;</p:NewDescription><p:NewLeaseTime>3600</p:NewLeaseTime>\
         </p:PortMappingEntry></p:PortMappingList>"
    );
    let urn = format!("urn:schemas-upnp-org:service:{}", V2.1);
    let arguments = list("8080", "8080", "0", "0");
    let reply = world.raw(&envelope(V2.0, &urn, "GetListOfPortMappings", &arguments));
    let text = String::from_utf8(reply.body).unwrap();
    assert!(text.contains("<NewPortListing><![CDATA[<?xml ") && !text.contains("&lt;p:"), "{text}");
}

#[test]
fn a_list_is_bounded_by_range_owner_and_number_item_147() {
    let mut world = world();
    add(&mut world, OTHER, "2002", "TCP");
    for port in ["2000", "2001", "3000"] {
        add(&mut world, HOST, port, "TCP");
    }
    add(&mut world, HOST, "2000", "UDP");
    let mut ask = |start, end, manage, most| listed(&mut world, &list(start, end, manage, most));
    assert_eq!(ask("0", "65535", "1", "0"), Ok(vec![2000, 2001, 2002, 3000]));
    assert_eq!(ask("0", "65535", "0", "0"), Ok(vec![2000, 2001, 3000]));
    assert_eq!(ask("2001", "2999", "1", "0"), Ok(vec![2001, 2002]));
    assert_eq!(ask("0", "65535", "1", "3"), Ok(vec![2000, 2001, 2002]));
    assert_eq!(ask("2002", "2999", "0", "0"), Err("730".into()));
    assert_eq!(ask("5000", "4000", "1", "0"), Err("733".into()));
    assert_eq!(ask("0", "65535", "1", "65536"), Err("601".into()));
}

#[test]
fn a_long_list_comes_in_pieces_and_has_them_all_item_147() {
    let mut world = world();
    let costly = "&".repeat(100);
    let ports: Vec<u16> = (2000..2440).collect();
    for port in ports.iter().map(u16::to_string) {
        let arguments = mapping(&[
            ("NewExternalPort", &port),
            ("NewInternalPort", &port),
            ("NewPortMappingDescription", &costly),
        ]);
        assert_eq!(world.ask(V2, "AddPortMapping", &arguments), "200");
    }
    assert_eq!(listed(&mut world, &list("0", "65535", "1", "0")), Ok(ports.clone()));
    assert_eq!(listed(&mut world, &list("2010", "2400", "0", "300")), Ok(ports[10..310].to_vec()));
    // One port for many remote hosts, across pieces.
    for last in 1..60 {
        let remote = format!("9.9.9.{last}");
        let arguments =
            mapping(&[("NewRemoteHost", &remote), ("NewPortMappingDescription", &costly)]);
        assert_eq!(world.ask(V2, "AddPortMapping", &arguments), "200");
    }
    assert_eq!(listed(&mut world, &list("8080", "8080", "1", "0")), Ok(vec![8080; 59]));
}

#[test]
fn no_answer_to_version_2_is_one_of_724_to_727_item_150() {
    for name in mapping(&[]).iter().map(|(name, _)| *name) {
        for value in ["", "0", "*", "x", "99999", "example.org"] {
            let arguments = mapping(&[(name, value)]);
            for action in ["AddPortMapping", "AddAnyPortMapping"] {
                let answer = world().ask(V2, action, &arguments);
                assert!(!["724", "725", "726", "727"].contains(&&answer[..]), "{name} {value}");
            }
        }
    }
}
