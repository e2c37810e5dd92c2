//! GENA on the wire: who may subscribe, what it is told, and that nobody waits for anybody.

use crate::clients::{ask, header, Answer, ControlPoint, IGD1, IGD2};
use crate::traffic::{End, FROM_ALICE, FROM_BOB};
use crate::world::{Host, World, ALICE, BOB, EXTERNAL};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// How long an event may take that must come.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one that must not come is waited for.
const SILENCE: Duration = Duration::from_millis(700);
/// Subscriptions of one host.
const PER_HOST: usize = 16;

/// A control point's place for events.
pub struct Ear(TcpListener);

impl Ear {
    /// Listens there.
    pub fn open(world: &World, at: End) -> Ear {
        let listener = world.inside(at.host, || TcpListener::bind(at.source).unwrap());
        listener.set_nonblocking(true).unwrap();
        Ear(listener)
    }

    /// For CALLBACK.
    pub fn url(&self) -> String {
        format!("http://{}/events?x=1", self.0.local_addr().unwrap())
    }

    /// The next connection, if one comes in time.
    pub fn comes(&self, limit: Duration) -> Option<TcpStream> {
        let end = Instant::now() + limit;
        loop {
            match self.0.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).unwrap();
                    return Some(stream);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock && Instant::now() < end => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(_) => return None,
            }
        }
    }

    /// The next NOTIFY, answered with this status.
    fn hear_and(&self, status: u16) -> String {
        self.hear_with(&format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"))
    }

    /// The next NOTIFY, answered with these bytes.
    pub fn hear_with(&self, answer: &str) -> String {
        let mut stream = self.comes(PATIENCE).expect("no NOTIFY comes");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut text, mut bytes) = (String::new(), [0; 4096]);
        while !text.ends_with("</e:propertyset>\r\n") {
            let read = stream.read(&mut bytes).unwrap();
            assert!(read > 0, "cut short: {text}");
            text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
        stream.write_all(answer.as_bytes()).unwrap();
        text
    }

    fn hear(&self) -> String {
        self.hear_and(200)
    }

    /// Events until one tells this.
    fn hears(&self, value: &str) -> String {
        for _ in 0..20 {
            let text = self.hear();
            if text.contains(value) {
                return text;
            }
        }
        panic!("nothing tells {value}");
    }
}

impl ControlPoint<'_> {
    /// SUBSCRIBE with this CALLBACK.
    pub fn subscribe_to(&self, callbacks: &str) -> Answer {
        let headers = format!("CALLBACK: {callbacks}\r\nNT: upnp:event\r\nTIMEOUT: Second-300\r\n");
        self.event_request("SUBSCRIBE", &headers)
    }

    /// Subscribes; the SID.
    pub fn subscribe(&self, ear: &Ear) -> String {
        let answer = self.subscribe_to(&format!("<{}>", ear.url()));
        assert_eq!(answer.status, 200, "{answer:?}");
        header(&answer.head, "SID").to_owned()
    }
}

/// The variables in an event, with their values.
fn values(event: &str) -> Vec<String> {
    let body = event.split_once("\r\n\r\n").unwrap().1;
    let tree = roxmltree::Document::parse(body).unwrap();
    let properties = tree.root_element().children();
    let value = |p: roxmltree::Node<'_, '_>| {
        let child = p.first_element_child().unwrap();
        format!("{}={}", child.tag_name().name(), child.text().unwrap_or(""))
    };
    properties.filter(|p| p.is_element()).map(value).collect()
}

