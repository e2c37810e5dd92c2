//! The Internet Gateway Device: descriptions and SOAP control over a [`Gateway`].
//!
//! Two device trees are served side by side (see [`Face`]). Requests come in parsed by
//! [`http`](crate::proto::http); whatever they hold, the answer is a response, never a panic, and
//! nothing has changed unless it says success.

mod action;
mod codes;
mod control;
mod description;
pub mod events;
mod identity;
mod layer3_forwarding;
mod scpd;
pub mod subscriptions;
pub mod tree;
mod wan_common;
mod wan_ip;
mod wan_ipv6_firewall;

pub use identity::{Face, Identity, MODEL_MAX, NAME_MAX, URL_MAX};
pub use wan_ip::{Listing, PIECE_LEN};

use crate::gateway::mapping::Protocol;
use crate::gateway::{ExternalState, Gateway};
use crate::netfilter::Backend;
use crate::proto::{http, soap};
use action::{Action, Variable};
use std::net::IpAddr;
use std::time::{Duration, Instant};
pub use tree::Service;
use tree::{Leaf, Place};

/// Longest `Accept-Language` tag echoed, in bytes.
pub const LANGUAGE_MAX: usize = 35;

/// What the WAN device has carried since it is there. UPnP reports them modulo 2^32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes sent to the WAN.
    pub bytes_sent: u64,
    /// Bytes received from the WAN.
    pub bytes_received: u64,
    /// Packets sent to the WAN.
    pub packets_sent: u64,
    /// Packets received from the WAN.
    pub packets_received: u64,
}

/// The WAN link as it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether there is a carrier.
    pub up: bool,
    /// Upstream rate in bit/s, 0 if unknown.
    pub upstream_bps: u32,
    /// Downstream rate in bit/s, 0 if unknown.
    pub downstream_bps: u32,
    /// What GetStatusInfo reports, in whole seconds.
    pub uptime: Duration,
}

/// The world a request is answered in.
pub struct Context<'a, B: Backend> {
    /// The lease table.
    pub gateway: &'a mut Gateway<B>,
    /// What the description says.
    pub identity: &'a Identity,
    /// The WAN link.
    pub link: Link,
    /// Reads the WAN device's counters; called only when they are asked for.
    pub counters: &'a dyn Fn() -> Counters,
    /// The request's source.
    pub client: IpAddr,
    /// Whether this address, too, is the host's that asks: the kernel's neighbour table shows the
    /// same link-layer address for both. Asked only where the source itself does not decide.
    pub same_host: &'a dyn Fn(IpAddr) -> bool,
    /// Seconds that the kernel keeps a connection of this protocol without traffic; `None` if it
    /// does not say.
    pub timeouts: &'a dyn Fn(Protocol) -> Option<u32>,
    /// Now.
    pub now: Instant,
    /// What is left of a listing of which the response has only the beginning. Its pieces follow the
    /// response's body, one after the other, and the connection's end is theirs.
    pub listing: Option<Listing>,
}

impl<B: Backend> Context<'_, B> {
    /// Whether the connection counts as `Connected`: the link is up and has an address. A private
    /// address is a connection too; that nothing can be mapped then shows in an empty
    /// ExternalIPAddress, which clients check next.
    fn connected(&self) -> bool {
        self.link.up && self.gateway.external() != ExternalState::None
    }
}

/// Answers a request. HEAD gets the body of GET: the writer leaves it out. 403 for what a web page
/// sent, which no control point is; no answer has a header that would let a page read it.
pub fn respond<B: Backend + 'static>(
    ctx: &mut Context<'_, B>,
    request: &http::Request<'_>,
    body: &[u8],
) -> http::Response {
    use http::Method::{Get, Head, MPost, Post};
    if request.is_of_page() {
        return http::Response::new(403);
    }
    let Some(place) = tree::find(request.path).filter(|place| place.is_shown(ctx.identity)) else {
        return http::Response::new(404);
    };
    match (place, request.method) {
        (Place::Description(face), Get | Head) => {
            document(request, description::write(ctx.identity, face))
        }
        (Place::Service(face, service, Leaf::Scpd), Get | Head) => {
            document(request, service_description::<B>(service, face))
        }
        (Place::Service(face, service, Leaf::Control), Post | MPost) => {
            control::respond(ctx, face, service, request, body)
        }
        (place, _) => http::Response::new(405).header("Allow", allowed(place)),
    }
}

/// Everything that is described, for `CONFIGID.UPNP.ORG`: it changes when any description does.
/// The service descriptions are fixed within a version of the program.
pub fn described(id: &Identity) -> String {
    let [first, second] = Face::ALL.map(|face| description::write(id, face));
    [&first, &second, env!("CARGO_PKG_VERSION")].concat()
}

/// The methods of a place.
const fn allowed(place: Place) -> &'static str {
    match place {
        Place::Description(_) | Place::Service(_, _, Leaf::Scpd) => "GET, HEAD",
        Place::Service(_, _, Leaf::Control) => "POST, M-POST",
        // Answered by [`events::respond`].
        Place::Service(_, _, Leaf::Event) => "SUBSCRIBE, UNSUBSCRIBE",
    }
}

fn document(request: &http::Request<'_>, text: String) -> http::Response {
    let response = http::Response::new(200).body(soap::CONTENT_TYPE, text);
    match request.header("accept-language").and_then(first_language) {
        Some(language) => response.header("Content-Language", language),
        None => response,
    }
}

/// The first tag of an `Accept-Language`. Our words are names, the same in every language.
fn first_language(header: &str) -> Option<&str> {
    let tag = header.split([',', ';']).next()?.trim();
    let is_tag = tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (is_tag && !tag.is_empty() && tag.len() <= LANGUAGE_MAX).then_some(tag)
}

fn service_description<B: Backend + 'static>(service: Service, face: Face) -> String {
    scpd::write(actions::<B>(service, service.version(face)), variables(service, face))
}

/// The actions of a service in one version.
fn actions<B: Backend + 'static>(
    service: Service,
    version: Face,
) -> impl Iterator<Item = &'static Action<B>> {
    let (base, more): (&[Action<B>], &[Action<B>]) = match service {
        Service::Layer3Forwarding => (layer3_forwarding::actions(), &[]),
        Service::WanCommon => (wan_common::actions(), &[]),
        Service::WanIp => (wan_ip::actions(), wan_ip::actions_of(version)),
        Service::WanIpv6Firewall => (wan_ipv6_firewall::actions(), &[]),
    };
    base.iter().chain(more)
}

/// The state variables of a service on one face.
fn variables(service: Service, face: Face) -> impl Iterator<Item = &'static Variable> {
    let (base, more): (&[Variable], &[Variable]) = match service {
        Service::Layer3Forwarding => (layer3_forwarding::VARIABLES, &[]),
        Service::WanCommon => (wan_common::VARIABLES, &[]),
        Service::WanIp => (wan_ip::VARIABLES, wan_ip::variables_of(face)),
        Service::WanIpv6Firewall => (wan_ipv6_firewall::VARIABLES, &[]),
    };
    base.iter().chain(more)
}

#[cfg(test)]
mod tests;
