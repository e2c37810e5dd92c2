//! PCP's PEER (RFC 6887 §12): packets to one remote peer leave from a port that is known, and what
//! that peer sends there comes in.
//!
//! By PEER nothing is shortened or ended (§12.1): a lifetime of 0 asks what there is.

use super::map::{is_of, refused};
use super::{client, external, is_others, seconds_until, Packet, Refused, Settings};
use crate::gateway::guard::{Client, Guard};
use crate::gateway::mapping::{Origin, Port, Protocol, Refusal};
use crate::gateway::pinhole::Hole;
use crate::gateway::{Gateway, Map6Request, MapRequest};
use crate::netfilter::Backend;
use crate::proto::pcp::{self, Code, Mapping, Options, Peer};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};

pub(super) fn answer<B: Backend>(
    gateway: &mut Gateway<B>,
    settings: &Settings,
    packet: &Packet<'_>,
    lifetime: u32,
    (asked, peer): (&Mapping, &Peer),
    options: &Options<'_>,
) -> Result<Vec<u8>, Refused> {
    let protocol = Protocol::from_number(asked.protocol).ok_or(Code::UnsuppProtocol)?;
    let never = |address: IpAddr| {
        address.is_unspecified()
            || address.is_loopback()
            || address.is_multicast()
            || address == IpAddr::V4(Ipv4Addr::BROADCAST)
    };
    if asked.internal_port == 0 || peer.port == 0 || never(peer.address) {
        return Err(Code::MalformedRequest.into());
    }
    let host = options.third_party.unwrap_or(packet.source.ip());
    let client = client(packet, asked, options, peer.port);
    let ask = Ask { packet, lifetime, asked, protocol, client };
    let (external, external_port, lifetime) = match (host, packet.source.ip(), peer.address) {
        (IpAddr::V4(host), IpAddr::V4(client), IpAddr::V4(remote)) => {
            ask.v4(gateway, settings, client, host, remote)?
        }
        (IpAddr::V6(host), IpAddr::V6(client), IpAddr::V6(remote)) => {
            ask.v6(gateway, settings, client, host, remote)?
        }
        _ => return Err(Code::MalformedRequest.into()),
    };
    let told = Mapping { external, external_port, ..*asked };
    Ok(pcp::write_mapping(&told, Some(peer), options, lifetime, packet.epoch))
}

/// A request that makes sense. Both ways return the external address and port and the lifetime.
struct Ask<'a> {
    packet: &'a Packet<'a>,
    lifetime: u32,
    asked: &'a Mapping,
    protocol: Protocol,
    client: Client,
}

impl Ask<'_> {
    fn v4<B: Backend>(
        &self,
        gateway: &mut Gateway<B>,
        settings: &Settings,
        client: Ipv4Addr,
        host: Ipv4Addr,
        remote: Ipv4Addr,
    ) -> Result<(IpAddr, u16, u32), Refused> {
        let Ask { asked, protocol, .. } = *self;
        let now = self.packet.now;
        let internal = SocketAddrV4::new(host, asked.internal_port);
        let remote = Some(remote);
        let address = external(gateway).ok_or(Code::NetworkFailure)?;
        let old = gateway.endpoint(protocol, internal, remote);
        let end = old.map(|old| old.expires);
        if self.lifetime == 0 {
            let Some(old) = old.or_else(|| gateway.endpoint(protocol, internal, None)) else {
                return Ok((asked.external, asked.external_port, 0));
            };
            if old.external.remote.is_some() && is_others(&old.guard, asked) {
                return Err(refused(Refusal::NotOwner, end, now));
            }
            let left = old.expires.map_or(u32::MAX, |end| seconds_until(end, now));
            return Ok((address.into(), old.external.port, left));
        }
        if old.is_none() && !is_of(asked.external, address.into()) {
            return Err(Code::CannotProvideExternal.into());
        }
        let lease = settings.lease(self.lifetime);
        let request = MapRequest {
            client,
            origin: Origin::Pcp,
            protocol,
            internal,
            port: match asked.external_port {
                0 => Port::Preferably(0),
                port => Port::Exactly(port),
            },
            remote,
            lease,
            guard: Some(Guard { client: self.client, filters: Vec::new() }),
            replaces_filters: false,
        };
        let mapped = gateway.map(&request, now).map_err(|refusal| refused(refusal, end, now))?;
        let left = mapped.expires.map_or(lease.as_secs() as u32, |end| seconds_until(end, now));
        Ok((address.into(), mapped.port, left))
    }

    fn v6<B: Backend>(
        &self,
        gateway: &mut Gateway<B>,
        settings: &Settings,
        client: Ipv6Addr,
        internal: Ipv6Addr,
        remote: Ipv6Addr,
    ) -> Result<(IpAddr, u16, u32), Refused> {
        let Ask { asked, protocol, .. } = *self;
        let now = self.packet.now;
        let hole = Hole {
            internal,
            internal_port: asked.internal_port,
            protocol,
            remote: Some(remote),
            remote_port: Some(self.client.peer_port),
        };
        let old = gateway.find_pinhole(&hole);
        let end = old.map(|old| Some(old.expires));
        if self.lifetime == 0 {
            let Some(old) = old else {
                return Ok((asked.external, asked.external_port, 0));
            };
            if is_others(&old.guard, asked) {
                return Err(refused(Refusal::NotOwner, end, now));
            }
            return Ok((internal.into(), hole.internal_port, seconds_until(old.expires, now)));
        }
        let port = asked.external_port;
        if !is_of(asked.external, internal.into()) || (port != 0 && port != hole.internal_port) {
            return Err(Code::CannotProvideExternal.into());
        }
        let request = Map6Request {
            client,
            hole,
            lease: settings.lease(self.lifetime),
            guard: Guard { client: self.client, filters: Vec::new() },
            replaces_filters: false,
        };
        let end = gateway.map6(&request, now).map_err(|refusal| refused(refusal, end, now))?;
        Ok((internal.into(), hole.internal_port, seconds_until(end, now)))
    }
}
