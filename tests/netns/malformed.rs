//! Bad requests over the wire: the named error, nothing changed, and the daemon lives on.

use crate::clients::{ask, Ask, IGD1, IGD2};
use crate::traffic::FROM_ALICE;
use crate::world::World;
use std::net::Ipv4Addr;

#[test]
fn bad_http_is_answered_with_its_status_and_changes_nothing() {
    // Conformance 49, 67, 259, 260, 262.
    let world = World::new();
    let _daemon = world.start();
    let alice = world.control_point(FROM_ALICE, IGD1);
    alice.add(&ask("TCP", 17000, 7000)).unwrap();
    let rows = world.rows();
    let get = |target: &str, more: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: 192.168.1.1:5000\r\nConnection: close\r\n{more}\r\n"
        )
    };
    let path = alice.location.strip_prefix("http://192.168.1.1:5000").unwrap();
    for (what, request, status) in [
        ("well-formed", get(path, ""), 200),
        ("a head over 8 KiB", get(path, &format!("X: {}\r\n", "x".repeat(9000))), 431),
        ("too many headers", get(path, &"X: y\r\n".repeat(100)), 431),
        ("a target over 1 KiB", get(&format!("/{}", "x".repeat(2000)), ""), 414),
        ("an unknown path", get("/nothing", ""), 404),
        ("no HTTP at all", "hello\r\n\r\n".to_string(), 400),
        ("an unknown version", get(path, "").replace("HTTP/1.1", "HTTP/3.0"), 505),
        ("a name that is not ours", get(path, "").replace("192.168.1.1:5000", "evil.example"), 403),
        ("another method", get(path, "").replace("GET", "PUT"), 405),
        (
            "a body over 16 KiB, announced",
            get(path, "Content-Length: 20000\r\n").replace("GET", "POST"),
            413,
        ),
        ("no length", get(path, "").replace("GET", "POST"), 411),
        ("a negative length", get(path, "Content-Length: -1\r\n").replace("GET", "POST"), 400),
    ] {
        let answer = world.http(FROM_ALICE, request.as_bytes());
        assert_eq!(answer.status, status, "{what}: {answer:?}");
    }
    assert_eq!(world.rows(), rows);
}

#[test]
fn bad_soap_is_answered_with_its_error_and_changes_nothing() {
    // Conformance 49, 56, 57, 63, 119-122, 131, 133, 264.
    let world = World::new();
    let _daemon = world.start();
    let alice = world.control_point(FROM_ALICE, IGD2);
    alice.add(&ask("TCP", 17000, 7000)).unwrap();
    let rows = world.rows();
    let good = ask("TCP", 17001, 7000);
    for (what, asked, code) in [
        ("no external port", Ask { external: 0, ..good.clone() }, 716),
        ("no internal port", Ask { internal: 0, ..good.clone() }, 732),
        ("no protocol of ours", Ask { protocol: "ICMP", ..good.clone() }, 601),
        ("the router itself", Ask { client: Ipv4Addr::new(192, 168, 1, 1), ..good.clone() }, 606),
        ("another host", Ask { client: Ipv4Addr::new(192, 168, 1, 77), ..good.clone() }, 606),
        ("off the LAN", Ask { client: Ipv4Addr::new(8, 8, 8, 8), ..good.clone() }, 606),
        ("a low port", Ask { external: 80, ..good.clone() }, 606),
    ] {
        assert_eq!(alice.add(&asked), Err(code), "{what}");
    }
    assert_eq!(alice.call("NoSuchAction", &[]), Err(401));
    assert_eq!(alice.call("AddPortMapping", &[("NewExternalPort", "17001")]), Err(402));
    let args = |port| [("NewRemoteHost", ""), ("NewExternalPort", port), ("NewProtocol", "TCP")];
    for port in ["99999", "-1", "abc", ""] {
        let answer = alice.call("DeletePortMapping", &args(port));
        assert!(matches!(answer, Err(402 | 600 | 601)), "{port:?}: {answer:?}");
    }
    for (what, body) in [
        ("no XML", "hello"),
        ("cut off", "<?xml version=\"1.0\"?><s:Envelope><s:Body><u:GetExt"),
        ("a doctype", "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><Envelope><Body><GetExternalIPAddress>&a;</GetExternalIPAddress></Body></Envelope>"),
        ("empty", ""),
        ("binary", "\u{0}\u{1}\u{2}"),
    ] {
        let answer = alice.post("GetExternalIPAddress", body);
        let named = answer.status == 400 || (answer.status == 500 && answer.body.contains("<errorCode>40"));
        assert!(named, "{what}: {answer:?}");
    }
    assert_eq!(world.rows(), rows);
    assert_eq!(alice.external_address(), "11.22.33.1");
}
