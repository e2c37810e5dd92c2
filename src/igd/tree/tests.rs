use super::*;

const BASE: &str = "http://192.168.1.1:5000";

fn identity(undecided: Face) -> Identity {
    Identity {
        uuid: *b"\x01\x23\x45\x67\x89\xab\x4d\xef\x81\x23\x45\x67\x89\xab\x00\x10",
        undecided,
        ..Identity::default()
    }
}

fn lines(adverts: &[Advert]) -> Vec<String> {
    adverts.iter().map(|a| format!("{} {} {}", a.kind, a.usn, a.location)).collect()
}

#[test]
fn a_face_announces_three_plus_two_per_device_plus_one_per_service_items_10_11_24() {
    let d = "urn:schemas-upnp-org:device:";
    let s = "urn:schemas-upnp-org:service:";
    let u = "uuid:01234567-89ab-4def-8123-456789abff";
    let at = "http://192.168.1.1:5000/igd2/desc.xml";
    assert_eq!(
        lines(&adverts(Face::V2, &identity(Face::V1), BASE)),
        [
            format!("upnp:rootdevice {u}10::upnp:rootdevice {at}"),
            format!("{u}10 {u}10 {at}"),
            format!("{d}InternetGatewayDevice:2 {u}10::{d}InternetGatewayDevice:2 {at}"),
            format!("{s}Layer3Forwarding:1 {u}10::{s}Layer3Forwarding:1 {at}"),
            format!("{u}11 {u}11 {at}"),
            format!("{d}WANDevice:2 {u}11::{d}WANDevice:2 {at}"),
            format!("{s}WANCommonInterfaceConfig:1 {u}11::{s}WANCommonInterfaceConfig:1 {at}"),
            format!("{u}12 {u}12 {at}"),
            format!("{d}WANConnectionDevice:2 {u}12::{d}WANConnectionDevice:2 {at}"),
            format!("{s}WANIPConnection:2 {u}12::{s}WANIPConnection:2 {at}"),
            format!("{s}WANIPv6FirewallControl:1 {u}12::{s}WANIPv6FirewallControl:1 {at}"),
        ]
    );
    let without = Identity { ipv6: false, ..identity(Face::V1) };
    assert_eq!(adverts(Face::V2, &without, BASE).len(), 3 + 2 * 2 + 3);
    assert_eq!(adverts(Face::V1, &identity(Face::V1), BASE).len(), 3 + 2 * 2 + 3);
}

#[test]
fn the_undecided_see_the_face_chosen_for_them_item_279() {
    for face in Face::ALL {
        let id = identity(face);
        assert_eq!(answers(&Target::All, &id, BASE), adverts(face, &id, BASE));
        let root = answers(&Target::RootDevice, &id, BASE);
        assert_eq!(root, adverts(face, &id, BASE)[..1]);
    }
}

#[test]
fn a_uuid_is_answered_as_it_was_asked_by_the_face_that_has_it_items_7_8() {
    let id = identity(Face::V1);
    for face in Face::ALL {
        for device in 0..3 {
            let udn = id.udn(face, device);
            let own = advert(face, &id, BASE, device, udn.clone());
            assert_eq!(own.usn, udn);
            for asked in [udn.clone(), udn.to_uppercase()] {
                let expected = Advert { kind: asked.clone(), ..own.clone() };
                assert_eq!(answers(&Target::Uuid(&asked), &id, BASE), [expected]);
            }
        }
    }
    let other = "uuid:01234567-89ab-4def-8123-456789ab0013";
    assert_eq!(answers(&Target::Uuid(other), &id, BASE), []);
}

