//! One entry of the neighbour table: which link-layer address a LAN host has (rtnetlink(7)).
//!
//! Pure. Reading never panics on any bytes.

use crate::netlink::wire::{self, Message, Writer};
use std::net::IpAddr;

/// Longest link-layer address kept, in bytes: the kernel's own limit.
pub const ADDRESS_MAX: usize = 32;

const NEW: u16 = 28;
const GET: u16 = 30;
const HEADER: usize = 12;
const DESTINATION: u16 = 1;
const LINK_ADDRESS: u16 = 2;
/// Asks the kernel to find out who has the address, as if a packet waited for it (`NTF_USE`).
const USE: u8 = 0x01;
/// Reachable, stale, delay, probe and permanent: the address was learned and stands.
const KNOWN: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;

/// Writes the request for the entry of `address` on the device with this index. Kernels from 5.0
/// on answer with that one alone, or `ENOENT`.
pub fn get(writer: &mut Writer, index: u32, address: IpAddr) {
    message(writer, GET, 0, index, 0, address);
}

/// Writes the request to find out who has `address`.
pub fn solicit(writer: &mut Writer, index: u32, address: IpAddr) {
    message(writer, NEW, wire::CREATE, index, USE, address);
}

/// The link-layer address that an answer to [`get`] tells, if it is known.
pub fn read(message: &Message<'_>) -> Option<Vec<u8>> {
    let [_, _, _, _, _, _, _, _, low, high, ..] = *message.payload else { return None };
    let state = u16::from_ne_bytes([low, high]);
    let address = message.attributes(HEADER).find(LINK_ADDRESS)?;
    let usable = message.kind == NEW
        && state & KNOWN != 0
        && address.len() <= ADDRESS_MAX
        && address.iter().any(|byte| *byte != 0);
    usable.then(|| address.to_vec())
}

fn message(writer: &mut Writer, kind: u16, flags: u16, index: u32, how: u8, address: IpAddr) {
    writer.message(kind, wire::REQUEST | wire::ACK | flags);
    let mut header = [0; HEADER];
    header[0] = if address.is_ipv4() { 2 } else { 10 };
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[10] = how;
    writer.raw(&header);
    match address {
        IpAddr::V4(address) => writer.bytes(DESTINATION, &address.octets()),
        IpAddr::V6(address) => writer.bytes(DESTINATION, &address.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::recorded::hex;
    use crate::netlink::wire::Messages;

    #[test]
    fn one_entry_is_asked_for_and_one_host_solicited() {
        let mut writer = Writer::new(1);
        get(&mut writer, 7, "192.168.1.10".parse().unwrap());
        let written = writer.finish();
        let message = Messages(&written).next().unwrap();
        assert_eq!((message.kind, message.flags), (GET, wire::REQUEST | wire::ACK));
        let [a, b, c, d] = 7u32.to_ne_bytes();
        assert_eq!(message.payload[..HEADER], [2, 0, 0, 0, a, b, c, d, 0, 0, 0, 0]);
        let destination = message.attributes(HEADER).find(DESTINATION).map(Vec::from);
        assert_eq!(destination, Some(hex("c0a8010a")));
        let v6: IpAddr = "2001:db8::10".parse().unwrap();
        let mut writer = Writer::new(1);
        solicit(&mut writer, 7, v6);
        let written = writer.finish();
        let message = Messages(&written).next().unwrap();
        assert_eq!((message.kind, message.flags), (NEW, wire::REQUEST | wire::ACK | wire::CREATE));
        assert_eq!(message.payload[10], USE);
        let destination = message.attributes(HEADER).find(DESTINATION).map(Vec::from);
        assert_eq!(destination, Some(hex("20010db8000000000000000000000010")));
    }

    /// An answer about a neighbour in this state.
    fn answer(state: u16, address: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new(1);
        writer.message(NEW, 0);
        let [low, high] = state.to_ne_bytes();
        writer.raw(&[2, 0, 0, 0, 7, 0, 0, 0, low, high, 0, 1]);
        writer.bytes(LINK_ADDRESS, address);
        writer.finish()
    }

    #[test]
    fn only_an_address_that_was_learned_counts_134() {
        let told = |state, address: &[u8]| read(&Messages(&answer(state, address)).next().unwrap());
        let mac = [2, 0, 0, 0, 0, 1];
        for state in [0x02, 0x04, 0x08, 0x10, 0x80] {
            assert_eq!(told(state, &mac), Some(mac.to_vec()), "{state}");
        }
        for state in [0, 0x01, 0x20, 0x40] {
            assert_eq!(told(state, &mac), None, "{state}");
        }
        assert_eq!(told(0x02, &[]), None);
        assert_eq!(told(0x02, &[0; 6]), None);
        assert_eq!(told(0x02, &[1; ADDRESS_MAX + 1]), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(0u8.., 0..80)) {
            Messages(&bytes).for_each(|message| drop(read(&message)));
        }
    }
}
