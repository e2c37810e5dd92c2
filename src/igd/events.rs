//! Eventing of the services: who may subscribe, and which values a subscriber is told.

use super::action::Call;
use super::identity::Face;
use super::subscriptions::Subscriptions;
use super::tree::{Leaf, Place, Service};
use super::{control, tree, variables, Context};
use crate::netfilter::Backend;
use crate::proto::gena::{self, Callback, Demand};
use crate::proto::http::{Method, Request, Response};
use std::net::IpAddr;
use std::time::Instant;

/// Variables with their values.
pub type Values = Vec<(&'static str, String)>;

/// The service whose events a SUBSCRIBE or UNSUBSCRIBE is about, if it is one.
pub fn subject(request: &Request<'_>, id: &super::Identity) -> Option<(Face, Service)> {
    let method = matches!(request.method, Method::Subscribe | Method::Unsubscribe);
    match tree::find(request.path).filter(|place| method && place.is_shown(id))? {
        Place::Service(face, service, Leaf::Event) => Some((face, service)),
        _ => None,
    }
}

/// Who subscribes, and what its subscription needs.
pub struct Subscriber<'a, P> {
    /// The request's source.
    pub host: IpAddr,
    /// Whether events may go to this address: the subscriber's own, and of the LAN.
    pub may_reach: &'a dyn Fn(IpAddr) -> bool,
    /// How it is reached.
    pub place: P,
    /// Becomes the SID.
    pub random: [u8; 16],
    /// Now.
    pub now: Instant,
}

/// Answers a SUBSCRIBE or UNSUBSCRIBE (UDA 1.1 §4.1.2 to §4.1.4). Events go to the subscriber
/// itself only; a callback elsewhere is left out (CVE-2020-12695).
pub fn respond<P>(
    subscriptions: &mut Subscriptions<P>,
    at: (Face, Service),
    request: &Request<'_>,
    subscriber: Subscriber<'_, P>,
) -> Response {
    if request.is_of_page() {
        return Response::new(403);
    }
    let now = subscriber.now;
    subscriptions.expire(now);
    let granted = match gena::parse(request) {
        Err(status) => return Response::new(status),
        Ok(Demand::Cancel(sid)) => {
            return Response::new(if subscriptions.cancel_at(at, &sid) { 200 } else { 412 });
        }
        Ok(Demand::Renew(sid, seconds)) => {
            let seconds = subscriptions.renew(at, &sid, seconds, now);
            seconds.map(|seconds| (sid, seconds)).ok_or(412)
        }
        Ok(Demand::Subscribe(mut callbacks, seconds)) => {
            callbacks.retain(|Callback { address, .. }| (subscriber.may_reach)(address.ip()));
            if callbacks.is_empty() {
                return Response::new(412);
            }
            let Subscriber { host, place, random, .. } = subscriber;
            subscriptions.add(at, host, callbacks, seconds, place, now, random).ok_or(503)
        }
    };
    match granted {
        Ok((sid, seconds)) => Response::new(200)
            .header("SID", sid)
            .header("TIMEOUT", ["Second-", &seconds.to_string()].concat()),
        Err(status) => Response::new(status),
    }
}

/// The evented variables of a service as they are now.
pub fn values<B: Backend + 'static>(
    ctx: &mut Context<'_, B>,
    face: Face,
    service: Service,
) -> Values {
    let version = service.version(face);
    let mut call = Call { ctx, face, version, arguments: &[] };
    let evented = variables(service, face).filter(|variable| variable.evented);
    let read = |name| (name, control::value(&mut call, service, name).unwrap_or_default());
    evented.map(|variable| variable.name).map(read).collect()
}
