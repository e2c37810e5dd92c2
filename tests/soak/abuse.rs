//! A LAN host that means harm, or is broken, at [`MALLORY`]; it lives in Bob's namespace.

use crate::clients::{header, msearch};
use crate::mutate::{Captures, To};
use crate::world::{succeed, Host, World, ROUTER};
use fastrand::Rng;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::thread;
use std::time::Duration;

/// The host.
pub const MALLORY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 66);
/// An address of it that hears no answer: connections from there stay half-open.
const MUTE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 67);
/// More connections than a host may have.
const CONNECTIONS: usize = 50;
/// Of a flood of searches, and of requests by NAT-PMP and PCP.
const DATAGRAMS: usize = 1500;
/// Requests with something wrong, at a time.
const MUTATIONS: usize = 40;
/// More subscriptions than a host may have, even if those before end twice, with what was announced
/// under the configuration before.
const SUBSCRIPTIONS: usize = 50;
/// Leases of seconds, at a time.
const LEASES: u16 = 40;
/// Between two abuses.
const PAUSE: Duration = Duration::from_millis(300);

type Abuse<'w> = (&'static str, fn(&mut Mallory<'w>));

/// See the top.
pub struct Mallory<'w> {
    world: &'w World,
    random: Rng,
    captures: Captures,
    /// Paths and SIDs of subscriptions that were granted, wanted or by accident.
    subscriptions: Vec<(String, String)>,
    /// What was done how often.
    pub done: BTreeMap<&'static str, u32>,
}

