//! The whole of UPnP beside NAT-PMP and PCP, over the gateway and a kernel in memory: hosts ask by
//! SOAP and subscribe, time passes, the kernel refuses or is changed behind the gateway's back, the
//! WAN, the LAN and the rules come and go. At each step the oracles of [`world`](super::world) hold.

use super::world::{same_host, May, World, HOSTS};
use postern::gateway::mapping::{External, Protocol};
use postern::igd::events::{self, Subscriber};
use postern::igd::subscriptions::{
    Outcome, Subscriptions, SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_PER_HOST,
};
use postern::igd::{respond, Context, Counters, Face, Identity, Link, Listing, Service, PIECE_LEN};
use postern::netfilter::memory::Memory;
use postern::proto::http::{parse_head, Request, Response};
use postern::proto::xml;
use std::net::IpAddr;

/// The step whose data is a whole request.
const RAW: u8 = 8;
/// Bytes of such a request that a row has for each of a step's length.
pub const UNIT: usize = 8;

/// What an argument is.
#[derive(Clone, Copy)]
enum Of {
    Port,
    Client,
    Client6,
    Protocol,
    Remote,
    Number,
    Flag,
    Text,
}

impl Of {
    /// A value of its kind, a wrong one at times.
    fn value(self, byte: u8) -> String {
        let all: &[&str] = match self {
            Of::Port => &["7000", "7001", "7002", "65535", "7003", "80", "5000", "0", "65536"],
            Of::Client => &["192.168.1.10", "192.168.1.20", "192.168.1.1", "10.9.9.9", "", "x"],
            Of::Client6 => &["2001:db8:1::10", "2001:db8:1::20", "[2001:db8:1::10]", "::", ""],
            Of::Protocol => &["TCP", "UDP", "udp", "17", "6", "", "65535"],
            Of::Remote => &["", "198.51.100.1", "198.51.100.2", "*", "2001:db8:2::1", "name"],
            Of::Number => &["60", "3600", "1", "0", "604800", "4294967295", "-1", ""],
            Of::Flag => &["1", "0", "true", "maybe"],
            Of::Text => &["web", "", "R&D <x>", " \u{1}é "],
        };
        // Small numbers name what was made.
        match byte {
            128.. => (byte - 128).to_string(),
            _ => all[usize::from(byte) % all.len()].to_owned(),
        }
    }
}

