//! Bad and odd requests over the wire: the named error or the answer, nothing else changed, and the
//! daemon lives on.

use crate::clients::{ask, Ask, IGD1, IGD2};
use crate::traffic::FROM_ALICE;
use crate::world::{Host, World, ALICE, ROUTER};
use roxmltree::Document;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

const GET: &str = "GET /igd1/desc.xml HTTP/1.1\r\nHost: 192.168.1.1:5000\r\n";
const LAST: &str = "Connection: close\r\n\r\n";
const ADDRESS: &str = "<NewExternalIPAddress>11.22.33.1</NewExternalIPAddress>";

/// A connection of Alice's to the HTTP port, with a receive buffer of this size if not 0.
fn connect(world: &World, buffer: usize) -> Socket {
    world.inside(Host::Alice, || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        if buffer > 0 {
            socket.set_recv_buffer_size(buffer).unwrap();
        }
        socket.set_tcp_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        socket.connect(&SockAddr::from(SocketAddrV4::new(ROUTER, 5000))).unwrap();
        socket
    })
}

/// Everything that comes until the other side closes.
fn rest(mut socket: &Socket) -> String {
    let mut bytes = Vec::new();
    let _ = socket.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends these parts, each in a segment of its own, and hears the whole answer.
fn talk(world: &World, parts: &[&str]) -> String {
    let socket = connect(world, 0);
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            thread::sleep(Duration::from_millis(50));
        }
        (&socket).write_all(part.as_bytes()).unwrap();
    }
    rest(&socket)
}

/// Head and body of a control request; the head goes on with `more`.
pub fn control(action: &str, arguments: &str, more: &str) -> (String, String) {
    let service = "urn:schemas-upnp-org:service:WANIPConnection:2";
    let body = format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
         <u:{action} xmlns:u=\"{service}\">{arguments}</u:{action}></s:Body></s:Envelope>"
    );
    let head = format!(
        "POST /igd2/wanip/control HTTP/1.1\r\nHost: 192.168.1.1:5000\r\n\
         SOAPACTION: \"{service}#{action}\"\r\n{more}\r\n"
    );
    (head, body)
}

/// The two in one, with a header for the length.
pub fn with_length((head, body): (String, String)) -> String {
    let more = format!("\r\nContent-Length: {}\r\n\r\n", body.len());
    head.replacen("\r\n\r\n", &more, 1) + &body
}

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

