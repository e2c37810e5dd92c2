//! A LAN host's requests, each on a connection of its own, as real clients make them. The thread
//! must be in that host's namespace.

use crate::world::{ALICE, ROUTER};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
const SERVICE: &str = "urn:schemas-upnp-org:service:WANIPConnection:1";
/// Of every mapping, in seconds.
const LEASE: u32 = 36_000;

/// The external port of the mapping with this number, from 1.
pub const fn external(number: u16) -> u16 {
    10_000 + number
}

/// Its port on the LAN host.
pub const fn internal(number: u16) -> u16 {
    30_000 + number
}

/// A control point of one daemon's WANIPConnection.
#[derive(Clone, Copy, Debug)]
pub struct ControlPoint {
    /// The control URL's path.
    pub path: &'static str,
    /// Of its mappings.
    pub protocol: &'static str,
}

impl ControlPoint {
    /// The bytes of a request.
    pub fn request(self, action: &str, arguments: &str, connection: &str) -> Vec<u8> {
        let body = format!(
            "<?xml version=\"1.0\"?><s:Envelope \
             xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
             <u:{action} xmlns:u=\"{SERVICE}\">{arguments}</u:{action}></s:Body></s:Envelope>"
        );
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {ROUTER}:5000\r\nContent-Type: text/xml\r\n\
             Content-Length: {}\r\nConnection: {connection}\r\n\
             SOAPAction: \"{SERVICE}#{action}\"\r\n\r\n",
            self.path,
            body.len()
        );
        (head + &body).into_bytes()
    }

    /// Whether the answer is a success.
    pub fn ask(self, action: &str, arguments: &str) -> io::Result<bool> {
        let mut stream = TcpStream::connect((ROUTER, 5000))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&self.request(action, arguments, "close"))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(answer.starts_with("HTTP/1.1 200"))
    }

    fn must(self, action: &str, arguments: &str) {
        assert!(self.ask(action, arguments).unwrap(), "{action} {arguments}: refused");
    }

    /// AddPortMapping of the mapping with this number.
    pub fn add(self, number: u16) {
        self.must("AddPortMapping", &add_arguments(self.protocol, number));
    }

    /// DeletePortMapping.
    pub fn delete(self, number: u16) {
        self.must("DeletePortMapping", &delete_arguments(self.protocol, number));
    }

    /// GetSpecificPortMappingEntry.
    pub fn get(self, number: u16) {
        self.must("GetSpecificPortMappingEntry", &delete_arguments(self.protocol, number));
    }

    /// GetGenericPortMappingEntry from index 0 to the end; returns how many there are.
    pub fn enumerate(self) -> u16 {
        let entry = |index: &u16| {
            let argument = format!("<NewPortMappingIndex>{index}</NewPortMappingIndex>");
            self.ask("GetGenericPortMappingEntry", &argument).unwrap()
        };
        (0..u16::MAX).find(|index| !entry(index)).unwrap()
    }
}

/// Arguments of DeletePortMapping and of GetSpecificPortMappingEntry.
pub fn delete_arguments(protocol: &str, number: u16) -> String {
    format!(
        "<NewRemoteHost></NewRemoteHost><NewExternalPort>{}</NewExternalPort>\
         <NewProtocol>{protocol}</NewProtocol>",
        external(number)
    )
}

/// Arguments of AddPortMapping.
pub fn add_arguments(protocol: &str, number: u16) -> String {
    format!(
        "{}<NewInternalPort>{}</NewInternalPort><NewInternalClient>{ALICE}</NewInternalClient>\
         <NewEnabled>1</NewEnabled>\
         <NewPortMappingDescription>a program</NewPortMappingDescription>\
         <NewLeaseDuration>{LEASE}</NewLeaseDuration>",
        delete_arguments(protocol, number),
        internal(number)
    )
}

/// A socket for NAT-PMP, PCP or searches.
pub struct Datagrams(UdpSocket);

impl Datagrams {
    /// To this port of the router.
    pub fn to(port: u16) -> Datagrams {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.connect((ROUTER, port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Datagrams(socket)
    }

    fn ask(&self, request: &[u8]) -> Vec<u8> {
        self.0.send(request).unwrap();
        let mut answer = [0; 1500];
        let length = self.0.recv(&mut answer).unwrap();
        answer[..length].to_vec()
    }

    /// NAT-PMP: maps a TCP port, or with `lifetime` 0 unmaps it.
    pub fn natpmp(&self, number: u16, lifetime: u32) {
        let suggested = if lifetime == 0 { 0 } else { external(number) };
        let mut request = vec![0, 2, 0, 0];
        request.extend(internal(number).to_be_bytes());
        request.extend(suggested.to_be_bytes());
        request.extend(lifetime.to_be_bytes());
        let answer = self.ask(&request);
        assert_eq!(answer[..4], [0, 130, 0, 0], "NAT-PMP: {answer:?}");
    }

    /// PCP: MAP of a TCP port, or with `lifetime` 0 its end.
    pub fn pcp(&self, number: u16, lifetime: u32) {
        let mut request = vec![2, 1, 0, 0];
        request.extend(lifetime.to_be_bytes());
        request.extend(ALICE.to_ipv6_mapped().octets());
        request.extend(*b"abcdefghijkl");
        request.extend([6, 0, 0, 0]);
        request.extend(internal(number).to_be_bytes());
        request.extend(external(number).to_be_bytes());
        request.extend(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets());
        let answer = self.ask(&request);
        assert_eq!(answer[..4], [2, 129, 0, 0], "PCP: {answer:?}");
    }

    /// A search by unicast, which is answered without the random wait of a multicast one: whether
    /// an answer came in time.
    pub fn search(&self, patience: Duration) -> bool {
        let search = format!(
            "M-SEARCH * HTTP/1.1\r\nHOST: {ROUTER}:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n\
             ST: {SERVICE}\r\n\r\n"
        );
        self.0.set_read_timeout(Some(patience)).unwrap();
        let until = Instant::now() + patience;
        // Nobody listens yet: the kernel says so at once, here or there.
        let answered =
            self.0.send(search.as_bytes()).is_ok() && self.0.recv(&mut [0; 1500]).is_ok();
        if !answered {
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
        }
        answered
    }
}
