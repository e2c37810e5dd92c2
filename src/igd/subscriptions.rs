//! Who has subscribed to which service's events, and what each has been told (UDA 1.1 §4).
//!
//! Pure. A subscriber that is being told, or cannot be reached, is told later of what changed
//! meanwhile, with the newest values: nothing is queued, so nothing is lost and nothing grows.

use super::events::Values;
use super::identity::{uuid_text, Face};
use super::tree::Service;
use crate::proto::gena::{next_sequence, Callback};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Subscriptions in all.
pub const SUBSCRIPTIONS_MAX: usize = 64;
/// Subscriptions over IPv6 in all: a host has as many addresses as it likes.
pub const SUBSCRIPTIONS_V6_MAX: usize = 32;
/// Subscriptions of one address.
pub const SUBSCRIPTIONS_PER_HOST: usize = 16;
/// Shortest and longest term granted, in seconds.
pub const TERM_MIN: u32 = 1800;
/// See [`TERM_MIN`].
pub const TERM_MAX: u32 = 86_400;
/// Between the answer to SUBSCRIBE and the first NOTIFY, which come over two connections: GUPnP
/// subscribes anew, again and again, if it reads the NOTIFY before the answer.
pub const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Between the end of one NOTIFY and the next to the same subscriber: a burst of changes is told
/// in few.
pub const MODERATION: Duration = Duration::from_millis(200);
/// After a NOTIFY that did not arrive, doubled with each, and the longest such pause.
pub const RETRY_FIRST: Duration = Duration::from_secs(1);
/// See [`RETRY_FIRST`].
pub const RETRY_MAX: Duration = Duration::from_secs(64);

/// One subscription. `P` is what the driver needs to reach the subscriber.
#[derive(Debug)]
pub struct Subscription<P> {
    /// `SID`.
    pub sid: String,
    /// Whose service it is of.
    pub face: Face,
    /// Which service.
    pub service: Service,
    /// Where events go, in order of preference.
    pub callbacks: Vec<Callback>,
    /// How the subscriber is reached.
    pub place: P,
    host: IpAddr,
    expires: Instant,
    /// Number of the next NOTIFY.
    sequence: u32,
    /// Hash of each evented variable's value as it was last told; empty before the first event.
    told: Vec<u32>,
    /// No NOTIFY before this; `None`: none at all, because the answer to SUBSCRIBE is not written
    /// yet or another NOTIFY is under way.
    not_before: Option<Instant>,
    failures: u32,
}

/// A NOTIFY to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `SEQ`.
    pub sequence: u32,
    /// What has changed.
    pub values: Values,
    /// What will have been told once it has arrived.
    told: Vec<u32>,
}

/// What became of a NOTIFY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Delivered,
    /// Some of it may have arrived, but there was no answer.
    Lost,
    /// Nobody was there to hear it.
    Unreachable,
    /// The subscriber knows nothing of the subscription.
    Unknown,
}

/// All subscriptions.
#[derive(Debug)]
pub struct Subscriptions<P>(Vec<Subscription<P>>);

impl<P> Default for Subscriptions<P> {
    fn default() -> Self {
        Subscriptions(Vec::new())
    }
}

