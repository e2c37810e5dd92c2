//! Ports that the router's own programs listen on, by sock_diag(7).
//!
//! Pure. Reading never panics on any bytes.

use crate::gateway::mapping::Protocol;
use crate::netlink::wire::{self, ne32, Message, Writer};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const BY_FAMILY: u16 = 20;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// TCP_LISTEN.
const LISTENING: u32 = 1 << 10;
/// TCP_CLOSE, which a UDP socket is in that is not connected.
const UNCONNECTED: u32 = 1 << 7;
/// Bytes of a request: family, protocol, states and an empty socket's name.
const REQUEST_LEN: usize = 56;
/// Bytes of an answer before its attributes.
const HEADER_LEN: usize = 72;
const V6_ONLY: u16 = 11;

/// What is asked for, each by a question of its own.
pub const QUESTIONS: [(bool, Protocol); 4] =
    [(false, Protocol::Tcp), (false, Protocol::Udp), (true, Protocol::Tcp), (true, Protocol::Udp)];

/// Writes a question of [`QUESTIONS`]: the listening sockets of a family and protocol.
pub fn dump(writer: &mut Writer, (ipv6, protocol): (bool, Protocol)) {
    writer.message(BY_FAMILY, wire::REQUEST | wire::DUMP);
    let mut request = [0; REQUEST_LEN];
    request[0] = if ipv6 { IPV6 } else { IPV4 };
    request[1] = protocol.number();
    let states = match protocol {
        Protocol::Tcp => LISTENING,
        Protocol::Udp => UNCONNECTED,
    };
    request[4..8].copy_from_slice(&states.to_ne_bytes());
    writer.raw(&request);
}

/// A port that somebody listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The port, never 0.
    pub port: u16,
    /// At this address of the router's or, unspecified, at all.
    pub address: Ipv4Addr,
    /// On the device with this number only, or 0 for all.
    pub device: u32,
}

/// A listener as the kernel tells of it. `None`: only by IPv6, or no answer.
pub fn read(message: &Message<'_>) -> Option<Listener> {
    let [family, _, _, _, high, low, _, _, address @ ..] = message.payload else { return None };
    let port = u16::from_be_bytes([*high, *low]);
    let device = ne32(message.payload.get(40..)?)?;
    let address = match *family {
        IPV4 => Ipv4Addr::from(*address.first_chunk::<4>()?),
        IPV6 => {
            let only = message.attributes(HEADER_LEN).find(V6_ONLY);
            match Ipv6Addr::from(*address.first_chunk::<16>()?).to_canonical() {
                IpAddr::V4(address) => address,
                IpAddr::V6(address) if address.is_unspecified() && only == Some(&[0]) => {
                    Ipv4Addr::UNSPECIFIED
                }
                IpAddr::V6(_) => return None,
            }
        }
        _ => return None,
    };
    (message.kind == BY_FAMILY && port != 0).then_some(Listener { port, address, device })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::wire::Messages;
    use proptest::prelude::*;

    #[test]
    fn listeners_of_one_family_and_protocol_are_asked_for() {
        let mut writer = Writer::new(1);
        dump(&mut writer, (true, Protocol::Udp));
        let asked = writer.finish();
        let message = Messages(&asked).next().unwrap();
        assert_eq!((message.kind, message.flags), (20, wire::REQUEST | wire::DUMP));
        let mut want = [0; 56];
        want[..2].copy_from_slice(&[10, 17]);
        want[4..8].copy_from_slice(&0x80u32.to_ne_bytes());
        assert_eq!(message.payload, want);
    }

    /// An answer: a socket of this family, port, device and address.
    fn told(family: u8, port: u16, device: u32, address: &[u8], only: Option<u8>) -> Vec<u8> {
        let mut writer = Writer::new(1);
        writer.message(20, 0);
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = family;
        bytes[4..6].copy_from_slice(&port.to_be_bytes());
        bytes[8..8 + address.len()].copy_from_slice(address);
        bytes[40..44].copy_from_slice(&device.to_ne_bytes());
        writer.raw(&bytes);
        if let Some(only) = only {
            writer.bytes(V6_ONLY, &[only]);
        }
        writer.finish()
    }

    #[test]
    fn only_what_the_internet_could_reach_by_ipv4_counts() {
        let heard = |bytes: &[u8]| {
            let Listener { port, address, device } = read(&Messages(bytes).next().unwrap())?;
            assert_eq!(port, 80);
            Some((address, device))
        };
        let lan = Ipv4Addr::new(192, 168, 1, 1);
        assert_eq!(heard(&told(2, 80, 0, &[0; 4], None)), Some((Ipv4Addr::UNSPECIFIED, 0)));
        assert_eq!(heard(&told(2, 80, 0, &lan.octets(), None)), Some((lan, 0)));
        assert_eq!(heard(&told(2, 80, 7, &[0; 4], None)), Some((Ipv4Addr::UNSPECIFIED, 7)));
        assert_eq!(heard(&told(2, 0, 0, &[0; 4], None)), None);
        assert_eq!(heard(&told(10, 80, 0, &[0; 16], Some(0))), Some((Ipv4Addr::UNSPECIFIED, 0)));
        assert_eq!(heard(&told(10, 80, 0, &[0; 16], Some(1))), None);
        let mapped = lan.to_ipv6_mapped().octets();
        assert_eq!(heard(&told(10, 80, 0, &mapped, Some(0))), Some((lan, 0)));
        assert_eq!(heard(&told(10, 80, 0, &[1; 16], Some(0))), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let mut writer = Writer::new(1);
            writer.message(20, 0);
            writer.raw(&bytes);
            let _ = read(&Messages(&writer.finish()).next().unwrap());
        }
    }
}
