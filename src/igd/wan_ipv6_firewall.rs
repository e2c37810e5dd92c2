//! WANIPv6FirewallControl:1: pinholes for IPv6 hosts behind a firewall that drops what comes in.
//!
//! Hosts open pinholes to themselves only, from port 1024 up, unless the owner says otherwise.
//! What would open more than one port is refused, as the service allows (§2.3): a wildcard port
//! would open ports below 1024, a wildcard protocol what has no ports at all.

use super::action::Arg::{In, Out};
use super::action::{Action, Call, Kind, Reply, Variable};
use super::codes::{self, Code};
use crate::gateway::mapping::{Origin, Protocol};
use crate::gateway::pinhole::{Hole, Pinhole, PinholeRequest, LEASE_MAX};
use crate::gateway::Asker;
use crate::netfilter::Backend;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Spellings of "any host"; the service has only the empty one.
const ANY_HOST: [&str; 3] = ["", "*", "::"];
/// Any protocol.
const ANY_PROTOCOL: u16 = 65_535;

const PORT: &str = "A_ARG_TYPE_Port";
const ADDRESS: &str = "A_ARG_TYPE_IPv6Address";
const PROTOCOL: &str = "A_ARG_TYPE_Protocol";
const LEASE: &str = "A_ARG_TYPE_LeaseTime";
const UNIQUE_ID: &str = "A_ARG_TYPE_UniqueID";

/// Its state variables (§2.3).
pub(super) const VARIABLES: &[Variable] = &[
    Variable::new("FirewallEnabled", Kind::Boolean).evented(),
    Variable::new("InboundPinholeAllowed", Kind::Boolean).evented(),
    Variable::new("A_ARG_TYPE_OutboundPinholeTimeout", Kind::Ui4),
    Variable::new(ADDRESS, Kind::String),
    Variable::new(PORT, Kind::Ui2),
    Variable::new(PROTOCOL, Kind::Ui2),
    Variable::new(LEASE, Kind::Ui4).range("1", "86400"),
    Variable::new(UNIQUE_ID, Kind::Ui2),
    Variable::new("A_ARG_TYPE_PinholePackets", Kind::Ui4),
    Variable::new("A_ARG_TYPE_Boolean", Kind::Boolean),
];

/// Its actions (§2.5), the optional ones too.
pub(super) fn actions<B: Backend + 'static>() -> &'static [Action<B>] {
    const {
        &[
            Action {
                name: "GetFirewallStatus",
                args: &[
                    Out("FirewallEnabled", "FirewallEnabled"),
                    Out("InboundPinholeAllowed", "InboundPinholeAllowed"),
                ],
                run: |_, reply| {
                    reply.flag(true);
                    reply.flag(true);
                    Ok(())
                },
            },
            Action {
                name: "GetOutboundPinholeTimeout",
                args: &[
                    In("RemoteHost", ADDRESS),
                    In("RemotePort", PORT),
                    In("InternalClient", ADDRESS),
                    In("InternalPort", PORT),
                    In("Protocol", PROTOCOL),
                    Out("OutboundPinholeTimeout", "A_ARG_TYPE_OutboundPinholeTimeout"),
                ],
                run: outbound_timeout,
            },
            Action {
                name: "AddPinhole",
                args: &[
                    In("RemoteHost", ADDRESS),
                    In("RemotePort", PORT),
                    In("InternalClient", ADDRESS),
                    In("InternalPort", PORT),
                    In("Protocol", PROTOCOL),
                    In("LeaseTime", LEASE),
                    Out("UniqueID", UNIQUE_ID),
                ],
                run: add,
            },
            Action {
                name: "UpdatePinhole",
                args: &[In("UniqueID", UNIQUE_ID), In("NewLeaseTime", LEASE)],
                run: |call, _| {
                    let lease = lease(call, "NewLeaseTime")?;
                    let (unique_id, asker) = own(call)?;
                    let now = call.ctx.now;
                    let done = call.ctx.gateway.update_pinhole(asker, unique_id, lease, now);
                    done.map_err(codes::of_pinhole)
                },
            },
            Action {
                name: "DeletePinhole",
                args: &[In("UniqueID", UNIQUE_ID)],
                run: |call, _| {
                    let (unique_id, asker) = own(call)?;
                    let done = call.ctx.gateway.delete_pinhole(asker, unique_id, call.ctx.now);
                    done.map_err(codes::of_pinhole)
                },
            },
            Action {
                name: "GetPinholePackets",
                args: &[
                    In("UniqueID", UNIQUE_ID),
                    Out("PinholePackets", "A_ARG_TYPE_PinholePackets"),
                ],
                run: |call, reply| {
                    let packets = packets(call)?;
                    // A ui4 wraps, it does not stick.
                    reply.number((packets & u64::from(u32::MAX)) as u32);
                    Ok(())
                },
            },
            Action {
                name: "CheckPinholeWorking",
                args: &[In("UniqueID", UNIQUE_ID), Out("IsWorking", "A_ARG_TYPE_Boolean")],
                run: |call, reply| {
                    // Without a packet nothing can be said of it.
                    if packets(call)? == 0 {
                        return Err(Code::NoTrafficReceived);
                    }
                    reply.flag(true);
                    Ok(())
                },
            },
        ]
    }
}

