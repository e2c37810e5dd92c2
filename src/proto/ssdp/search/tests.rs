use super::*;
use proptest::prelude::*;

const IGD1: &str = "urn:schemas-upnp-org:device:InternetGatewayDevice:1";
const IGD2: &str = "urn:schemas-upnp-org:device:InternetGatewayDevice:2";
const WANIP1: &str = "urn:schemas-upnp-org:service:WANIPConnection:1";
const WANPPP1: &str = "urn:schemas-upnp-org:service:WANPPPConnection:1";
const FIREWALL: &str = "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1";

fn found(text: &str) -> Option<Search<'_>> {
    parse_search(text.as_bytes(), true)
}

/// A search with these header lines.
fn search(lines: &str) -> String {
    format!("M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n{lines}\r\n")
}

#[test]
fn every_real_search_is_understood() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures/ssdp");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "txt") {
            let bytes = std::fs::read(&path).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let search = parse_search(&bytes, true).expect(&name);
            all.push((name, search.target.text().to_owned(), search.mx));
        }
    }
    all.sort();
    let expected = [
        ("async-upnp-client", "ssdp:all", 2),
        ("gssdp", "upnp:rootdevice", 3),
        ("gssdp-discover", IGD1, 3),
        ("gupnp-igd", WANIP1, 3),
        ("igd-next", IGD1, 3),
        ("igd-next-ipv6", IGD1, 3),
        ("igd-next-ipv6-firewall", FIREWALL, 3),
        ("igd-next-wanip", WANIP1, 3),
        ("igd-next-wanppp", WANPPP1, 3),
        ("libtorrent", "upnp:rootdevice", 3),
        ("libupnp", IGD1, 3),
        ("libupnp-ipv6", IGD1, 3),
        ("libupnp-ipv6-site", IGD1, 3),
        ("miniupnpc", IGD1, 2),
        ("miniupnpc-ipv6", IGD1, 2),
        ("nat-port-mapper", IGD2, 1),
        ("nat-port-mapper-ipv6", IGD2, 1),
        ("nat-upnp", IGD1, 1),
        ("upnpclient", "ssdp:all", 2),
        ("upnpclient-rootdevice", "upnp:rootdevice", 2),
    ];
    let expected =
        expected.map(|(name, target, mx)| (name.to_owned(), target.to_owned(), Some(mx)));
    assert_eq!(all, expected);
}

#[test]
fn item_25_untidy_searches_are_read() {
    let expected = Some(Search { target: Target::Type(IGD1), mx: Some(2) });
    let tidy = search(&format!("MAN: \"ssdp:discover\"\r\nMX: 2\r\nST: {IGD1}\r\n"));
    for text in [
        tidy.clone(),
        tidy.replace("\r\n", "\n"),
        tidy.trim_end().to_owned(),
        tidy.trim_end().to_owned() + "\0",
        tidy.replace("MAN: ", "man:").replace("MX: ", "mX : \t").replace("ST: ", "St:  "),
        // item 30
        tidy.replace(
            "MX:",
            "OPT: \"http://schemas.upnp.org/upnp/1/0/\"; ns=01\r\n01-NLS: 1\r\nMX:",
        ),
        tidy.replace("MX:", " folded\r\nno colon\r\nMX:"),
        tidy.replace("HOST: 239.255.255.250:1900\r\n", ""),
        tidy.clone() + "after the end\r\nST: ssdp:all\r\n",
    ] {
        assert_eq!(found(&text), expected, "{text:?}");
    }
    let (start, rest) = tidy.as_bytes().split_at("M-SEARCH * HTTP/1.1\r\n".len());
    let unreadable = [start, b"X: \xff\r\n", rest].concat();
    assert_eq!(parse_search(&unreadable, true), expected);
}

