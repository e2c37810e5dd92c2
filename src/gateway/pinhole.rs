//! The words of IPv6 pinholes: what one is, and what is asked for.

use crate::gateway::guard::Guard;
use crate::gateway::mapping::{Id, Origin, Protocol};
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

/// Longest lease, in seconds (WANIPv6FirewallControl:1 §2.3).
pub const LEASE_MAX: u32 = 86_400;

/// What makes a pinhole distinct from every other (WANIPv6FirewallControl:1 §2.5.3): all five.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hole {
    /// Where packets go. The pinhole's owner.
    pub internal: Ipv6Addr,
    /// The port there, never 0.
    pub internal_port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
    /// The only remote host let through, or `None` for any.
    pub remote: Option<Ipv6Addr>,
    /// The only remote port let through, never 0, or `None` for any.
    pub remote_port: Option<u16>,
}

/// An open one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinhole {
    /// Its name among mappings and pinholes.
    pub id: Id,
    /// UniqueID, its name for control points: never 0.
    pub unique_id: u16,
    /// What it lets through.
    pub hole: Hole,
    /// When it ends.
    pub expires: Instant,
    /// Which protocol asked.
    pub origin: Origin,
    /// The asker's words, cleaned by
    /// [`clean_description`](crate::gateway::mapping::clean_description).
    pub description: String,
    /// What PCP keeps with it, if it was asked for by PCP.
    pub guard: Option<Box<Guard>>,
}

impl Pinhole {
    /// Time left at `now`.
    pub fn remaining(&self, now: Instant) -> Duration {
        self.expires.saturating_duration_since(now)
    }

    /// [`remaining`](Pinhole::remaining) in whole seconds, rounded up.
    pub fn seconds_left(&self, now: Instant) -> u64 {
        let left = self.remaining(now);
        left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0))
    }
}

/// A request for a pinhole, in the core's words.
#[derive(Clone, Debug)]
pub struct PinholeRequest<'a> {
    /// The host that asks: its packet's source, or the target where the caller knows that it is
    /// the same host's.
    pub client: Ipv6Addr,
    /// Which protocol it asks by.
    pub origin: Origin,
    /// What shall be let through.
    pub hole: Hole,
    /// Lease time.
    pub lease: Duration,
    /// Free text; cleaned and cut by the gateway.
    pub description: &'a str,
    /// Ports below 1024 need a rule that allows them (WANIPv6FirewallControl:1 §2.5.3).
    pub high_ports_only: bool,
}

/// What a pinhole that was asked for has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinholeGranted {
    /// Its name among mappings and pinholes.
    pub id: Id,
    /// UniqueID.
    pub unique_id: u16,
    /// `false` when one that was there has been refreshed.
    pub new: bool,
}
