//! UPnP error codes, and the one table that turns the core's refusals into them (UDA 1.1
//! table 3-3; WANIPConnection:1 §2.4, WANIPConnection:2 §2.5.23; Layer3Forwarding:1 §2.4).

use super::identity::Face;
use crate::gateway::mapping::Refusal;

/// What is added to the numbers of WANIPv6FirewallControl, which gives some of WANIPConnection's
/// again.
const PINHOLES: u16 = 10_000;

/// The error codes this device emits. The discriminant is the number, for those of
/// WANIPv6FirewallControl plus [`PINHOLES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Code {
    /// No such action in this service, or body and header disagree.
    InvalidAction = 401,
    /// An argument is missing, doubled, or not of its type.
    InvalidArgs = 402,
    /// No such state variable.
    InvalidVar = 404,
    /// The state of the device forbids it now.
    ActionFailed = 501,
    /// Of the right type, but out of its range or list.
    OutOfRange = 601,
    /// An argument is too long to be read.
    TooLong = 605,
    /// Not for this control point.
    NotAuthorized = 606,
    /// The connection type is fixed while connected (version 1).
    InactiveConnectionStateRequired = 703,
    /// No connection, and none can be made from here.
    ConnectionSetupFailed = 704,
    /// There is no connection to terminate.
    ConnectionAlreadyTerminated = 711,
    /// No entry at this index.
    IndexInvalid = 713,
    /// No such entry.
    NoSuchEntry = 714,
    /// The internal client must be named.
    WildCardInSrcIp = 715,
    /// The external port must be named.
    WildCardInExtPort = 716,
    /// The port belongs to another host.
    Conflict = 718,
    /// Not one of this device's UDNs.
    InvalidDeviceUuid = 720,
    /// Not one of this device's services.
    InvalidServiceId = 721,
    /// No connection service that could be the default.
    InvalidConnServiceSelection = 723,
    /// A remote host by name is not supported (version 1).
    RemoteHostOnlyWildcard = 726,
    /// No port is left, or no room (version 2).
    NoPortMapsAvailable = 728,
    /// The router, or another protocol, holds the port (version 2).
    OtherMechanism = 729,
    /// Nothing in this range (version 2).
    PortMappingNotFound = 730,
    /// The connection type cannot be set (version 2).
    ReadOnly = 731,
    /// The internal port must be named (version 2).
    WildCardInIntPort = 732,
    /// The range ends before it begins (version 2).
    InconsistentParameters = 733,
    /// No room for another pinhole.
    PinholeSpaceExhausted = PINHOLES + 701,
    /// No such pinhole.
    NoSuchPinhole = PINHOLES + 704,
    /// Neither TCP nor UDP.
    ProtocolNotSupported = PINHOLES + 705,
    /// The internal port must be named.
    InternalPortWildcard = PINHOLES + 706,
    /// The protocol must be named.
    ProtocolWildcard = PINHOLES + 707,
    /// The internal client must be named.
    SourceIpWildcard = PINHOLES + 708,
    /// No packet has come through the pinhole.
    NoTrafficReceived = PINHOLES + 709,
}

impl Code {
    /// `errorCode`.
    pub const fn number(self) -> u16 {
        self as u16 % PINHOLES
    }

    /// `errorDescription`.
    pub const fn text(self) -> &'static str {
        match self {
            Code::InvalidAction => "Invalid Action",
            Code::InvalidArgs => "Invalid Args",
            Code::InvalidVar => "Invalid Var",
            Code::ActionFailed => "Action Failed",
            Code::OutOfRange => "Argument Value Out of Range",
            Code::TooLong => "String Argument Too Long",
            Code::NotAuthorized => "Action not authorized",
            Code::InactiveConnectionStateRequired => "InactiveConnectionStateRequired",
            Code::ConnectionSetupFailed => "ConnectionSetupFailed",
            Code::ConnectionAlreadyTerminated => "ConnectionAlreadyTerminated",
            Code::IndexInvalid => "SpecifiedArrayIndexInvalid",
            Code::NoSuchEntry => "NoSuchEntryInArray",
            Code::WildCardInSrcIp => "WildCardNotPermittedInSrcIP",
            Code::WildCardInExtPort => "WildCardNotPermittedInExtPort",
            Code::Conflict => "ConflictInMappingEntry",
            Code::InvalidDeviceUuid => "InvalidDeviceUUID",
            Code::InvalidServiceId => "InvalidServiceID",
            Code::InvalidConnServiceSelection => "InvalidConnServiceSelection",
            Code::RemoteHostOnlyWildcard => "RemoteHostOnlySupportsWildcard",
            Code::NoPortMapsAvailable => "NoPortMapsAvailable",
            Code::OtherMechanism => "ConflictWithOtherMechanisms",
            Code::PortMappingNotFound => "PortMappingNotFound",
            Code::ReadOnly => "ReadOnly",
            Code::WildCardInIntPort => "WildCardNotPermittedInIntPort",
            Code::InconsistentParameters => "InconsistentParameters",
            Code::PinholeSpaceExhausted => "PinholeSpaceExhausted",
            Code::NoSuchPinhole => "NoSuchEntry",
            Code::ProtocolNotSupported => "ProtocolNotSupported",
            Code::InternalPortWildcard => "InternalPortWildcardingNotAllowed",
            Code::ProtocolWildcard => "ProtocolWildcardingNotAllowed",
            Code::SourceIpWildcard => "WildCardNotPermittedInSrcIP",
            Code::NoTrafficReceived => "NoTrafficReceived",
        }
    }
}

