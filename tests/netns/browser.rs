//! What a web page can have a LAN browser send: none of it is served, and nothing that is served can
//! be read by a page. Requests are as Chromium and Firefox send them.

mod chromium;

use crate::clients::{header, Answer};
use crate::malformed::{control, with_length};
use crate::traffic::FROM_ALICE;
use crate::world::{World, ALICE, ROUTER};
use std::fmt::Write as _;

const CONTROL: &str = "/igd2/wanip/control";
const EVENT: &str = "/igd2/wanip/event";
const DESCRIPTION: &str = "/igd1/desc.xml";
/// Sent by a browser of the Chromium kind whatever asks.
const USUAL: &str = "Connection: keep-alive\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) \
    AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n\
    Accept-Encoding: gzip, deflate\r\nAccept-Language: en-US,en;q=0.9\r\n";
/// The page's own, as far as the page's address is one that browsers trust with it.
const CROSS: &str =
    "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: empty\r\n";

/// An AddPortMapping that the daemon would serve.
fn wanted() -> String {
    control(
        "AddPortMapping",
        &format!(
            "<NewRemoteHost/><NewExternalPort>17000</NewExternalPort><NewProtocol>TCP</NewProtocol>\
             <NewInternalPort>7000</NewInternalPort><NewInternalClient>{ALICE}</NewInternalClient>\
             <NewEnabled>1</NewEnabled><NewPortMappingDescription/><NewLeaseDuration>0</NewLeaseDuration>"
        ),
        "",
    )
    .1
}

/// What Alice's browser is answered.
fn browse(world: &World, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: {ROUTER}:5000\r\n{USUAL}{headers}");
    if method == "POST" {
        let _ = write!(request, "Content-Length: {}\r\n", body.len());
    }
    let request = format!("{request}\r\n{body}").replace("keep-alive", "close");
    let answer = world.http(FROM_ALICE, request.as_bytes());
    assert!(!answer.head.to_ascii_lowercase().contains("access-control"), "{answer:?}");
    answer
}

#[test]
fn what_a_page_posts_is_refused_with_its_status_and_maps_nothing_260() {
    // VU#361684 ("Filet-o-Firewall").
    let world = World::new();
    let _daemon = world.start();
    let body = wanted();
    let origin = "Origin: http://evil.example\r\n";
    let (text, form) = (
        "Content-Type: text/plain;charset=UTF-8\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
    );
    let multipart = "Content-Type: multipart/form-data; boundary=----WebKitFormBoundary0\r\n";
    let action =
        "SOAPACTION: \"urn:schemas-upnp-org:service:WANIPConnection:2#AddPortMapping\"\r\n";
    for (what, headers, status) in [
        ("fetch, no-cors, of a string", [origin, text, ""].concat(), 403),
        ("the same of a trusted page", [origin, text, CROSS].concat(), 403),
        ("a form", [origin, form, "Upgrade-Insecure-Requests: 1\r\n"].concat(), 403),
        ("a form of a sandboxed frame", ["Origin: null\r\n", multipart].concat(), 403),
        ("a beacon of a blob without a type", origin.to_owned(), 403),
        (
            "what has passed a preflight",
            [origin, "Content-Type: text/xml\r\n", action].concat(),
            403,
        ),
        (
            "a page of the router's own address",
            [&format!("Origin: http://{ROUTER}:5000\r\n"), action].concat(),
            403,
        ),
        ("an old browser's fetch, without origin", text.to_owned(), 415),
        ("an old browser's form", form.to_owned(), 415),
        ("an old browser's upload", multipart.to_owned(), 415),
        ("an old browser's plain form", "Content-Type: text/plain\r\n".to_owned(), 415),
        ("an old browser's blob", String::new(), 415),
        ("Flash, with a type of its own", "Content-Type: text/xml\r\n".to_owned(), 400),
        ("from the address bar alone", ["Sec-Fetch-Site: none\r\n", form].concat(), 415),
        ("same-site", ["Sec-Fetch-Site: same-site\r\n", action].concat(), 403),
        ("same-origin", ["Sec-Fetch-Site: same-origin\r\n", action].concat(), 403),
    ] {
        let answer = browse(&world, "POST", CONTROL, &headers, &body);
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert_eq!(world.rows(), [""; 0], "{what}");
    }
    // The same bytes of a control point, whatever it calls them.
    for kind in ["", text, form, "Content-Type: text/xml\r\nSec-Fetch-Site: none\r\n"] {
        let answer = browse(&world, "POST", CONTROL, &[action, kind].concat(), &body);
        assert_eq!(answer.status, 200, "{kind}: {answer:?}");
    }
    assert_eq!(world.rows().len(), 1);
}

