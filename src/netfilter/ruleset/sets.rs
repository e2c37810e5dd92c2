//! The sets, and how each is declared.

use crate::netfilter::element::{counter, Count};
use crate::netfilter::ruleset::TABLE;
use crate::netlink::nfnl::{self, attribute as a, message as m};
use crate::netlink::wire::{self, Writer};

/// How often expired elements of plain sets are swept out, in milliseconds. They count for nothing
/// as soon as they have expired. Maps keep the kernel's second, for nft 1.0.6 prints the interval
/// of a map but cannot read it back.
const SWEEP_MS: u32 = 30_000;

const ANONYMOUS: u32 = 0x01;
const CONSTANT: u32 = 0x02;
const INTERVAL: u32 = 0x04;
const MAP: u32 = 0x08;
const TIMEOUT: u32 = 0x10;
const CONCAT: u32 = 0x80;

/// nft's numbers of data types, six bits a field.
mod kind {
    pub const IPV4: u32 = 7;
    pub const IPV6: u32 = 8;
    pub const PROTO: u32 = 12;
    pub const PORT: u32 = 13;
    pub const IFNAME: u32 = 41;
    pub const VERDICT: u32 = 0xffff_ff00;

    pub const fn row(fields: &[u32]) -> u32 {
        let (mut number, mut i) = (0, 0);
        while i < fields.len() {
            number = number << 6 | fields[i];
            i += 1;
        }
        number
    }
}

/// How nft prints a set's key or data.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    /// A row of fields, each in its own order.
    Row = 0,
    /// The machine's.
    Host = 1,
    /// The network's.
    Network = 2,
}

/// A set of the table.
struct Set {
    name: &'static str,
    flags: u32,
    key: (u32, u32, Order),
    data: Option<(u32, u32, Option<Order>)>,
    /// 0: grows as needed. A large size of a plain set would be allocated at once. An interval set
    /// must have none: the kernel counts what has expired in it, too, until a change of this very set
    /// that succeeds sweeps it out, so that none ever would in one that is full. What the gateway's
    /// limits leave to live there, and what has ended since the last change, bounds it.
    size: u32,
    /// Lengths of the fields of an interval set's key.
    fields: &'static [u32],
    counter: bool,
}

const ENDPOINT: u32 = kind::row(&[kind::PROTO, kind::PORT]);
const ENDPOINT4: u32 = kind::row(&[kind::IPV4, kind::PROTO, kind::PORT]);
const TARGET: u32 = kind::row(&[kind::IPV4, kind::PORT]);

/// What most sets are.
const PLAIN: Set = Set {
    name: "",
    flags: TIMEOUT,
    key: (ENDPOINT, 8, Order::Row),
    data: None,
    size: 0,
    fields: &[],
    counter: false,
};
/// A map that says where packets go.
const FORWARD: Set =
    Set { flags: TIMEOUT | MAP, data: Some((TARGET, 8, Some(Order::Row))), counter: true, ..PLAIN };
const WAN_SIZE: u32 = 64;
const GOTO: Option<(u32, u32, Option<Order>)> = Some((kind::VERDICT, 0, None));

const SETS: [Set; 18] = [
    Set { name: "ext4", flags: MAP, key: (kind::IPV4, 4, Order::Network), data: GOTO, ..WAN },
    Set {
        name: "self4",
        flags: MAP,
        key: (kind::IPV4, 4, Order::Network),
        data: Some((kind::IPV4, 4, Some(Order::Network))),
        ..WAN
    },
    Set { name: "in6", flags: MAP, data: GOTO, ..WAN },
    Set { name: "out4", flags: MAP, data: GOTO, ..WAN },
    Set { name: "wanif", ..WAN },
    Set { name: "w0_ext", ..PLAIN },
    Set { name: "w0_sel", ..PLAIN },
    Set { name: "w0_any", ..FORWARD },
    Set { name: "w0_rh", key: (ENDPOINT4, 12, Order::Row), ..FORWARD },
    Set {
        name: "w0_flt",
        flags: TIMEOUT | MAP | INTERVAL | CONCAT,
        key: (kind::row(&[kind::PROTO, kind::PORT, kind::IPV4, kind::PORT]), 16, Order::Row),
        fields: &[1, 2, 4, 2],
        ..FORWARD
    },
    Set { name: "w0_off", key: (ENDPOINT4, 12, Order::Row), counter: false, ..FORWARD },
    Set {
        name: "w0_rev",
        flags: TIMEOUT | MAP,
        key: (ENDPOINT4, 12, Order::Row),
        data: Some((kind::PORT, 2, Some(Order::Network))),
        ..PLAIN
    },
    Set {
        name: "p6_any",
        key: (kind::row(&[kind::IPV6, kind::PROTO, kind::PORT]), 24, Order::Row),
        counter: true,
        ..PLAIN
    },
    Set {
        name: "p6_rh",
        key: (kind::row(&[kind::IPV6, kind::IPV6, kind::PROTO, kind::PORT]), 40, Order::Row),
        counter: true,
        ..PLAIN
    },
    Set {
        name: "p6_rp",
        key: (kind::row(&[kind::IPV6, kind::PROTO, kind::PORT, kind::PORT]), 28, Order::Row),
        counter: true,
        ..PLAIN
    },
    Set {
        name: "p6_rhp",
        key: (
            kind::row(&[kind::IPV6, kind::IPV6, kind::PROTO, kind::PORT, kind::PORT]),
            44,
            Order::Row,
        ),
        counter: true,
        ..PLAIN
    },
    Set { name: "p6_sel", key: (kind::IPV6, 16, Order::Network), ..PLAIN },
    Set {
        name: "p6_flt",
        flags: TIMEOUT | INTERVAL | CONCAT,
        key: (
            kind::row(&[kind::IPV6, kind::PROTO, kind::PORT, kind::IPV6, kind::PORT]),
            44,
            Order::Row,
        ),
        fields: &[16, 1, 2, 16, 2],
        counter: true,
        ..PLAIN
    },
];

