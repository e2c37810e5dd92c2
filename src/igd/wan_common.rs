//! WANCommonInterfaceConfig:1: the WAN link and its counters.

use super::action::Arg::{In, Out};
use super::action::{Action, Call, Kind, Reply, Variable};
use super::codes::Code;
use super::layer3_forwarding::connection_device;
use super::tree::Service;
use super::Counters;
use crate::netfilter::Backend;

/// The rate reported while it is unknown, in bit/s. Some clients take 0 for disconnected.
const RATE_UNKNOWN: u32 = 100_000_000;

/// Its state variables (§2.2).
pub(super) const VARIABLES: &[Variable] = &[
    Variable::new("WANAccessType", Kind::String).one_of(&["DSL", "POTS", "Cable", "Ethernet"]),
    Variable::new("Layer1UpstreamMaxBitRate", Kind::Ui4),
    Variable::new("Layer1DownstreamMaxBitRate", Kind::Ui4),
    Variable::new("PhysicalLinkStatus", Kind::String).evented().one_of(&[
        "Up",
        "Down",
        "Initializing",
        "Unavailable",
    ]),
    Variable::new("WANAccessProvider", Kind::String),
    Variable::new("MaximumActiveConnections", Kind::Ui2).range("1", "65535"),
    Variable::new("TotalBytesSent", Kind::Ui4),
    Variable::new("TotalBytesReceived", Kind::Ui4),
    Variable::new("TotalPacketsSent", Kind::Ui4),
    Variable::new("TotalPacketsReceived", Kind::Ui4),
    Variable::new("NumberOfActiveConnections", Kind::Ui2),
    Variable::new("ActiveConnectionDeviceContainer", Kind::String),
    Variable::new("ActiveConnectionServiceID", Kind::String),
    Variable::new("EnabledForInternet", Kind::Boolean).evented(),
];

/// Its actions (§2.4).
pub(super) fn actions<B: Backend + 'static>() -> &'static [Action<B>] {
    const {
        &[
            Action {
                name: "SetEnabledForInternet",
                args: &[In("NewEnabledForInternet", "EnabledForInternet")],
                run: |call, _| {
                    call.boolean("NewEnabledForInternet")?;
                    // Not for control points that nobody has authenticated.
                    Err(Code::NotAuthorized)
                },
            },
            Action {
                name: "GetEnabledForInternet",
                args: &[Out("NewEnabledForInternet", "EnabledForInternet")],
                run: |_, reply| {
                    reply.flag(true);
                    Ok(())
                },
            },
            Action {
                name: "GetCommonLinkProperties",
                args: &[
                    Out("NewWANAccessType", "WANAccessType"),
                    Out("NewLayer1UpstreamMaxBitRate", "Layer1UpstreamMaxBitRate"),
                    Out("NewLayer1DownstreamMaxBitRate", "Layer1DownstreamMaxBitRate"),
                    Out("NewPhysicalLinkStatus", "PhysicalLinkStatus"),
                ],
                run: link_properties,
            },
            Action {
                name: "GetWANAccessProvider",
                args: &[Out("NewWANAccessProvider", "WANAccessProvider")],
                run: |_, reply| {
                    // Nobody tells us.
                    reply.text("");
                    Ok(())
                },
            },
            Action {
                name: "GetMaximumActiveConnections",
                args: &[Out("NewMaximumActiveConnections", "MaximumActiveConnections")],
                run: |_, reply| {
                    reply.number(1);
                    Ok(())
                },
            },
            Action {
                name: "GetTotalBytesSent",
                args: &[Out("NewTotalBytesSent", "TotalBytesSent")],
                run: |call, reply| count(call, reply, |c| c.bytes_sent),
            },
            Action {
                name: "GetTotalBytesReceived",
                args: &[Out("NewTotalBytesReceived", "TotalBytesReceived")],
                run: |call, reply| count(call, reply, |c| c.bytes_received),
            },
            Action {
                name: "GetTotalPacketsSent",
                args: &[Out("NewTotalPacketsSent", "TotalPacketsSent")],
                run: |call, reply| count(call, reply, |c| c.packets_sent),
            },
            Action {
                name: "GetTotalPacketsReceived",
                args: &[Out("NewTotalPacketsReceived", "TotalPacketsReceived")],
                run: |call, reply| count(call, reply, |c| c.packets_received),
            },
            Action {
                name: "GetActiveConnections",
                args: &[
                    In("NewActiveConnectionIndex", "NumberOfActiveConnections"),
                    Out("NewActiveConnDeviceContainer", "ActiveConnectionDeviceContainer"),
                    Out("NewActiveConnectionServiceID", "ActiveConnectionServiceID"),
                ],
                run: active_connections,
            },
        ]
    }
}

fn link_properties<B: Backend>(
    call: &mut Call<'_, '_, B>,
    reply: &mut Reply<'_>,
) -> Result<(), Code> {
    let link = call.ctx.link;
    reply.text("Ethernet");
    for rate in [link.upstream_bps, link.downstream_bps] {
        reply.number(if rate == 0 { RATE_UNKNOWN } else { rate });
    }
    reply.text(if link.up { "Up" } else { "Down" });
    Ok(())
}

/// A counter modulo 2^32: a ui4 wraps, it does not stick.
fn count<B: Backend>(
    call: &mut Call<'_, '_, B>,
    reply: &mut Reply<'_>,
    which: fn(&Counters) -> u64,
) -> Result<(), Code> {
    let total = which(&(call.ctx.counters)());
    reply.number((total & u64::from(u32::MAX)) as u32);
    Ok(())
}

/// There is one connection, active while it is connected.
fn active_connections<B: Backend>(
    call: &mut Call<'_, '_, B>,
    reply: &mut Reply<'_>,
) -> Result<(), Code> {
    if call.ui2("NewActiveConnectionIndex")? != 0 || !call.ctx.connected() {
        return Err(Code::IndexInvalid);
    }
    reply.text(&connection_device(call.ctx.identity, call.face));
    reply.text(&Service::WanIp.id());
    Ok(())
}
