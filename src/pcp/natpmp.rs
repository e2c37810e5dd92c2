//! NAT-PMP (RFC 6886).

use super::codes::of_natpmp;
use super::{external, seconds_until, Packet, Settings};
use crate::gateway::mapping::{Origin, Port, Protocol, Refusal};
use crate::gateway::{Gateway, MapRequest};
use crate::netfilter::Backend;
use crate::proto::natpmp::{self, Outcome, Request};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// What is answered to a host, if anything.
pub(super) fn answer<B: Backend>(
    gateway: &mut Gateway<B>,
    settings: &Settings,
    packet: &Packet<'_>,
    host: Ipv4Addr,
) -> Option<Vec<u8>> {
    let Packet { bytes, epoch, .. } = *packet;
    Some(match natpmp::read(bytes)? {
        Request::Address => natpmp::write_address(epoch, external(gateway)).to_vec(),
        Request::Unknown => natpmp::write_unknown(bytes),
        Request::Map { protocol, internal_port, external_port, lifetime } => {
            let internal = SocketAddrV4::new(host, internal_port);
            // A lifetime may be less than asked for, never more (§3.3).
            let lifetime = lifetime.min(settings.max_lifetime);
            let (outcome, port, lifetime) =
                match map(gateway, packet, protocol, internal, external_port, lifetime) {
                    Ok((port, left)) => (Outcome::Success, port, lifetime.min(left)),
                    Err(refusal) => (of_natpmp(refusal), 0, 0),
                };
            natpmp::write_map(epoch, outcome, protocol, internal_port, port, lifetime).to_vec()
        }
    })
}

/// Makes, renews or ends a mapping; the external port and for how many seconds it is open, both 0
/// after an end.
fn map<B: Backend>(
    gateway: &mut Gateway<B>,
    packet: &Packet<'_>,
    protocol: Protocol,
    internal: SocketAddrV4,
    external_port: u16,
    lifetime: u32,
) -> Result<(u16, u32), Refusal> {
    let now = packet.now;
    match (lifetime, internal.port()) {
        (0, 0) => gateway.unmap_all(protocol, *internal.ip(), now).map(|()| (0, 0)),
        (0, _) => gateway.unmap(protocol, internal, None, now).map(|()| (0, 0)),
        _ => {
            let request = MapRequest {
                client: *internal.ip(),
                origin: Origin::NatPmp,
                protocol,
                internal,
                port: Port::Preferably(external_port),
                remote: None,
                lease: Duration::from_secs(lifetime.into()),
                guard: None,
                replaces_filters: false,
            };
            let mapped = gateway.map(&request, now)?;
            // The owner's own may end earlier, and is not renewed by a host.
            Ok((mapped.port, mapped.expires.map_or(u32::MAX, |end| seconds_until(end, now))))
        }
    }
}
