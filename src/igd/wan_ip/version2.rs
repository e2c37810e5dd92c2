//! What WANIPConnection:2 adds: any free port, and ranges (§2.5.17, §2.5.19, §2.5.21).

use super::mappings::{asker, lease_left, make, protocol, remote_text};
use super::COUNT;
use crate::gateway::mapping::{Mapping, Port};
use crate::gateway::Asker;
use crate::igd::action::Arg::{In, Optional, Out};
use crate::igd::action::{Action, Call, Reply};
use crate::igd::codes::{self, Code};
use crate::netfilter::Backend;
use crate::proto::xml::{close, element, open};
use std::ops::RangeInclusive;
use std::time::Instant;

/// Longest `NewPortListing`, in bytes as it is sent, but for one entry: every entry of a full table
/// of usual descriptions. What is left of a longer one is had by asking again from the last port on.
pub const LISTING_MAX: usize = 4 << 20;
/// The listing grows by so many bytes at once: doubling megabytes would take twice their room.
const LISTING_STEP: usize = 128 << 10;

/// The actions of version 2 alone.
pub(super) fn actions<B: Backend + 'static>() -> &'static [Action<B>] {
    const {
        &[
            Action {
                name: "AddAnyPortMapping",
                args: &[
                    Optional("NewRemoteHost", "RemoteHost"),
                    In("NewExternalPort", "ExternalPort"),
                    In("NewProtocol", "PortMappingProtocol"),
                    In("NewInternalPort", "InternalPort"),
                    In("NewInternalClient", "InternalClient"),
                    In("NewEnabled", "PortMappingEnabled"),
                    In("NewPortMappingDescription", "PortMappingDescription"),
                    In("NewLeaseDuration", "PortMappingLeaseDuration"),
                    Out("NewReservedPort", "ExternalPort"),
                ],
                run: add_any,
            },
            Action {
                name: "DeletePortMappingRange",
                args: &[
                    In("NewStartPort", "ExternalPort"),
                    In("NewEndPort", "ExternalPort"),
                    In("NewProtocol", "PortMappingProtocol"),
                    In("NewManage", "A_ARG_TYPE_Manage"),
                ],
                run: delete_range,
            },
            Action {
                name: "GetListOfPortMappings",
                args: &[
                    In("NewStartPort", "ExternalPort"),
                    In("NewEndPort", "ExternalPort"),
                    In("NewProtocol", "PortMappingProtocol"),
                    In("NewManage", "A_ARG_TYPE_Manage"),
                    In("NewNumberOfPorts", COUNT),
                    Out("NewPortListing", "A_ARG_TYPE_PortListing"),
                ],
                run: list,
            },
        ]
    }
}

/// External port 0 means any; the answer is the port granted, never 0.
fn add_any<B: Backend>(call: &mut Call<'_, '_, B>, reply: &mut Reply<'_>) -> Result<(), Code> {
    let port = Port::Preferably(call.ui2("NewExternalPort")?);
    let granted = make(call, port)?;
    reply.number(granted.port.into());
    Ok(())
}

/// `NewManage` 1 asks for other hosts' entries too; those the asker may not delete are skipped.
fn delete_range<B: Backend>(call: &mut Call<'_, '_, B>, _: &mut Reply<'_>) -> Result<(), Code> {
    let ports = ports(call)?;
    let protocol = protocol(call)?;
    let all = call.boolean("NewManage")?;
    let asker = Asker::Host(asker(call, call.ctx.gateway.range(protocol, ports.clone())));
    let deleted = call.ctx.gateway.delete_range(asker, protocol, ports, all, call.ctx.now);
    deleted.map(|_| ()).map_err(|refusal| in_range(codes::of(refusal, call.version)))
}

/// In a range, "no such entry" has a code of its own.
const fn in_range(code: Code) -> Code {
    match code {
        Code::NoSuchEntry => Code::PortMappingNotFound,
        code => code,
    }
}

/// `NewManage` 0: the asker's own; 1: everybody's. `NewNumberOfPorts` 0: all there are, as far as
/// [`LISTING_MAX`] goes. Written entry by entry into the reply, so that it is in memory only once.
///
/// The document inside the document is a CDATA section, which is one of the two ways XML has for
/// it (XML 1.0 §2.7) and the only one that miniupnpc reads. No `]]>` gets into it: values are escaped.
fn list<B: Backend>(call: &mut Call<'_, '_, B>, reply: &mut Reply<'_>) -> Result<(), Code> {
    let ports = ports(call)?;
    let protocol = protocol(call)?;
    let all = call.boolean("NewManage")?;
    let most = match call.ui2("NewNumberOfPorts")? {
        0 => usize::MAX,
        most => most.into(),
    };
    let own = (!all).then(|| asker(call, call.ctx.gateway.range(protocol, ports.clone())));
    let now = call.ctx.now;
    let mut found = call
        .ctx
        .gateway
        .range(protocol, ports)
        .filter(|mapping| own.is_none_or(|own| own == *mapping.internal.ip()))
        .take(most)
        .peekable();
    found.peek().ok_or(Code::PortMappingNotFound)?;
    reply.text_with(|out| {
        out.push_str(
            "<![CDATA[<?xml version=\"1.0\"?><p:PortMappingList \
             xmlns:p=\"urn:schemas-upnp-org:gw:WANIPConnection\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
             xsi:schemaLocation=\"urn:schemas-upnp-org:gw:WANIPConnection \
             http://www.upnp.org/schemas/gw/WANIPConnection-v2.xsd\">",
        );
        let end = out.len() + LISTING_MAX;
        for mapping in found {
            if out.len() > end {
                break;
            }
            if out.capacity() - out.len() < LISTING_STEP / 16 {
                out.reserve_exact(LISTING_STEP);
            }
            write_entry(out, mapping, now);
        }
        out.push_str("</p:PortMappingList>]]>");
    });
    Ok(())
}

/// One `PortMappingEntry` (§2.3.25).
fn write_entry(out: &mut String, mapping: &Mapping, now: Instant) {
    let external = &mapping.external;
    open(out, "p:PortMappingEntry");
    element(out, "p:NewRemoteHost", &remote_text(mapping));
    element(out, "p:NewExternalPort", &external.port.to_string());
    element(out, "p:NewProtocol", external.protocol.name());
    element(out, "p:NewInternalPort", &mapping.internal.port().to_string());
    element(out, "p:NewInternalClient", &mapping.internal.ip().to_string());
    element(out, "p:NewEnabled", if mapping.enabled { "1" } else { "0" });
    element(out, "p:NewDescription", &mapping.description);
    element(out, "p:NewLeaseTime", &lease_left(mapping, now).to_string());
    close(out, "p:PortMappingEntry");
}

/// `NewStartPort` and `NewEndPort`.
fn ports<B: Backend>(call: &Call<'_, '_, B>) -> Result<RangeInclusive<u16>, Code> {
    let (start, end) = (call.ui2("NewStartPort")?, call.ui2("NewEndPort")?);
    if start > end {
        return Err(Code::InconsistentParameters);
    }
    Ok(start..=end)
}