/// The code of a refusal, by the version of the service type in the request.
pub const fn of(refusal: Refusal, version: Face) -> Code {
    match (refusal, version) {
        (Refusal::Denied | Refusal::NotOwner, _) => Code::NotAuthorized,
        (Refusal::InvalidTarget, Face::V1) => Code::InvalidArgs,
        (Refusal::InvalidTarget, Face::V2) => Code::NotAuthorized,
        (Refusal::Conflict, _) | (Refusal::Reserved, Face::V1) => Code::Conflict,
        (Refusal::Reserved, Face::V2) => Code::OtherMechanism,
        (Refusal::NoSuchMapping, _) => Code::NoSuchEntry,
        (Refusal::NoFreePort | Refusal::QuotaExceeded | Refusal::TableFull, Face::V2) => {
            Code::NoPortMapsAvailable
        }
        (Refusal::NoFreePort | Refusal::QuotaExceeded | Refusal::TableFull, Face::V1)
        | (
            Refusal::Backend
            | Refusal::NoExternalAddress
            | Refusal::PrivateExternalAddress
            | Refusal::TooManyFilters,
            _,
        ) => Code::ActionFailed,
    }
}

/// The code of a refusal by WANIPv6FirewallControl (§2.5).
pub const fn of_pinhole(refusal: Refusal) -> Code {
    match refusal {
        Refusal::Denied | Refusal::InvalidTarget | Refusal::NotOwner => Code::NotAuthorized,
        Refusal::QuotaExceeded | Refusal::TableFull | Refusal::NoFreePort => {
            Code::PinholeSpaceExhausted
        }
        Refusal::NoSuchMapping => Code::NoSuchPinhole,
        Refusal::Backend
        | Refusal::Conflict
        | Refusal::NoExternalAddress
        | Refusal::PrivateExternalAddress
        | Refusal::Reserved
        | Refusal::TooManyFilters => Code::ActionFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_of_a_pinhole_has_its_code_items_157_159_161_162() {
        let expected = [
            (Refusal::Backend, 501),
            (Refusal::Conflict, 501),
            (Refusal::Denied, 606),
            (Refusal::InvalidTarget, 606),
            (Refusal::NoExternalAddress, 501),
            (Refusal::NoFreePort, 701),
            (Refusal::NoSuchMapping, 704),
            (Refusal::NotOwner, 606),
            (Refusal::PrivateExternalAddress, 501),
            (Refusal::QuotaExceeded, 701),
            (Refusal::Reserved, 501),
            (Refusal::TableFull, 701),
            (Refusal::TooManyFilters, 501),
        ];
        assert_eq!(Refusal::ALL.map(|r| (r, of_pinhole(r).number())), expected);
    }

    #[test]
    fn every_refusal_has_its_code_in_both_versions_items_113_127_128_129_131_133_140_150() {
        let expected = [
            (Refusal::Backend, 501, 501),
            (Refusal::Conflict, 718, 718),
            (Refusal::Denied, 606, 606),
            (Refusal::InvalidTarget, 402, 606),
            (Refusal::NoExternalAddress, 501, 501),
            (Refusal::NoFreePort, 501, 728),
            (Refusal::NoSuchMapping, 714, 714),
            (Refusal::NotOwner, 606, 606),
            (Refusal::PrivateExternalAddress, 501, 501),
            (Refusal::QuotaExceeded, 501, 728),
            (Refusal::Reserved, 718, 729),
            (Refusal::TableFull, 501, 728),
            (Refusal::TooManyFilters, 501, 501),
        ];
        let whole = Refusal::ALL.map(|r| (r, of(r, Face::V1).number(), of(r, Face::V2).number()));
        assert_eq!(whole, expected);
    }
}