#[test]
fn a_subscriber_is_told_everything_first_and_then_what_changes_72_79_80_81_85_86() {
    let world = World::new();
    let _daemon = world.start();
    let control = world.control_point(FROM_ALICE, IGD2);
    let ear = Ear::open(&world, FROM_ALICE);
    let answer = control.subscribe_to(&format!("<{}>", ear.url()));
    assert_eq!(answer.status, 200);
    let sid = header(&answer.head, "SID");
    assert!(sid.starts_with("uuid:"), "{answer:?}");
    assert_eq!(header(&answer.head, "TIMEOUT"), "Second-1800");
    assert_eq!(header(&answer.head, "Content-Length"), "0");
    assert!(!header(&answer.head, "Server").is_empty() && !header(&answer.head, "Date").is_empty());

    let first = ear.hear();
    let at = ear.0.local_addr().unwrap();
    let body = first.split_once("\r\n\r\n").unwrap().1;
    let head = format!(
        "NOTIFY /events?x=1 HTTP/1.1\r\nHOST: {at}\r\nCONTENT-TYPE: text/xml; \
         charset=\"utf-8\"\r\nCONTENT-LENGTH: {}\r\nNT: upnp:event\r\nNTS: upnp:propchange\r\n\
         SID: {sid}\r\nSEQ: 0\r\nConnection: close\r\n\r\n",
        body.len()
    );
    assert_eq!(first, head + body);
    let external = format!("ExternalIPAddress={EXTERNAL}");
    assert_eq!(
        values(&first),
        [
            "PossibleConnectionTypes=IP_Routed",
            "ConnectionStatus=Connected",
            &external,
            "PortMappingNumberOfEntries=0",
            "SystemUpdateID=0"
        ]
    );
    control.add(&ask("TCP", 7000, 7000)).unwrap();
    let second = ear.hear();
    assert_eq!(header(&second, "SEQ"), "1");
    assert_eq!(values(&second), ["PortMappingNumberOfEntries=1", "SystemUpdateID=1"]);
    // A refresh changes the table, not the number.
    control.add(&ask("TCP", 7000, 7000)).unwrap();
    assert_eq!(values(&ear.hear()), ["PortMappingNumberOfEntries=1", "SystemUpdateID=2"]);
    control.add(&crate::clients::Ask { lease: 1, ..ask("UDP", 7001, 7001) }).unwrap();
    ear.hears("SystemUpdateID>3<");
    ear.hears("<PortMappingNumberOfEntries>1<");
    assert!(ear.comes(SILENCE).is_none(), "nothing changes, nothing is said");
    assert_eq!(world.status()["subscriptions"], 1);
}

#[test]
fn the_wan_and_its_link_are_told_87() {
    let world = World::new();
    let _daemon = world.start();
    let control = world.control_point(FROM_ALICE, IGD1);
    let (ear, link_ear) = (Ear::open(&world, FROM_ALICE), Ear::open(&world, FROM_ALICE));
    control.subscribe(&ear);
    assert_eq!(values(&ear.hear()).len(), 4, "version 1 has no SystemUpdateID");
    let link = control.service(":WANCommonInterfaceConfig:");
    link.subscribe(&link_ear);
    assert_eq!(values(&link_ear.hear()), ["PhysicalLinkStatus=Up", "EnabledForInternet=1"]);

    world.wan_address("11.22.33.9".parse().unwrap());
    ear.hears("<ExternalIPAddress>11.22.33.9<");
    world.ip(Host::Router, "link set wan down");
    let gone = ear.hears("<ConnectionStatus>Disconnected<");
    assert!(values(&gone).contains(&"ExternalIPAddress=".to_owned()), "{gone}");
    link_ear.hears("<PhysicalLinkStatus>Down<");
    let default = control.service(":Layer3Forwarding:");
    let third = Ear::open(&world, FROM_ALICE);
    default.subscribe(&third);
    let first = values(&third.hear());
    assert!(first[0].starts_with("DefaultConnectionService=uuid:"), "{first:?}");
    let firewall = world.control_point(FROM_ALICE, IGD2).service(":WANIPv6FirewallControl:");
    firewall.subscribe(&third);
    assert_eq!(values(&third.hear()), ["FirewallEnabled=1", "InboundPinholeAllowed=1"]);
}

#[test]
fn every_wrong_request_has_its_status_74_75_76_78() {
    let world = World::new();
    let _daemon = world.start();
    let control = world.control_point(FROM_ALICE, IGD2);
    let ear = Ear::open(&world, FROM_ALICE);
    let sid = control.subscribe(&ear);
    ear.hear();
    let (nt, callback) = ("NT: upnp:event\r\n", format!("CALLBACK: <{}>\r\n", ear.url()));
    let own = format!("SID: {sid}\r\n");
    let unknown = "SID: uuid:00000000-0000-0000-0000-000000000000\r\n".to_owned();
    for (method, headers, status) in [
        ("SUBSCRIBE", own.clone(), 200),
        ("SUBSCRIBE", own.clone() + "TIMEOUT: Second-infinite\r\n", 200),
        ("SUBSCRIBE", own.clone() + nt, 400),
        ("SUBSCRIBE", own.clone() + &callback, 400),
        ("SUBSCRIBE", unknown.clone(), 412),
        ("SUBSCRIBE", callback.clone(), 412),
        ("SUBSCRIBE", nt.to_owned(), 412),
        ("SUBSCRIBE", format!("{callback}NT: other\r\n"), 412),
        ("SUBSCRIBE", format!("{nt}CALLBACK: <https://{ALICE}/>\r\n"), 412),
        ("SUBSCRIBE", format!("{nt}{callback}Origin: http://evil\r\n"), 403),
        ("UNSUBSCRIBE", own.clone() + nt, 400),
        ("UNSUBSCRIBE", own.clone() + &callback, 400),
        ("UNSUBSCRIBE", unknown, 412),
        ("UNSUBSCRIBE", String::new(), 412),
        ("GET", String::new(), 405),
        ("UNSUBSCRIBE", own.clone(), 200),
        ("UNSUBSCRIBE", own.clone(), 412),
        ("SUBSCRIBE", own, 412),
    ] {
        let answer = control.event_request(method, &headers);
        assert_eq!(answer.status, status, "{method} {headers}");
        if method == "SUBSCRIBE" && status == 200 {
            assert_eq!(header(&answer.head, "SID"), sid);
        }
    }
    control.add(&ask("TCP", 7000, 7000)).unwrap();
    assert!(ear.comes(SILENCE).is_none(), "it has unsubscribed");
}

