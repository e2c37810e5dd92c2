//! Flows of the kernel's connection table (linux/netfilter/nfnetlink_conntrack.h): where one leaves
//! from, which ones there are, and the end of one.
//!
//! Pure. Reading never panics on any bytes.

use crate::gateway::mapping::Protocol;
use crate::netfilter::ruleset::Signal;
use crate::netfilter::Flow;
use crate::netlink::nfnl::{HEADER_LEN, IPV4, IPV6};
use crate::netlink::wire::{self, be16, Attributes, Message, Writer};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

const SUBSYSTEM: u16 = 1;
const NEW: u16 = SUBSYSTEM << 8;
const GET: u16 = SUBSYSTEM << 8 | 1;
const DELETE: u16 = SUBSYSTEM << 8 | 2;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const TUPLE_ADDRESSES: u16 = 1;
const TUPLE_PORTS: u16 = 2;
const SOURCE_V4: u16 = 1;
const DESTINATION_V4: u16 = 2;
const SOURCE_V6: u16 = 3;
const DESTINATION_V6: u16 = 4;
const PROTOCOL: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;
const MARK: u16 = 8;
const ID: u16 = 12;
const ZONE: u16 = 18;
const LABELS: u16 = 22;
const FILTER: u16 = 25;
const FILTER_ORIGINAL: u16 = 1;
const FILTER_REPLY: u16 = 2;
/// Which fields of a tuple a filter is by.
const BY_PROTOCOL: u32 = 1 << 3;
const BY_SOURCE_PORT: u32 = 1 << 4;
const BY_DESTINATION_PORT: u32 = 1 << 5;

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

/// Which flows are asked for. Never by address: of IPv6 some kernels then name all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// To this port, as their first packet had it.
    To(Protocol, u16),
    /// From this port.
    From(Protocol, u16),
    /// Answered to this port, which is where packets leave from.
    AnsweredTo(Protocol, u16),
}

/// Writes the request for the flows of one family. Kernels before 5.8 tell all of them.
pub fn dump(writer: &mut Writer, ipv6: bool, which: Which) -> u32 {
    let sequence = writer.message(GET, wire::REQUEST | wire::DUMP);
    writer.raw(&[if ipv6 { IPV6 } else { IPV4 }, 0, 0, 0]);
    let (protocol, by, kind, port) = match which {
        Which::All => return sequence,
        Which::To(protocol, port) | Which::AnsweredTo(protocol, port) => {
            (protocol, BY_DESTINATION_PORT, DESTINATION_PORT, port)
        }
        Which::From(protocol, port) => (protocol, BY_SOURCE_PORT, SOURCE_PORT, port),
    };
    let (tuple, filtered, unfiltered) = match which {
        Which::AnsweredTo(..) => (TUPLE_REPLY, FILTER_REPLY, FILTER_ORIGINAL),
        _ => (TUPLE_ORIGINAL, FILTER_ORIGINAL, FILTER_REPLY),
    };
    writer.nest(tuple, |w| {
        w.nest(TUPLE_PORTS, |w| {
            w.bytes(PROTOCOL, &[protocol.number()]);
            w.bytes(kind, &port.to_be_bytes());
        });
    });
    writer.nest(FILTER, |w| {
        // In the machine's order, other than every number of a tuple.
        w.bytes(filtered, &(BY_PROTOCOL | by).to_ne_bytes());
        w.bytes(unfiltered, &0u32.to_ne_bytes());
    });
    sequence
}

/// A flow as a dump tells it.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Source and destination of its first packet.
    pub original: (SocketAddr, SocketAddr),
    /// Source and destination of the answers.
    pub reply: (SocketAddr, SocketAddr),
    message: Attributes<'a>,
}