#[test]
fn items_2_and_3_what_is_no_proper_search_gets_silence() {
    let tidy = search("MAN: \"ssdp:discover\"\r\nMX: 2\r\nST: ssdp:all\r\n");
    assert!(found(&tidy).is_some());
    for (from, to) in [
        ("M-SEARCH *", "NOTIFY *"),
        ("M-SEARCH *", "m-search *"),
        ("M-SEARCH *", "M-SEARCH /"),
        ("M-SEARCH", "\r\nM-SEARCH"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("HTTP/1.1", "HTTP/1.1 "),
        ("\"ssdp:discover\"", "ssdp:discover"),
        ("\"ssdp:discover\"", "\"ssdp:other\""),
        ("MAN", "X"),
        ("MX: 2\r\n", ""),
        ("MX: 2", "MX:"),
        ("MX: 2", "MX: -1"),
        ("MX: 2", "MX: +2"),
        ("MX: 2", "MX: 2.5"),
        ("ST: ssdp:all\r\n", ""),
    ] {
        assert_eq!(found(&tidy.replacen(from, to, 1)), None, "{from:?} -> {to:?}");
    }
    let long = tidy.trim_end().to_owned() + "\r\nX: ";
    let padded = |length: usize| long.clone() + &"a".repeat(length - long.len());
    assert!(found(&padded(SEARCH_MAX)).is_some());
    assert_eq!(found(&padded(SEARCH_MAX + 1)), None);
}

#[test]
fn item_6_a_unicast_search_needs_no_mx_and_waits_for_none() {
    for mx in ["", "MX: 3\r\n", "MX: x\r\n"] {
        let text = search(&format!("MAN: \"ssdp:discover\"\r\n{mx}ST: ssdp:all\r\n"));
        let expected = Some(Search { target: Target::All, mx: None });
        assert_eq!(parse_search(text.as_bytes(), false), expected);
    }
    assert_eq!(delay(None, u32::MAX), Duration::ZERO);
}

#[test]
fn items_7_and_8_a_target_keeps_its_text() {
    let (uuid, service) = ("uuid:0a4b0cfa", "urn:schemas-upnp-org:service:WANIPConnection:1");
    for (text, target) in [
        ("ssdp:all", Target::All),
        ("upnp:rootdevice", Target::RootDevice),
        (uuid, Target::Uuid(uuid)),
        (service, Target::Type(service)),
    ] {
        assert_eq!(Target::of(text), Some(target));
        assert_eq!(target.text(), text);
    }
    for text in ["", "roku:ecp", "SSDP:ALL", "urn:a b:1", "urn:é:1", "urn:a\r:1"] {
        assert_eq!(Target::of(text), None, "{text}");
    }
    let long = |length: usize| format!("urn:{}", "a".repeat(length - 4));
    assert!(Target::of(&long(TARGET_MAX)).is_some());
    assert_eq!(Target::of(&long(TARGET_MAX + 1)), None);
}

#[test]
fn a_type_splits_into_name_and_version() {
    assert_eq!(split_version("urn:a:b:12"), Some(("urn:a:b", 12)));
    assert_eq!(split_version("urn:a:b:99999999999"), Some(("urn:a:b", u32::MAX)));
    for bad in ["urn", "urn:", "urn:a:+1", "urn:a:-1", "urn:a:1x"] {
        assert_eq!(split_version(bad), None, "{bad}");
    }
}

#[test]
fn items_4_and_5_answers_wait_within_mx_and_never_long() {
    for (mx, seconds) in [("0", 0), ("1", 1), ("5", 5), ("120", MX_MAX), ("99999999999", MX_MAX)] {
        let text = search(&format!("MAN: \"ssdp:discover\"\r\nMX: {mx}\r\nST: ssdp:all\r\n"));
        assert_eq!(found(&text).unwrap().mx, Some(seconds));
    }
    assert_eq!(delay(Some(0), 12345), Duration::ZERO);
    let waits: Vec<_> = (0..1000).map(|random| delay(Some(1), random)).collect();
    assert_eq!(waits.iter().min(), Some(&Duration::ZERO));
    assert_eq!(waits.iter().max(), Some(&DELAY_MAX));
}

/// Bytes that are often nearly a search.
fn searchish() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..12),
        proptest::sample::select(vec![
            "M-SEARCH * HTTP/1.1\r\n",
            "MAN: \"ssdp:discover\"\r\n",
            "MX: 2\r\n",
            "MX:",
            "ST: ",
            "ST: urn:a:1\r\n",
            "ssdp:all",
            "\r\n",
            "\n",
            ":",
            "\0",
            "é",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in searchish(), multicast: bool) {
        let whole = [b"M-SEARCH * HTTP/1.1\r\nMAN: \"ssdp:discover\"\r\n", &bytes[..]].concat();
        for bytes in [bytes, whole] {
            if let Some(search) = parse_search(&bytes, multicast) {
                prop_assert_eq!(search.mx.is_some(), multicast);
                prop_assert_eq!(Target::of(search.target.text()), Some(search.target));
                split_version(search.target.text());
            }
        }
    }

    #[test]
    fn no_wait_is_longer_than_mx_or_the_limit(mx: Option<u8>, random: u32) {
        let wait = delay(mx, random);
        prop_assert!(wait <= DELAY_MAX && wait <= Duration::from_secs(mx.unwrap_or(0).into()));
    }
}
