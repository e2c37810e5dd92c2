//! WANIPConnection:1 and :2: the connection itself, and the tables of the service. Its mappings
//! are in [`mappings`], what only version 2 has in [`version2`].

mod listing;
mod mappings;
mod version2;

pub use listing::{Listing, PIECE_LEN};

use super::action::Arg::{In, Optional, Out};
use super::action::{Action, Call, Kind, Reply, Variable};
use super::codes::Code;
use super::identity::Face;
use super::tree::Service;
use crate::gateway::ExternalState;
use crate::netfilter::Backend;

/// State variables of both versions (WANIPConnection:1 §2.2, WANIPConnection:2 §2.3).
pub(super) const VARIABLES: &[Variable] = &[
    Variable::new("ConnectionType", Kind::String).default("IP_Routed").one_of(&[
        "Unconfigured",
        "IP_Routed",
        "IP_Bridged",
    ]),
    Variable::new("PossibleConnectionTypes", Kind::String).evented().one_of(&[
        "Unconfigured",
        "IP_Routed",
        "IP_Bridged",
    ]),
    Variable::new("ConnectionStatus", Kind::String).evented().one_of(&[
        "Unconfigured",
        "Connecting",
        "Connected",
        "PendingDisconnect",
        "Disconnecting",
        "Disconnected",
    ]),
    Variable::new("Uptime", Kind::Ui4),
    Variable::new("LastConnectionError", Kind::String).one_of(&[
        "ERROR_NONE",
        "ERROR_COMMAND_ABORTED",
        "ERROR_NOT_ENABLED_FOR_INTERNET",
        "ERROR_USER_DISCONNECT",
        "ERROR_ISP_DISCONNECT",
        "ERROR_IDLE_DISCONNECT",
        "ERROR_FORCED_DISCONNECT",
        NO_CARRIER,
        NO_ADDRESS,
        "ERROR_UNKNOWN",
    ]),
    Variable::new("RSIPAvailable", Kind::Boolean),
    Variable::new("NATEnabled", Kind::Boolean),
    Variable::new("ExternalIPAddress", Kind::String).evented(),
    Variable::new(COUNT, Kind::Ui2).evented(),
    Variable::new("PortMappingEnabled", Kind::Boolean),
    Variable::new("RemoteHost", Kind::String),
    Variable::new("ExternalPort", Kind::Ui2),
    Variable::new("PortMappingProtocol", Kind::String).one_of(&["TCP", "UDP"]),
    Variable::new("InternalClient", Kind::String),
    Variable::new("PortMappingDescription", Kind::String),
];

const VARIABLES_1: &[Variable] = &[
    Variable::new("PortMappingLeaseDuration", Kind::Ui4),
    Variable::new("InternalPort", Kind::Ui2),
];

const VARIABLES_2: &[Variable] = &[
    // Tables 2-6 and 2-7.
    Variable::new("PortMappingLeaseDuration", Kind::Ui4).default("3600").range("0", "604800"),
    Variable::new("InternalPort", Kind::Ui2).range("1", "65535"),
    Variable::new(UPDATE_ID, Kind::Ui4).evented(),
    Variable::new("A_ARG_TYPE_Manage", Kind::Boolean),
    Variable::new("A_ARG_TYPE_PortListing", Kind::String),
];

const COUNT: &str = "PortMappingNumberOfEntries";
const UPDATE_ID: &str = "SystemUpdateID";
const NO_CARRIER: &str = "ERROR_NO_CARRIER";
const NO_ADDRESS: &str = "ERROR_IP_CONFIGURATION";

/// State variables that differ between the versions.
pub(super) const fn variables_of(version: Face) -> &'static [Variable] {
    match version {
        Face::V1 => VARIABLES_1,
        Face::V2 => VARIABLES_2,
    }
}

