mod captures;
mod connection;
mod documents;
mod leases;
mod mappings;
mod pinholes;
mod ranges;
mod requests;

use super::*;
use crate::gateway::policy::{Limits, Policy};
use crate::gateway::{Lan, Wan};
use crate::netfilter::memory::Memory;
use crate::proto::soap::Invocation;
use std::net::Ipv4Addr;

const HOST: &str = "192.168.1.100";
const OTHER: &str = "192.168.1.101";
const EXTERNAL: Ipv4Addr = Ipv4Addr::new(8, 8, 4, 4);
/// The first face's connection service, the second's, and the second's asked as version 1.
const V1: (&str, &str) = ("/igd1/wanip/control", "WANIPConnection:1");
const V2: (&str, &str) = ("/igd2/wanip/control", "WANIPConnection:2");
const V1_AT_2: (&str, &str) = ("/igd2/wanip/control", "WANIPConnection:1");
const COMMON: (&str, &str) = ("/igd1/wancommon/control", "WANCommonInterfaceConfig:1");

/// A gateway with its surroundings.
struct World {
    gateway: Gateway<Memory>,
    identity: Identity,
    link: Link,
    counters: Counters,
    client: IpAddr,
    /// Other addresses of the host that asks.
    also: Vec<IpAddr>,
    now: Instant,
}

fn world() -> World {
    let limits = Limits { new_per_minute: 0, ..Limits::default() };
    world_with(Policy { limits, ..Policy::default() })
}

fn world_with(policy: Policy) -> World {
    let mut gateway = Gateway::new(Memory::new(), policy, 1);
    let address = Ipv4Addr::new(192, 168, 1, 1);
    gateway.set_lans(
        vec![Lan { device: "br-lan".into(), address: address.into(), prefix_len: 24 }],
        Instant::now(),
    );
    gateway
        .set_wan(Wan { device: Some("wan0".into()), device6: None, addresses: vec![EXTERNAL] })
        .unwrap();
    let link = Link {
        up: true,
        upstream_bps: 5,
        downstream_bps: 0,
        uptime: Duration::from_millis(65_999),
    };
    World {
        gateway,
        identity: Identity::default(),
        link,
        counters: Counters::default(),
        client: HOST.parse().unwrap(),
        also: Vec::new(),
        now: Instant::now(),
    }
}

impl World {
    /// The response to these bytes, a request's head and body.
    fn raw(&mut self, bytes: &[u8]) -> http::Response {
        let (request, len) = http::parse_head(bytes).unwrap().unwrap();
        let counters = self.counters;
        let also = &self.also;
        let mut context = Context {
            gateway: &mut self.gateway,
            identity: &self.identity,
            link: self.link,
            counters: &|| counters,
            client: self.client,
            same_host: &|address| also.contains(&address),
            timeouts: &|protocol| Some(if protocol == Protocol::Tcp { 7440 } else { 60 }),
            now: self.now,
            listing: None,
        };
        let mut response = respond(&mut context, &request, &bytes[len..]);
        let mut listing = context.listing.take();
        let more = || listing.as_mut()?.next(&self.gateway, self.now);
        std::iter::from_fn(more).for_each(|piece| {
            assert!(response.goes_on && piece.len() < PIECE_LEN + 4000);
            response.body.extend(piece);
        });
        response
    }

    /// The response to a request without a body.
    fn get(&mut self, method: &str, path: &str, headers: &str) -> http::Response {
        self.raw(
            format!("{method} {path} HTTP/1.1\r\nHost: 192.168.1.1:5000\r\n{headers}\r\n")
                .as_bytes(),
        )
    }

    /// An action and its answer in short, as [`short`] writes it.
    fn ask(&mut self, at: (&str, &str), action: &str, arguments: &[(&str, &str)]) -> String {
        let urn = format!("urn:schemas-upnp-org:service:{}", at.1);
        let bytes = envelope(at.0, &urn, action, arguments);
        let response = self.raw(&bytes);
        if response.status == 200 {
            let text = String::from_utf8_lossy(&response.body).into_owned();
            assert!(text.contains(&format!("<u:{action}Response xmlns:u=\"{urn}\">")), "{text}");
        }
        short(&response)
    }

    /// `HOST` becomes another host.
    fn as_host(&mut self, client: &str) -> &mut Self {
        self.client = client.parse().unwrap();
        self
    }

    fn after(&mut self, seconds: u64) -> &mut Self {
        self.now += Duration::from_secs(seconds);
        self.gateway.backend().set_now(self.now);
        self
    }
}

fn envelope(path: &str, urn: &str, action: &str, arguments: &[(&str, &str)]) -> Vec<u8> {
    let mut body = format!("<s:Envelope xmlns:s=\"x\"><s:Body><u:{action} xmlns:u=\"{urn}\">");
    for (name, value) in arguments {
        crate::proto::xml::element(&mut body, name, value);
    }
    body.push_str(&format!("</u:{action}></s:Body></s:Envelope>"));
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: 192.168.1.1:5000\r\nSOAPACTION: \"{urn}#{action}\"\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head, body].concat().into_bytes()
}

/// `200`, then each argument as `Name=value`; a fault's code; or only the status.
fn short(response: &http::Response) -> String {
    let text = String::from_utf8_lossy(&response.body);
    match response.status {
        200 => {
            let read = large(&response.body);
            let arguments = read.into_iter().map(|(name, value)| format!(" {name}={value}"));
            "200".to_owned() + &arguments.collect::<String>()
        }
        500 => {
            let code = text.split("<errorCode>").nth(1).and_then(|t| t.split('<').next());
            code.unwrap_or("no code").to_owned()
        }
        status => format!("HTTP {status}"),
    }
}

/// The arguments of a response, which may be larger than any request.
fn large(body: &[u8]) -> Vec<(String, String)> {
    let text = std::str::from_utf8(body).unwrap();
    let document = roxmltree::Document::parse(text).unwrap();
    let response = document.root_element().first_child().and_then(|b| b.first_child()).unwrap();
    let pair =
        |e: roxmltree::Node<'_, '_>| (e.tag_name().name().into(), crate::proto::xml::text(e));
    response.children().map(pair).collect()
}

/// The arguments of AddPortMapping, with some of them changed.
fn mapping<'a>(changed: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut arguments = vec![
        ("NewRemoteHost", ""),
        ("NewExternalPort", "8080"),
        ("NewProtocol", "TCP"),
        ("NewInternalPort", "8000"),
        ("NewInternalClient", HOST),
        ("NewEnabled", "1"),
        ("NewPortMappingDescription", "web"),
        ("NewLeaseDuration", "3600"),
    ];
    for (name, value) in changed {
        arguments.iter_mut().filter(|(n, _)| n == name).for_each(|(_, v)| *v = value);
    }
    arguments
}