#[test]
fn events_go_to_the_subscriber_itself_and_nobody_else_258() {
    let world = World::new();
    let _daemon = world.start();
    let control = world.control_point(FROM_ALICE, IGD2);
    let (own, bobs) = (Ear::open(&world, FROM_ALICE), Ear::open(&world, FROM_BOB));
    for other in [bobs.url(), "http://11.22.33.2:80/".into(), "http://192.168.1.1:5000/".into()] {
        assert_eq!(control.subscribe_to(&format!("<{other}>")).status, 412, "{other}");
    }
    let both = control.subscribe_to(&format!("<{}><{}>", bobs.url(), own.url()));
    assert_eq!(both.status, 200);
    own.hear();
    assert!(bobs.comes(SILENCE).is_none());
}

#[test]
fn a_host_may_subscribe_over_ipv6_for_its_ipv4_address_and_the_reverse_89() {
    let world = World::new();
    let _daemon = world.start();
    let location = "http://[2001:db8:1::1]:5000/igd2/desc.xml";
    let alice6 = crate::traffic::FROM_ALICE6;
    let over_v6 = world.control_point_at(alice6, location, ":WANIPConnection:");
    let ear = Ear::open(&world, FROM_ALICE);
    over_v6.subscribe(&ear);
    ear.hear();
    let ear6 = Ear::open(&world, alice6);
    over_v6.subscribe(&ear6);
    ear6.hear();
    world.control_point(FROM_ALICE, IGD2).subscribe(&ear6);
    ear6.hear();
    let bobs = Ear::open(&world, FROM_BOB);
    assert_eq!(over_v6.subscribe_to(&format!("<{}>", bobs.url())).status, 412);
}

#[test]
fn callbacks_are_tried_in_their_order_until_one_answers_82() {
    let world = World::new();
    let _daemon = world.start();
    let control = world.control_point(FROM_ALICE, IGD2);
    let ear = Ear::open(&world, FROM_ALICE);
    let closed = format!("http://{ALICE}:9/");
    control.subscribe_to(&format!("<{closed}><{}>", ear.url()));
    assert_eq!(header(&ear.hear(), "SEQ"), "0");
    // One that takes the connection and says nothing has five seconds.
    let silent = Ear::open(&world, FROM_ALICE);
    let asked = Instant::now();
    control.subscribe_to(&format!("<{}><{}>", silent.url(), ear.url()));
    let _held = silent.comes(PATIENCE).unwrap();
    let mut other = ear.comes(Duration::from_secs(8)).expect("the second is not tried");
    assert!(asked.elapsed() > Duration::from_secs(4));
    other.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
}

#[test]
fn a_subscriber_that_knows_nothing_of_it_is_told_nothing_more() {
    let world = World::new();
    let _daemon = world.start();
    let control = world.control_point(FROM_ALICE, IGD2);
    let ear = Ear::open(&world, FROM_ALICE);
    control.subscribe(&ear);
    ear.hear_and(412);
    world.wait_for(|world| world.status()["subscriptions"] == 0);
}

