//! Events on their way: what has changed is sent to who has subscribed, one NOTIFY at a time to
//! each, and nobody waits for anybody.

use super::lan::Place;
use super::runtime::{self, Io, Task};
use super::sockets::on_device;
use super::{sockets, system, Daemon, State};
use crate::igd::events::{self, Subscriber, Values};
use crate::igd::subscriptions::{Event, Outcome};
use crate::igd::{Context, Face, Service};
use crate::proto::gena::{self, Callback};
use crate::proto::http::{Method, Request, Response};
use crate::sys::Interest;
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

/// Time for one NOTIFY, all callbacks together (UDA 1.1 §4.3.2).
pub const NOTIFY_TIME: Duration = Duration::from_secs(30);
/// Time for one callback while others are left to try.
pub const CALLBACK_TIME: Duration = Duration::from_secs(5);
/// Bytes of an answer that are looked at.
const ANSWER_MAX: usize = 512;

impl Daemon {
    /// Answers a SUBSCRIBE or UNSUBSCRIBE that `client` sent at `place`.
    pub(super) fn subscribe(
        &self,
        at: (Face, Service),
        request: &Request<'_>,
        place: &Place,
        client: IpAddr,
        unknown: &Cell<Option<IpAddr>>,
    ) -> Response {
        let may_reach = |address: IpAddr| self.same_host(place, client, address, unknown);
        let subscriber = Subscriber {
            host: client,
            may_reach: &may_reach,
            place: place.clone(),
            random: system::random(),
            now: Instant::now(),
        };
        let response = events::respond(&mut self.subscriptions(), at, request, subscriber);
        if request.method == Method::Unsubscribe {
            self.0.changed.set();
        }
        response
    }

    /// Ends every subscription, as whatever was announced does when it is taken back (UDA 1.1
    /// §4.1).
    pub(super) fn forget_subscribers(&self) {
        self.subscriptions().clear();
        self.0.changed.set();
    }

    /// The answer to a SUBSCRIBE has been written, or could not be.
    pub(super) fn subscribed(&self, sid: &str, written: bool) {
        let mut subscriptions = self.subscriptions();
        match written {
            true => subscriptions.begin(sid, Instant::now()),
            false => drop(subscriptions.cancel(sid)),
        }
        self.0.changed.set();
    }

    /// Looks for what has to be told, and when to look again. `under_way` are the NOTIFYs of before
    /// with their subscriptions: one whose subscription has ended ends with it, so that there are
    /// never more of them than subscriptions.
    fn look(&self, under_way: &mut Vec<(String, Task<()>)>) -> Option<Instant> {
        let now = Instant::now();
        let mut subscriptions = self.subscriptions();
        subscriptions.expire(now);
        under_way.retain(|(sid, task)| !task.is_finished() && subscriptions.has(sid));
        let mut known: Vec<((Face, Service), Values)> = Vec::new();
        let mut from = 0;
        while let Some((at, face, service)) = subscriptions.ready(from, now) {
            from = at + 1;
            let place = match known.iter().position(|(of, _)| *of == (face, service)) {
                Some(place) => place,
                None => {
                    known.push(((face, service), self.state().values(face, service, now)));
                    known.len() - 1
                }
            };
            if let Some((event, subscription)) = subscriptions.event(at, &known[place].1) {
                let sid = subscription.sid.clone();
                let delivery = Delivery {
                    daemon: self.clone(),
                    sid: sid.clone(),
                    place: subscription.place.clone(),
                    callbacks: subscription.callbacks.clone(),
                };
                under_way.push((sid, self.runtime().spawn(delivery.run(event))));
            }
        }
        subscriptions.poll_timeout(now)
    }
}

/// Tells subscribers what changes, for ever.
pub async fn follow(daemon: Daemon) {
    let mut under_way = Vec::new();
    loop {
        let next = daemon.look(&mut under_way);
        let changed = daemon.0.changed.wait();
        match next {
            Some(at) => runtime::or(daemon.runtime().sleep_until(at), changed).await,
            None => changed.await,
        }
    }
}

impl State {
    fn values(&mut self, face: Face, service: Service, now: Instant) -> Values {
        let link = self.link();
        let mut context = Context {
            gateway: &mut self.gateway,
            identity: &self.identity,
            link,
            counters: &Default::default,
            client: Ipv4Addr::UNSPECIFIED.into(),
            same_host: &|_| false,
            timeouts: &|_| None,
            now,
            listing: None,
        };
        events::values(&mut context, face, service)
    }
}

/// One NOTIFY on its way.
struct Delivery {
    daemon: Daemon,
    sid: String,
    place: Place,
    callbacks: Vec<Callback>,
}

impl Delivery {
    async fn run(self, event: Event) {
        let end = Instant::now() + NOTIFY_TIME;
        let mut outcome = Outcome::Unreachable;
        let mut rest = &self.callbacks[..];
        while let Some((callback, others)) = rest.split_first() {
            rest = others;
            let until = match others {
                [] => end,
                _ => end.min(Instant::now() + CALLBACK_TIME),
            };
            let sent = Cell::new(false);
            let attempt = self.attempt(callback, &event, &sent);
            let status = self.daemon.runtime().until(until, attempt).await.and_then(Result::ok);
            outcome = match status.flatten() {
                Some(412) => Outcome::Unknown,
                Some(_) => Outcome::Delivered,
                None if sent.get() => Outcome::Lost,
                None => outcome,
            };
            log::debug!("event {} to {}: {status:?}", event.sequence, callback.address);
            if matches!(outcome, Outcome::Delivered | Outcome::Unknown) {
                break;
            }
        }
        self.daemon.subscriptions().finish(&self.sid, event, outcome, Instant::now());
        self.daemon.0.changed.set();
    }

    /// The status that one callback answers with.
    async fn attempt(
        &self,
        callback: &Callback,
        event: &Event,
        sent: &Cell<bool>,
    ) -> io::Result<Option<u16>> {
        let to = on_device(callback.address.ip(), callback.address.port(), self.place.index);
        let stream = sockets::connect(&self.place, to)?;
        let stream: Io<TcpStream> = self.daemon.runtime().watch(stream, Interest::Both)?;
        let mut out = Vec::new();
        gena::write_notify(&mut out, callback, &self.sid, event.sequence, &event.values);
        let mut rest = &out[..];
        while !rest.is_empty() {
            let written = stream.write_with(|mut stream| stream.write(rest)).await?;
            sent.set(true);
            rest = rest.get(written..).unwrap_or_default();
        }
        let (mut answer, mut piece) = (Vec::new(), [0; 64]);
        while answer.len() < ANSWER_MAX && gena::status(&answer).is_none() {
            match stream.read_with(|mut stream| stream.read(&mut piece)).await? {
                0 => break,
                read => answer.extend_from_slice(piece.get(..read).unwrap_or_default()),
            }
        }
        Ok(gena::status(&answer))
    }
}