type Asked = (Service, &'static str, &'static [(&'static str, Of)]);

const MAPPING: &[(&str, Of)] = &[
    ("NewRemoteHost", Of::Remote),
    ("NewExternalPort", Of::Port),
    ("NewProtocol", Of::Protocol),
    ("NewInternalPort", Of::Port),
    ("NewInternalClient", Of::Client),
    ("NewEnabled", Of::Flag),
    ("NewPortMappingDescription", Of::Text),
    ("NewLeaseDuration", Of::Number),
];
const PINHOLE: &[(&str, Of)] = &[
    ("RemoteHost", Of::Remote),
    ("RemotePort", Of::Port),
    ("InternalClient", Of::Client6),
    ("InternalPort", Of::Port),
    ("Protocol", Of::Protocol),
    ("LeaseTime", Of::Number),
];
const NAMED: &[(&str, Of)] = &[("UniqueID", Of::Number)];

const ACTIONS: [Asked; 16] = [
    (Service::WanIp, "AddPortMapping", MAPPING),
    (Service::WanIp, "AddAnyPortMapping", MAPPING),
    (Service::WanIp, "DeletePortMapping", MAPPING.split_at(3).0),
    (
        Service::WanIp,
        "DeletePortMappingRange",
        &[
            ("NewStartPort", Of::Port),
            ("NewEndPort", Of::Port),
            ("NewProtocol", Of::Protocol),
            ("NewManage", Of::Flag),
        ],
    ),
    (Service::WanIpv6Firewall, "AddPinhole", PINHOLE),
    (
        Service::WanIpv6Firewall,
        "UpdatePinhole",
        &[("UniqueID", Of::Number), ("NewLeaseTime", Of::Number)],
    ),
    (Service::WanIpv6Firewall, "DeletePinhole", NAMED),
    // These only read.
    (
        Service::WanIp,
        LISTING,
        &[
            ("NewStartPort", Of::Port),
            ("NewEndPort", Of::Port),
            ("NewProtocol", Of::Protocol),
            ("NewManage", Of::Flag),
            ("NewNumberOfPorts", Of::Number),
        ],
    ),
    (Service::WanIp, "GetGenericPortMappingEntry", &[("NewPortMappingIndex", Of::Number)]),
    (Service::WanIp, "GetSpecificPortMappingEntry", MAPPING.split_at(3).0),
    (Service::WanIp, "GetExternalIPAddress", &[]),
    (Service::WanIp, "GetStatusInfo", &[]),
    (Service::WanIpv6Firewall, "GetPinholePackets", NAMED),
    (Service::WanIpv6Firewall, "CheckPinholeWorking", NAMED),
    (Service::WanIpv6Firewall, "GetOutboundPinholeTimeout", PINHOLE.split_at(5).0),
    (Service::WanCommon, "GetCommonLinkProperties", &[]),
];
const LISTING: &str = "GetListOfPortMappings";
/// So many of them change something.
const CHANGING: usize = 7;

#[derive(Default)]
struct Upnp {
    identity: Identity,
    subscriptions: Subscriptions<()>,
    /// How many have subscribed.
    subscribed: u8,
    /// What is left of an answer that comes in pieces, and how many have come.
    listing: Option<(Listing, usize)>,
}

pub fn run(mut bytes: &[u8]) {
    let (mut world, mut upnp) = (World::new(), Upnp::default());
    while let [what, length, rest @ ..] = bytes {
        let step = what >> 2 & 15;
        let unit = if step == RAW { UNIT } else { 1 };
        let data = &rest[..rest.len().min(usize::from(*length) * unit)];
        let mut taken = data.len();
        match step {
            0..=5 => taken = world.happen(step, *length, rest),
            6 | 7 => world.packet(*what, data),
            RAW => upnp.raw(&mut world, *what, data),
            _ => upnp.action(&mut world, *what, data),
        }
        bytes = &rest[taken..];
        upnp.events(&mut world, what & 0x80 != 0);
        upnp.piece(&world);
        world.check();
    }
    world.end();
}

impl Upnp {
    /// Any bytes, as one connection's.
    fn raw(&mut self, world: &mut World, what: u8, bytes: &[u8]) {
        let Ok(Some((request, length))) = parse_head(bytes) else { return };
        let client = HOSTS[usize::from(what & 3)];
        world.ask(client, |world| match events::subject(&request, &self.identity) {
            Some(at) => {
                self.subscribed = self.subscribed.wrapping_add(1);
                let subscriber = Subscriber {
                    host: client,
                    may_reach: &|address| same_host(address, client),
                    place: (),
                    random: [self.subscribed; 16],
                    now: world.now,
                };
                let answer = events::respond(&mut self.subscriptions, at, &request, subscriber);
                let sid = answer.headers.iter().find(|(name, _)| *name == "SID");
                if let Some((_, sid)) = sid.filter(|_| request.header("callback").is_some()) {
                    self.subscriptions.begin(sid, world.now);
                }
                assert!(self.subscriptions.len() <= SUBSCRIPTIONS_MAX);
                assert!(self.subscriptions.count_of(client) <= SUBSCRIPTIONS_PER_HOST);
                May::Nothing
            }
            None => match self.respond(world, client, &request, &bytes[length..]).status {
                200 => May::Own,
                _ => May::Nothing,
            },
        });
    }

    /// One of the actions, with arguments that make sense more often.
    fn action(&mut self, world: &mut World, what: u8, data: &[u8]) {
        let [action, values @ ..] = data else { return };
        let face = Face::ALL[usize::from(action >> 4 & 1)];
        let at = usize::from(action & 15);
        let (service, action, arguments) = ACTIONS[at];
        let face = if service == Service::WanIpv6Firewall { Face::V2 } else { face };
        let urn = service.urn(face);
        let mut body = format!("<s:Envelope xmlns:s=\"x\"><s:Body><u:{action} xmlns:u=\"{urn}\">");
        let mut values = values.iter().copied().chain(std::iter::repeat(0));
        let given: Vec<(&str, String)> = arguments
            .iter()
            .map(|(name, of)| (*name, of.value(values.next().unwrap_or_default())))
            .collect();
        given.iter().for_each(|(name, value)| xml::element(&mut body, name, value));
        body.push_str(&format!("</u:{action}></s:Body></s:Envelope>"));
        let path = service.path(face, postern::igd::tree::Leaf::Control);
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nSOAPACTION: \"{urn}#{action}\"\r\n\r\n");
        let (request, _) = parse_head(head.as_bytes()).unwrap().unwrap();
        let client = HOSTS[usize::from(what & 3)];
        world.ask(client, |world| {
            let response = self.respond(world, client, &request, body.as_bytes());
            let text = String::from_utf8_lossy(&response.body);
            match response.status {
                200 => assert!(text.contains(&format!("<u:{action}Response xmlns:u=\"{urn}\">"))),
                status => assert!(status == 500 && text.contains("<errorCode>"), "{text}"),
            }
            match response.status {
                200 if at < CHANGING => {
                    done(world, action, &given);
                    May::Own
                }
                200 if action == LISTING && what & 0x80 != 0 => {
                    self.listed(world, &response, &given);
                    May::Nothing
                }
                _ => May::Nothing,
            }
        });
    }

    /// One piece more of the answer that is under way, whatever has changed meanwhile.
    fn piece(&mut self, world: &World) -> Option<Vec<u8>> {
        let (listing, pieces) = self.listing.as_mut()?;
        let piece = listing.next(&world.gateway, world.now);
        *pieces += 1;
        // A host may have made other mappings since, but each has a larger port.
        assert!(*pieces <= usize::from(u16::MAX));
        match &piece {
            Some(piece) => assert!(piece.len() < PIECE_LEN + 4000),
            None => self.listing = None,
        }
        piece
    }

    /// The number of entries in a whole listing is that of the mappings asked for.
    fn listed(&mut self, world: &World, response: &Response, given: &[(&str, String)]) {
        let mut text = response.body.clone();
        while let Some(piece) = self.piece(world) {
            text.extend(piece);
        }
        let text = String::from_utf8(text).unwrap();
        assert!(text.ends_with("</s:Envelope>\r\n"), "{text}");
        let of = |name: &str| given.iter().find(|g| g.0 == name).map_or("", |g| &*g.1);
        let number = |name: &str| of(name).parse().unwrap_or(0);
        let Some(protocol) = Protocol::from_name(of("NewProtocol")) else { return };
        let ports = number("NewStartPort")..=number("NewEndPort");
        let most = match number("NewNumberOfPorts") {
            0 => usize::MAX,
            most => most.into(),
        };
        let there = world.gateway.range(protocol, ports).count().min(most);
        let entries = text.matches("<p:PortMappingEntry>").count();
        let all = ["1", "true"].contains(&of("NewManage"));
        assert!(if all { entries == there } else { (1..=there).contains(&entries) }, "{text}");
    }

    fn respond(
        &mut self,
        world: &mut World,
        client: IpAddr,
        request: &Request<'_>,
        body: &[u8],
    ) -> Response {
        let (response, listing) = self.within(world, client, |context| {
            (respond(context, request, body), context.listing.take())
        });
        assert_eq!(response.goes_on, listing.is_some());
        self.listing = listing.map(|listing| (listing, 0));
        response
    }

    fn within<T>(
        &self,
        world: &mut World,
        client: IpAddr,
        run: impl FnOnce(&mut Context<'_, Memory>) -> T,
    ) -> T {
        run(&mut Context {
            now: world.now,
            gateway: &mut world.gateway,
            identity: &self.identity,
            link: Link { up: true, ..Link::default() },
            counters: &Counters::default,
            client,
            same_host: &|address| same_host(address, client),
            timeouts: &|_| Some(60),
            listing: None,
        })
    }

    /// Tells subscribers what has changed; some are not there.
    fn events(&mut self, world: &mut World, there: bool) {
        self.subscriptions.expire(world.now);
        let mut from = 0;
        while let Some((at, face, service)) = self.subscriptions.ready(from, world.now) {
            from = at + 1;
            let before = world.tables();
            let values = self.within(world, HOSTS[0], |ctx| events::values(ctx, face, service));
            assert_eq!(world.tables(), before);
            let Some((event, to)) = self.subscriptions.event(at, &values) else { continue };
            let sid = to.sid.clone();
            let outcome = if there { Outcome::Delivered } else { Outcome::Unreachable };
            self.subscriptions.finish(&sid, event, outcome, world.now);
        }
    }
}

/// What an answer says that it is done has been done.
fn done(world: &World, action: &str, given: &[(&str, String)]) {
    let of = |name: &str| given.iter().find(|g| g.0 == name).map_or("", |g| &*g.1);
    let protocol = Protocol::from_name(of("NewProtocol"));
    let (Some(protocol), Ok(port)) = (protocol, of("NewExternalPort").parse()) else { return };
    let found =
        world.gateway.find(&External { protocol, port, remote: of("NewRemoteHost").parse().ok() });
    match action {
        "AddPortMapping" => {
            let internal = format!("{}:{}", of("NewInternalClient"), of("NewInternalPort"));
            assert_eq!(found.map(|m| m.internal.to_string()), Some(internal));
        }
        "DeletePortMapping" => assert_eq!(found, None),
        _ => {}
    }
}
