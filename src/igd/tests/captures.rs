//! Bytes of real clients, from `tests/captures/soap`.

use super::*;
use crate::gateway::pinhole::Hole;

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
        let mut world = lan_of_the_captures(path.to_str().unwrap());
        let answer = short(&world.raw(&bytes));
        let expected = match action {
            "DeletePortMapping" | "GetSpecificPortMappingEntry" => "714",
            "DeletePortMappingRange" | "GetListOfPortMappings" => "730",
            "GetGenericPortMappingEntry" => "713",
            "UpdatePinhole" | "DeletePinhole" | "GetPinholePackets" | "CheckPinholeWorking" => {
                "704"
            }
            _ => "200",
        };
        assert!(answer.starts_with(expected), "{path:?}: {answer}");
        seen += 1;
    }
    assert!(seen >= 70, "{seen} captures");
}

/// The world of the capture of this name: one host of both families sent them, some over IPv6.
fn lan_of_the_captures(name: &str) -> World {
    let mut world = world();
    let lan = |address: &str, prefix_len| Lan {
        device: "br-lan".into(),
        address: address.parse().unwrap(),
        prefix_len,
    };
    world.gateway.set_lans(vec![lan("10.9.9.254", 24), lan("2001:db8:1::1", 64)], Instant::now());
    let mut host = ["10.9.9.1", "2001:db8:1::10"];
    if name.contains("-ipv6-") {
        host.reverse();
    }
    world.as_host(host[0]);
    world.also.push(host[1].parse().unwrap());
    world
}

/// What is mapped after the capture of this name, as `external port, internal port, description`.
fn mapped(name: &str) -> (u16, u16, String) {
    let mut world = lan_of_the_captures(name);
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
    assert_eq!(mapped("libupnp-1.8.4-AddPortMapping"), (17001, 7001, "libupnp & <co>".into()));
    assert_eq!(
        mapped("nat-port-mapper-4.0.5-AddAnyPortMapping"),
        (4444, 4444, "js & <more>".into())
    );
}

#[test]
fn each_client_gets_the_pinhole_it_means_items_154_155_158() {
    for (name, port, lease) in [
        ("upnpc-2.2.4-v2", 7000, 600),
        ("async-upnp-client-0.49.0-v2", 7001, 600),
        ("igd-next-0.18.0-ipv6", 7001, 600),
        ("nat-port-mapper-4.0.5-ipv6", 7003, 3600),
    ] {
        let mut world = lan_of_the_captures(&format!("{name}-"));
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures/soap/");
        let bytes = std::fs::read(format!("{folder}{name}-AddPinhole.http")).unwrap();
        assert_eq!(short(&world.raw(&bytes)), "200 UniqueID=1", "{name}");
        let wanted = Hole {
            internal: "2001:db8:1::10".parse().unwrap(),
            internal_port: port,
            protocol: Protocol::Tcp,
            remote: None,
            remote_port: None,
        };
        let pinhole = world.gateway.pinhole(1).unwrap();
        assert_eq!(pinhole.hole, wanted, "{name}");
        assert_eq!(pinhole.expires - world.now, Duration::from_secs(lease), "{name}");
    }
}
