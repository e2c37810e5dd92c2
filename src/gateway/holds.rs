//! External ports that were given up a moment ago: what the Internet still sends there is meant for
//! the host that had them, so for a while nobody else gets one (RFC 6887 §15).

use crate::gateway::mapping::{Mapping, Protocol};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Most ports kept; beyond it the one given up first is free.
pub const HOLDS_MAX: usize = 256;
/// Most of one host; beyond it its own first one is free.
pub const HOLDS_PER_HOST: usize = 64;
/// How long a UDP port is kept: an idle mapping's time (RFC 4787 §4.3).
pub const HOLD_UDP: Duration = Duration::from_secs(2 * 60);
/// How long a TCP port is kept: an idle connection's time (RFC 5382 §5).
pub const HOLD_TCP: Duration = Duration::from_secs(124 * 60);
/// How long a port is kept even from who has no other choice (RFC 793's maximum segment lifetime):
/// a user who moves a program to another machine shall not wait for hours.
pub const HOLD_SHORT: Duration = HOLD_UDP;

#[derive(Debug)]
struct Hold {
    protocol: Protocol,
    port: u16,
    host: Ipv4Addr,
    since: Instant,
    until: Instant,
}

/// The ports and who had them, the one given up first in front.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    list: VecDeque<Hold>,
    /// When [`pass`](Holds::pass) was called last.
    now: Option<Instant>,
}

impl Holds {
    /// A mapping has ended.
    pub(crate) fn keep(&mut self, mapping: &Mapping, now: Instant) {
        let (protocol, port) = (mapping.external.protocol, mapping.external.port);
        let host = *mapping.internal.ip();
        let time = match protocol {
            Protocol::Tcp => HOLD_TCP,
            Protocol::Udp => HOLD_UDP,
        };
        let Some(until) = now.checked_add(time) else { return };
        self.list.retain(|hold| (hold.protocol, hold.port) != (protocol, port));
        self.pass(now);
        let own = self.list.iter().filter(|hold| hold.host == host).count();
        let first = match own >= HOLDS_PER_HOST {
            true => self.list.iter().position(|hold| hold.host == host),
            false => (self.list.len() >= HOLDS_MAX).then_some(0),
        };
        if let Some(first) = first {
            self.list.remove(first);
        }
        self.list.push_back(Hold { protocol, port, host, since: now, until });
    }

    /// Forgets those whose time is up.
    pub(crate) fn pass(&mut self, now: Instant) {
        self.list.retain(|hold| hold.until > now);
        self.now = Some(now);
    }

    /// Whether a port is kept for another host.
    pub(crate) fn keeps_from(&self, host: Ipv4Addr, protocol: Protocol, port: u16) -> bool {
        self.of_another(host, protocol, port).is_some()
    }

    /// Whether it is even from who has no other choice, for [`HOLD_SHORT`].
    pub(crate) fn keeps_strictly(&self, host: Ipv4Addr, protocol: Protocol, port: u16) -> bool {
        let hold = self.of_another(host, protocol, port);
        let age = |hold: &Hold| Some(self.now?.saturating_duration_since(hold.since));
        hold.and_then(age).is_some_and(|age| age < HOLD_SHORT)
    }

    fn of_another(&self, host: Ipv4Addr, protocol: Protocol, port: u16) -> Option<&Hold> {
        let mut same = self.list.iter().filter(|h| (h.protocol, h.port) == (protocol, port));
        same.find(|hold| hold.host != host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::mapping::{External, Id, Origin};
    use std::net::SocketAddrV4;

    fn mapping(host: Ipv4Addr, port: u16) -> Mapping {
        Mapping {
            id: Id(1),
            external: External { protocol: Protocol::Tcp, port, remote: None },
            internal: SocketAddrV4::new(host, 7),
            expires: None,
            enabled: true,
            origin: Origin::Pcp,
            description: String::new(),
            guard: None,
        }
    }

    #[test]
    fn one_host_cannot_push_out_what_is_kept_for_others() {
        let [alice, bob] = [10, 20].map(|last| Ipv4Addr::new(192, 168, 1, last));
        let mut holds = Holds::default();
        let now = Instant::now();
        holds.keep(&mapping(alice, 1), now);
        for port in 100..1000 {
            holds.keep(&mapping(bob, port), now);
        }
        assert_eq!(holds.list.len(), HOLDS_PER_HOST + 1);
        assert!(
            holds.keeps_from(bob, Protocol::Tcp, 1) && !holds.keeps_from(alice, Protocol::Tcp, 1)
        );
        for last in 30..40 {
            let host = Ipv4Addr::new(192, 168, 1, last);
            for port in 0..HOLDS_PER_HOST as u16 {
                holds.keep(&mapping(host, u16::from(last) * 1000 + port), now);
            }
        }
        assert_eq!(holds.list.len(), HOLDS_MAX);
        assert!(!holds.keeps_from(bob, Protocol::Tcp, 1), "all together are bounded");
        let later = now + HOLD_SHORT;
        holds.pass(later);
        let last = 39000;
        assert!(holds.keeps_from(bob, Protocol::Tcp, last));
        assert!(!holds.keeps_strictly(bob, Protocol::Tcp, last));
        holds.pass(now + HOLD_TCP);
        assert!(holds.list.is_empty());
    }
}
