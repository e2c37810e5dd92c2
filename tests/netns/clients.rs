//! UPnP control points: Debian's `upnpc`, and our own for what `upnpc` cannot ask.

use crate::traffic::End;
use crate::world::{Host, World, ALICE, BOB, ROUTER};
use roxmltree::Document;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

/// SSDP's group and port.
pub const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), 1900);
/// What a version 1 control point looks for.
pub const IGD1: &str = "urn:schemas-upnp-org:device:InternetGatewayDevice:1";
/// What a version 2 control point looks for.
pub const IGD2: &str = "urn:schemas-upnp-org:device:InternetGatewayDevice:2";
/// How long answers to a search are collected. They come within 300 ms.
const SEARCH_TIME: Duration = Duration::from_millis(700);

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    /// Status code, or 0 when the connection was closed without an answer.
    pub status: u16,
    /// Its head.
    pub head: String,
    /// The rest.
    pub body: String,
}

/// Out arguments in order, or the UPnP error code.
pub type Outcome = Result<Vec<(String, String)>, u16>;

/// One of the two description trees, as a control point that found it sees it.
pub struct ControlPoint<'w> {
    world: &'w World,
    from: End,
    /// Address and port of LOCATION.
    server: SocketAddr,
    /// LOCATION.
    pub location: String,
    service_type: String,
    control_path: String,
    event_path: String,
}

/// Arguments of AddPortMapping and AddAnyPortMapping with the usual values.
#[derive(Clone)]
pub struct Ask {
    /// NewRemoteHost.
    pub remote: &'static str,
    /// NewExternalPort.
    pub external: u16,
    /// NewProtocol.
    pub protocol: &'static str,
    /// NewInternalPort.
    pub internal: u16,
    /// NewInternalClient.
    pub client: Ipv4Addr,
    /// NewEnabled.
    pub enabled: bool,
    /// NewLeaseDuration.
    pub lease: u32,
}

/// A request of [`ALICE`] for an hour.
pub const fn ask(protocol: &'static str, external: u16, internal: u16) -> Ask {
    Ask { remote: "", external, protocol, internal, client: ALICE, enabled: true, lease: 3600 }
}

/// A request of [`BOB`] for an hour.
pub const fn bob_asks(protocol: &'static str, external: u16, internal: u16) -> Ask {
    Ask { client: BOB, ..ask(protocol, external, internal) }
}

/// Text between a header's name and the end of its line, or "".
pub fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let line = message.lines().filter_map(|line| line.split_once(':'));
    line.filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, v)| v.trim())
        .next()
        .unwrap_or("")
}

impl World {
    /// Runs `upnpc`; what it printed on both streams, whatever its exit code.
    pub fn upnpc(&self, host: Host, args: &[&str]) -> String {
        let out = self.command(host, "upnpc").args(args).output().unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
    }

    /// Sends one datagram to `to` and collects what comes back, with its sender.
    pub fn ask_udp(
        &self,
        from: End,
        to: SocketAddrV4,
        message: &str,
    ) -> Vec<(SocketAddrV4, String)> {
        self.inside(from.host, || {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
            socket.bind(&SockAddr::from(from.source)).unwrap();
            if let std::net::IpAddr::V4(address) = from.source.ip() {
                socket.set_multicast_if_v4(&address).unwrap();
            }
            let socket = UdpSocket::from(socket);
            if socket.send_to(message.as_bytes(), to).is_err() {
                return Vec::new();
            }
            let end = Instant::now() + SEARCH_TIME;
            let mut answers = Vec::new();
            let mut buffer = [0; 2048];
            while let Some(left) =
                end.checked_duration_since(Instant::now()).filter(|d| !d.is_zero())
            {
                socket.set_read_timeout(Some(left)).unwrap();
                if let Ok((length, std::net::SocketAddr::V4(sender))) =
                    socket.recv_from(&mut buffer)
                {
                    answers.push((sender, String::from_utf8_lossy(&buffer[..length]).into_owned()));
                }
            }
            answers
        })
    }

