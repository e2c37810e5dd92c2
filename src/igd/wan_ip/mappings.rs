//! Port mappings as both versions have them (WANIPConnection:2 §2.5.14 to §2.5.18).
//!
//! Every host sees every mapping, whichever protocol made it: version 1 has always been so, and
//! clients walk the table to find a free port. Changing another host's is refused.

use crate::gateway::mapping::{External, Mapping, Origin, Port, Protocol, Refusal, Request};
use crate::gateway::{Asker, Granted};
use crate::igd::action::{Call, Reply};
use crate::igd::codes::{self, Code};
use crate::igd::identity::Face;
use crate::netfilter::Backend;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

/// Longest lease of version 2, and what 0 means there, in seconds (§2.3.16).
const LEASE_MAX: u32 = 604_800;
/// Spellings of "any host" (§2.3.17 has only the empty one).
const ANY_HOST: [&str; 3] = ["", "*", "0.0.0.0"];
/// Most owners of mappings that one request over IPv6 is compared with.
pub(super) const OWNERS_MAX: usize = 16;
/// What npm's nat-upnp-ts and its descendants send for a remote host that nobody gave them.
const NO_HOST: &str = "undefined";

pub(super) fn generic_entry<B: Backend>(
    call: &mut Call<'_, '_, B>,
    reply: &mut Reply<'_>,
) -> Result<(), Code> {
    let index = call.ui2("NewPortMappingIndex")?;
    let mapping = call.ctx.gateway.at(index.into()).ok_or(Code::IndexInvalid)?;
    reply.text(&remote_text(mapping));
    reply.number(mapping.external.port.into());
    reply.text(mapping.external.protocol.name());
    entry(mapping, call.version, call.ctx.now, reply);
    Ok(())
}

pub(super) fn specific_entry<B: Backend>(
    call: &mut Call<'_, '_, B>,
    reply: &mut Reply<'_>,
) -> Result<(), Code> {
    let external = External {
        remote: remote(call, Code::InvalidArgs)?,
        port: call.ui2("NewExternalPort")?,
        protocol: protocol(call)?,
    };
    let mapping = call.ctx.gateway.find(&external).ok_or(Code::NoSuchEntry)?;
    entry(mapping, call.version, call.ctx.now, reply);
    Ok(())
}

/// The arguments that both readers have last.
fn entry(mapping: &Mapping, version: Face, now: Instant, reply: &mut Reply<'_>) {
    reply.number(mapping.internal.port().into());
    reply.text(&mapping.internal.ip().to_string());
    reply.flag(mapping.enabled);
    reply.text(&mapping.description);
    reply.number(lease_left(mapping, version, now));
}

pub(super) fn add<B: Backend>(call: &mut Call<'_, '_, B>, _: &mut Reply<'_>) -> Result<(), Code> {
    let port = match call.ui2("NewExternalPort")? {
        0 => return Err(Code::WildCardInExtPort),
        port => Port::Exactly(port),
    };
    make(call, port).map(|_| ())
}

pub(super) fn delete<B: Backend>(
    call: &mut Call<'_, '_, B>,
    _: &mut Reply<'_>,
) -> Result<(), Code> {
    let remote = remote(call, Code::InvalidArgs)?;
    let port = call.ui2("NewExternalPort")?;
    // Some clients leave the protocol empty: then it is their own entries of that port.
    let protocol = match call.text("NewProtocol") {
        "" => None,
        _ => Some(protocol(call)?),
    };
    let protocols = protocol.as_ref().map_or(&Protocol::ALL[..], std::slice::from_ref);
    let find = |protocol: &Protocol| {
        call.ctx.gateway.find(&External { protocol: *protocol, port, remote })
    };
    let asker = Asker::Host(asker(call, protocols.iter().filter_map(find)));
    let now = call.ctx.now;
    let deleted = call.ctx.gateway.delete(asker, protocol, port, remote, now);
    deleted.map_err(|refusal| codes::of(refusal, call.version))
}

/// Makes or refreshes the mapping that the arguments common to both Add actions describe.
pub(super) fn make<B: Backend>(call: &mut Call<'_, '_, B>, port: Port) -> Result<Granted, Code> {
    let by_name = match call.version {
        Face::V1 => Code::RemoteHostOnlyWildcard,
        Face::V2 => Code::InvalidArgs,
    };
    let internal = internal(call)?;
    let request = Request {
        origin: Origin::Upnp,
        port,
        remote: remote(call, by_name)?,
        protocol: protocol(call)?,
        internal,
        enabled: call.boolean("NewEnabled")?,
        description: call.text("NewPortMappingDescription"),
        lease: lease(call)?,
        client: requester(call, *internal.ip())?,
        high_ports_only: call.version == Face::V2,
    };
    let granted = call.ctx.gateway.add(&request, call.ctx.now);
    granted.map_err(|refusal| match (refusal, port, call.version) {
        (Refusal::Conflict, Port::Exactly(port), Face::V2)
            if call.ctx.gateway.is_of_other_mechanism(&request, port) =>
        {
            Code::OtherMechanism
        }
        _ => codes::of(refusal, call.version),
    })
}

