//! Control requests: headers, envelopes, service types, argument types.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const GET_IP: &str = "GetExternalIPAddress";

fn post(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: 192.168.1.1:5000\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn get_ip(namespace: &str) -> String {
    format!("<s:Envelope xmlns:s=\"x\"><s:Body><u:{GET_IP}{namespace}/></s:Body></s:Envelope>")
}

#[test]
fn a_reply_has_ext_and_type_and_echoes_the_service_items_52_53() {
    let mut world = world();
    for (path, urn) in [V1, V2, V1_AT_2, (V1.0, "WANPPPConnection:1"), (V2.0, "WANPPPConnection:1")]
    {
        let urn = format!("urn:schemas-upnp-org:service:{urn}");
        let response = world.raw(&envelope(path, &urn, GET_IP, &[]));
        assert_eq!(response.status, 200);
        assert_eq!(
            response.headers,
            [("EXT", String::new()), ("Content-Type", soap::CONTENT_TYPE.to_owned())]
        );
        let text = String::from_utf8(response.body).unwrap();
        assert!(text.contains(&format!("<u:{GET_IP}Response xmlns:u=\"{urn}\">")), "{text}");
    }
}

#[test]
fn a_service_type_that_the_url_does_not_serve_is_an_invalid_action_items_50_56() {
    let mut world = world();
    for (path, urn) in [
        (V1.0, "WANIPConnection:2"),
        (V2.0, "WANIPConnection:3"),
        (V1.0, "WANPPPConnection:2"),
        (COMMON.0, "WANIPConnection:1"),
        (V1.0, "WANCommonInterfaceConfig:1"),
        (COMMON.0, "WANCommonInterfaceConfig:2"),
    ] {
        assert_eq!(world.ask((path, urn), GET_IP, &[]), "401", "{path} {urn}");
    }
    for action in ["X", "getexternalipaddress"] {
        assert_eq!(world.ask(V1_AT_2, action, &[]), "401", "{action}");
    }
}

#[test]
fn header_and_body_must_name_the_same_action_item_49() {
    let mut world = world();
    let urn = "urn:schemas-upnp-org:service:WANIPConnection:1";
    let soapaction = format!("SoapAction: {urn}#{GET_IP}\r\n");
    let mut send =
        |headers: &str, body: &str| short(&world.raw(&post("POST", V1.0, headers, body)));
    let good = get_ip(&format!(" xmlns:u=\"{urn}\""));
    let answer = "200 NewExternalIPAddress=8.8.4.4";
    assert_eq!(send(&soapaction, &good), answer);
    assert_eq!(send(&soapaction, &get_ip("")), answer);
    assert_eq!(send(&soapaction, &format!("\r\n{good}\0")), answer);
    assert_eq!(send("", &good), "HTTP 415");
    assert_eq!(send("Content-Type: text/xml\r\n", &good), "HTTP 400");
    assert_eq!(send("SOAPACTION: \"\"\r\n", &good), "HTTP 400");
    assert_eq!(send(&soapaction, ""), "HTTP 400");
    assert_eq!(send(&soapaction, "<a/>"), "HTTP 400");
    assert_eq!(send(&soapaction, &get_ip(" xmlns:u=\"urn:other\"")), "401");
    assert_eq!(send(&soapaction.replace(GET_IP, "GetStatusInfo"), &good), "401");
}

#[test]
fn an_m_post_is_a_post_item_51() {
    let mut world = world();
    let urn = "urn:schemas-upnp-org:service:WANIPConnection:1";
    let man = "MAN: \"http://schemas.xmlsoap.org/soap/envelope/\"; ns=01\r\n";
    let named = format!("01-SOAPACTION: \"{urn}#{GET_IP}\"\r\n");
    let body = get_ip(&format!(" xmlns:u=\"{urn}\""));
    let mut send = |headers: &str| short(&world.raw(&post("M-POST", V1.0, headers, &body)));
    assert_eq!(send(&format!("{man}{named}")), "200 NewExternalIPAddress=8.8.4.4");
    assert_eq!(send(&named), "HTTP 400");
    assert_eq!(send(man), "HTTP 400");
}

#[test]
fn a_web_page_is_refused_but_a_script_runtime_is_not_item_260() {
    let mut world = world();
    let urn = "urn:schemas-upnp-org:service:WANIPConnection:1";
    let mut send = |header: &str| {
        let headers = format!("SOAPACTION: {urn}#{GET_IP}\r\n{header}\r\n");
        world.raw(&post("POST", V1.0, &headers, &get_ip(""))).status
    };
    assert_eq!(send("Origin: http://example.org"), 403);
    assert_eq!(send("Origin: null"), 403);
    for site in ["cross-site", "same-site", "same-origin", "", "none\r\nSec-Fetch-Site: same-site"]
    {
        assert_eq!(send(&format!("Sec-Fetch-Site: {site}")), 403, "{site}");
    }
    assert_eq!(send("Sec-Fetch-Site: none"), 200);
    // Node.js sends this one by itself.
    assert_eq!(send("Sec-Fetch-Mode: cors"), 200);
}

#[test]
fn what_a_form_could_send_is_told_from_a_control_point_by_its_soapaction_item_260() {
    let mut world = world();
    let urn = "urn:schemas-upnp-org:service:WANIPConnection:1";
    let soapaction = format!("SOAPACTION: {urn}#{GET_IP}\r\n");
    let mut send = |headers: &str| world.raw(&post("POST", V1.0, headers, &get_ip(""))).status;
    for (kind, bare) in [
        ("", 415),
        ("Content-Type:\r\n", 415),
        ("Content-Type: text/plain;charset=UTF-8\r\n", 415),
        ("Content-Type: Text/Plain\r\n", 415),
        ("Content-Type: application/x-www-form-urlencoded\r\n", 415),
        ("Content-Type: multipart/form-data; boundary=x\r\n", 415),
        ("Content-Type: text/xml\r\n", 400),
        ("Content-Type: application/soap+xml\r\n", 400),
    ] {
        assert_eq!(send(kind), bare, "{kind}");
        assert_eq!(send(&format!("{kind}{soapaction}")), 200, "{kind}");
    }
}

#[test]
fn arguments_come_in_any_order_once_and_none_is_missing_items_57_64_117() {
    let mut world = world();
    let mut any_order = mapping(&[]);
    any_order.reverse();
    any_order.push(("X_Vendor", "1"));
    any_order.push(("X_Vendor", "2"));
    assert_eq!(world.ask(V1, "AddPortMapping", &any_order), "200");
    for at in [V1, V2] {
        for missing in 0..8 {
            let mut arguments = mapping(&[("NewExternalPort", "9000")]);
            let (name, _) = arguments.remove(missing);
            let expected = if name == "NewRemoteHost" { "200" } else { "402" };
            assert_eq!(world.ask(at, "AddPortMapping", &arguments), expected, "{name}");
            let mut twice = mapping(&[]);
            twice.push(twice[missing]);
            assert_eq!(world.ask(at, "AddPortMapping", &twice), "402", "{name}");
        }
    }
}

#[test]
fn numbers_and_booleans_are_read_strictly_and_never_cut_item_63() {
    let mut world = world();
    for at in [V1, V2] {
        for (value, expected) in [
            ("99999", "601"),
            ("65536", "601"),
            ("4294967296", "601"),
            ("99999999999999999999999", "601"),
            ("-1", "402"),
            ("+5000", "402"),
            ("abc", "402"),
            ("0x50", "402"),
            ("5000.0", "402"),
            ("50 00", "402"),
            ("٥٠٠٠", "402"),
            ("", "402"),
            (" 5000\t", "200"),
            ("05000", "200"),
        ] {
            let arguments = mapping(&[("NewExternalPort", value)]);
            assert_eq!(world.ask(at, "AddPortMapping", &arguments), expected, "{value}");
            let arguments = mapping(&[("NewInternalPort", value)]);
            assert_eq!(world.ask(at, "AddPortMapping", &arguments), expected, "{value}");
        }
        for (value, expected) in
            [("4294967296", "601"), ("-1", "402"), ("", "402"), ("4294967295", "200")]
        {
            let arguments = mapping(&[("NewLeaseDuration", value)]);
            assert_eq!(world.ask(at, "AddPortMapping", &arguments), expected, "{value}");
        }
        for (value, expected) in [
            ("1", "200"),
            ("0", "200"),
            ("true", "200"),
            ("False", "200"),
            ("YES", "200"),
            ("no", "200"),
            ("maybe", "402"),
            ("", "402"),
            ("2", "402"),
            ("01", "402"),
        ] {
            let arguments = mapping(&[("NewEnabled", value)]);
            assert_eq!(world.ask(at, "AddPortMapping", &arguments), expected, "{value}");
        }
    }
    let ports: BTreeSet<u16> = (0..world.gateway.len())
        .filter_map(|at| world.gateway.at(at))
        .map(|m| m.external.port)
        .collect();
    assert_eq!(ports, BTreeSet::from([5000, 8080]));
}

#[test]
fn a_value_too_long_is_said_so_item_61() {
    let long = "x".repeat(soap::VALUE_MAX + 1);
    let arguments = mapping(&[("NewPortMappingDescription", &long)]);
    assert_eq!(world().ask(V1, "AddPortMapping", &arguments), "605");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_body_gets_an_answer(body in proptest::collection::vec(any::<u8>(), 0..256)) {
        let head = format!(
            "POST /igd2/wanip/control HTTP/1.1\r\nHost: x\r\n\
             SOAPACTION: urn:schemas-upnp-org:service:WANIPConnection:2#AddPortMapping\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut world = world();
        let response = world.raw(&[head.as_bytes(), &body].concat());
        prop_assert!(matches!(response.status, 400 | 500));
        prop_assert!(world.gateway.is_empty());
    }

    #[test]
    fn any_arguments_get_an_answer(values in proptest::collection::vec("[ -~é]{0,12}", 8)) {
        let names: Vec<&str> = mapping(&[]).iter().map(|(name, _)| *name).collect();
        let arguments: Vec<(&str, &str)> =
            names.into_iter().zip(values.iter().map(String::as_str)).collect();
        for (at, action) in [(V1, "AddPortMapping"), (V2, "AddAnyPortMapping"), (V2, "DeletePortMapping")] {
            let answer = world().ask(at, action, &arguments);
            prop_assert!(!answer.starts_with("HTTP") && answer != "no code");
        }
    }
}