/// Actions of both versions (WANIPConnection:2 table 2-10): the required ones. The optional ones
/// act on a connection this device does not manage.
pub(super) fn actions<B: Backend + 'static>() -> &'static [Action<B>] {
    const {
        &[
            Action {
                name: "SetConnectionType",
                args: &[In("NewConnectionType", "ConnectionType")],
                run: set_connection_type,
            },
            Action {
                name: "GetConnectionTypeInfo",
                args: &[
                    Out("NewConnectionType", "ConnectionType"),
                    Out("NewPossibleConnectionTypes", "PossibleConnectionTypes"),
                ],
                run: |_, reply| {
                    reply.text("IP_Routed");
                    reply.text("IP_Routed");
                    Ok(())
                },
            },
            Action { name: "RequestConnection", args: &[], run: request_connection },
            Action { name: "ForceTermination", args: &[], run: force_termination },
            Action {
                name: "GetStatusInfo",
                args: &[
                    Out("NewConnectionStatus", "ConnectionStatus"),
                    Out("NewLastConnectionError", "LastConnectionError"),
                    Out("NewUptime", "Uptime"),
                ],
                run: status_info,
            },
            Action {
                name: "GetNATRSIPStatus",
                args: &[
                    Out("NewRSIPAvailable", "RSIPAvailable"),
                    Out("NewNATEnabled", "NATEnabled"),
                ],
                run: |_, reply| {
                    reply.flag(false);
                    reply.flag(true);
                    Ok(())
                },
            },
            Action {
                name: "GetGenericPortMappingEntry",
                args: &[
                    In("NewPortMappingIndex", COUNT),
                    Out("NewRemoteHost", "RemoteHost"),
                    Out("NewExternalPort", "ExternalPort"),
                    Out("NewProtocol", "PortMappingProtocol"),
                    Out("NewInternalPort", "InternalPort"),
                    Out("NewInternalClient", "InternalClient"),
                    Out("NewEnabled", "PortMappingEnabled"),
                    Out("NewPortMappingDescription", "PortMappingDescription"),
                    Out("NewLeaseDuration", "PortMappingLeaseDuration"),
                ],
                run: mappings::generic_entry,
            },
            Action {
                name: "GetSpecificPortMappingEntry",
                args: &[
                    Optional("NewRemoteHost", "RemoteHost"),
                    In("NewExternalPort", "ExternalPort"),
                    In("NewProtocol", "PortMappingProtocol"),
                    Out("NewInternalPort", "InternalPort"),
                    Out("NewInternalClient", "InternalClient"),
                    Out("NewEnabled", "PortMappingEnabled"),
                    Out("NewPortMappingDescription", "PortMappingDescription"),
                    Out("NewLeaseDuration", "PortMappingLeaseDuration"),
                ],
                run: mappings::specific_entry,
            },
            Action {
                name: "AddPortMapping",
                args: &[
                    Optional("NewRemoteHost", "RemoteHost"),
                    In("NewExternalPort", "ExternalPort"),
                    In("NewProtocol", "PortMappingProtocol"),
                    In("NewInternalPort", "InternalPort"),
                    In("NewInternalClient", "InternalClient"),
                    In("NewEnabled", "PortMappingEnabled"),
                    In("NewPortMappingDescription", "PortMappingDescription"),
                    In("NewLeaseDuration", "PortMappingLeaseDuration"),
                ],
                run: mappings::add,
            },
            Action {
                name: "DeletePortMapping",
                args: &[
                    Optional("NewRemoteHost", "RemoteHost"),
                    In("NewExternalPort", "ExternalPort"),
                    In("NewProtocol", "PortMappingProtocol"),
                ],
                run: mappings::delete,
            },
            Action {
                name: "GetExternalIPAddress",
                args: &[Out("NewExternalIPAddress", "ExternalIPAddress")],
                run: external_address,
            },
        ]
    }
}

/// Actions that only one version has.
pub(super) fn actions_of<B: Backend + 'static>(version: Face) -> &'static [Action<B>] {
    match version {
        Face::V1 => &[],
        Face::V2 => version2::actions(),
    }
}

/// The values of the state variables that no action reads out.
pub(super) fn count<B: Backend>(
    call: &Call<'_, '_, B>,
    service: Service,
    variable: &str,
) -> Option<u32> {
    match (service, variable) {
        // As many as can be enumerated; the table's limit is a u16.
        (Service::WanIp, COUNT) => call.ctx.gateway.len().try_into().ok(),
        (Service::WanIp, UPDATE_ID) if call.version == Face::V2 => {
            Some(call.ctx.gateway.system_update_id())
        }
        _ => None,
    }
}

/// The type follows from the router's own configuration.
fn set_connection_type<B: Backend>(
    call: &mut Call<'_, '_, B>,
    _: &mut Reply<'_>,
) -> Result<(), Code> {
    Err(match call.version {
        Face::V2 => Code::ReadOnly,
        Face::V1 if call.ctx.connected() => Code::InactiveConnectionStateRequired,
        Face::V1 => Code::ActionFailed,
    })
}

/// The connection is always requested; asking for it changes nothing.
fn request_connection<B: Backend>(
    call: &mut Call<'_, '_, B>,
    _: &mut Reply<'_>,
) -> Result<(), Code> {
    call.ctx.connected().then_some(()).ok_or(Code::ConnectionSetupFailed)
}

/// No LAN host may take the line from all the others.
fn force_termination<B: Backend>(
    call: &mut Call<'_, '_, B>,
    _: &mut Reply<'_>,
) -> Result<(), Code> {
    Err(match call.ctx.connected() {
        true => Code::NotAuthorized,
        false => Code::ConnectionAlreadyTerminated,
    })
}

fn status_info<B: Backend>(call: &mut Call<'_, '_, B>, reply: &mut Reply<'_>) -> Result<(), Code> {
    let connected = call.ctx.connected();
    let (status, error) = match (connected, call.ctx.link.up) {
        (true, _) => ("Connected", "ERROR_NONE"),
        (false, true) => ("Disconnected", NO_ADDRESS),
        (false, false) => ("Disconnected", NO_CARRIER),
    };
    reply.text(status);
    reply.text(error);
    let uptime = if connected { call.ctx.link.uptime.as_secs() } else { 0 };
    reply.number(uptime.try_into().unwrap_or(u32::MAX));
    Ok(())
}

/// Empty while there is none, or only a private one: a client would announce that to others.
fn external_address<B: Backend>(
    call: &mut Call<'_, '_, B>,
    reply: &mut Reply<'_>,
) -> Result<(), Code> {
    match call.ctx.gateway.external() {
        ExternalState::Active(address) => reply.text(&address.to_string()),
        ExternalState::Private(_) | ExternalState::None => reply.text(""),
    }
    Ok(())
}
