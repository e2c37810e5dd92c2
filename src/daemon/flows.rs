//! Ends flows that the table would not let in any more, through ctnetlink: a rule that is gone does
//! not end them by itself.
//!
//! Looking through the kernel's connection table costs by what is in it, so it is never done within
//! a request: what was closed is collected for a moment, and the looking has pauses.

use super::runtime::yield_now;
use super::{system, Daemon};
use crate::gateway::mapping::Protocol;
use crate::gateway::{Closed, Place};
use crate::netfilter::conntrack::{dump, Entry, Which};
use crate::netlink::socket::{Event, Socket};
use crate::netlink::wire::{self, Messages, Writer};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// From the first closing to the look, which is for all that is closed meanwhile.
const DELAY: Duration = Duration::from_millis(20);
/// After each look so many times what it took, but no longer than [`REST_MAX`].
const REST: u32 = 9;
const REST_MAX: Duration = Duration::from_millis(400);
/// Most questions that are asked one by one; more are one question for all flows.
const SINGLE_MAX: usize = 4;
/// So few flows are asked for all at once: each question has the kernel walk its whole table, which
/// costs by its size as long as there is not much to tell.
const FEW: u32 = 512;
/// From a look that has failed to the one that is made up for it.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Most flows ended at once; where there are more, it is looked again.
const ENDED_AT_ONCE: usize = 512;
/// Most looks for that: 131,072 flows.
const ROUNDS_MAX: u32 = 256;
/// Numbers of the messages that end them, none of which is that of a question.
const ENDS_FROM: u32 = 1 << 16;
/// How often an answer that is not there yet is waited for, and how long each time.
const WAITS_MAX: u32 = 200;
const WAIT: Duration = Duration::from_millis(5);

/// Ends what is to be ended, for ever.
pub async fn end(daemon: Daemon) {
    let (mut told, mut failed) = (false, false);
    loop {
        daemon.0.closed.wait().await;
        daemon.runtime().sleep_until(Instant::now() + DELAY).await;
        let closed = daemon.state().gateway.take_closed();
        if closed.is_empty() || !daemon.state().config.revoke_flows {
            continue;
        }
        let start = Instant::now();
        let ended = daemon.end_flows(&closed).await;
        // Once: a kernel that cannot tell is not asked for ever.
        let again = ended.is_err() && !failed;
        failed = ended.is_err();
        match ended {
            Ok(0) => {}
            Ok(count) => log::info!("{count} connections through closed ports are ended"),
            Err(e) if again => {
                log::debug!("conntrack: {e}; trying again");
                daemon.runtime().sleep_until(Instant::now() + RETRY_PAUSE).await;
                daemon.state().gateway.put_back(closed);
                daemon.0.closed.set();
                continue;
            }
            Err(e) if !told => {
                told = true;
                log::warn!(
                    "connections through closed ports go on until they are idle: {e} (is \
                     kmod-nf-conntrack-netlink there? option revoke_flows '0' is for without)"
                );
            }
            Err(e) => log::debug!("conntrack: {e}"),
        }
        let rest = (start.elapsed() * REST).min(REST_MAX);
        daemon.runtime().sleep_until(Instant::now() + rest).await;
    }
}

/// What must be asked for: for few places only their flows.
fn questions(closed: &Closed, few: bool) -> Vec<(bool, Which)> {
    let is_6 = |place: &Place| matches!(place, Place::Host(..));
    let mut singles = Vec::new();
    for place in &closed.places {
        let (which, also) = match *place {
            Place::Port(protocol, port) | Place::Host(protocol, _, port) => {
                (Which::To(protocol, port), None)
            }
            Place::Endpoint(protocol, internal) => (Which::From(protocol, internal.port()), None),
            Place::Opened(protocol, port) => {
                (Which::To(protocol, port), Some(Which::AnsweredTo(protocol, port)))
            }
        };
        singles.push((is_6(place), which));
        singles.extend(also.map(|also| (false, also)));
    }
    let most = if few { 1 } else { SINGLE_MAX };
    let all = closed.everywhere || closed.opened_everywhere || closed.address;
    if all || singles.len() > most {
        let families = [false, true].into_iter();
        let wanted = |ipv6: &bool| {
            let of_family = closed.places.iter().any(|p| is_6(p) == *ipv6);
            of_family || closed.everywhere || (all && !ipv6)
        };
        return families.filter(wanted).map(|ipv6| (ipv6, Which::All)).collect();
    }
    singles
}

/// Decides whether it is looked again because there was more than could be ended at once.
struct Rounds {
    left: u32,
    last: usize,
}

impl Rounds {
    fn new() -> Rounds {
        Rounds { left: ROUNDS_MAX, last: usize::MAX }
    }

    /// After a look that has found so many to end. Not when the looks before have ended nothing: some
    /// kernels do not end flows that are offloaded.
    fn again(&mut self, found: usize) -> bool {
        self.left = self.left.saturating_sub(1);
        let fallen = found < std::mem::replace(&mut self.last, found);
        found > ENDED_AT_ONCE && fallen && self.left > 0
    }
}

impl Daemon {
    /// Ends the flows that have lost their leave at these places; returns how many.
    ///
    /// # Errors
    /// The kernel's connection table cannot be asked.
    async fn end_flows(&self, closed: &Closed) -> io::Result<usize> {
        let mut socket = Socket::nfnetlink()?;
        let mut all = 0;
        let few = system::flows().is_some_and(|count| count <= FEW);
        for (ipv6, which) in questions(closed, few) {
            let mut rounds = Rounds::new();
            loop {
                let mut ends = Writer::new(ENDS_FROM);
                let found = self.end_some(&mut socket, ipv6, which, closed, &mut ends).await?;
                all += found.min(ENDED_AT_ONCE);
                if found > 0 {
                    // Only now: an end would shift the walk.
                    socket.send(&ends.finish())?;
                }
                if !rounds.again(found) {
                    break;
                }
            }
        }
        Ok(all)
    }