#[test]
fn a_preflight_is_told_nothing_that_allows_what_it_asks_260() {
    let world = World::new();
    let _daemon = world.start();
    let asks = "Access-Control-Request-Method: POST\r\n\
        Access-Control-Request-Headers: content-type,soapaction\r\n\
        Access-Control-Request-Private-Network: true\r\n";
    for path in [CONTROL, EVENT, DESCRIPTION, "/", "*", "/nothing"] {
        let answer =
            browse(&world, "OPTIONS", path, &format!("{asks}Origin: http://evil.example\r\n"), "");
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
        let answer = browse(&world, "OPTIONS", path, asks, "");
        assert!(matches!(answer.status, 404 | 405), "{path}: {answer:?}");
    }
}

#[test]
fn a_page_cannot_read_a_description_nor_subscribe_and_the_address_bar_may_260() {
    let world = World::new();
    let _daemon = world.start();
    for (what, headers, status) in [
        ("typed", "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n", 200),
        ("an image of a page without a secure origin", "Referer: http://evil.example/\r\n", 200),
        ("fetch with cors", "Origin: http://evil.example\r\n", 403),
        ("a script element of a trusted page", CROSS, 403),
        ("one good, one bad", "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site\r\n", 403),
    ] {
        let answer = browse(&world, "GET", DESCRIPTION, headers, "");
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        // Opaque to the page that asked: it is XML, which no element shows or runs.
        assert!(status != 200 || header(&answer.head, "Content-Type").starts_with("text/xml"));
    }
    let call = format!("CALLBACK: <http://{ALICE}:9/>\r\nNT: upnp:event\r\n");
    for (headers, status) in [
        (format!("{call}Origin: http://evil.example\r\n"), 403),
        (format!("{call}{CROSS}"), 403),
        (format!("{call}Sec-Fetch-Site: none\r\n"), 200),
    ] {
        assert_eq!(browse(&world, "SUBSCRIBE", EVENT, &headers, "").status, status, "{headers}");
    }
    assert_eq!(world.status()["subscriptions"], 1);
}

#[test]
fn a_page_that_rebinds_its_name_to_the_router_is_refused_by_its_name_259() {
    // CVE-2021-29462.
    let world = World::new();
    let _daemon = world.start_with(&world.config("\tlist http_names 'gate.lan'"));
    let body = wanted();
    let request = |host: &str, target: &str| {
        let (head, _) = control("AddPortMapping", "", "Connection: close\r\n");
        let own = format!("Host: {ROUTER}:5000");
        let head = head.replace(&own, &format!("Host: {host}")).replace(CONTROL, target);
        world.http(FROM_ALICE, with_length((head, body.clone())).as_bytes()).status
    };
    for host in [
        "evil.example",
        "evil.example:5000",
        "192.168.1.1.nip.io:5000",
        "192.168.1.1.:5000",
        "192.168.1.1:80",
        "192.168.1.1:5001",
        "192.168.1.20:5000",
        "11.22.33.1:5000",
        "127.0.0.1:5000",
        "localhost:5000",
        "0.0.0.0:5000",
        "[::1]:5000",
        "[2001:db8:1::1]:5000",
        "3232235777:5000",
        "0xc0a80101:5000",
        "evil.example@192.168.1.1:5000",
        "192.168.1.1:5000@evil.example",
        "192.168.1.1:5000, evil.example",
        "gate.lan.evil.example:5000",
        "gate.lan:80",
        "",
    ] {
        assert_eq!(request(host, CONTROL), 403, "{host}");
        assert_eq!(world.rows(), [""; 0], "{host}");
    }
    let absolute = format!("http://evil.example{CONTROL}");
    assert_eq!(request("192.168.1.1:5000", &absolute), 403, "the target counts");
    let twice = request("192.168.1.1:5000\r\nHost: evil.example", CONTROL);
    assert_eq!(twice, 400, "two names");
    assert_eq!(world.rows(), [""; 0]);
    for host in ["gate.lan:5000", "Gate.LAN", "192.168.1.1", "192.168.1.1:5000"] {
        assert_eq!(request(host, CONTROL), 200, "{host}");
    }
}
