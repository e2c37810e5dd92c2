//! What the owner does by hand, over the control socket or ubus.

use super::Daemon;
use crate::gateway::mapping::{Id, Origin, Port, Protocol, Refusal, Request};
use crate::gateway::pinhole::{Hole, PinholeRequest, LEASE_MAX};
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

/// A mapping, or for an IPv6 host a pinhole, that the owner wants.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// Transport protocol.
    pub protocol: Protocol,
    /// External port; of a pinhole, the internal one.
    pub port: u16,
    /// Where packets shall go.
    pub internal: SocketAddr,
    /// The only remote host let through, of the same family.
    pub remote: Option<IpAddr>,
    /// Seconds, not 0; `None` for no end, or of a pinhole, which must have one, the longest.
    pub lease: Option<u32>,
    /// Free text.
    pub description: &'a str,
}

impl Daemon {
    /// Closes one mapping or pinhole.
    ///
    /// # Errors
    /// `NoSuchMapping`; `Backend`.
    pub(super) fn delete(&self, id: Id) -> Result<(), Refusal> {
        let mut state = self.state();
        let deleted = state.gateway.delete_id(id, Instant::now());
        self.mutated(&mut state);
        deleted
    }

    /// Closes everything, or what one host has asked for; how many there were.
    ///
    /// # Errors
    /// `Backend`; what went before the kernel refused is gone.
    pub(super) fn flush(&self, host: Option<IpAddr>) -> Result<usize, Refusal> {
        let mut state = self.state();
        let now = Instant::now();
        let deleted = match host {
            Some(host) => state.gateway.flush_host(host, now),
            None => state.gateway.flush(now),
        };
        self.mutated(&mut state);
        deleted
    }

    /// Opens a port; its id.
    ///
    /// # Errors
    /// Those of [`Gateway::add`](crate::gateway::Gateway::add) and
    /// [`add_pinhole`](crate::gateway::Gateway::add_pinhole); `InvalidTarget` when the addresses
    /// are of two families.
    pub(super) fn open(&self, wish: &Wish<'_>) -> Result<Id, Refusal> {
        let Wish { protocol, description, .. } = *wish;
        let origin = Origin::Manual;
        let lease = wish.lease.map(|lease| Duration::from_secs(lease.into()));
        let mut state = self.state();
        let now = Instant::now();
        let opened = match (wish.internal, wish.remote) {
            (SocketAddr::V4(internal), remote @ (None | Some(IpAddr::V4(_)))) => {
                let remote = remote.and_then(|remote| match remote {
                    IpAddr::V4(remote) => Some(remote),
                    IpAddr::V6(_) => None,
                });
                let request = Request {
                    client: *internal.ip(),
                    origin,
                    protocol,
                    port: Port::Exactly(wish.port),
                    remote,
                    internal: SocketAddrV4::new(*internal.ip(), internal.port()),
                    lease,
                    enabled: true,
                    description,
                    high_ports_only: false,
                };
                state.gateway.add(&request, now).map(|granted| granted.id)
            }
            (SocketAddr::V6(internal), remote @ (None | Some(IpAddr::V6(_)))) => {
                let remote = remote.and_then(|remote| match remote {
                    IpAddr::V6(remote) => Some(remote),
                    IpAddr::V4(_) => None,
                });
                let hole = Hole {
                    internal: *internal.ip(),
                    internal_port: internal.port(),
                    protocol,
                    remote,
                    remote_port: None,
                };
                let lease = lease.unwrap_or(Duration::from_secs(LEASE_MAX.into()));
                let client = hole.internal;
                let request = PinholeRequest {
                    client,
                    origin,
                    hole,
                    lease,
                    description,
                    high_ports_only: false,
                };
                state.gateway.add_pinhole(&request, now).map(|granted| granted.id)
            }
            _ => Err(Refusal::InvalidTarget),
        };
        self.mutated(&mut state);
        opened
    }
}