    /// Searches for one target by IPv6 multicast on `eth0`, from this source; each answer with its
    /// sender.
    pub fn search_v6(&self, from: End, group: Ipv6Addr, target: &str) -> Vec<(SocketAddr, String)> {
        self.inside(from.host, || {
            let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP)).unwrap();
            socket.bind_device(Some(b"eth0")).unwrap();
            socket.bind(&SockAddr::from(from.source)).unwrap();
            let socket = UdpSocket::from(socket);
            let to = SocketAddrV6::new(group, 1900, 0, 0);
            socket.send_to(msearch(target, "MX: 1\r\n").as_bytes(), to).unwrap();
            let end = Instant::now() + SEARCH_TIME;
            let (mut answers, mut buffer) = (Vec::new(), [0; 2048]);
            while let Some(left) =
                end.checked_duration_since(Instant::now()).filter(|d| !d.is_zero())
            {
                socket.set_read_timeout(Some(left)).unwrap();
                if let Ok((length, sender)) = socket.recv_from(&mut buffer) {
                    answers.push((sender, String::from_utf8_lossy(&buffer[..length]).into_owned()));
                }
            }
            answers
        })
    }

    /// Searches for one target by multicast.
    pub fn search(&self, from: End, target: &str) -> Vec<String> {
        let answers = self.ask_udp(from, GROUP, &msearch(target, "MX: 1\r\n"));
        answers.into_iter().map(|(_, text)| text).collect()
    }

    /// Sends bytes to the router's HTTP port and reads until it closes.
    pub fn http(&self, from: End, request: &[u8]) -> Answer {
        self.http_at(from, SocketAddrV4::new(ROUTER, 5000).into(), request)
    }

    /// The same at another address of the router.
    pub fn http_at(&self, from: End, to: SocketAddr, request: &[u8]) -> Answer {
        self.inside(from.host, || {
            let socket =
                Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP)).unwrap();
            if matches!(from.source.ip(), IpAddr::V6(source) if source.segments()[0] == 0xfe80) {
                // An address of the link means something on a device only.
                socket.bind_device(Some(b"eth0")).unwrap();
            }
            socket.bind(&SockAddr::from(from.source)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
            let mut bytes = Vec::new();
            // The server may close at once, or answer before it has read everything.
            let connected = socket.connect_timeout(&SockAddr::from(to), Duration::from_secs(2));
            if connected.is_ok() {
                let _ = (&socket).write_all(request);
                let _ = (&socket).read_to_end(&mut bytes);
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
            let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
            Answer { status, head: head.to_string(), body: body.to_string() }
        })
    }

    /// GETs a URL of the router.
    pub fn get(&self, from: End, url: &str) -> Answer {
        let path = url.strip_prefix("http://192.168.1.1:5000").unwrap_or(url);
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {ROUTER}:5000\r\nConnection: close\r\n\r\n");
        self.http(from, request.as_bytes())
    }

    /// Finds a gateway by SSDP, reads its description and takes its WANIPConnection.
    pub fn control_point(&self, from: End, target: &str) -> ControlPoint<'_> {
        // More than once as control points do: a datagram may be late on a busy machine.
        let answer = (0..3).flat_map(|_| self.search(from, target)).next();
        let location = answer.as_deref().map_or("", |answer| header(answer, "LOCATION"));
        assert!(!location.is_empty(), "no LOCATION for {target}: {answer:?}");
        self.control_point_at(from, location, ":WANIPConnection:")
    }

    /// Takes the service whose type has these words from a description.
    pub fn control_point_at(&self, from: End, location: &str, kind: &str) -> ControlPoint<'_> {
        let rest = location.strip_prefix("http://").unwrap();
        let (authority, path) = rest.split_at(rest.find('/').unwrap());
        let server: SocketAddr = authority.parse().unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
        let description = self.http_at(from, server, request.as_bytes()).body;
        let tree = Document::parse(&description).unwrap();
        let text = |service: roxmltree::Node<'_, '_>, name: &str| {
            let child = service.children().find(|n| n.tag_name().name() == name);
            child.and_then(|n| n.text()).unwrap_or_default().to_string()
        };
        let service = tree
            .descendants()
            .filter(|n| n.tag_name().name() == "service")
            .find(|n| text(*n, "serviceType").contains(kind))
            .unwrap();
        ControlPoint {
            world: self,
            from,
            server,
            location: location.into(),
            service_type: text(service, "serviceType"),
            control_path: text(service, "controlURL"),
            event_path: text(service, "eventSubURL"),
        }
    }
}

/// An M-SEARCH for one target.
pub fn msearch(target: &str, more: &str) -> String {
    format!(
        "M-SEARCH * HTTP/1.1\r\nHOST: {GROUP}\r\nMAN: \"ssdp:discover\"\r\n{more}ST: {target}\r\n\r\n"
    )
}

