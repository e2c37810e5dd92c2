//! Bytes of real clients, from `tests/captures/soap`.

use super::*;

#[test]
fn every_captured_request_is_answered_and_none_is_malformed_items_65_66a() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures/soap");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|e| e != "http") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let (request, len) = http::parse_head(&bytes).unwrap().unwrap();
        let mut words = path.file_stem().unwrap().to_str().unwrap().split('-');
        let action =
            words.rfind(|word| word.starts_with(|c: char| c.is_ascii_uppercase())).unwrap();
        let invocation = Invocation::parse(&bytes[len..]).unwrap();
        let target = soap::Target::parse(request.header("soapaction").unwrap()).unwrap();
        assert_eq!((&invocation.action[..], target.action), (action, action), "{path:?}");
        assert_eq!(invocation.service.as_deref(), Some(target.service), "{path:?}");

        // The clients were told that they map for themselves.
        let mut world = lan_of_the_captures();
        let answer = short(&world.raw(&bytes));
        let expected = match action {
            "DeletePortMapping" | "GetSpecificPortMappingEntry" => "714",
            "DeletePortMappingRange" | "GetListOfPortMappings" => "730",
            "GetGenericPortMappingEntry" => "713",
            _ => "200",
        };
        assert!(answer.starts_with(expected), "{path:?}: {answer}");
        seen += 1;
    }
    assert!(seen >= 20);
}

fn lan_of_the_captures() -> World {
    let mut world = world();
    let address = Ipv4Addr::new(10, 9, 9, 254);
    world.gateway.set_lans(
        vec![Lan { device: "br-lan".into(), address: address.into(), prefix_len: 24 }],
        Instant::now(),
    );
    world.as_host("10.9.9.1");
    world
}

/// What is mapped after the capture of this name, as `external port, internal port, description`.
fn mapped(name: &str) -> (u16, u16, String) {
    let mut world = lan_of_the_captures();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures/soap/");
    let bytes = std::fs::read([folder, name, ".http"].concat()).unwrap();
    assert_eq!(world.raw(&bytes).status, 200);
    let mapping = world.gateway.at(0).unwrap();
    (mapping.external.port, mapping.internal.port(), mapping.description.clone())
}

#[test]
fn an_unescaped_description_survives_item_66a() {
    assert_eq!(mapped("upnpc-2.2.4-v1-AddPortMapping"), (18080, 8080, "R&D <3 café".into()));
    assert_eq!(mapped("upnpc-2.2.4-v1-AddAnyPortMapping"), (17002, 7002, "R&D <3".into()));
    assert_eq!(mapped("nat-upnp-1.1.1-AddPortMapping"), (12345, 54321, "R&D <game>".into()));
    assert_eq!(mapped("aioupnp-0.0.18-AddPortMapping"), (17014, 7001, "aio & <x>".into()));
    assert_eq!(
        mapped("nat-port-mapper-4.0.5-AddAnyPortMapping"),
        (4444, 4444, "js & <more>".into())
    );
}
