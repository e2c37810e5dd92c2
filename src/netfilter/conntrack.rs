//! One flow of the kernel's connection table: where it leaves from
//! (linux/netfilter/nfnetlink_conntrack.h).
//!
//! Pure. Reading never panics on any bytes.

use crate::netfilter::Flow;
use crate::netlink::nfnl::{HEADER_LEN, IPV4};
use crate::netlink::wire::{self, be16, Message, Writer};
use std::net::{Ipv4Addr, SocketAddrV4};

const SUBSYSTEM: u16 = 1;
const NEW: u16 = SUBSYSTEM << 8;
const GET: u16 = SUBSYSTEM << 8 | 1;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const TUPLE_ADDRESSES: u16 = 1;
const TUPLE_PORTS: u16 = 2;
const SOURCE_V4: u16 = 1;
const DESTINATION_V4: u16 = 2;
const PROTOCOL: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;

/// Writes the request for one flow; the kernel answers with that one alone, or `ENOENT`.
pub fn get(writer: &mut Writer, flow: &Flow) {
    writer.message(GET, wire::REQUEST | wire::ACK);
    writer.raw(&[IPV4, 0, 0, 0]);
    writer.nest(TUPLE_ORIGINAL, |w| {
        w.nest(TUPLE_ADDRESSES, |w| {
            w.bytes(SOURCE_V4, &flow.internal.ip().octets());
            w.bytes(DESTINATION_V4, &flow.remote.ip().octets());
        });
        w.nest(TUPLE_PORTS, |w| {
            w.bytes(PROTOCOL, &[flow.protocol.number()]);
            w.bytes(SOURCE_PORT, &flow.internal.port().to_be_bytes());
            w.bytes(DESTINATION_PORT, &flow.remote.port().to_be_bytes());
        });
    });
}

/// Where the flow of an answer leaves from: what its peer answers to.
pub fn read(message: &Message<'_>) -> Option<SocketAddrV4> {
    let reply = message.attributes(HEADER_LEN).nest(TUPLE_REPLY);
    let address = reply.nest(TUPLE_ADDRESSES).find(DESTINATION_V4)?;
    let port = be16(reply.nest(TUPLE_PORTS).find(DESTINATION_PORT)?)?;
    let address = Ipv4Addr::from(*address.first_chunk::<4>()?);
    (message.kind == NEW).then_some(SocketAddrV4::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::mapping::Protocol;
    use crate::netlink::recorded::here;
    use crate::netlink::wire::Messages;
    use proptest::prelude::*;

    #[test]
    fn a_flow_is_asked_for_by_its_original_side_and_told_by_its_reply() {
        let flow = Flow {
            protocol: Protocol::Udp,
            internal: "192.168.1.10:7000".parse().unwrap(),
            remote: "203.0.113.2:9000".parse().unwrap(),
        };
        let mut writer = Writer::new(1);
        get(&mut writer, &flow);
        let asked = here(
            "48000000 0101 0500 01000000 00000000 02000000
             34000180 14000180 08000100 c0a8010a 08000200 cb007102
             1c000280 05000100 11000000 06000200 1b580000 06000300 23280000",
        );
        assert_eq!(writer.finish(), asked);

        let told = here(
            "48000000 0001 0000 01000000 00000000 02000000
             34000280 14000180 08000100 cb007102 08000200 0b162101
             1c000280 05000100 11000000 06000200 23280000 06000300 c3500000",
        );
        let message = Messages(&told).next().unwrap();
        assert_eq!(read(&message), Some("11.22.33.1:50000".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..96)) {
            Messages(&bytes).for_each(|message| {
                let _ = read(&message);
            });
        }
    }
}