const WAN: Set = Set { flags: 0, key: (kind::IFNAME, 16, Order::Host), size: WAN_SIZE, ..PLAIN };

/// The names of all sets.
pub fn set_names() -> impl Iterator<Item = &'static str> {
    SETS.iter().map(|set| set.name)
}

/// Writes the messages that make all sets; returns the highest id given.
pub(super) fn create(writer: &mut Writer) -> u32 {
    let mut last = 0;
    for set in &SETS {
        last += 1;
        declare(writer, set, last);
    }
    last
}

fn declare(writer: &mut Writer, set: &Set, id: u32) {
    nfnl::message(writer, m::NEW_SET, wire::CREATE | wire::EXCLUSIVE);
    writer.text(a::SET_TABLE, TABLE);
    writer.text(a::SET_NAME, set.name);
    writer.be32(a::SET_FLAGS, set.flags);
    let (key, length, order) = set.key;
    writer.be32(a::SET_KEY_TYPE, key);
    writer.be32(a::SET_KEY_LEN, length);
    // How nft prints them: `type length value`, the value in the machine's order.
    let mut userdata = vec![0, 4];
    userdata.extend_from_slice(&(order as u32).to_ne_bytes());
    if let Some((data, length, order)) = set.data {
        writer.be32(a::SET_DATA_TYPE, data);
        writer.be32(a::SET_DATA_LEN, length);
        if let Some(order) = order {
            userdata.extend_from_slice(&[1, 4]);
            userdata.extend_from_slice(&(order as u32).to_ne_bytes());
        }
    }
    if set.size != 0 || !set.fields.is_empty() {
        writer.nest(a::SET_DESCRIPTION, |w| {
            if set.size != 0 {
                w.be32(a::DESCRIPTION_SIZE, set.size);
            }
            if !set.fields.is_empty() {
                w.nest(a::DESCRIPTION_CONCAT, |w| {
                    for length in set.fields {
                        w.nest(a::LIST_ITEM, |w| w.be32(a::FIELD_LEN, *length));
                    }
                });
            }
        });
    }
    writer.be32(a::SET_ID, id);
    if set.flags == TIMEOUT {
        writer.be32(a::SET_GC_INTERVAL, SWEEP_MS);
    }
    writer.bytes(a::SET_USERDATA, &userdata);
    if set.counter {
        writer.nest(a::SET_EXPRESSION, |w| counter(w, Count::default()));
    }
}

/// Writes the anonymous set of the two protocols that have ports.
pub(super) fn tcp_and_udp(writer: &mut Writer, id: u32) {
    nfnl::message(writer, m::NEW_SET, wire::CREATE);
    writer.text(a::SET_TABLE, TABLE);
    writer.text(a::SET_NAME, "__set%d");
    writer.be32(a::SET_FLAGS, ANONYMOUS | CONSTANT);
    writer.be32(a::SET_KEY_TYPE, kind::PROTO);
    writer.be32(a::SET_KEY_LEN, 1);
    writer.nest(a::SET_DESCRIPTION, |w| w.be32(a::DESCRIPTION_SIZE, 2));
    writer.be32(a::SET_ID, id);
    nfnl::message(writer, m::NEW_ELEMENT, wire::CREATE);
    writer.text(a::LIST_TABLE, TABLE);
    writer.text(a::LIST_SET, "__set%d");
    writer.be32(a::LIST_SET_ID, id);
    writer.nest(a::LIST_ELEMENTS, |w| {
        for protocol in [6, 17] {
            w.nest(a::LIST_ITEM, |w| {
                w.nest(a::ELEMENT_KEY, |w| w.bytes(a::DATA_VALUE, &[protocol]));
            });
        }
    });
}
