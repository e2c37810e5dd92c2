//! A control point on the LAN host: finds the gateway by multicast and speaks SOAP with it.

use crate::announcements::header;
use crate::outcome::{ensure, same, Because, Outcome, PATIENCE};
use crate::traffic::{comes, next};
use crate::world::{World, ETH0, HOST};
use postern::proto::ssdp;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::time::Duration;

/// How often a search is sent at most: it may be lost.
const SEARCHES: usize = 5;
/// How long an answer may take: a second at random, and some for a slow machine.
const ANSWER_TIME: Duration = Duration::from_secs(4);

/// A gateway that has been found.
pub struct ControlPoint<'w> {
    world: &'w World,
    /// URL of the description.
    pub location: String,
    service: String,
    path: String,
    event_path: String,
}

/// A mapping as GetSpecificPortMappingEntry tells it.
pub struct Entry {
    /// All but the time, as text: `192.168.1.10:7000 enabled=1 'description'`.
    pub words: String,
    /// Seconds left.
    pub left: u64,
}

/// A mapping to be made to the LAN host.
pub struct Ask<'a> {
    /// `TCP` or `UDP`.
    pub protocol: &'a str,
    /// External port.
    pub external: u16,
    /// Port of the LAN host.
    pub internal: u16,
    /// Description.
    pub description: &'a str,
    /// Seconds.
    pub lease: u32,
}

impl<'w> ControlPoint<'w> {
    /// Searches for an InternetGatewayDevice of this version, reads its description and takes its
    /// WANIPConnection of the same version.
    pub fn find(world: &'w World, version: u8) -> Outcome<ControlPoint<'w>> {
        let device = format!("urn:schemas-upnp-org:device:InternetGatewayDevice:{version}");
        let group = SocketAddr::from((ssdp::GROUP_V4, ssdp::PORT));
        let location = search(world, HOST.into(), group, ssdp::HOST_V4, &device)?;
        ControlPoint::at(world, location, &format!("WANIPConnection:{version}"))
    }

    /// Searches for an InternetGatewayDevice:2 over IPv6, in the scope of the link.
    pub fn find_v6(world: &'w World) -> Outcome<ControlPoint<'w>> {
        let device = "urn:schemas-upnp-org:device:InternetGatewayDevice:2";
        let group = SocketAddrV6::new(ssdp::GROUP_V6_LINK, ssdp::PORT, 0, ETH0.index).into();
        let any = Ipv6Addr::UNSPECIFIED.into();
        let location = search(world, any, group, ssdp::HOST_V6_LINK, device)?;
        ControlPoint::at(world, location, "WANIPConnection:2")
    }

    /// Another service of the same description.
    pub fn service_of<'o>(&self, world: &'o World, service: &str) -> Outcome<ControlPoint<'o>> {
        ControlPoint::at(world, self.location.clone(), service)
    }