impl<'a> Entry<'a> {
    /// Reads one; `None` if it is of a protocol without ports or is no flow.
    pub fn read(message: &Message<'a>) -> Option<Entry<'a>> {
        let attributes = message.attributes(HEADER_LEN);
        let (protocol, original) = tuple(&attributes.nest(TUPLE_ORIGINAL))?;
        let (_, reply) = tuple(&attributes.nest(TUPLE_REPLY))?;
        (message.kind == NEW).then_some(Entry { protocol, original, reply, message: attributes })
    }

    /// Whether it carries the signal that Postern's rules give.
    pub fn has(&self, signal: Signal) -> bool {
        match signal {
            Signal::CtMark(bits) => {
                let mark = self.message.find(MARK).and_then(wire::be32).unwrap_or(0);
                mark & bits == bits
            }
            Signal::CtLabel => {
                let labels = self.message.find(LABELS).unwrap_or_default();
                labels.iter().zip(signal.bits()).any(|(has, wanted)| has & wanted != 0)
            }
        }
    }

    /// Writes the request to end it.
    pub fn delete(&self, writer: &mut Writer) {
        writer.message(DELETE, wire::REQUEST);
        writer.raw(&[if self.original.0.is_ipv6() { IPV6 } else { IPV4 }, 0, 0, 0]);
        for kind in [TUPLE_ORIGINAL, ID, ZONE] {
            if let Some(value) = self.message.find(kind) {
                let nested = if kind == TUPLE_ORIGINAL { wire::NESTED } else { 0 };
                writer.bytes(kind | nested, value);
            }
        }
    }
}

fn tuple(tuple: &Attributes<'_>) -> Option<(Protocol, (SocketAddr, SocketAddr))> {
    let (addresses, ports) = (tuple.nest(TUPLE_ADDRESSES), tuple.nest(TUPLE_PORTS));
    let address = |v4, v6| {
        let v4 = addresses.find(v4).and_then(|bytes| bytes.first_chunk::<4>());
        let v6 = addresses.find(v6).and_then(|bytes| bytes.first_chunk::<16>());
        v4.map(|v4| IpAddr::V4(Ipv4Addr::from(*v4)))
            .or(v6.map(|v6| IpAddr::V6(Ipv6Addr::from(*v6))))
    };
    let protocol = Protocol::from_number(*ports.find(PROTOCOL)?.first()?)?;
    let source = SocketAddr::new(address(SOURCE_V4, SOURCE_V6)?, be16(ports.find(SOURCE_PORT)?)?);
    let destination = SocketAddr::new(
        address(DESTINATION_V4, DESTINATION_V6)?,
        be16(ports.find(DESTINATION_PORT)?)?,
    );
    Some((protocol, (source, destination)))
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

    #[test]
    fn flows_are_asked_for_by_one_port_or_all_together() {
        let mut writer = Writer::new(1);
        dump(&mut writer, false, Which::To(Protocol::Udp, 3074));
        // The flags are a number of the machine's.
        let by: String = 0x28u32.to_ne_bytes().map(|byte| format!("{byte:02x}")).concat();
        let asked = here(&format!(
            "40000000 0101 0103 01000000 00000000 02000000
             18000180 14000280 05000100 11000000 06000300 0c020000
             14001980 08000100 {by} 08000200 00000000"
        ));
        assert_eq!(writer.finish(), asked);
        dump(&mut writer, true, Which::All);
        let all = here("14000000 0101 0103 02000000 00000000 0a000000");
        assert_eq!(writer.finish(), all);
    }

    /// UDP from 11.22.33.2:40000 to 11.22.33.1:17000, led to 192.168.1.10:7000, with what follows.
    fn flow(more: &str) -> Vec<u8> {
        let fixed = "0001 0000 01000000 00000000 02000000
             34000180 14000180 08000100 0b162102 08000200 0b162101
             1c000280 05000100 11000000 06000200 9c400000 06000300 42680000
             34000280 14000180 08000100 c0a8010a 08000200 0b162102
             1c000280 05000100 11000000 06000200 1b580000 06000300 9c400000";
        let length = 4
            + (fixed.len() + more.len()
                - fixed.matches([' ', '\n']).count()
                - more.matches([' ', '\n']).count())
                / 2;
        here(&format!("{:08x} {fixed} {more}", (length as u32).swap_bytes()))
    }

    #[test]
    fn a_flow_tells_its_two_sides_and_its_signal_and_is_ended_by_name() {
        let told = flow("08000800 40000000 08000c00 01020304");
        let message = Messages(&told).next().unwrap();
        let entry = Entry::read(&message).unwrap();
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(entry.protocol, Protocol::Udp);
        assert_eq!(entry.original, (at("11.22.33.2:40000"), at("11.22.33.1:17000")));
        assert_eq!(entry.reply, (at("192.168.1.10:7000"), at("11.22.33.2:40000")));
        assert!(entry.has(Signal::CtMark(0x4000_0000)) && !entry.has(Signal::CtMark(0x100)));
        assert!(!entry.has(Signal::CtLabel));
        let mut writer = Writer::new(1);
        entry.delete(&mut writer);
        let ended = here(
            "50000000 0201 0100 01000000 00000000 02000000
             34000180 14000180 08000100 0b162102 08000200 0b162101
             1c000280 05000100 11000000 06000200 9c400000 06000300 42680000
             08000c00 01020304",
        );
        assert_eq!(writer.finish(), ended);

        let bits = Signal::CtLabel.bits();
        let mut labels = vec![20, 0, 22, 0];
        labels.extend(&bits);
        let label: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
        let told = flow(&format!("14001600 {label}"));
        let message = Messages(&told).next().unwrap();
        assert!(Entry::read(&message).unwrap().has(Signal::CtLabel));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..96)) {
            Messages(&bytes).for_each(|message| {
                let _ = read(&message);
                if let Some(entry) = Entry::read(&message) {
                    let mut writer = Writer::new(1);
                    entry.delete(&mut writer);
                    let _ = (entry.has(Signal::CtLabel), entry.has(Signal::CtMark(4)));
                }
            });
        }
    }
}
