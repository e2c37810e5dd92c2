//! CallStranger (CVE-2020-12695): events to somebody else.

use super::connection;
use crate::clients::{ask, header};
use crate::events::Ear;
use crate::traffic::{FROM_ALICE, FROM_BOB};
use crate::world::{Host, World, ALICE, BOB6, EXTERNAL, PEER, PEER6, ROUTER6};
use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

/// Listens where an event must not come.
fn ear_of(world: &World, host: Host, at: SocketAddr) -> TcpListener {
    let listener = world.inside(host, || TcpListener::bind(at).unwrap());
    listener.set_nonblocking(true).unwrap();
    listener
}

#[test]
fn no_callback_leads_to_anybody_but_the_subscriber_258() {
    let world = World::new();
    world.firewall_stop();
    let _daemon = world.start();
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80));
    let ears = [
        (Host::Bob, ear_of(&world, Host::Bob, any)),
        (Host::Internet, ear_of(&world, Host::Internet, any)),
        (Host::Router, ear_of(&world, Host::Router, any)),
    ];
    let alice = connection(&world, FROM_ALICE);
    for url in [
        "http://192.168.1.20/".to_owned(),
        "http://192.168.1.20:80/x".to_owned(),
        format!("http://{PEER}/"),
        format!("http://[{PEER6}]/"),
        format!("http://[{BOB6}]/"),
        format!("http://[{ROUTER6}]/"),
        "http://192.168.1.1/".to_owned(),
        format!("http://{EXTERNAL}/"),
        "http://127.0.0.1/".to_owned(),
        "http://0.0.0.0/".to_owned(),
        "http://[::1]/".to_owned(),
        "http://[::]/".to_owned(),
        "http://[::ffff:192.168.1.20]/".to_owned(),
        "http://[::ffff:11.22.33.2]/".to_owned(),
        "http://[::192.168.1.20]/".to_owned(),
        "http://[64:ff9b::b16:2102]/".to_owned(),
        "http://[fe80::1%eth0]/".to_owned(),
        "http://[ff02::1]/".to_owned(),
        "http://[2001:db8:1::20/".to_owned(),
        "http://2001:db8:1::20/".to_owned(),
        "http://224.0.0.1/".to_owned(),
        "http://239.255.255.250:1900/".to_owned(),
        "http://255.255.255.255/".to_owned(),
        "http://192.168.1.255/".to_owned(),
        "http://bob/".to_owned(),
        "http://alice/".to_owned(),
        "http://localhost/".to_owned(),
        "http://192.168.1.10.nip.io/".to_owned(),
        "http://3232235796/".to_owned(),
        "http://0xc0a80114/".to_owned(),
        "http://0300.0250.1.024/".to_owned(),
        "http://192.168.276/".to_owned(),
        "http://192.168.1.10@192.168.1.20/".to_owned(),
        "http://192.168.1.10:80@192.168.1.20/".to_owned(),
        "http://user:word@192.168.1.10/".to_owned(),
        "http://192.168.1.10\\@192.168.1.20/".to_owned(),
        "http://192.168.1.10:0/".to_owned(),
        "http://192.168.1.10:65536/".to_owned(),
        "http://192.168.1.10:+80/".to_owned(),
        "http://192.168.1.10:80:80/".to_owned(),
        "http://192.168.1.10:80 /x HTTP/1.1".to_owned(),
        "http:///x".to_owned(),
        "http:192.168.1.10/".to_owned(),
        "https://192.168.1.10/".to_owned(),
        "ftp://192.168.1.10/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "//192.168.1.10/".to_owned(),
        String::new(),
    ] {
        let answer = alice.subscribe_to(&format!("<{url}>"));
        assert_eq!(answer.status, 412, "{url}: {answer:?}");
    }
    assert_eq!(world.status()["subscriptions"], 0);
    thread::sleep(Duration::from_millis(500));
    for (host, ear) in &ears {
        let came = ear.accept().map(|(_, from)| from);
        assert_eq!(came.map_err(|e| e.kind()), Err(ErrorKind::WouldBlock), "{host:?}");
    }
    // Bob does not subscribe in Alice's name, nor in the name that he gives himself.
    let bob = connection(&world, FROM_BOB);
    assert_eq!(bob.subscribe_to(&format!("<http://{ALICE}:9/>")).status, 412);
}

#[test]
fn a_redirect_that_a_callback_answers_is_not_followed_258_265() {
    let world = World::new();
    let _daemon = world.start();
    let alice = connection(&world, FROM_ALICE);
    let (own, bobs) = (Ear::open(&world, FROM_ALICE), Ear::open(&world, FROM_BOB));
    for status in [301, 302, 303, 307, 308] {
        let sid = alice.subscribe(&own);
        let answer = format!(
            "HTTP/1.1 {status} Elsewhere\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
            bobs.url()
        );
        let notify = own.hear_with(&answer);
        assert_eq!(header(&notify, "SID"), sid);
        assert_eq!(alice.event_request("UNSUBSCRIBE", &format!("SID: {sid}\r\n")).status, 200);
    }
    assert!(bobs.comes(Duration::from_millis(500)).is_none());
    assert_eq!(alice.add(&ask("TCP", 17000, 7000)), Ok(()), "and it lives on");
}
