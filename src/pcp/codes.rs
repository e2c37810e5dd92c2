//! The two tables that turn the core's refusals into codes.

use crate::gateway::mapping::Refusal;
use crate::proto::natpmp::Outcome;
use crate::proto::pcp::Code;

/// PCP's (RFC 6887 §7.4).
pub const fn of(refusal: Refusal) -> Code {
    match refusal {
        Refusal::Denied | Refusal::InvalidTarget | Refusal::NotOwner => Code::NotAuthorized,
        Refusal::Conflict | Refusal::Reserved => Code::CannotProvideExternal,
        Refusal::NoExternalAddress | Refusal::PrivateExternalAddress => Code::NetworkFailure,
        Refusal::Backend | Refusal::NoFreePort | Refusal::NoSuchMapping | Refusal::TableFull => {
            Code::NoResources
        }
        Refusal::QuotaExceeded => Code::UserExQuota,
        Refusal::TooManyFilters => Code::ExcessiveRemotePeers,
    }
}

/// NAT-PMP's (RFC 6886 §3.5).
pub const fn of_natpmp(refusal: Refusal) -> Outcome {
    match refusal {
        Refusal::Conflict
        | Refusal::Denied
        | Refusal::InvalidTarget
        | Refusal::NotOwner
        | Refusal::Reserved => Outcome::NotAuthorized,
        Refusal::NoExternalAddress | Refusal::PrivateExternalAddress => Outcome::NetworkFailure,
        Refusal::Backend
        | Refusal::NoFreePort
        | Refusal::NoSuchMapping
        | Refusal::QuotaExceeded
        | Refusal::TableFull
        | Refusal::TooManyFilters => Outcome::OutOfResources,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_codes_180_213_214() {
        let expected = [
            (Refusal::Backend, 8, 4),
            (Refusal::Conflict, 11, 2),
            (Refusal::Denied, 2, 2),
            (Refusal::InvalidTarget, 2, 2),
            (Refusal::NoExternalAddress, 7, 3),
            (Refusal::NoFreePort, 8, 4),
            (Refusal::NoSuchMapping, 8, 4),
            (Refusal::NotOwner, 2, 2),
            (Refusal::PrivateExternalAddress, 7, 3),
            (Refusal::QuotaExceeded, 10, 4),
            (Refusal::Reserved, 11, 2),
            (Refusal::TableFull, 8, 4),
            (Refusal::TooManyFilters, 13, 4),
        ];
        let found = Refusal::ALL.map(|r| (r, of(r) as u8, of_natpmp(r) as u8));
        assert_eq!(found, expected);
    }
}
