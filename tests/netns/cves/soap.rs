//! Actions and their arguments.

use super::{elements, mapping, Target, CLOSE};
use crate::clients::{ask, ControlPoint};
use crate::malformed::{control, with_length};
use crate::pinholes::FIREWALL;
use crate::world::{World, ALICE6};

#[test]
fn a_soapaction_of_any_length_and_with_any_quotes_is_told_from_a_good_one_269() {
    // CVE-2013-0230 (ExecuteSoapAction's stack), CVE-2026-5720 (the length without the quotes).
    let world = World::new();
    let _daemon = world.start();
    let target = Target::of(&world);
    let service = "urn:schemas-upnp-org:service:WANIPConnection:2";
    let (head, body) = control("GetExternalIPAddress", "", CLOSE);
    let good = format!("\"{service}#GetExternalIPAddress\"");
    for (value, status) in [
        (good.clone(), 200),
        (good.trim_end_matches('"').to_owned(), 200),
        (good.trim_start_matches('"').to_owned(), 200),
        ("\"".to_owned(), 400),
        ("\"\"".to_owned(), 400),
        ("\"#".to_owned(), 400),
        ("#\"".to_owned(), 400),
        ("#".to_owned(), 400),
        (String::new(), 400),
        (format!("\"{service}#"), 400),
        (format!("\"{service}#\""), 400),
        (format!("\"{service}"), 400),
        (format!("\"#{}", "A".repeat(2048)), 400),
        (format!("\"{service}#{}\"", "A".repeat(2048)), 500),
        (format!("\"{service}#{}", "A".repeat(2048)), 500),
        (format!("\"{}#GetExternalIPAddress\"", "A".repeat(4096)), 500),
        (format!("{service}#GetExternalIPAddress%n%s%x"), 400),
        ("\"".repeat(4000), 400),
        ("A".repeat(9000), 431),
    ] {
        let head = head.replace(&good, &value);
        assert_eq!(target.status(with_length((head, body.clone()))), status, "{value:.80}");
    }
    target.unharmed();
}

#[test]
fn xml_that_is_deep_doubled_or_out_of_order_is_refused_at_once_264_269() {
    // CVE-2017-1000494 (an end without its beginning), CVE-2021-28302 (recursion), CVE-2015-6031
    // (long names of elements), entities ("billion laughs"), external entities.
    let world = World::new();
    let _daemon = world.start();
    let target = Target::of(&world);
    let (_, good) = control("AddPortMapping", &elements(&mapping("", "")), "");
    let entities: String = (1..10)
        .map(|i| format!("<!ENTITY l{i} \"{}\">", format!("&l{};", i - 1).repeat(10)))
        .collect();
    let doctype = |inner: &str, text: &str| {
        format!("<?xml version=\"1.0\"?><!DOCTYPE x [{inner}]>")
            + &good.replace(">x<", &format!(">{text}<"))
    };
    for (what, body) in [
        ("nested in vain", "<a>".repeat(5000)),
        ("nested and closed", "<a>".repeat(2300) + &"</a>".repeat(2300)),
        (
            "nested inside the action",
            good.replace("<NewRemoteHost>", &("<a>".repeat(2000) + "<NewRemoteHost>")),
        ),
        (
            "more nodes than any action has",
            good.replace("<NewRemoteHost>", &("<a/>".repeat(3000) + "<NewRemoteHost>")),
        ),
        ("billion laughs", doctype(&format!("<!ENTITY l0 \"lol\">{entities}"), "&l9;")),
        ("a file", doctype("<!ENTITY f SYSTEM \"file:///etc/passwd\">", "&f;")),
        ("a URL", doctype("<!ENTITY f SYSTEM \"http://192.168.1.20/\">", "&f;")),
        ("a doctype alone", doctype("", "x")),
        ("ends alone", "</a></b></c>".to_owned()),
        ("an end first", format!("</s:Envelope>{good}")),
        ("ends crossed", good.replace("</NewRemoteHost>", "</NewProtocol>")),
        ("two roots", format!("{good}{good}")),
        ("a name of 15 KB", format!("<{0}></{0}>", "n".repeat(7500))),
        (
            "a name of 15 KB inside",
            good.replace("<NewEnabled>", &format!("<{0}/><NewEnabled>", "n".repeat(14_000)))
                .replace("</s:Envelope>", ""),
        ),
        (
            "attributes",
            format!(
                "<s:Envelope {}/>",
                (0..900).map(|i| format!("a{i}=\"{i}\" ")).collect::<String>()
            ),
        ),
        (
            "namespaces",
            format!(
                "<s:Envelope {}/>",
                (0..500).map(|i| format!("xmlns:a{i}=\"{i}\" ")).collect::<String>()
            ),
        ),
        ("an attribute without end", "<s:Envelope a=\"".to_owned()),
        ("a comment without end", "<!--".to_owned() + &"-".repeat(10_000)),
        ("CDATA without end", "<s:Envelope><![CDATA[".to_owned()),
        ("a character that is none", good.replace(">x<", ">&#0;<").replace("</s:Body>", "")),
        ("UTF-16", "\u{feff}<\0a\0/\0>\0".to_owned()),
    ] {
        assert_eq!(target.soap(&body), 400, "{what}");
    }
    target.unharmed();
}