#[test]
fn http_clients_of_every_habit_are_answered() {
    // Conformance 31, 46, 68, 69, 70, 71.
    let world = World::new();
    let _daemon = world.start();
    let description = world.get(FROM_ALICE, "/igd1/desc.xml").body;
    for (what, request) in [
        ("HTTP/1.0 without a Host", "GET /igd1/desc.xml HTTP/1.0\r\n\r\n".to_string()),
        (
            "an absolute target",
            format!("{GET}{LAST}").replace("/igd1", "http://192.168.1.1:5000/igd1"),
        ),
        ("a doubled slash", format!("{GET}{LAST}").replace("/igd1", "//igd1")),
        ("no slash", format!("{GET}{LAST}").replace("/igd1", "igd1")),
    ] {
        let answer = talk(&world, &[&request]);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{what}: {answer}");
        assert!(answer.ends_with(&description), "{what}: {answer}");
    }
    let head = talk(&world, &[&format!("{GET}{LAST}").replace("GET", "HEAD")]);
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", description.len())), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");

    let three = talk(&world, &[&format!("{GET}\r\n{GET}\r\n{GET}{LAST}")]);
    assert_eq!(three.matches("HTTP/1.1 200 OK\r\n").count(), 3, "pipelined");
    assert_eq!(three.matches(&description).count(), 3, "pipelined");
    let old = "GET /igd1/desc.xml HTTP/1.0\r\n";
    let two = talk(&world, &[&format!("{old}Connection: keep-alive\r\n\r\n"), old, "\r\n"]);
    assert_eq!(two.matches("\r\nConnection: keep-alive\r\n").count(), 1, "{two}");
    assert_eq!(two.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{two}");

    let (bare, body) = control("GetExternalIPAddress", "", "");
    let with = |more: &str| bare.replacen("\r\n\r\n", &format!("\r\n{more}\r\n\r\n"), 1);
    let length = format!("Content-Length: {}", body.len());
    let closing = format!("{length}\r\nConnection: close");
    let (first, second) = body.split_at(100);
    let answered = |what: &str, parts: &[&str]| {
        let answer = talk(&world, parts);
        assert!(answer.contains(ADDRESS), "{what}: {answer}");
        answer
    };
    answered("a body in segments of its own", &[&with(&closing), first, second]);
    let both = answered("a line end after it", &[&with(&length), &body, "\r\n", GET, LAST]);
    assert_eq!(both.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{both}");
    let expecting = with(&format!("{closing}\r\nExpect: 100-continue"));
    let continued = answered("a client that waits", &[&expecting, &body]);
    assert!(continued.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"));
    let chunked = with("Transfer-Encoding: chunked\r\nConnection: close");
    answered(
        "a chunked body",
        &[
            &chunked,
            &format!("64\r\n{first}\r\n"),
            &format!("{:x};a=b\r\n{second}\r\n0\r\nX: y\r\n\r\n", second.len()),
        ],
    );
}

#[test]
fn a_request_that_does_not_come_is_given_up_and_silence_is_no_request() {
    // Conformance 54, 262.
    let world = World::new();
    let _daemon = world.start();
    let (head, _) = control("GetExternalIPAddress", "", "Content-Length: 100\r\n");
    let timed = |parts: Vec<String>| {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let start = Instant::now();
        let answer = talk(&world, &parts);
        let line = answer.rfind("HTTP/1.1 ").map_or("", |at| &answer[at..at + 12]).to_string();
        (line, start.elapsed().as_secs())
    };
    thread::scope(|scope| {
        let run = |parts: &[&str]| {
            let parts = parts.iter().map(|part| part.to_string()).collect();
            scope.spawn(|| timed(parts))
        };
        let half_head = run(&[GET]);
        let half_body = run(&[&head, "<"]);
        let silence = run(&[""]);
        let line_end = run(&[&format!("{GET}\r\n"), "\r\n"]);
        let answer = world.get(FROM_ALICE, "/igd1/desc.xml");
        assert_eq!(answer.status, 200, "the slow ones hold nobody up");
        let given_up = |thread: thread::ScopedJoinHandle<'_, (String, u64)>, line, seconds: u64| {
            let (found, after) = thread.join().unwrap();
            assert_eq!(found, line);
            assert!((seconds..seconds + 3).contains(&after), "{after} s");
        };
        given_up(half_head, "HTTP/1.1 408", 5);
        given_up(half_body, "HTTP/1.1 408", 10);
        given_up(silence, "", 5);
        given_up(line_end, "HTTP/1.1 200", 5);
    });
}

#[test]
fn one_host_has_so_many_connections_and_the_oldest_gives_way() {
    // Conformance 263.
    let world = World::new();
    let _daemon = world.start();
    let mut sockets: Vec<Socket> = (0..33).map(|_| connect(&world, 0)).collect();
    let connected = Instant::now();
    assert_eq!(rest(&sockets.remove(0)), "");
    assert!(connected.elapsed() < Duration::from_secs(3), "closed for its age, not its silence");
    for mut socket in sockets {
        socket.write_all(format!("{GET}{LAST}").as_bytes()).unwrap();
        let answer = rest(&socket);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
}

#[test]
fn listings_that_nobody_reads_do_not_fill_the_memory() {
    // Conformance 147, 268.
    let world = World::new();
    let daemon = world.start();
    let description = "&amp;".repeat(100);
    let requests: Vec<String> = (20000..22000)
        .map(|port| {
            let arguments = format!(
                "<NewRemoteHost/><NewExternalPort>{port}</NewExternalPort>\
                 <NewProtocol>TCP</NewProtocol><NewInternalPort>{port}</NewInternalPort>\
                 <NewInternalClient>{ALICE}</NewInternalClient><NewEnabled>1</NewEnabled>\
                 <NewPortMappingDescription>{description}</NewPortMappingDescription>\
                 <NewLeaseDuration>600</NewLeaseDuration>"
            );
            with_length(control("AddPortMapping", &arguments, ""))
        })
        .collect();
    for hundred in requests.chunks(100) {
        let answer = talk(&world, &[&hundred.concat()]);
        assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 100, "{answer}");
    }
    let request = with_length(control(
        "GetListOfPortMappings",
        "<NewStartPort>0</NewStartPort><NewEndPort>65535</NewEndPort>\
         <NewProtocol>TCP</NewProtocol><NewManage>1</NewManage>\
         <NewNumberOfPorts>0</NewNumberOfPorts>",
        "Connection: close\r\n",
    ));
    let before = daemon.peak();
    let sockets: Vec<Socket> = (0..30).map(|_| connect(&world, 4096)).collect();
    for mut socket in &sockets {
        socket.write_all(request.as_bytes()).unwrap();
    }
    thread::sleep(Duration::from_secs(1));
    let grown = daemon.peak() - before;
    println!("{grown} KiB more");
    assert!(grown < 512, "{grown} KiB");
    // Those that hold most have given way to the others.
    let answers: Vec<String> = sockets.iter().map(rest).collect();
    let entries = |answer: &String| answer.matches("<p:PortMappingEntry>").count();
    let whole = answers.iter().filter(|answer| entries(answer) == 2000).count();
    println!("{whole} of 30 whole");
    assert!(whole >= 5, "{whole}");
    assert_eq!(entries(&talk(&world, &[&request])), 2000, "room again");
}

#[test]
fn a_description_comes_back_from_everywhere_as_it_was_sent() {
    // Conformance 66, 66a, 130, 267.
    let world = World::new();
    let _daemon = world.start();
    let one = [("NewRemoteHost", ""), ("NewExternalPort", "17000"), ("NewProtocol", "TCP")];
    let list = [
        ("NewStartPort", "0"),
        ("NewEndPort", "65535"),
        ("NewProtocol", "TCP"),
        ("NewManage", "1"),
        ("NewNumberOfPorts", "0"),
    ];
    let long = "é".repeat(60);
    // As sent, as it comes back, and as `nft` shows it.
    for (sent, kept, shown) in [
        ("R&amp;D &lt;3&gt; 'a'", "R&D <3> 'a'", "R&D <3> 'a'"),
        ("say &quot;yes&quot;", "say \"yes\"", "say 'yes'"),
        ("é€😀", "é€😀", "é€😀"),
        ("&amp;amp;", "&amp;", "&amp;"),
        ("<![CDATA[a & <b>]]>", "a & <b>", "a & <b>"),
        ("raw & and < and &nbsp;", "raw & and < and &nbsp;", "raw & and < and &nbsp;"),
        ("tab\tline\nbell\u{7}nul\0&#x85;", "tablinebellnul", "tablinebellnul"),
        ("$(reboot); `x`\\n{}", "$(reboot); `x`\\n{}", "$(reboot); `x`\\n{}"),
        (&long, &long[..100], &long[..100]),
    ] {
        for face in [IGD1, IGD2] {
            let alice = world.control_point(FROM_ALICE, face);
            let rest = [
                ("NewInternalPort", "7000"),
                ("NewInternalClient", "192.168.1.10"),
                ("NewEnabled", "1"),
                ("NewPortMappingDescription", sent),
                ("NewLeaseDuration", "600"),
            ];
            assert_eq!(alice.call("AddPortMapping", &[&one[..], &rest].concat()), Ok(vec![]));
            for (action, arguments) in [
                ("GetSpecificPortMappingEntry", &one[..]),
                ("GetGenericPortMappingEntry", &[("NewPortMappingIndex", "0")]),
            ] {
                let entry = alice.call(action, arguments).unwrap();
                assert!(entry.contains(&("NewPortMappingDescription".into(), kept.into())));
            }
            if face == IGD2 {
                let listing = alice.value("GetListOfPortMappings", &list).unwrap();
                let tree = Document::parse(&listing).unwrap();
                let texts = tree.descendants().filter(|n| n.tag_name().name() == "NewDescription");
                assert_eq!(texts.filter_map(|n| n.text()).collect::<Vec<_>>(), [kept]);
            }
            assert_eq!(world.list()[0]["description"], kept);
            let table = world.table().unwrap();
            assert!(table.contains(&format!("comment \"{shown}\"")), "{table}");
            alice.delete("TCP", 17000).unwrap();
        }
    }
}
