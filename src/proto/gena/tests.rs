use super::*;
use crate::proto::http::parse_head;
use proptest::prelude::*;

fn demand(method: &str, headers: &str) -> Result<Demand, u16> {
    let head = format!("{method} /e HTTP/1.1\r\nHost: r\r\n{headers}\r\n");
    parse(&parse_head(head.as_bytes()).unwrap().unwrap().0)
}

fn urls(header: &str) -> Vec<String> {
    callbacks(header).into_iter().map(|c| format!("{} {}", c.address, c.path)).collect()
}

/// What a captured request of `tests/captures/http` asks for.
fn captured(name: &str) -> Demand {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures/http/");
    let bytes = std::fs::read(format!("{folder}{name}.txt")).unwrap();
    parse(&parse_head(&bytes).unwrap().unwrap().0).unwrap()
}

#[test]
fn real_clients_subscribe_renew_and_end_72_74_78() {
    for (name, address, path, seconds) in [
        ("async-upnp-client-subscribe", "192.168.1.100:36731", "/notify", 540),
        ("async-upnp-client-subscribe-ipv6", "[2001:db8:1::10]:34233", "/notify", 540),
        ("gupnp-subscribe", "192.168.1.100:35832", "/ServiceProxy0", 1800),
        ("libupnp-subscribe", "192.168.1.100:49152", "/", 300),
        // It writes every digit of its address.
        ("libupnp-subscribe-ipv6", "[2001:db8:1::10]:49152", "/", 300),
    ] {
        let Demand::Subscribe(callbacks, time) = captured(name) else { panic!("{name}") };
        let callbacks: Vec<_> = callbacks.iter().map(|c| (c.address, &c.path[..])).collect();
        assert_eq!(callbacks, [(address.parse().unwrap(), path)], "{name}");
        assert_eq!(time, Some(seconds), "{name}");
    }
    for (name, seconds) in [
        ("async-upnp-client-renew", 540),
        ("async-upnp-client-renew-ipv6", 540),
        ("gupnp-renew", 1800),
        ("libupnp-renew", 600),
    ] {
        let Demand::Renew(sid, time) = captured(name) else { panic!("{name}") };
        assert!(sid.starts_with("uuid:") && sid.len() == 41, "{name}: {sid}");
        assert_eq!(time, Some(seconds), "{name}");
    }
    for name in ["async-upnp-client", "gupnp", "libupnp"] {
        let name = format!("{name}-unsubscribe");
        let Demand::Cancel(sid) = captured(&name) else { panic!("{name}") };
        assert!(sid.starts_with("uuid:") && sid.len() == 41, "{name}: {sid}");
    }
    assert!(matches!(captured("async-upnp-client-unsubscribe-ipv6"), Demand::Cancel(_)));
}

#[test]
fn a_subscription_has_an_nt_and_callbacks_and_no_sid_72_75_76() {
    let usual = "CALLBACK: <http://192.168.1.10:7002/e?x=1>\r\nNT: upnp:event\r\n";
    let callback = Callback {
        address: "192.168.1.10:7002".parse().unwrap(),
        host: "192.168.1.10:7002".into(),
        path: "/e?x=1".into(),
    };
    let asked = |seconds| Ok(Demand::Subscribe(vec![callback.clone()], seconds));
    assert_eq!(demand("SUBSCRIBE", usual), asked(Some(0)));
    for (timeout, seconds) in [
        ("Second-1800", Some(1800)),
        ("second-1", Some(1)),
        ("Second-infinite", None),
        ("infinite", None),
        ("Second-99999999999", Some(u32::MAX)),
        ("soon", Some(0)),
        ("", Some(0)),
    ] {
        let headers = format!("{usual}TIMEOUT: {timeout}\r\n");
        assert_eq!(demand("SUBSCRIBE", &headers), asked(seconds), "{timeout}");
    }
    for (headers, status) in [
        ("CALLBACK: <http://192.168.1.10/>\r\n", 412),
        ("CALLBACK: <http://192.168.1.10/>\r\nNT: upnp:other\r\n", 412),
        ("NT: upnp:event\r\n", 412),
        ("CALLBACK: \r\nNT: upnp:event\r\n", 412),
        ("CALLBACK: http://192.168.1.10/\r\nNT: upnp:event\r\n", 412),
        ("CALLBACK: <https://192.168.1.10/>\r\nNT: upnp:event\r\n", 412),
        ("CALLBACK: <http://host/>\r\nNT: upnp:event\r\n", 412),
        ("SID: uuid:1\r\nNT: upnp:event\r\n", 400),
        ("SID: uuid:1\r\nCALLBACK: <http://192.168.1.10/>\r\n", 400),
        ("SID: \r\n", 412),
        ("", 412),
    ] {
        assert_eq!(demand("SUBSCRIBE", headers), Err(status), "{headers}");
    }
}