#[test]
fn an_action_without_one_of_its_arguments_is_402_57_269() {
    // CVE-2019-12108, CVE-2019-12109 (GetOutboundPinholeTimeout), CVE-2019-12110 (AddPortMapping).
    let world = World::new();
    let _daemon = world.start();
    let target = Target::of(&world);
    let firewall = target.alice.service(FIREWALL);
    let address = ALICE6.to_string();
    let pinhole = [
        ("RemoteHost", ""),
        ("RemotePort", "0"),
        ("InternalClient", &address[..]),
        ("InternalPort", "7000"),
        ("Protocol", "17"),
        ("LeaseTime", "600"),
    ];
    let by_id = [("UniqueID", "1"), ("NewLeaseTime", "5")];
    let whole = mapping("", "");
    type Call<'a> = (&'a ControlPoint<'a>, &'a str, &'a [(&'a str, &'a str)]);
    let actions: [Call<'_>; 9] = [
        (&firewall, "GetOutboundPinholeTimeout", &pinhole[..5]),
        (&firewall, "AddPinhole", &pinhole),
        (&firewall, "UpdatePinhole", &by_id),
        (&firewall, "DeletePinhole", &by_id[..1]),
        (&firewall, "GetPinholePackets", &by_id[..1]),
        (&target.alice, "AddPortMapping", &whole),
        (&target.alice, "AddAnyPortMapping", &whole),
        (&target.alice, "DeletePortMapping", &whole[..3]),
        (&target.alice, "GetSpecificPortMappingEntry", &whole[..3]),
    ];
    for (service, action, arguments) in actions {
        assert_eq!(service.call(action, &[]), Err(402), "{action}");
        for missing in 0..arguments.len() {
            let mut rest = arguments.to_vec();
            let (name, _) = rest.remove(missing);
            // Any host, where clients leave it out.
            if name != "NewRemoteHost" {
                assert_eq!(service.call(action, &rest), Err(402), "{action} without {name}");
            }
            rest.insert(missing, (name, ""));
            let empty = service.call(action, &rest);
            // js-libp2p leaves RemotePort empty.
            if !["Remote", "Description"].iter().any(|word| name.contains(word)) {
                assert!(empty.is_err(), "{action} with empty {name}: {empty:?}");
            } else if empty.is_ok() && action.starts_with("Add") {
                // What may be empty is granted; it is taken back.
                world.cli(&["delete", "--all"]);
                target.alice.add(&ask("TCP", 17000, 7000)).unwrap();
            }
        }
    }
    target.unharmed();
}

#[test]
fn values_longer_than_any_buffer_are_refused_or_cut_63_130_269() {
    // CVE-2026-7069 (the description), miniupnpd 2.3.11: PinholeVerification (#898), the payload of
    // a rule that is too long.
    let world = World::new();
    let _daemon = world.start();
    let target = Target::of(&world);
    let names = [
        "NewRemoteHost",
        "NewExternalPort",
        "NewProtocol",
        "NewInternalPort",
        "NewInternalClient",
        "NewEnabled",
        "NewLeaseDuration",
    ];
    for long in [
        "9".repeat(1000),
        "A".repeat(1024),
        "A".repeat(1025),
        ":".repeat(1000),
        "9".repeat(12_000),
        "%s%n".repeat(200),
    ] {
        for name in names {
            let answer = target.alice.call("AddPortMapping", &mapping(name, &long));
            assert!(matches!(answer, Err(402 | 601 | 605 | 606 | 715)), "{name}: {answer:?}");
        }
        let firewall = target.alice.service(FIREWALL);
        for name in [
            "RemoteHost",
            "RemotePort",
            "InternalClient",
            "InternalPort",
            "Protocol",
            "LeaseTime",
            "UniqueID",
        ] {
            let address = ALICE6.to_string();
            let arguments = [
                ("RemoteHost", ""),
                ("RemotePort", "0"),
                ("InternalClient", &address[..]),
                ("InternalPort", "7000"),
                ("Protocol", "17"),
                ("LeaseTime", "600"),
                ("UniqueID", "1"),
            ]
            .map(|(n, v)| (n, if n == name { &long[..] } else { v }));
            let (action, used) = match name {
                "UniqueID" => ("CheckPinholeWorking", &arguments[6..]),
                _ => ("AddPinhole", &arguments[..6]),
            };
            let answer = firewall.call(action, used);
            assert!(matches!(answer, Err(402 | 601 | 605 | 704)), "{name}: {answer:?}");
        }
    }
    target.unharmed();
    for (length, granted) in
        [(100, true), (101, true), (255, true), (1024, true), (1025, false), (12_000, false)]
    {
        let answer = target
            .alice
            .call("AddPortMapping", &mapping("NewPortMappingDescription", &"d".repeat(length)));
        assert_eq!(answer.is_ok(), granted, "{length}: {answer:?}");
        if granted {
            let kept = world.list()[1]["description"].as_str().unwrap().len();
            assert_eq!(kept, length.min(100));
            target.alice.delete("TCP", 17001).unwrap();
        }
    }
    target.unharmed();
}
