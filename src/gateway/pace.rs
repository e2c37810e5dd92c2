//! How many mappings and pinholes a host makes within a minute.
//!
//! Each costs a change of the kernel's table, a log line and perhaps a look through its connection
//! table. No program makes hundreds; one that does must not keep the router busy.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
/// Most hosts told apart; all others count as one.
const HOSTS_MAX: usize = 256;
const OTHERS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What was made in the minute that runs.
#[derive(Debug, Default)]
pub(super) struct Pace {
    began: Option<Instant>,
    hosts: Vec<(IpAddr, u16)>,
}

impl Pace {
    /// Whether a host may make one more, if `limit` is how many it may; 0 is any number.
    pub(super) fn has_room(&self, host: IpAddr, limit: u16, now: Instant) -> bool {
        let made = match self.runs(now) {
            true => self.hosts.iter().find(|(other, _)| *other == self.name(host)),
            false => None,
        };
        limit == 0 || made.is_none_or(|(_, count)| *count < limit)
    }

    /// It has made one.
    pub(super) fn count(&mut self, host: IpAddr, now: Instant) {
        if !self.runs(now) {
            self.began = Some(now);
            self.hosts = Vec::new();
        }
        let host = self.name(host);
        match self.hosts.iter_mut().find(|(other, _)| *other == host) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.hosts.push((host, 1)),
        }
    }

    fn runs(&self, now: Instant) -> bool {
        self.began.is_some_and(|began| now < began + MINUTE)
    }

    fn name(&self, host: IpAddr) -> IpAddr {
        let known = self.hosts.iter().any(|(other, _)| *other == host);
        if known || self.hosts.len() < HOSTS_MAX {
            host
        } else {
            OTHERS
        }
    }
}