#[test]
fn a_renewal_and_an_end_have_a_sid_alone_74_78() {
    let sid = "uuid:01234567-89ab-4def-8123-456789abcdef";
    let renewal = format!("SID: {sid}\r\nTIMEOUT: Second-300\r\n");
    assert_eq!(demand("SUBSCRIBE", &renewal), Ok(Demand::Renew(sid.into(), Some(300))));
    assert_eq!(demand("UNSUBSCRIBE", &format!("SID: {sid}\r\n")), Ok(Demand::Cancel(sid.into())));
    for (headers, status) in [
        (format!("SID: {sid}\r\nNT: upnp:event\r\n"), 400),
        (format!("SID: {sid}\r\nCALLBACK: <http://1.2.3.4/>\r\n"), 400),
        (format!("SID: {sid}{sid}\r\n"), 412),
        (String::new(), 412),
    ] {
        assert_eq!(demand("UNSUBSCRIBE", &headers), Err(status), "{headers}");
    }
    assert_eq!(demand("GET", &renewal), Err(405));
}

#[test]
fn callbacks_are_urls_of_literal_addresses_in_order_82_258() {
    assert_eq!(
        urls("<http://192.168.1.10:49152/a> <HTTP://192.168.1.10>\t<http://[fe80::1%eth0]:81/b#c>"),
        ["192.168.1.10:49152 /a", "192.168.1.10:80 /", "[fe80::1]:81 /b"]
    );
    assert_eq!(
        urls("<http://[2001:db8::1]?q><http://10.0.0.1:/x>"),
        ["[2001:db8::1]:80 /?q", "10.0.0.1:80 /x"]
    );
    for bad in [
        "<http://10.0.0.1:0/>",
        "<http://10.0.0.1:65536/>",
        "<http://10.0.0.1:+80/>",
        "<http://user@10.0.0.1/>",
        "<http://10.0.0.1/a b>",
        "<http://10.0.0.1/\r\nX: y>",
        "<ftp://10.0.0.1/>",
        "<http://010.0.0.1/>",
        "<http://[::1/>",
        "<http://10.0.0.1",
        "<>",
    ] {
        assert_eq!(urls(bad), [""; 0], "{bad}");
    }
    let long = format!("<http://10.0.0.1/{}>", "a".repeat(URL_MAX));
    assert_eq!(urls(&long), [""; 0]);
    assert_eq!(urls(&"<http://10.0.0.1/>".repeat(9)).len(), CALLBACKS_MAX);
}

#[test]
fn a_notify_has_every_header_and_escaped_values_80_81() {
    let callback = &callbacks("<http://[fe80::1%2]:81/b>")[0];
    let mut out = Vec::new();
    let values = [("ExternalIPAddress", "1<2".to_owned()), ("Count", String::new())];
    write_notify(&mut out, callback, "uuid:x", 7, &values);
    let body = "<?xml version=\"1.0\"?>\r\n<e:propertyset \
                xmlns:e=\"urn:schemas-upnp-org:event-1-0\"><e:property><ExternalIPAddress>1&lt;2\
                </ExternalIPAddress></e:property><e:property><Count></Count></e:property>\
                </e:propertyset>\r\n";
    let length = body.len();
    let head = format!(
        "NOTIFY /b HTTP/1.1\r\nHOST: [fe80::1]:81\r\nCONTENT-TYPE: text/xml; charset=\"utf-8\"\r\n\
         CONTENT-LENGTH: {length}\r\nNT: upnp:event\r\nNTS: upnp:propchange\r\nSID: uuid:x\r\n\
         SEQ: 7\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(String::from_utf8(out).unwrap(), head + body);
}

#[test]
fn sequence_numbers_wrap_to_1_80() {
    assert_eq!(next_sequence(0), 1);
    assert_eq!(next_sequence(u32::MAX - 1), u32::MAX);
    assert_eq!(next_sequence(u32::MAX), 1);
}

#[test]
fn the_status_of_an_answer_is_read_as_it_comes() {
    assert_eq!(status(b"HTTP/1.1 200 OK\r\n"), Some(200));
    assert_eq!(status(b"HTTP/1.0 412"), Some(412));
    for other in [&b""[..], b"HTTP/1.1 20", b"HTTP/1.1 2x0 ", b"ICY 200 OK", b"HTTP/1.1 +20"] {
        assert_eq!(status(other), None);
    }
}

proptest! {
    #[test]
    fn no_headers_make_it_panic(
        callback in "[ -~]{0,80}|(<http://[0-9a-f.:%/?\\[\\]]{0,30}>){0,3}",
        sid in "[ -~]{0,60}",
        timeout in "[ -~]{0,20}",
    ) {
        let headers = format!("CALLBACK: {callback}\r\nTIMEOUT: {timeout}\r\nNT: upnp:event\r\n");
        if let Ok(Demand::Subscribe(callbacks, _)) = demand("SUBSCRIBE", &headers) {
            let mut out = Vec::new();
            for callback in callbacks {
                write_notify(&mut out, &callback, &sid, 1, &[]);
                prop_assert!(callback.path.starts_with('/'));
            }
        }
        let _ = demand("UNSUBSCRIBE", &format!("SID: {sid}\r\n"));
    }

    #[test]
    fn no_answer_makes_it_panic(answer in proptest::collection::vec(0u8.., 0..40)) {
        status(&answer);
    }
}
