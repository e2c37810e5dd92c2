//! PCP's MAP (RFC 6887 §11, §13, §15): IPv4 mappings, and by IPv6 pinholes.

use super::{client, codes, external, is_others, seconds_until, Packet, Refused, Settings};
use crate::gateway::guard::{Client, Guard};
use crate::gateway::mapping::{self, Origin, Port, Protocol, Refusal};
use crate::gateway::pinhole::Hole;
use crate::gateway::{Gateway, Map6Request, MapRequest};
use crate::netfilter::Backend;
use crate::proto::pcp::{self, Code, Mapping, Options, Peer};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::time::Instant;

pub(super) fn answer<B: Backend>(
    gateway: &mut Gateway<B>,
    settings: &Settings,
    packet: &Packet<'_>,
    lifetime: u32,
    asked: &Mapping,
    options: &Options<'_>,
) -> Result<Vec<u8>, Refused> {
    if asked.protocol == 0 && asked.internal_port != 0 {
        return Err(Code::MalformedRequest.into());
    }
    let protocol = Protocol::from_number(asked.protocol).filter(|_| asked.internal_port != 0);
    let write = |mapping: &Mapping, lifetime| {
        Ok(pcp::write_mapping(mapping, None, options, lifetime, packet.epoch))
    };
    let Some(protocol) = protocol else {
        return match lifetime {
            // There is none to be ended.
            0 => write(asked, 0),
            _ => Err(Code::UnsuppProtocol.into()),
        };
    };
    let host = options.third_party.unwrap_or(packet.source.ip());
    let ask = Ask { packet, lifetime, asked, options, protocol };
    let (external, external_port, lifetime) = match (host, packet.source.ip()) {
        (IpAddr::V4(host), IpAddr::V4(client)) => ask.v4(gateway, settings, client, host)?,
        (IpAddr::V6(host), IpAddr::V6(client)) => ask.v6(gateway, settings, client, host)?,
        // Of a host's other family nothing is known.
        _ => return Err(Code::NotAuthorized.into()),
    };
    write(&Mapping { external, external_port, ..*asked }, lifetime)
}

/// A request whose protocol is known. Both ways return the external address and port and the
/// lifetime.
struct Ask<'a> {
    packet: &'a Packet<'a>,
    lifetime: u32,
    asked: &'a Mapping,
    options: &'a Options<'a>,
    protocol: Protocol,
}

