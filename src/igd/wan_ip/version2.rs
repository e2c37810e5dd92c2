//! What WANIPConnection:2 adds: any free port, and ranges (§2.5.17, §2.5.19, §2.5.21).

use super::listing::Listing;
use super::mappings::{asker, make, protocol};
use super::COUNT;
use crate::gateway::mapping::Port;
use crate::gateway::Asker;
use crate::igd::action::Arg::{In, Optional, Out};
use crate::igd::action::{Action, Call, Reply};
use crate::igd::codes::{self, Code};
use crate::netfilter::Backend;
use std::ops::RangeInclusive;

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

/// `NewManage` 0: the asker's own; 1: everybody's. `NewNumberOfPorts` 0: all there are.
fn list<B: Backend>(call: &mut Call<'_, '_, B>, reply: &mut Reply<'_>) -> Result<(), Code> {
    let ports = ports(call)?;
    let protocol = protocol(call)?;
    let all = call.boolean("NewManage")?;
    let most = match call.ui2("NewNumberOfPorts")? {
        0 => usize::MAX,
        most => most.into(),
    };
    let own = (!all).then(|| asker(call, call.ctx.gateway.range(protocol, ports.clone())));
    let (gateway, now) = (&*call.ctx.gateway, call.ctx.now);
    let mut found = gateway.range(protocol, ports.clone());
    if !found.any(|mapping| own.is_none_or(|own| own == *mapping.internal.ip())) {
        return Err(Code::PortMappingNotFound);
    }
    let mut listing = Listing::new(protocol, ports, own, most);
    let mut whole = true;
    reply.text_with(|out| whole = listing.begin(gateway, now, out));
    if !whole {
        call.ctx.listing = Some(listing);
    }
    Ok(())
}

/// `NewStartPort` and `NewEndPort`.
fn ports<B: Backend>(call: &Call<'_, '_, B>) -> Result<RangeInclusive<u16>, Code> {
    let (start, end) = (call.ui2("NewStartPort")?, call.ui2("NewEndPort")?);
    if start > end {
        return Err(Code::InconsistentParameters);
    }
    Ok(start..=end)
}