impl<'w> ControlPoint<'w> {
    /// Another service of the same description.
    pub fn service(&self, kind: &str) -> ControlPoint<'w> {
        self.world.control_point_at(self.from, &self.location, kind)
    }

    /// Sends a request about events to the service's event URL.
    pub fn event_request(&self, method: &str, headers: &str) -> Answer {
        let request = format!(
            "{method} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n",
            self.event_path, self.server
        );
        self.world.http_at(self.from, self.server, request.as_bytes())
    }

    /// Sends one SOAP body to the control URL, unchanged.
    pub fn post(&self, action: &str, body: &str) -> Answer {
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Type: text/xml; charset=\"utf-8\"\r\nSOAPACTION: \"{}#{action}\"\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.control_path,
            self.server,
            self.service_type,
            body.len()
        );
        self.world.http_at(self.from, self.server, request.as_bytes())
    }

    /// Calls an action; its out arguments in order, or the UPnP error code.
    pub fn call(&self, action: &str, args: &[(&str, &str)]) -> Outcome {
        self.attempt(action, args).expect("an answer")
    }

    /// Calls an action of a server that may be gone; `None` when nothing came back.
    pub fn attempt(&self, action: &str, args: &[(&str, &str)]) -> Option<Outcome> {
        let mut body = format!(
            "<?xml version=\"1.0\"?>\r\n<s:Envelope \
             xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
             <u:{action} xmlns:u=\"{}\">",
            self.service_type
        );
        for (name, value) in args {
            let _ = write!(body, "<{name}>{value}</{name}>");
        }
        let _ = write!(body, "</u:{action}></s:Body></s:Envelope>\r\n");
        let answer = self.post(action, &body);
        if answer.status == 0 {
            return None;
        }
        let tree = Document::parse(&answer.body).unwrap_or_else(|e| panic!("{e}: {answer:?}"));
        let named = |name: &str| tree.descendants().find(|n| n.tag_name().name() == name);
        Some(match answer.status {
            200 => {
                let response = named(&format!("{action}Response")).unwrap();
                assert_eq!(response.tag_name().namespace(), Some(&self.service_type[..]));
                let out = response.children().filter(|n| n.is_element());
                Ok(out
                    .map(|n| (n.tag_name().name().into(), n.text().unwrap_or("").into()))
                    .collect())
            }
            500 => Err(named("errorCode").and_then(|n| n.text()).unwrap().parse().unwrap()),
            _ => panic!("{answer:?}"),
        })
    }

    /// The only out argument of an action.
    pub fn value(&self, action: &str, args: &[(&str, &str)]) -> Result<String, u16> {
        self.call(action, args).map(|mut out| out.swap_remove(0).1)
    }

    /// AddPortMapping.
    pub fn add(&self, ask: &Ask) -> Result<(), u16> {
        self.ask("AddPortMapping", ask).map(|out| assert_eq!(out, []))
    }

    /// AddAnyPortMapping; the port granted.
    pub fn add_any(&self, ask: &Ask) -> Result<u16, u16> {
        self.ask("AddAnyPortMapping", ask).map(|out| {
            assert_eq!((out.len(), &out[0].0[..]), (1, "NewReservedPort"));
            out[0].1.parse().unwrap()
        })
    }

    fn ask(&self, action: &str, ask: &Ask) -> Outcome {
        self.try_ask(action, ask).expect("an answer")
    }

    /// AddPortMapping or AddAnyPortMapping of a server that may be gone; `None` when nothing came back.
    pub fn try_ask(&self, action: &str, ask: &Ask) -> Option<Outcome> {
        self.attempt(
            action,
            &[
                ("NewRemoteHost", ask.remote),
                ("NewExternalPort", &ask.external.to_string()),
                ("NewProtocol", ask.protocol),
                ("NewInternalPort", &ask.internal.to_string()),
                ("NewInternalClient", &ask.client.to_string()),
                ("NewEnabled", if ask.enabled { "1" } else { "0" }),
                ("NewPortMappingDescription", "a test"),
                ("NewLeaseDuration", &ask.lease.to_string()),
            ],
        )
    }

    /// DeletePortMapping of a mapping without remote host.
    pub fn delete(&self, protocol: &str, external: u16) -> Result<(), u16> {
        let args = [
            ("NewRemoteHost", ""),
            ("NewExternalPort", &external.to_string()[..]),
            ("NewProtocol", protocol),
        ];
        self.call("DeletePortMapping", &args).map(|out| assert_eq!(out, []))
    }

    /// GetExternalIPAddress.
    pub fn external_address(&self) -> String {
        self.value("GetExternalIPAddress", &[]).unwrap()
    }
}