/// The IPv4 address of the host that asks for `target`: over IPv6 only if that is its own, or secure
/// mode is off and it is of the same LAN.
fn requester<B: Backend>(call: &Call<'_, '_, B>, target: Ipv4Addr) -> Result<Ipv4Addr, Code> {
    match call.ctx.client.to_canonical() {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) if (call.ctx.same_host)(target.into()) => Ok(target),
        client if call.ctx.gateway.may_ask_for(client, target.into()) => Ok(target),
        IpAddr::V6(_) => Err(Code::NotAuthorized),
    }
}

/// Who asks for something to be done with these mappings: over IPv6 their owner, if that is the
/// same host. Of many owners, the first [`OWNERS_MAX`] are looked at.
pub(super) fn asker<'m, B: Backend>(
    call: &Call<'_, '_, B>,
    mappings: impl Iterator<Item = &'m Mapping>,
) -> IpAddr {
    let client = call.ctx.client.to_canonical();
    if client.is_ipv4() {
        return client;
    }
    let mut seen: Vec<IpAddr> = Vec::new();
    for mapping in mappings {
        let owner = IpAddr::V4(*mapping.internal.ip());
        if seen.len() == OWNERS_MAX {
            break;
        }
        if !seen.contains(&owner) {
            seen.push(owner);
            if (call.ctx.same_host)(owner) {
                return owner;
            }
        }
    }
    client
}

/// `NewProtocol`, in any case.
pub(super) fn protocol<B: Backend>(call: &Call<'_, '_, B>) -> Result<Protocol, Code> {
    Protocol::from_name(call.text("NewProtocol")).ok_or(match call.version {
        Face::V1 => Code::InvalidArgs,
        Face::V2 => Code::OutOfRange,
    })
}

/// `NewRemoteHost`: an address or any host. Names are not resolved, that would block every other
/// client; `otherwise` is the code for one.
fn remote<B: Backend>(call: &Call<'_, '_, B>, otherwise: Code) -> Result<Option<Ipv4Addr>, Code> {
    let text = call.text("NewRemoteHost");
    if ANY_HOST.contains(&text) || text == NO_HOST {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| otherwise)
}

/// `NewInternalClient` and `NewInternalPort`, neither of them a wildcard.
fn internal<B: Backend>(call: &Call<'_, '_, B>) -> Result<SocketAddrV4, Code> {
    let client = call.text("NewInternalClient");
    if ANY_HOST.contains(&client) {
        return Err(Code::WildCardInSrcIp);
    }
    let address = client.parse().map_err(|_| Code::InvalidArgs)?;
    match (call.ui2("NewInternalPort")?, call.version) {
        (0, Face::V1) => Err(Code::InvalidArgs),
        (0, Face::V2) => Err(Code::WildCardInIntPort),
        (port, _) => Ok(SocketAddrV4::new(address, port)),
    }
}

/// `NewLeaseDuration`: version 1 has leases without end, version 2 has none longer than a week.
fn lease<B: Backend>(call: &Call<'_, '_, B>) -> Result<Option<Duration>, Code> {
    let seconds = match (call.ui4("NewLeaseDuration")?, call.version) {
        (0, Face::V1) => return Ok(None),
        (seconds, Face::V1) => seconds,
        (0, Face::V2) => LEASE_MAX,
        (seconds, Face::V2) => seconds.min(LEASE_MAX),
    };
    Ok(Some(Duration::from_secs(seconds.into())))
}

/// The only remote host, empty for any.
pub(super) fn remote_text(mapping: &Mapping) -> String {
    mapping.external.remote.map_or_else(String::new, |address| address.to_string())
}

/// Seconds left, at least one: 0 would say that the mapping has no end. Version 2 knows no more than
/// [`LEASE_MAX`].
pub(super) fn lease_left(mapping: &Mapping, version: Face, now: Instant) -> u32 {
    let most = match version {
        Face::V1 => u32::MAX,
        Face::V2 => LEASE_MAX,
    };
    let left = |left: u64| left.clamp(1, most.into()).try_into().unwrap_or(most);
    mapping.seconds_left(now).map_or(0, left)
}