#[test]
fn a_slow_subscriber_keeps_nobody_waiting_and_hears_the_last_83_265() {
    const ADDS: u16 = 200;
    let world = World::new();
    world.firewall_stop();
    let _daemon = world.start();
    let control = world.control_point(FROM_ALICE, IGD2);
    let bobs = world.control_point(FROM_BOB, IGD2);
    // The middle one and the 99 % of so many adds.
    let adds = |from: u16| {
        let mut times: Vec<Duration> = (from..from + ADDS)
            .map(|port| {
                let asked = Instant::now();
                bobs.add(&crate::clients::bob_asks("UDP", port, 7000)).unwrap();
                asked.elapsed()
            })
            .collect();
        times.sort_unstable();
        (times[times.len() / 2], times[times.len() - 3])
    };
    let alone = adds(10_000);
    let ear = Ear::open(&world, FROM_ALICE);
    let sid = control.subscribe(&ear);
    let mut held = ear.comes(PATIENCE).unwrap();
    let beside = adds(20_000);
    println!("200 adds alone: {alone:?}; beside a silent subscriber: {beside:?}");
    let limit = Duration::from_millis(10);
    // A machine busy with something else makes them slow, with and without a subscriber.
    assert!(beside.0 < limit.max(alone.0 * 3), "{alone:?}, {beside:?}");
    assert!(beside.1 < limit.max(alone.1 * 3), "{alone:?}, {beside:?}");
    // Another term is none of the event's business: one is under way at a time.
    assert_eq!(control.event_request("SUBSCRIBE", &format!("SID: {sid}\r\n")).status, 200);
    assert!(ear.comes(SILENCE).is_none());
    // It answers at last: the next event has the newest values.
    held.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    drop(held);
    let last = ear.hear();
    assert_eq!(header(&last, "SEQ"), "1");
    assert_eq!(values(&last), ["PortMappingNumberOfEntries=400", "SystemUpdateID=400"]);
    assert!(ear.comes(SILENCE).is_none());
}

#[test]
fn a_notify_ends_with_its_subscription_263_265() {
    const ROUNDS: usize = 6;
    let world = World::new();
    world.firewall_stop();
    let daemon = world.start();
    let control = world.control_point(FROM_ALICE, IGD2);
    let ear = Ear::open(&world, FROM_ALICE);
    let before = daemon.descriptors();
    let mut silent = Vec::new();
    for _ in 0..ROUNDS {
        let sids: Vec<String> = (0..PER_HOST).map(|_| control.subscribe(&ear)).collect();
        for _ in &sids {
            silent.push(ear.comes(PATIENCE).expect("no NOTIFY comes"));
        }
        for sid in sids {
            let ended = control.event_request("UNSUBSCRIBE", &format!("SID: {sid}\r\n"));
            assert_eq!(ended.status, 200);
        }
    }
    assert_eq!(silent.len(), ROUNDS * PER_HOST);
    // Connections that are closed have a moment to go.
    world.wait_for(|_| daemon.descriptors() <= before);
    // Nor does a subscription that goes on lose its NOTIFY.
    let sid = control.subscribe(&ear);
    assert_eq!(header(&ear.hear(), "SID"), sid);
}

#[test]
fn ten_thousand_subscriptions_are_refused_and_take_no_memory_77_265() {
    const ASKED: usize = 10_000;
    let world = World::new();
    world.firewall_stop();
    let daemon = world.start();
    let control = world.control_point(FROM_ALICE, IGD2);
    let at = SocketAddr::from((ALICE, 9));
    let before = daemon.peak();
    let request = format!(
        "SUBSCRIBE /igd2/wanip/event HTTP/1.1\r\nHost: 192.168.1.1:5000\r\n\
         CALLBACK: <http://{at}/{}>\r\nNT: upnp:event\r\n\r\n",
        "x".repeat(200)
    );
    let statuses = world.inside(Host::Alice, || {
        let mut statuses = Vec::new();
        while statuses.len() < ASKED {
            let mut stream = TcpStream::connect(("192.168.1.1", 5000)).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            for _ in 0..99 {
                stream.write_all(request.as_bytes()).unwrap();
                let mut answer = Vec::new();
                let mut bytes = [0; 1024];
                while !answer.ends_with(b"\r\n\r\n") {
                    let read = stream.read(&mut bytes).unwrap();
                    assert!(read > 0);
                    answer.extend_from_slice(&bytes[..read]);
                }
                statuses.push(String::from_utf8_lossy(&answer[9..12]).into_owned());
            }
        }
        statuses
    });
    let granted = statuses.iter().filter(|status| *status == "200").count();
    assert_eq!(granted, PER_HOST);
    assert_eq!(statuses.iter().filter(|status| *status == "503").count(), statuses.len() - granted);
    let grown = daemon.peak() - before;
    println!("{} asked, {granted} granted, {grown} KiB more at most", statuses.len());
    assert!(grown < 1024, "{grown} KiB");
    // Another host still has room.
    let ear = Ear::open(&world, End::v4(Host::Bob, BOB, 0));
    world.control_point(FROM_BOB, IGD2).subscribe(&ear);
    ear.hear();
    control.add(&ask("TCP", 7000, 7000)).unwrap();
    ear.hear();
    assert_eq!(world.status()["subscriptions"], PER_HOST + 1);
}