impl Ask<'_> {
    fn guard(&self) -> Guard {
        Guard {
            client: client(self.packet, self.asked, self.options, 0),
            filters: self.options.filters.clone(),
        }
    }

    fn v4<B: Backend>(
        &self,
        gateway: &mut Gateway<B>,
        settings: &Settings,
        client: Ipv4Addr,
        host: Ipv4Addr,
    ) -> Result<(IpAddr, u16, u32), Refused> {
        let Ask { asked, protocol, .. } = *self;
        let now = self.packet.now;
        let internal = SocketAddrV4::new(host, asked.internal_port);
        let refused = |gateway: &Gateway<B>, refusal| {
            let old = gateway.endpoint(protocol, internal, None);
            refused(refusal, old.map(|old| old.expires), now)
        };
        if self.lifetime == 0 {
            let ended = gateway.unmap(protocol, internal, Some(&asked.nonce), now);
            ended.map_err(|refusal| refused(gateway, refusal))?;
            return Ok((asked.external, asked.external_port, 0));
        }
        let old = gateway.endpoint(protocol, internal, None);
        if old.is_some_and(|old| is_others(&old.guard, asked)) {
            return Err(refused(gateway, Refusal::NotOwner));
        }
        let address = external(gateway).ok_or(Code::NetworkFailure)?;
        let port = match self.options.prefer_failure {
            true if !is_of(asked.external, address.into()) => {
                return Err(Code::CannotProvideExternal.into());
            }
            true => Port::Exactly(asked.external_port),
            false => Port::Preferably(asked.external_port),
        };
        let lease = settings.lease(self.lifetime);
        let request = MapRequest {
            client,
            origin: Origin::Pcp,
            protocol,
            internal,
            port,
            remote: None,
            lease,
            guard: Some(self.guard()),
            replaces_filters: self.options.clears_filters,
        };
        let mapped = gateway.map(&request, now).map_err(|refusal| refused(gateway, refusal))?;
        let lifetime = match (mapped.expires, mapped.is_static) {
            (Some(end), _) => seconds_until(end, now),
            (None, true) => u32::MAX,
            (None, false) => lease.as_secs() as u32,
        };
        Ok((address.into(), mapped.port, lifetime))
    }

    fn v6<B: Backend>(
        &self,
        gateway: &mut Gateway<B>,
        settings: &Settings,
        client: Ipv6Addr,
        internal: Ipv6Addr,
    ) -> Result<(IpAddr, u16, u32), Refused> {
        let Ask { asked, protocol, .. } = *self;
        let now = self.packet.now;
        let internal_port = asked.internal_port;
        let hole = Hole { internal, internal_port, protocol, remote: None, remote_port: None };
        let refused = |gateway: &Gateway<B>, refusal| {
            let old = gateway.find_pinhole(&hole);
            refused(refusal, old.map(|old| Some(old.expires)), now)
        };
        if self.lifetime == 0 {
            let ended = gateway.unmap6(&hole, &asked.nonce, now);
            ended.map_err(|refusal| refused(gateway, refusal))?;
            return Ok((asked.external, asked.external_port, 0));
        }
        let old = gateway.find_pinhole(&hole);
        if old.is_some_and(|old| is_others(&old.guard, asked)) {
            return Err(refused(gateway, Refusal::NotOwner));
        }
        let same = is_of(asked.external, internal.into()) && asked.external_port == internal_port;
        if self.options.prefer_failure && !same {
            return Err(Code::CannotProvideExternal.into());
        }
        let request = Map6Request {
            client,
            hole,
            lease: settings.lease(self.lifetime),
            guard: self.guard(),
            replaces_filters: self.options.clears_filters,
        };
        let end = gateway.map6(&request, now).map_err(|refusal| refused(gateway, refusal))?;
        Ok((internal.into(), internal_port, seconds_until(end, now)))
    }
}

/// A refusal; that of a mapping that is another's lasts as long as that (§11.3). `old`: its end, if
/// there is one.
pub(super) fn refused(refusal: Refusal, old: Option<Option<Instant>>, now: Instant) -> Refused {
    let code = codes::of(refusal);
    match (refusal, old) {
        (Refusal::NotOwner, Some(end)) => {
            let lifetime = end.map_or(u32::MAX, |end| seconds_until(end, now));
            Refused { code, lifetime }
        }
        _ => code.into(),
    }
}

/// Whether a suggested external address is this one, or none.
pub(super) fn is_of(suggested: IpAddr, address: IpAddr) -> bool {
    suggested.is_unspecified() || suggested == address
}

/// The Mapping Update that tells a client where its mapping is now reached (§14.2), and where to
/// send it: none without an external address, or for a mapping that was not made by PCP.
pub fn update<B: Backend>(
    gateway: &Gateway<B>,
    mapping: &mapping::Mapping,
    epoch: u32,
    now: Instant,
) -> Option<(SocketAddr, Vec<u8>)> {
    let guard = mapping.guard.as_deref()?;
    let Client { nonce, port, peer_port } = guard.client;
    let told = Mapping {
        nonce,
        protocol: mapping.external.protocol.number(),
        internal_port: mapping.internal.port(),
        external_port: mapping.external.port,
        external: external(gateway)?.into(),
    };
    let peer =
        mapping.external.remote.map(|remote| Peer { port: peer_port, address: remote.into() });
    let lifetime = mapping.expires.map_or(u32::MAX, |end| seconds_until(end, now));
    let mut out = pcp::write_mapping(&told, peer.as_ref(), &Options::default(), lifetime, epoch);
    pcp::write_filters(&mut out, &guard.filters);
    let to = SocketAddr::new((*mapping.internal.ip()).into(), port);
    (port != 0 && mapping.enabled).then_some((to, out))
}