fn add<B: Backend>(call: &mut Call<'_, '_, B>, reply: &mut Reply<'_>) -> Result<(), Code> {
    let hole = match hole(call)? {
        Hole { internal_port: 0, .. } => return Err(Code::InternalPortWildcard),
        hole => hole,
    };
    let lease = lease(call, "LeaseTime")?;
    let request = PinholeRequest {
        client: requester(call, hole.internal)?,
        origin: Origin::Upnp,
        hole,
        lease,
        description: "",
        high_ports_only: true,
    };
    let granted = call.ctx.gateway.add_pinhole(&request, call.ctx.now);
    reply.number(granted.map_err(codes::of_pinhole)?.unique_id.into());
    Ok(())
}

/// How long the kernel keeps a connection of the LAN open without traffic: for UDP the time before
/// an answer has come, which is what a host can count on.
fn outbound_timeout<B: Backend>(
    call: &mut Call<'_, '_, B>,
    reply: &mut Reply<'_>,
) -> Result<(), Code> {
    let hole = hole(call)?;
    requester(call, hole.internal)?;
    reply.number((call.ctx.timeouts)(hole.protocol).ok_or(Code::ActionFailed)?);
    Ok(())
}

/// The five arguments that both have; `internal_port` may be 0.
fn hole<B: Backend>(call: &Call<'_, '_, B>) -> Result<Hole, Code> {
    let remote = match call.text("RemoteHost") {
        any if ANY_HOST.contains(&any) => None,
        text => Some(address(text)?),
    };
    let remote_port = match call.text("RemotePort") {
        // js-libp2p has none to name.
        "" => None,
        _ => Some(call.ui2("RemotePort")?).filter(|port| *port != 0),
    };
    let internal = match call.text("InternalClient") {
        any if ANY_HOST.contains(&any) => return Err(Code::SourceIpWildcard),
        text => address(text)?,
    };
    let internal_port = call.ui2("InternalPort")?;
    let protocol = protocol(call)?;
    Ok(Hole { internal, internal_port, protocol, remote, remote_port })
}

/// The number of a protocol, or its name, which `upnpc -G` sends.
fn protocol<B: Backend>(call: &Call<'_, '_, B>) -> Result<Protocol, Code> {
    if let Some(named) = Protocol::from_name(call.text("Protocol")) {
        return Ok(named);
    }
    match call.ui2("Protocol")? {
        ANY_PROTOCOL => Err(Code::ProtocolWildcard),
        number => u8::try_from(number)
            .ok()
            .and_then(Protocol::from_number)
            .ok_or(Code::ProtocolNotSupported),
    }
}

/// An IPv6 address, as it is or in the brackets of a URL.
fn address(text: &str) -> Result<Ipv6Addr, Code> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(text).parse().map_err(|_| Code::InvalidArgs)
}

fn lease<B: Backend>(call: &Call<'_, '_, B>, name: &str) -> Result<Duration, Code> {
    match call.ui4(name) {
        Ok(seconds) if (1..=LEASE_MAX).contains(&seconds) => {
            Ok(Duration::from_secs(seconds.into()))
        }
        _ => Err(Code::InvalidArgs),
    }
}

/// The address that stands for the host that asks: `internal`, if that is its own by source or by
/// link-layer address, else its source, which the gateway judges.
fn requester<B: Backend>(call: &Call<'_, '_, B>, internal: Ipv6Addr) -> Result<Ipv6Addr, Code> {
    let address = IpAddr::V6(internal);
    match call.ctx.client.to_canonical() {
        client if client == address || (call.ctx.same_host)(address) => Ok(internal),
        IpAddr::V6(client) => Ok(client),
        client if call.ctx.gateway.may_ask_for(client, address) => Ok(internal),
        IpAddr::V4(_) => Err(Code::NotAuthorized),
    }
}

/// `UniqueID` of a pinhole that the asker may handle, and as whom.
fn own<B: Backend>(call: &Call<'_, '_, B>) -> Result<(u16, Asker), Code> {
    let unique_id = call.ui2("UniqueID")?;
    let owner = |pinhole: &Pinhole| pinhole.hole.internal;
    let owner = call.ctx.gateway.pinhole(unique_id).map(owner).ok_or(Code::NoSuchPinhole)?;
    let asker = requester(call, owner)?;
    if call.ctx.gateway.policy().secure_mode && asker != owner {
        return Err(Code::NotAuthorized);
    }
    Ok((unique_id, Asker::Host(asker.into())))
}

fn packets<B: Backend>(call: &mut Call<'_, '_, B>) -> Result<u64, Code> {
    let (unique_id, _) = own(call)?;
    Ok(call.ctx.gateway.pinhole_packets(unique_id))
}