#[test]
fn a_type_is_answered_once_by_the_face_of_its_version_items_8_9_29() {
    let cases = [
        ("device:InternetGatewayDevice:1", Some("/igd1/desc.xml")),
        ("device:InternetGatewayDevice:2", Some("/igd2/desc.xml")),
        ("device:InternetGatewayDevice:3", None),
        ("device:WANDevice:1", Some("/igd1/desc.xml")),
        ("device:WANConnectionDevice:2", Some("/igd2/desc.xml")),
        ("service:Layer3Forwarding:1", Some("/igd1/desc.xml")),
        ("service:Layer3Forwarding:2", None),
        ("service:WANCommonInterfaceConfig:1", Some("/igd1/desc.xml")),
        ("service:WANCommonInterfaceConfig:2", None),
        ("service:WANIPConnection:1", Some("/igd1/desc.xml")),
        ("service:WANIPConnection:2", Some("/igd2/desc.xml")),
        ("service:WANIPConnection:3", None),
        ("service:WANIPConnection", None),
        ("service:WANPPPConnection:1", Some("/igd1/desc.xml")),
        ("service:WANIPv6FirewallControl:1", Some("/igd2/desc.xml")),
        ("service:WANIPv6FirewallControl:2", None),
        ("service:WANPPPConnection:2", None),
        ("device:MediaServer:1", None),
    ];
    for undecided in Face::ALL {
        let id = identity(undecided);
        for (kind, location) in cases {
            let urn = format!("urn:schemas-upnp-org:{kind}");
            let found = answers(&Target::Type(&urn), &id, BASE);
            let seen: Vec<(&str, &str)> =
                found.iter().map(|a| (&a.kind[..], &a.location[BASE.len()..])).collect();
            let expected: Vec<(&str, &str)> = location.map(|l| (&urn[..], l)).into_iter().collect();
            assert_eq!(seen, expected);
            assert!(found.iter().all(|a| a.usn.ends_with(&format!("::{urn}"))));
        }
    }
}

#[test]
fn every_path_is_distinct_and_found_again_items_37_71() {
    let mut seen = std::collections::BTreeSet::new();
    for face in Face::ALL {
        assert!(seen.insert(description_path(face)));
        assert_eq!(find(&description_path(face)), Some(Place::Description(face)));
        for service in Service::ALL {
            for leaf in Leaf::ALL {
                let path = service.path(face, leaf);
                let place = Some(Place::Service(face, service, leaf));
                assert_eq!(find(&path), place);
                assert_eq!(find(&path[1..]), place);
                assert_eq!(find(&path.replace('/', "//")), place);
                assert_eq!(find(&format!("{path}?x=/y")), place);
                assert!(seen.insert(path));
            }
        }
    }
}

#[test]
fn other_paths_are_unknown_item_67() {
    for path in [
        "",
        "/",
        "/igd1",
        "/igd3/desc.xml",
        "/igd1/wanip",
        "/igd1/wanip/desc.xml",
        "/igd1/desc.xml/x",
        "/igd1/wanip/control/x",
        "/rootDesc.xml",
    ] {
        assert_eq!(find(path), None, "{path}");
    }
}

#[test]
fn an_older_version_and_the_ppp_name_are_accepted_at_the_url_item_50() {
    let urn = |kind| format!("{SERVICE_TYPE}{kind}");
    let wan = Service::WanIp;
    assert_eq!(wan.asked(Face::V2, &urn("WANIPConnection:2")), Some(Face::V2));
    assert_eq!(wan.asked(Face::V2, &urn("WANIPConnection:1")), Some(Face::V1));
    assert_eq!(wan.asked(Face::V2, &urn("WANPPPConnection:1")), Some(Face::V1));
    assert_eq!(wan.asked(Face::V1, &urn("WANIPConnection:1")), Some(Face::V1));
    for other in [
        "WANIPConnection:2",
        "WANPPPConnection:2",
        "WANIPConnection:0",
        "Layer3Forwarding:1",
        "WANIPConnection",
    ] {
        assert_eq!(wan.asked(Face::V1, &urn(other)), None, "{other}");
    }
    assert_eq!(Service::WanCommon.asked(Face::V2, &urn("WANCommonInterfaceConfig:2")), None);
}
