//! NAT-PMP messages (RFC 6886 §3): requests read, answers and announcements written.
//!
//! Pure. Reading never panics on any bytes.

use crate::gateway::mapping::Protocol;
use std::net::Ipv4Addr;

/// The port that requests come to and everything is sent from (§3).
pub const PORT: u16 = 5351;
/// The port that announcements go to (§3.2.1).
pub const CLIENT_PORT: u16 = 5350;
/// Where announcements go to.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);

const VERSION: u8 = 0;
const ANSWER: u8 = 0x80;

/// A request's outcome (§3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Done.
    Success = 0,
    /// The router does not allow it.
    NotAuthorized = 2,
    /// There is no external address.
    NetworkFailure = 3,
    /// No room or no port.
    OutOfResources = 4,
    /// No such opcode.
    UnsupportedOpcode = 5,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Opcode 0: the external address.
    Address,
    /// Opcodes 1 and 2: a mapping, or with lifetime 0 its end.
    Map {
        /// Transport protocol.
        protocol: Protocol,
        /// Internal port; 0 only with a lifetime of 0: all of the host's.
        internal_port: u16,
        /// Suggested external port; 0 for none.
        external_port: u16,
        /// Seconds.
        lifetime: u32,
    },
    /// Any other opcode.
    Unknown,
}

/// Reads a message whose first octet is 0. `None`: nothing is answered; it is an answer itself
/// (§3.5) or too short.
pub fn read(bytes: &[u8]) -> Option<Request> {
    let [VERSION, opcode, rest @ ..] = bytes else { return None };
    let protocol = match opcode {
        0 => return Some(Request::Address),
        1 => Protocol::Udp,
        2 => Protocol::Tcp,
        ANSWER.. => return None,
        _ => return Some(Request::Unknown),
    };
    let [_, _, a, b, c, d, lifetime @ ..] = rest else { return None };
    Some(Request::Map {
        protocol,
        internal_port: u16::from_be_bytes([*a, *b]),
        external_port: u16::from_be_bytes([*c, *d]),
        lifetime: u32::from_be_bytes(*lifetime.first_chunk()?),
    })
}

/// Writes the answer to [`Request::Address`], which is an announcement, too (§3.2.1). Without an
/// address it is a network failure.
pub fn write_address(epoch: u32, address: Option<Ipv4Addr>) -> [u8; 12] {
    let outcome = match address {
        Some(_) => Outcome::Success,
        None => Outcome::NetworkFailure,
    };
    let mut out = [0; 12];
    head(&mut out, 0, outcome, epoch);
    out[8..].copy_from_slice(&address.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
    out
}

/// Writes the answer to [`Request::Map`] (§3.3); after an error `external_port` and `lifetime` are 0.
pub fn write_map(
    epoch: u32,
    outcome: Outcome,
    protocol: Protocol,
    internal_port: u16,
    external_port: u16,
    lifetime: u32,
) -> [u8; 16] {
    let mut out = [0; 16];
    head(&mut out, if protocol == Protocol::Udp { 1 } else { 2 }, outcome, epoch);
    out[8..10].copy_from_slice(&internal_port.to_be_bytes());
    out[10..12].copy_from_slice(&external_port.to_be_bytes());
    out[12..].copy_from_slice(&lifetime.to_be_bytes());
    out
}

/// Writes the answer to [`Request::Unknown`]: the whole request with the code (§3.5).
pub fn write_unknown(request: &[u8]) -> Vec<u8> {
    let mut out = request.to_vec();
    out.resize(out.len().max(4), 0);
    out[1] |= ANSWER;
    out[2..4].copy_from_slice(&u16::from(Outcome::UnsupportedOpcode as u8).to_be_bytes());
    out
}

fn head(out: &mut [u8], opcode: u8, outcome: Outcome, epoch: u32) {
    out[0] = VERSION;
    out[1] = ANSWER | opcode;
    out[3] = outcome as u8;
    out[4..8].copy_from_slice(&epoch.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_are_read_as_3_2_and_3_3_draw_them() {
        assert_eq!(read(&[0, 0]), Some(Request::Address));
        assert_eq!(read(&[0, 0, 9, 9, 9]), Some(Request::Address), "what follows does not count");
        let map = |protocol| Request::Map {
            protocol,
            internal_port: 0x1b58,
            external_port: 0x4268,
            lifetime: 7200,
        };
        let bytes = |opcode| [0, opcode, 7, 7, 0x1b, 0x58, 0x42, 0x68, 0, 0, 0x1c, 0x20];
        assert_eq!(read(&bytes(1)), Some(map(Protocol::Udp)));
        assert_eq!(read(&bytes(2)), Some(map(Protocol::Tcp)));
        assert_eq!(read(&bytes(1)[..11]), None, "too short");
        assert_eq!(read(&bytes(3)), Some(Request::Unknown));
        assert_eq!(read(&bytes(127)), Some(Request::Unknown));
    }

    #[test]
    fn answers_and_other_versions_are_no_requests_181() {
        for opcode in 128..=255 {
            assert_eq!(read(&[0, opcode, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        }
        for bytes in [&[][..], &[0], &[1, 0], &[2, 0]] {
            assert_eq!(read(bytes), None);
        }
    }

    #[test]
    fn answers_are_written_as_3_2_and_3_3_draw_them_169_170_182() {
        let address = Ipv4Addr::new(11, 22, 33, 1);
        assert_eq!(
            write_address(0x01020304, Some(address)),
            [0, 128, 0, 0, 1, 2, 3, 4, 11, 22, 33, 1]
        );
        assert_eq!(write_address(5, None), [0, 128, 0, 3, 0, 0, 0, 5, 0, 0, 0, 0]);
        let map = write_map(5, Outcome::Success, Protocol::Udp, 7000, 17000, 7200);
        assert_eq!(map, [0, 129, 0, 0, 0, 0, 0, 5, 0x1b, 0x58, 0x42, 0x68, 0, 0, 0x1c, 0x20]);
        let refused = write_map(5, Outcome::NotAuthorized, Protocol::Tcp, 7000, 0, 0);
        assert_eq!(refused, [0, 130, 0, 2, 0, 0, 0, 5, 0x1b, 0x58, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn an_unknown_opcode_is_given_back_whole_181() {
        assert_eq!(write_unknown(&[0, 9, 1, 1, 5, 6, 7]), [0, 137, 0, 5, 5, 6, 7]);
        assert_eq!(write_unknown(&[0, 9]), [0, 137, 0, 5]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = read(&bytes);
            let ours = [&[0, 1][..], &bytes].concat();
            let _ = read(&ours);
            prop_assert!(write_unknown(&ours).len() >= 4);
        }
    }
}
