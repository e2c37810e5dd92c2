//! Descriptions and service descriptions over HTTP.

use super::*;
use crate::igd::action::{Arg, Kind};
use std::collections::BTreeSet;

#[test]
fn descriptions_are_served_to_get_and_head_items_31_67_71() {
    let mut world = world();
    for path in ["/igd1/desc.xml", "//igd1//desc.xml", "/igd2/desc.xml", "/igd1/wanip/scpd.xml"] {
        for method in ["GET", "HEAD"] {
            let response = world.get(method, path, "");
            assert_eq!(response.status, 200);
            assert_eq!(
                response.headers,
                [("Content-Type", "text/xml; charset=\"utf-8\"".to_owned())]
            );
            assert!(response.body.starts_with(b"<?xml version=\"1.0\"?>"));
        }
    }
}

#[test]
fn unknown_places_and_wrong_methods_items_67() {
    let mut world = world();
    assert_eq!(world.get("GET", "/", ""), http::Response::new(404));
    for (method, path, allow) in [
        ("SUBSCRIBE", "/igd1/desc.xml", "GET, HEAD"),
        ("DELETE", "/igd1/wanip/scpd.xml", "GET, HEAD"),
        ("GET", "/igd1/wanip/control", "POST, M-POST"),
        ("GET", "/igd2/wanip/event", "SUBSCRIBE, UNSUBSCRIBE"),
    ] {
        let expected = http::Response::new(405).header("Allow", allow);
        assert_eq!(world.get(method, path, ""), expected, "{method} {path}");
    }
}

#[test]
fn the_language_asked_for_is_echoed_item_43() {
    let mut world = world();
    let long = "a".repeat(LANGUAGE_MAX + 1);
    for (asked, echoed) in [
        ("de", Some("de")),
        ("fr-CH, fr;q=0.9", Some("fr-CH")),
        ("*", None),
        (&long, None),
        ("d\u{e9}", None),
    ] {
        let response = world.get("GET", "/igd1/desc.xml", &format!("Accept-Language: {asked}\r\n"));
        let language = response.headers.iter().find(|(name, _)| *name == "Content-Language");
        assert_eq!(language.map(|(_, value)| &value[..]), echoed, "{asked}");
    }
}

#[test]
fn every_argument_has_its_variable_and_in_comes_before_out_item_38() {
    for face in Face::ALL {
        for service in Service::ALL {
            let known: Vec<&str> = variables(service, face).map(|v| v.name).collect();
            assert_eq!(known.iter().collect::<BTreeSet<_>>().len(), known.len());
            let mut names = BTreeSet::new();
            let mut used = BTreeSet::new();
            for action in actions::<Memory>(service, service.version(face)) {
                assert!(names.insert(action.name));
                let is_out: Vec<bool> =
                    action.args.iter().map(|a| matches!(a, Arg::Out(..))).collect();
                assert!(is_out.is_sorted(), "{}", action.name);
                for arg in action.args {
                    let (Arg::In(name, related)
                    | Arg::Optional(name, related)
                    | Arg::Out(name, related)) = arg;
                    // Only the newest service gives its arguments the names of their variables.
                    let prefixed = service == Service::WanIpv6Firewall || name.starts_with("New");
                    assert!(prefixed && known.contains(related), "{name}");
                    used.insert(*related);
                }
            }
            let alone: Vec<&str> = known.into_iter().filter(|v| !used.contains(v)).collect();
            let expected: &[&str] = match (service, face) {
                (Service::WanIp, Face::V2) => &["SystemUpdateID"],
                _ => &[],
            };
            assert_eq!(alone, expected);
        }
    }
}

#[test]
fn a_service_description_says_what_the_table_says_items_38_39_41_85() {
    let scpd = service_description::<Memory>(Service::WanIp, Face::V2);
    for part in [
        "<scpd xmlns=\"urn:schemas-upnp-org:service-1-0\"><specVersion><major>1</major><minor>0</minor></specVersion><actionList><action><name>SetConnectionType</name>",
        "<action><name>RequestConnection</name></action>",
        "<argument><name>NewReservedPort</name><direction>out</direction><relatedStateVariable>ExternalPort</relatedStateVariable></argument></argumentList></action>",
        "<argument><name>NewRemoteHost</name><direction>in</direction><relatedStateVariable>RemoteHost</relatedStateVariable></argument>",
        "<stateVariable sendEvents=\"no\"><name>PortMappingProtocol</name><dataType>string</dataType><allowedValueList><allowedValue>TCP</allowedValue><allowedValue>UDP</allowedValue></allowedValueList></stateVariable>",
        "<stateVariable sendEvents=\"no\"><name>PortMappingLeaseDuration</name><dataType>ui4</dataType><defaultValue>3600</defaultValue><allowedValueRange><minimum>0</minimum><maximum>604800</maximum><step>1</step></allowedValueRange></stateVariable>",
        "<stateVariable sendEvents=\"yes\"><name>SystemUpdateID</name><dataType>ui4</dataType></stateVariable>",
    ] {
        assert!(scpd.contains(part), "{part}");
    }
    let first = service_description::<Memory>(Service::WanIp, Face::V1);
    for later in [
        "AddAnyPortMapping",
        "DeletePortMappingRange",
        "GetListOfPortMappings",
        "SystemUpdateID",
        "604800",
    ] {
        assert!(scpd.contains(later) && !first.contains(later), "{later}");
    }
}

#[test]
fn evented_variables_are_those_of_the_dcps_item_85() {
    let evented = |service, face| {
        let all = variables(service, face).filter(|v| v.evented);
        all.map(|v| (v.name, v.kind)).collect::<Vec<_>>()
    };
    let mut connection = vec![
        ("PossibleConnectionTypes", Kind::String),
        ("ConnectionStatus", Kind::String),
        ("ExternalIPAddress", Kind::String),
        ("PortMappingNumberOfEntries", Kind::Ui2),
    ];
    assert_eq!(evented(Service::WanIp, Face::V1), connection);
    connection.push(("SystemUpdateID", Kind::Ui4));
    assert_eq!(evented(Service::WanIp, Face::V2), connection);
    for face in Face::ALL {
        let link = [("PhysicalLinkStatus", Kind::String), ("EnabledForInternet", Kind::Boolean)];
        assert_eq!(evented(Service::WanCommon, face), link);
        let default = [("DefaultConnectionService", Kind::String)];
        assert_eq!(evented(Service::Layer3Forwarding, face), default);
        let firewall =
            [("FirewallEnabled", Kind::Boolean), ("InboundPinholeAllowed", Kind::Boolean)];
        assert_eq!(evented(Service::WanIpv6Firewall, face), firewall);
    }
}

#[test]
fn what_is_described_changes_with_the_description_item_22() {
    let one = Identity::default();
    let two = Identity { presentation_url: Some("http://192.168.1.1/".into()), ..one.clone() };
    assert_eq!(described(&one), described(&one.clone()));
    assert_ne!(described(&one), described(&two));
}