    /// Looks through flows and writes the ends of those that have lost their leave, up to
    /// [`ENDED_AT_ONCE`]; returns how many have. Everything else has its turn after each piece.
    async fn end_some(
        &self,
        socket: &mut Socket,
        ipv6: bool,
        which: Which,
        closed: &Closed,
        ends: &mut Writer,
    ) -> io::Result<usize> {
        let mut writer = Writer::new(1);
        let sequence = dump(&mut writer, ipv6, which);
        socket.send(&writer.finish())?;
        let (mut count, mut waits) = (0, 0);
        loop {
            let length = match socket.event()? {
                Event::Bytes(length) => length,
                Event::Empty if waits < WAITS_MAX => {
                    waits += 1;
                    self.runtime().sleep_until(Instant::now() + WAIT).await;
                    continue;
                }
                Event::Empty | Event::Lost => return Err(io::ErrorKind::TimedOut.into()),
            };
            let messages = Messages(socket.received(length));
            for message in messages.filter(|message| message.sequence == sequence) {
                match message.kind {
                    wire::DONE | wire::ERROR => {
                        return match message.errno() {
                            0 => Ok(count),
                            errno => Err(io::Error::from_raw_os_error(errno)),
                        };
                    }
                    _ => {
                        let entry = Entry::read(&message);
                        if let Some(entry) = entry.filter(|entry| !self.has_leave(closed, entry)) {
                            if count < ENDED_AT_ONCE {
                                entry.delete(ends);
                            }
                            count += 1;
                        }
                    }
                }
            }
            yield_now().await;
        }
    }

    /// Whether a flow is none of those looked for, or may go on.
    fn has_leave(&self, closed: &Closed, entry: &Entry<'_>) -> bool {
        let mut state = self.state();
        let signal = state.gateway.backend().signal();
        let gateway = &state.gateway;
        let (protocol, (from, to), (answers_from, answers_to)) =
            (entry.protocol, entry.original, entry.reply);
        let place = match to.ip() {
            IpAddr::V4(_) => Place::Port(protocol, to.port()),
            IpAddr::V6(host) => Place::Host(protocol, host, to.port()),
        };
        let translated = to.is_ipv6() || answers_from != to;
        if translated && entry.has(signal) {
            // Two WANs may have one address each, of which only one is followed.
            if closed.address && to.is_ipv4() && !state.net.has(to.ip()) {
                return false;
            }
            if closed.has(&place) {
                return gateway.lets_in(protocol, from, to, answers_from);
            }
        }
        // As it is noted: programs stand another port of UDP, not of TCP.
        let SocketAddr::V4(internal) = from else { return true };
        if protocol != Protocol::Udp {
            return true;
        }
        let to_router = !translated && closed.has(&Place::Opened(protocol, to.port()));
        if to_router && gateway.leads_on(protocol, from, to) {
            return false;
        }
        if answers_to == from || !gateway.is_external(answers_to.ip()) {
            return true;
        }
        let port = answers_to.port();
        let own = closed.has(&Place::Endpoint(protocol, internal))
            && gateway.leaving_port(protocol, internal).is_some_and(|leaving| leaving != port);
        let others = closed.has(&Place::Opened(protocol, port))
            && gateway.is_of_others(protocol, port, internal);
        !own && !others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_places_or_few_flows_are_asked_for_in_the_fewest_walks() {
        let mapped = Place::Opened(Protocol::Udp, 17000);
        let [v4, v6] = [false, true].map(|ipv6| (ipv6, Which::All));
        let asked = |places: &[Place], few| {
            questions(&Closed { places: places.to_vec(), ..Closed::default() }, few)
        };
        assert_eq!(
            asked(&[mapped], false),
            [
                (false, Which::To(Protocol::Udp, 17000)),
                (false, Which::AnsweredTo(Protocol::Udp, 17000))
            ]
        );
        assert_eq!(asked(&[mapped], true), [v4]);
        let port = |port| Place::Port(Protocol::Tcp, port);
        assert_eq!(asked(&[port(1)], true), [(false, Which::To(Protocol::Tcp, 1))]);
        assert_eq!(asked(&[port(1), port(2), port(3), port(4)], false).len(), 4);
        assert_eq!(asked(&[port(1), port(2), port(3), mapped], false), [v4]);
        let host = Place::Host(Protocol::Udp, std::net::Ipv6Addr::LOCALHOST, 1);
        assert_eq!(asked(&[port(1), host], true), [v4, v6]);
        let none = Closed::default;
        assert_eq!(questions(&Closed { everywhere: true, ..none() }, false), [v4, v6]);
        assert_eq!(questions(&Closed { opened_everywhere: true, ..none() }, false), [v4]);
        assert_eq!(questions(&Closed { address: true, ..none() }, false), [v4]);
    }

    #[test]
    fn it_is_looked_again_while_there_is_more_and_it_gets_less() {
        let looks = |found: &[usize]| {
            let mut rounds = Rounds::new();
            1 + found.iter().take_while(|found| rounds.again(**found)).count()
        };
        assert_eq!(looks(&[0]), 1);
        assert_eq!(looks(&[ENDED_AT_ONCE]), 1);
        assert_eq!(looks(&[2000, 1488, 976, 464]), 4);
        assert_eq!(looks(&[2000, 2000, 1488]), 2, "nothing was ended");
        let slowly: Vec<usize> = (0..1000).map(|round| 1_000_000 - round).collect();
        assert_eq!(looks(&slowly), ROUNDS_MAX as usize);
    }
}
