//! Subscriptions and events.

use super::{Target, PATIENCE};
use crate::clients::header;
use crate::events::Ear;
use crate::traffic::FROM_ALICE;
use crate::world::{World, ALICE};
use std::io::{Read, Write};
use std::time::Duration;

#[test]
fn an_event_holds_what_its_length_says_and_not_a_byte_more_85_269() {
    // CVE-2019-12107 (upnp_event_prepare sent what lay behind its buffer).
    let world = World::new();
    let _daemon = world.start();
    let target = Target::of(&world);
    let ear = Ear::open(&world, FROM_ALICE);
    let at = ear.url().replace("/events?x=1", "");
    let path = "/".to_owned() + &"p".repeat(255 - at.len());
    let answer = target.alice.subscribe_to(&format!("<{at}{path}>"));
    assert_eq!(answer.status, 200);
    let sid = header(&answer.head, "SID").to_owned();
    let mut stream = ear.comes(PATIENCE).expect("no NOTIFY comes");
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut bytes = Vec::new();
    // Nothing more comes before it is answered, nor after.
    assert!(stream.read_to_end(&mut bytes).is_err());
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_to_end(&mut bytes).unwrap();
    let property =
        |name: &str, value: &str| format!("<e:property><{name}>{value}</{name}></e:property>");
    let body = [
        "<?xml version=\"1.0\"?>\r\n<e:propertyset xmlns:e=\"urn:schemas-upnp-org:event-1-0\">",
        &property("PossibleConnectionTypes", "IP_Routed"),
        &property("ConnectionStatus", "Connected"),
        &property("ExternalIPAddress", "11.22.33.1"),
        &property("PortMappingNumberOfEntries", "1"),
        &property("SystemUpdateID", "1"),
        "</e:propertyset>\r\n",
    ]
    .concat();
    let whole = format!(
        "NOTIFY {path} HTTP/1.1\r\nHOST: {}\r\nCONTENT-TYPE: text/xml; charset=\"utf-8\"\r\n\
         CONTENT-LENGTH: {}\r\nNT: upnp:event\r\nNTS: upnp:propchange\r\nSID: {sid}\r\nSEQ: 0\r\n\
         Connection: close\r\n\r\n{body}",
        at.trim_start_matches("http://"),
        body.len()
    );
    assert_eq!(String::from_utf8(bytes).unwrap(), whole);
    // One byte longer is too long, and is not cut.
    assert_eq!(target.alice.subscribe_to(&format!("<{at}{path}p>")).status, 412);
    target.unharmed();
}

#[test]
fn requests_about_events_that_lack_or_double_something_74_75_269() {
    // CVE-2020-13848 (libupnp: no CALLBACK), CVE-2016-8863 (create_url_list).
    let world = World::new();
    let _daemon = world.start();
    let target = Target::of(&world);
    let nt = "NT: upnp:event\r\n";
    let url = format!("<http://{ALICE}:9/>");
    for (method, headers, status) in [
        ("SUBSCRIBE", String::new(), 412),
        ("SUBSCRIBE", nt.to_owned(), 412),
        ("SUBSCRIBE", format!("{nt}CALLBACK:\r\n"), 412),
        ("SUBSCRIBE", format!("{nt}CALLBACK: <>\r\n"), 412),
        ("SUBSCRIBE", format!("{nt}CALLBACK: <\r\n"), 412),
        ("SUBSCRIBE", format!("{nt}CALLBACK: >\r\n"), 412),
        ("SUBSCRIBE", format!("{nt}CALLBACK: {}\r\n", "<".repeat(7000)), 412),
        ("SUBSCRIBE", format!("{nt}CALLBACK: {}\r\n", "<>".repeat(3000)), 412),
        ("SUBSCRIBE", format!("{nt}CALLBACK: <http://{}>\r\n", "a".repeat(7000)), 412),
        ("SUBSCRIBE", format!("{nt}CALLBACK: <http://{ALICE}:9/{}>\r\n", "a".repeat(7000)), 412),
        ("SUBSCRIBE", format!("{nt}CALLBACK: http://{ALICE}:9/\r\n"), 412),
        ("SUBSCRIBE", format!("CALLBACK: {url}\r\n"), 412),
        ("SUBSCRIBE", format!("NT:\r\nCALLBACK: {url}\r\n"), 412),
        ("SUBSCRIBE", "SID:\r\n".to_owned(), 412),
        ("SUBSCRIBE", format!("SID: {}\r\n", "s".repeat(7000)), 412),
        ("SUBSCRIBE", format!("SID: uuid:1\r\n{nt}"), 400),
        ("UNSUBSCRIBE", String::new(), 412),
        ("UNSUBSCRIBE", "SID:\r\n".to_owned(), 412),
        ("UNSUBSCRIBE", format!("SID: uuid:{}\r\n", "0".repeat(36)), 412),
        ("UNSUBSCRIBE", format!("SID: uuid:1\r\nCALLBACK: {url}\r\n"), 400),
        (
            "NOTIFY",
            "NT: upnp:event\r\nNTS: upnp:propchange\r\nSID: uuid:1\r\nSEQ: 0\r\n".to_owned(),
            405,
        ),
    ] {
        let answer = target.alice.event_request(method, &headers);
        assert_eq!(answer.status, status, "{method} {headers:.100}: {answer:?}");
    }
    assert_eq!(world.status()["subscriptions"], 0);
    // Of a thousand places the first few count; a time that no clock has is the longest.
    let many =
        format!("{nt}TIMEOUT: Second-{}\r\nCALLBACK: {}\r\n", "9".repeat(40), url.repeat(300));
    let answer = target.alice.event_request("SUBSCRIBE", &many);
    assert_eq!((answer.status, header(&answer.head, "TIMEOUT")), (200, "Second-86400"));
    target.unharmed();
}