fn soap(service: &str, action: &str, arguments: &str) -> String {
    let kind = "urn:schemas-upnp-org:service:WANIPConnection:2";
    let body = format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
         <u:{action} xmlns:u=\"{kind}\">{arguments}</u:{action}></s:Body></s:Envelope>"
    );
    format!(
        "POST {service} HTTP/1.1\r\nHost: {ROUTER}:5000\r\nSOAPACTION: \"{kind}#{action}\"\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl<'w> Mallory<'w> {
    /// Connects it to the LAN.
    pub fn new(world: &'w World, random: Rng) -> Mallory<'w> {
        world.inside(Host::Bob, || {
            // Each device answers for its own addresses only: this is another host, with a MAC
            // address of its own, by which hosts are told apart.
            for (name, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
                fs::write(format!("/proc/sys/net/ipv4/conf/all/{name}"), value).unwrap();
            }
        });
        let bob = world.name(Host::Bob);
        world.ip(
            Host::Router,
            &format!(
                "link add lan3 type veth peer name eth1 netns {bob}\n\
                 link set lan3 master br-lan up"
            ),
        );
        world.ip(
            Host::Bob,
            &format!(
                "addr add {MALLORY}/32 dev eth1\naddr add {MUTE}/32 dev eth1\n\
                 addr add 2001:db8:1::66/128 dev eth1 nodad\nlink set eth1 up\n\
                 rule add from {MALLORY} lookup 66\nrule add from {MUTE} lookup 66\n\
                 route add 192.168.1.0/24 dev eth1 table 66"
            ),
        );
        let mut nft = world.command(Host::Bob, "nft");
        let mute = format!(
            "table ip mute {{ chain in {{ type filter hook input priority 0; \
             ip daddr {MUTE} tcp flags syn,ack drop; }}; }}"
        );
        succeed("nft", nft.arg(mute).output().unwrap());
        let (subscriptions, done) = (Vec::new(), BTreeMap::new());
        Mallory { world, random, captures: Captures::read(), subscriptions, done }
    }

    /// One thing after the other at random; everything twice, if so asked.
    pub fn abuse(&mut self, everything: bool, stop: impl Fn() -> bool) {
        let all: [Abuse<'w>; 9] = [
            ("half-open connections", Mallory::half_open),
            ("slow senders", Mallory::slow),
            ("idle connections", Mallory::idle),
            ("mutations", Mallory::mutations),
            ("oversize", Mallory::oversize),
            ("searches", Mallory::searches),
            ("NAT-PMP and PCP", Mallory::datagrams),
            ("subscriptions", Mallory::subscribe),
            ("short leases and lists unread", Mallory::leases),
        ];
        let mut order: Vec<Abuse<'w>> = if everything { [all, all].concat() } else { Vec::new() };
        loop {
            if order.is_empty() && stop() {
                return;
            }
            let (name, abuse) = order.pop().unwrap_or_else(|| all[self.random.usize(..all.len())]);
            abuse(self);
            *self.done.entry(name).or_default() += 1;
            thread::sleep(PAUSE);
        }
    }

    /// A connection from this address; not necessarily made.
    fn connect(&self, from: Ipv4Addr, blocking: bool) -> Option<Socket> {
        self.world.inside(Host::Bob, || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
            socket.bind(&SockAddr::from(SocketAddrV4::new(from, 0))).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
            socket.set_write_timeout(Some(Duration::from_millis(250))).unwrap();
            let to = SockAddr::from(SocketAddrV4::new(ROUTER, 5000));
            if !blocking {
                socket.set_nonblocking(true).unwrap();
                let _ = socket.connect(&to);
                return Some(socket);
            }
            socket.connect_timeout(&to, Duration::from_secs(2)).is_ok().then_some(socket)
        })
    }

    fn connections(&self, count: usize) -> Vec<Socket> {
        (0..count).filter_map(|_| self.connect(MALLORY, true)).collect()
    }

    /// Sends a request and hears what comes in a moment.
    fn say(&mut self, request: &[u8], ends: bool) -> String {
        let Some(mut socket) = self.connect(MALLORY, true) else { return String::new() };
        let _ = socket.write_all(request);
        if ends {
            let _ = socket.shutdown(std::net::Shutdown::Write);
        }
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(read @ 1..) = socket.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..read]);
        }
        let answer = String::from_utf8_lossy(&bytes).into_owned();
        let line = String::from_utf8_lossy(request);
        let sids = answer.split("\r\n\r\n").map(|part| header(part, "SID"));
        for sid in sids.filter(|sid| !sid.is_empty()) {
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            self.subscriptions.push((path, sid.to_owned()));
        }
        answer
    }

    fn half_open(&mut self) {
        let sockets: Vec<_> = (0..CONNECTIONS).map(|_| self.connect(MUTE, false)).collect();
        thread::sleep(Duration::from_millis(500));
        drop(sockets);
    }

    fn slow(&mut self) {
        let head = b"GET /igd1/desc.xml HTTP/1.1\r\nHost: 192.168.1.1:5000\r\n";
        let sockets = self.connections(20);
        for byte in head.chunks(1).take(20) {
            for mut socket in &sockets {
                let _ = socket.write_all(byte);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn idle(&mut self) {
        let sockets = self.connections(CONNECTIONS);
        let head = format!("POST /igd2/wanip/control HTTP/1.1\r\nX: {}\r\n", "x".repeat(7000));
        for mut socket in &sockets {
            let _ = socket.write_all(head.as_bytes());
        }
        thread::sleep(Duration::from_millis(self.random.u64(..2000)));
        // Some end with a reset.
        for socket in sockets.iter().step_by(2) {
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
    }

    fn mutations(&mut self) {
        let udp = self.world.inside(Host::Bob, || UdpSocket::bind((MALLORY, 0)).unwrap());
        for _ in 0..MUTATIONS {
            let (to, bytes) = self.captures.choose(&mut self.random);
            match to {
                To::Http => {
                    let ends = self.random.bool();
                    self.say(&bytes, ends);
                }
                To::Ssdp => drop(udp.send_to(&bytes, (ROUTER, 1900))),
                To::Pmp => drop(udp.send_to(&bytes, (ROUTER, 5351))),
            }
        }
    }

    fn oversize(&mut self) {
        let post = "POST /igd2/wanip/control HTTP/1.1\r\nHost: 192.168.1.1:5000\r\n";
        let (large, larger) = ("x".repeat(9000), "x".repeat(60_000));
        for request in [
            format!("GET /{large} HTTP/1.1\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nX: {large}\r\n\r\n"),
            format!("{post}Content-Length: 60000\r\n\r\n{larger}"),
            format!("{post}Transfer-Encoding: chunked\r\n\r\nea60\r\n{larger}\r\n0\r\n\r\n"),
            format!("{post}Content-Length: 15000\r\n\r\n{}", "<a>".repeat(5000)),
            format!("{post}Content-Length: 16000\r\n\r\n{}", "x".repeat(8000)),
        ] {
            self.say(request.as_bytes(), false);
        }
    }

    fn searches(&mut self) {
        let udp = self.world.inside(Host::Bob, || UdpSocket::bind((MALLORY, 0)).unwrap());
        let search = msearch("ssdp:all", "MX: 2\r\n");
        for _ in 0..DATAGRAMS {
            let _ = udp.send_to(search.as_bytes(), (ROUTER, 1900));
        }
    }

    fn datagrams(&mut self) {
        let udp = self.world.inside(Host::Bob, || UdpSocket::bind((MALLORY, 0)).unwrap());
        for _ in 0..DATAGRAMS {
            let (to, bytes) = self.captures.choose(&mut self.random);
            if to == To::Pmp {
                let _ = udp.send_to(&bytes, (ROUTER, 5351));
            }
        }
    }

    fn subscribe(&mut self) {
        let request = format!(
            "SUBSCRIBE /igd2/wanip/event HTTP/1.1\r\nHost: {ROUTER}:5000\r\n\
             CALLBACK: <http://{MALLORY}:9/>\r\nNT: upnp:event\r\nConnection: close\r\n\r\n"
        );
        let answers: Vec<String> =
            (0..SUBSCRIPTIONS).map(|_| self.say(request.as_bytes(), false)).collect();
        assert!(answers.iter().any(|answer| answer.starts_with("HTTP/1.1 503")), "no limit");
        self.unsubscribe();
    }

    /// Many mappings of one or two seconds, and lists of all that nobody reads.
    fn leases(&mut self) {
        for port in 30_000..30_000 + LEASES {
            let arguments = format!(
                "<NewRemoteHost/><NewExternalPort>{port}</NewExternalPort>\
                 <NewProtocol>TCP</NewProtocol><NewInternalPort>{port}</NewInternalPort>\
                 <NewInternalClient>{MALLORY}</NewInternalClient><NewEnabled>1</NewEnabled>\
                 <NewPortMappingDescription>{}</NewPortMappingDescription>\
                 <NewLeaseDuration>{}</NewLeaseDuration>",
                "d".repeat(90),
                1 + port % 2
            );
            let request = soap("/igd2/wanip/control", "AddPortMapping", &arguments);
            self.say(request.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes(), false);
        }
        let list = soap(
            "/igd2/wanip/control",
            "GetListOfPortMappings",
            "<NewStartPort>0</NewStartPort><NewEndPort>65535</NewEndPort>\
             <NewProtocol>TCP</NewProtocol><NewManage>1</NewManage>\
             <NewNumberOfPorts>0</NewNumberOfPorts>",
        );
        let sockets = self.connections(CONNECTIONS);
        for mut socket in &sockets {
            let _ = socket.set_recv_buffer_size(2048);
            let _ = socket.write_all(list.as_bytes());
        }
        thread::sleep(Duration::from_millis(500));
    }

    fn unsubscribe(&mut self) {
        for (path, sid) in std::mem::take(&mut self.subscriptions) {
            let request = format!(
                "UNSUBSCRIBE {path} HTTP/1.1\r\nHost: {ROUTER}:5000\r\nSID: {sid}\r\n\
                 Connection: close\r\n\r\n"
            );
            self.say(request.as_bytes(), false);
        }
    }

    /// Takes back what it was granted.
    pub fn clean_up(&mut self) {
        self.unsubscribe();
        for address in [MALLORY.to_string(), "2001:db8:1::66".to_owned()] {
            let out = self.world.cli(&["delete", "--host", &address]);
            // There may be nothing.
            assert!(out.status.code().is_some(), "{out:?}");
        }
    }
}