impl<P> Subscriptions<P> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many a host has.
    pub fn count_of(&self, host: IpAddr) -> usize {
        self.0.iter().filter(|s| s.host == host).count()
    }

    /// Takes a subscription; it is not told anything before [`begin`](Subscriptions::begin).
    /// Returns `SID` and the seconds granted, or `None` when there is no room. `random` becomes
    /// the SID.
    #[allow(clippy::too_many_arguments)]
    pub fn add(
        &mut self,
        (face, service): (Face, Service),
        host: IpAddr,
        callbacks: Vec<Callback>,
        seconds: Option<u32>,
        place: P,
        now: Instant,
        random: [u8; 16],
    ) -> Option<(String, u32)> {
        let of_v6 = self.0.iter().filter(|s| s.host.is_ipv6()).count();
        if self.0.len() >= SUBSCRIPTIONS_MAX
            || self.count_of(host) >= SUBSCRIPTIONS_PER_HOST
            || (host.is_ipv6() && of_v6 >= SUBSCRIPTIONS_V6_MAX)
        {
            return None;
        }
        let (sid, seconds) = (uuid_text(random), term(seconds));
        self.0.push(Subscription {
            sid: sid.clone(),
            face,
            service,
            callbacks,
            place,
            host,
            expires: now + Duration::from_secs(seconds.into()),
            sequence: 0,
            told: Vec::new(),
            not_before: None,
            failures: 0,
        });
        Some((sid, seconds))
    }

    /// The answer to SUBSCRIBE is written: the first event is due after [`FIRST_PAUSE`].
    pub fn begin(&mut self, sid: &str, now: Instant) {
        if let Some(found) = self.find(sid) {
            found.not_before = Some(now + FIRST_PAUSE);
        }
    }

    /// Gives a subscription to this service another term; the seconds granted, or `None` if there
    /// is no such subscription.
    pub fn renew(
        &mut self,
        at: (Face, Service),
        sid: &str,
        seconds: Option<u32>,
        now: Instant,
    ) -> Option<u32> {
        let found = self.find(sid).filter(|s| (s.face, s.service) == at)?;
        let seconds = term(seconds);
        found.expires = now + Duration::from_secs(seconds.into());
        Some(seconds)
    }

    /// Ends a subscription; `false` if there is none.
    pub fn cancel(&mut self, sid: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|s| s.sid != sid);
        self.0.len() < before
    }

    /// Ends all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether there is this one.
    pub fn has(&self, sid: &str) -> bool {
        self.0.iter().any(|s| s.sid == sid)
    }

    /// Ends a subscription to this service; `false` if there is none.
    pub fn cancel_at(&mut self, at: (Face, Service), sid: &str) -> bool {
        let there = self.find(sid).is_some_and(|s| (s.face, s.service) == at);
        there && self.cancel(sid)
    }

    /// Ends what has expired, without a word (§4.1).
    pub fn expire(&mut self, now: Instant) {
        self.0.retain(|s| s.expires > now);
    }

    /// The next subscriber from place `from` on that can be told something now: its place, and
    /// what it has subscribed to.
    pub fn ready(&self, from: usize, now: Instant) -> Option<(usize, Face, Service)> {
        let mut rest = self.0.iter().enumerate().skip(from);
        let (at, found) = rest.find(|(_, s)| s.not_before.is_some_and(|at| at <= now))?;
        Some((at, found.face, found.service))
    }

    /// What the subscriber at this place has to be told of the values as they are now. If there is
    /// something, no more is told before [`finish`](Subscriptions::finish).
    pub fn event(&mut self, at: usize, values: &Values) -> Option<(Event, &Subscription<P>)> {
        let found = self.0.get_mut(at)?;
        let told: Vec<u32> = values.iter().map(|(_, value)| hash(value)).collect();
        let first = found.told.is_empty();
        let mut changed: Vec<bool> = match first {
            true => vec![true; told.len()],
            false => told.iter().zip(&found.told).map(|(now, then)| now != then).collect(),
        };
        // These two are told together (WANIPConnection:2 §2.4.4, §2.4.5).
        let of_table = |at: &usize| TOGETHER.contains(&values[*at].0);
        if (0..changed.len()).filter(of_table).any(|at| changed[at]) {
            (0..changed.len()).filter(of_table).for_each(|at| changed[at] = true);
        }
        let pairs = values.iter().zip(changed);
        let values: Values =
            pairs.filter(|(_, changed)| *changed).map(|(value, _)| value.clone()).collect();
        if values.is_empty() {
            return None;
        }
        found.not_before = None;
        Some((Event { sequence: found.sequence, values, told }, found))
    }

    /// What became of an event.
    pub fn finish(&mut self, sid: &str, event: Event, outcome: Outcome, now: Instant) {
        if outcome == Outcome::Unknown {
            self.cancel(sid);
            return;
        }
        let Some(found) = self.find(sid) else { return };
        if outcome != Outcome::Unreachable {
            found.sequence = next_sequence(event.sequence);
        }
        let pause = match outcome {
            Outcome::Delivered => {
                found.told = event.told;
                found.failures = 0;
                MODERATION
            }
            _ => {
                let pause = RETRY_FIRST.saturating_mul(1 << found.failures.min(6)).min(RETRY_MAX);
                found.failures += 1;
                pause
            }
        };
        found.not_before = Some(now + pause);
    }

    /// When something is due without anything changing: a pause or a subscription ends.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let pauses = self.0.iter().filter_map(|s| s.not_before).filter(|at| *at > now);
        pauses.chain(self.0.iter().map(|s| s.expires)).min()
    }

    fn find(&mut self, sid: &str) -> Option<&mut Subscription<P>> {
        self.0.iter_mut().find(|s| s.sid == sid)
    }
}

/// Variables that are told together.
const TOGETHER: [&str; 2] = ["PortMappingNumberOfEntries", "SystemUpdateID"];

fn term(seconds: Option<u32>) -> u32 {
    seconds.unwrap_or(TERM_MAX).clamp(TERM_MIN, TERM_MAX)
}

/// FNV-1a: no secret, only to tell values apart.
fn hash(value: &str) -> u32 {
    value.bytes().fold(0x811c_9dc5, |hash, b| (hash ^ u32::from(b)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests;