    /// Takes a service from a description.
    fn at(world: &'w World, location: String, service: &str) -> Outcome<ControlPoint<'w>> {
        let path = location.splitn(4, '/').nth(3).unwrap_or_default();
        let get = format!("GET /{path}");
        let service = format!("urn:schemas-upnp-org:service:{service}");
        let (path, event_path) = (String::new(), String::new());
        let found = ControlPoint { world, location, service, path, event_path };
        let description = found.http(&get, "", "")?;
        same(format!("{get}: the status"), description.0, 200)?;
        let after = description.1.split(&format!(">{}<", found.service)[..]).nth(1);
        let url = |name| {
            let (start, end) = (format!("<{name}>"), format!("</{name}>"));
            let url = after.and_then(|text| between(text, &start, &end)).map(str::to_owned);
            url.ok_or_else(|| format!("{get} describes no {name} of {}", found.service))
        };
        let (path, event_path) = (url("controlURL")?, url("eventSubURL")?);
        Ok(ControlPoint { path, event_path, ..found })
    }

    /// SUBSCRIBE; the SID.
    pub fn subscribe(&self, callback: &str) -> Outcome<String> {
        let headers =
            format!("CALLBACK: <{callback}>\r\nNT: upnp:event\r\nTIMEOUT: Second-1800\r\n");
        let what = format!("SUBSCRIBE {}", self.event_path);
        let (head, _) = self.answer(&what, &headers, "")?;
        same("SUBSCRIBE: the status", status(&head)?, 200)?;
        header(&head, "SID").map(str::to_owned).ok_or_else(|| format!("no SID: {head}"))
    }

    /// UNSUBSCRIBE; the status.
    pub fn unsubscribe(&self, sid: &str) -> Outcome<u16> {
        let headers = format!("SID: {sid}\r\n");
        Ok(self.http(&format!("UNSUBSCRIBE {}", self.event_path), &headers, "")?.0)
    }

    /// Calls an action; the values of its out arguments in order.
    pub fn call(&self, action: &str, arguments: &[(&str, &str)]) -> Outcome<Vec<String>> {
        let (status, body) = self.post(&self.service, action, arguments)?;
        let code = between(&body, "<errorCode>", "</errorCode>").unwrap_or("none");
        ensure(status == 200, || format!("{action}: status {status}, UPnP error {code}"))?;
        values(&body, action).ok_or_else(|| format!("{action}: not understood: {body}"))
    }

    /// Calls an action that must be refused with this UPnP error.
    pub fn is_refused(&self, action: &str, arguments: &[(&str, &str)], error: u16) -> Outcome {
        let (status, body) = self.post(&self.service, action, arguments)?;
        let code = between(&body, "<errorCode>", "</errorCode>").unwrap_or("none");
        same(
            format!("{action}, which must be refused"),
            format!("status {status}, UPnP error {code}"),
            format!("status 500, UPnP error {error}"),
        )
    }

    /// The value of a state variable.
    pub fn variable(&self, name: &str) -> Outcome<String> {
        let action = "QueryStateVariable";
        let service = "urn:schemas-upnp-org:control-1-0";
        let (status, body) = self.post(service, action, &[("varName", name)])?;
        let value = values(&body, action).unwrap_or_default().pop();
        value.filter(|_| status == 200).ok_or_else(|| format!("{name}: status {status}: {body}"))
    }

    /// AddPortMapping for any remote host.
    pub fn add(&self, ask: &Ask<'_>) -> Outcome {
        let arguments = [
            ("NewRemoteHost", ""),
            ("NewExternalPort", &ask.external.to_string()[..]),
            ("NewProtocol", ask.protocol),
            ("NewInternalPort", &ask.internal.to_string()[..]),
            ("NewInternalClient", &HOST.to_string()[..]),
            ("NewEnabled", "1"),
            ("NewPortMappingDescription", ask.description),
            ("NewLeaseDuration", &ask.lease.to_string()[..]),
        ];
        self.call("AddPortMapping", &arguments).map(drop)
    }

    /// DeletePortMapping.
    pub fn delete(&self, protocol: &str, external: u16) -> Outcome {
        self.call("DeletePortMapping", &which(protocol, &external.to_string())).map(drop)
    }

    /// GetSpecificPortMappingEntry.
    pub fn entry(&self, protocol: &str, external: u16) -> Outcome<Entry> {
        const ACTION: &str = "GetSpecificPortMappingEntry";
        let out = self.call(ACTION, &which(protocol, &external.to_string()))?;
        match &out[..] {
            [port, client, enabled, description, left] => Ok(Entry {
                words: format!("{client}:{port} enabled={enabled} '{description}'"),
                left: left.parse().because(ACTION)?,
            }),
            _ => Err(format!("{ACTION}: {} values", out.len())),
        }
    }

    /// There is no such mapping.
    pub fn has_no_entry(&self, protocol: &str, external: u16) -> Outcome {
        let external = external.to_string();
        self.is_refused("GetSpecificPortMappingEntry", &which(protocol, &external), 714)
    }

    /// Every mapping, by index, as `UDP 17001 192.168.1.10:7000 enabled=1 'description'`, sorted.
    pub fn list(&self) -> Outcome<Vec<String>> {
        const ACTION: &str = "GetGenericPortMappingEntry";
        let count: u32 = self.variable("PortMappingNumberOfEntries")?.parse().because("a count")?;
        let mut list = Vec::new();
        for index in 0..count {
            let out = self.call(ACTION, &[("NewPortMappingIndex", &index.to_string())])?;
            let [_, external, protocol, port, client, enabled, description, _] = &out[..] else {
                return Err(format!("{ACTION}: {} values", out.len()));
            };
            list.push(format!(
                "{protocol} {external} {client}:{port} enabled={enabled} '{description}'"
            ));
        }
        self.is_refused(ACTION, &[("NewPortMappingIndex", &count.to_string())], 713)?;
        list.sort();
        Ok(list)
    }

    fn post(
        &self,
        service: &str,
        action: &str,
        arguments: &[(&str, &str)],
    ) -> Outcome<(u16, String)> {
        let mut body = format!(
            "<?xml version=\"1.0\"?><s:Envelope \
             xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
             <u:{action} xmlns:u=\"{service}\">"
        );
        for (name, value) in arguments {
            let _ = write!(body, "<{name}>{value}</{name}>");
        }
        let _ = write!(body, "</u:{action}></s:Body></s:Envelope>");
        let headers = format!(
            "Content-Type: text/xml; charset=\"utf-8\"\r\nSOAPAction: \"{service}#{action}\"\r\n\
             Content-Length: {}\r\n",
            body.len()
        );
        self.http(&format!("POST {}", self.path), &headers, &body)
            .map_err(|why| format!("{action}: {why}"))
    }

    /// One request on a connection of its own: the status and the body of the answer.
    fn http(&self, what: &str, headers: &str, body: &str) -> Outcome<(u16, String)> {
        let (head, body) = self.answer(what, headers, body)?;
        Ok((status(&head)?, body))
    }

    /// The same: head and body of the answer.
    fn answer(&self, what: &str, headers: &str, body: &str) -> Outcome<(String, String)> {
        let server = self.location.split('/').nth(2).unwrap_or_default();
        let address: SocketAddr = server.parse().because(&self.location)?;
        let mut stream = self
            .world
            .lan
            .inside(move || Ok(TcpStream::connect_timeout(&address, PATIENCE)))?
            .because(server)?;
        let request = format!(
            "{what} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).because(server)?;
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        loop {
            ensure(comes(&stream, PATIENCE)?, || format!("{server} does not answer"))?;
            match stream.read(&mut piece).because(server)? {
                0 => break,
                length => answer.extend_from_slice(&piece[..length]),
            }
        }
        let answer = String::from_utf8(answer).because(server)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without end of head")?;
        Ok((head.to_owned(), body.to_owned()))
    }
}

/// The status in an answer's head.
fn status(head: &str) -> Outcome<u16> {
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    status.ok_or_else(|| "an answer without status".into())
}

/// Searches by multicast from an address; the LOCATION that comes back.
fn search(
    world: &World,
    from: IpAddr,
    group: SocketAddr,
    host: &str,
    target: &str,
) -> Outcome<String> {
    let socket =
        world.lan.inside(move || UdpSocket::bind((from, 0)).because("a socket for SSDP"))?;
    let request = format!(
        "M-SEARCH * HTTP/1.1\r\nHOST: {host}\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: {target}\r\n\r\n",
    );
    for _ in 0..SEARCHES {
        socket.send_to(request.as_bytes(), group).because("SSDP")?;
        if let Some((answer, _)) = next(&socket, ANSWER_TIME)? {
            same("the answer to a search", header(&answer, "ST").unwrap_or_default(), target)?;
            return header(&answer, "LOCATION")
                .map(str::to_owned)
                .ok_or_else(|| format!("an answer without LOCATION: {answer}"));
        }
    }
    Err(format!("no answer to {SEARCHES} searches for {target}"))
}

/// The arguments that name a mapping for any remote host.
fn which<'a>(protocol: &'a str, external: &'a str) -> [(&'a str, &'a str); 3] {
    [("NewRemoteHost", ""), ("NewExternalPort", external), ("NewProtocol", protocol)]
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    Some(text.split_once(start)?.1.split_once(end)?.0)
}

/// The values in the response to an action, in order.
fn values(body: &str, action: &str) -> Option<Vec<String>> {
    let response = format!("{action}Response");
    let (_, rest) = body.split_once(&format!("<u:{response} ")[..])?;
    let (_, rest) = rest.split_once('>')?;
    let (mut inside, _) = rest.split_once(&format!("</u:{response}>")[..])?;
    let mut values = Vec::new();
    while let Some((_, rest)) = inside.split_once('<') {
        let (name, rest) = rest.split_once('>')?;
        match name.strip_suffix('/') {
            Some(_) => {
                values.push(String::new());
                inside = rest;
            }
            None => {
                let (value, rest) = rest.split_once(&format!("</{name}>")[..])?;
                values.push(value.to_owned());
                inside = rest;
            }
        }
    }
    Some(values)
}
