//! What one hostile LAN host does, each until it is told that it is over. Each returns how often.

use crate::lab::clients::{add_arguments, ControlPoint};
use crate::world::{ALICE, ROUTER};
use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A name and what it does.
pub type Attack = (&'static str, fn(&AtomicBool) -> u64);

/// All of them.
pub const ALL: [Attack; 9] = [
    ("connections, 2,000 kept", connections),
    ("headers of 10 MB", long_headers),
    ("heads without end", endless_heads),
    ("bodies of 100 MB", large_bodies),
    ("bodies of 100 MB in chunks", large_chunks),
    ("bytes from slow senders", slow_senders),
    ("searches", searches),
    ("SUBSCRIBEs and UNSUBSCRIBEs", subscriptions),
    ("AddPortMappings", mappings),
];

const CONTROL: ControlPoint = ControlPoint { path: "/igd1/wanip/control", protocol: "TCP" };
/// Connections kept until the daemon closes them.
const KEPT: usize = 2000;
/// Slow senders at once.
const SLOW: usize = 24;
/// Searches that one host sends, and how many by one call: one after the other it would be a third.
const SEARCHES_PER_SECOND: u64 = 120_000;
const AT_ONCE: u64 = 50;
/// Of so many requests about subscriptions the last ones end them.
const SUBSCRIBES: u64 = 300;
const UNSUBSCRIBES: u64 = 20;

fn connect() -> io::Result<TcpStream> {
    let stream = TcpStream::connect((ROUTER, 5000))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    Ok(stream)
}

fn goes_on(over: &AtomicBool) -> bool {
    !over.load(Ordering::Relaxed)
}

fn connections(over: &AtomicBool) -> u64 {
    let mut kept = VecDeque::new();
    let mut count = 0;
    while goes_on(over) {
        if let Ok(stream) = connect() {
            count += 1;
            kept.push_back(stream);
        }
        if kept.len() > KEPT {
            kept.pop_front();
        }
        sleep(Duration::from_millis(2));
    }
    count
}

/// Sends `begin` and then `more` again and again, up to so many bytes, until the daemon hangs up.
fn pour(over: &AtomicBool, begin: &str, more: &[u8], bytes: usize) -> u64 {
    let mut count = 0;
    while goes_on(over) {
        let Ok(mut stream) = connect() else { continue };
        count += u64::from(stream.write_all(begin.as_bytes()).is_ok());
        let mut sent = 0;
        while goes_on(over) && sent < bytes && stream.write_all(more).is_ok() {
            sent += more.len();
        }
        sleep(Duration::from_millis(1));
    }
    count
}

fn long_headers(over: &AtomicBool) -> u64 {
    pour(over, "GET /igd1/desc.xml HTTP/1.1\r\nX-Long: ", &[b'a'; 8192], 10 << 20)
}

fn endless_heads(over: &AtomicBool) -> u64 {
    pour(over, "GET /igd1/desc.xml HTTP/1.1\r\n", b"X-More: and more\r\n", usize::MAX)
}

fn post(rest: &str) -> String {
    format!(
        "POST {} HTTP/1.1\r\nHost: {ROUTER}:5000\r\nContent-Type: text/xml\r\n\
         SOAPAction: \"urn:schemas-upnp-org:service:WANIPConnection:1#AddPortMapping\"\r\n{rest}",
        CONTROL.path
    )
}

fn large_bodies(over: &AtomicBool) -> u64 {
    pour(over, &post("Content-Length: 104857600\r\n\r\n"), &[b'<'; 8192], 100 << 20)
}

fn large_chunks(over: &AtomicBool) -> u64 {
    let mut chunk = b"1000\r\n".to_vec();
    chunk.extend([b'<'; 0x1000]);
    chunk.extend(b"\r\n");
    pour(over, &post("Transfer-Encoding: chunked\r\n\r\n"), &chunk, 100 << 20)
}

/// A byte a second each, of a request with an endless body.
fn slow_senders(over: &AtomicBool) -> u64 {
    let mut streams: Vec<Option<TcpStream>> = (0..SLOW).map(|_| None).collect();
    let mut count = 0;
    while goes_on(over) {
        for place in &mut streams {
            let stream = place.take().or_else(|| {
                let mut stream = connect().ok()?;
                stream.write_all(post("Content-Length: 16000\r\n\r\n").as_bytes()).ok()?;
                stream.write_all(&[b'<'; 8000]).ok()?;
                Some(stream)
            });
            *place = stream.and_then(|mut stream| {
                let sent = stream.write_all(b"x").is_ok();
                count += u64::from(sent);
                sent.then_some(stream)
            });
        }
        sleep(Duration::from_secs(1));
    }
    count
}

/// [`SEARCHES_PER_SECOND`], half of them to the group; the kernel makes [`AT_ONCE`] of each that is sent.
fn searches(over: &AtomicBool) -> u64 {
    let socket = UdpSocket::bind((ALICE, 0)).unwrap();
    let search =
        "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 5\r\n\
         ST: ssdp:all\r\n\r\n";
    setsockopt(&socket, UdpGsoSegment, &(search.len() as i32)).unwrap();
    let searches = search.repeat(AT_ONCE as usize);
    let begin = Instant::now();
    let mut count = 0;
    while goes_on(over) {
        for to in ["239.255.255.250:1900".to_owned(), format!("{ROUTER}:1900")] {
            count += socket.send_to(searches.as_bytes(), to).map_or(0, |_| AT_ONCE);
        }
        let due = Duration::from_micros(count * 1_000_000 / SEARCHES_PER_SECOND);
        sleep(due.saturating_sub(begin.elapsed()));
    }
    count
}

/// Sends requests one after the other, on connections that are kept, and hears what comes.
fn ask(over: &AtomicBool, request: impl Fn(u64) -> Vec<u8>, hear: impl Fn(&str)) -> u64 {
    let mut count = 0;
    while goes_on(over) {
        let Ok(mut stream) = connect() else { continue };
        while goes_on(over) {
            let mut answer = [0; 4096];
            let sent = stream.write_all(&request(count));
            match sent.and_then(|()| stream.read(&mut answer)) {
                Ok(read @ 1..) => hear(&String::from_utf8_lossy(&answer[..read])),
                _ => break,
            }
            count += 1;
        }
    }
    count
}

/// As many as there is room for, to a callback that takes connections and says nothing, and many more;
/// then all of them end, and it begins again.
fn subscriptions(over: &AtomicBool) -> u64 {
    let silent = TcpListener::bind((ALICE, 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let subscribe = format!(
        "SUBSCRIBE /igd1/wanip/event HTTP/1.1\r\nHost: {ROUTER}:5000\r\n\
         CALLBACK: <http://{ALICE}:{port}/>\r\nNT: upnp:event\r\nTIMEOUT: Second-1800\r\n\r\n"
    );
    let granted = RefCell::new(Vec::new());
    let ends = |number| number % SUBSCRIBES >= SUBSCRIBES - UNSUBSCRIBES;
    let request = |number| match ends(number).then(|| granted.borrow_mut().pop()).flatten() {
        Some(sid) => format!(
            "UNSUBSCRIBE /igd1/wanip/event HTTP/1.1\r\nHost: {ROUTER}:5000\r\nSID: {sid}\r\n\r\n"
        ),
        None => subscribe.clone(),
    };
    let hear = |answer: &str| {
        let sid = answer.lines().find_map(|line| line.strip_prefix("SID: "));
        granted.borrow_mut().extend(sid.map(str::to_owned));
    };
    ask(over, |number| request(number).into_bytes(), hear)
}

fn mappings(over: &AtomicBool) -> u64 {
    let request = |number: u64| {
        let arguments =
            add_arguments("UDP", (number % 45_000) as u16).replace("a program", &"d".repeat(100));
        CONTROL.request("AddPortMapping", &arguments, "keep-alive")
    };
    ask(over, request, |_| ())
}
