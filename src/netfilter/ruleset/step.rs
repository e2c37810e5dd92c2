//! One step of a rule, and how it is told the kernel.

use crate::netfilter::ruleset::Signal;
use crate::netlink::nfnl::{self, attribute as a};
use crate::netlink::wire::Writer;

pub(super) const CT_MARK: u32 = 3;
pub(super) const CT_LABELS: u32 = 13;
const CT_STATUS: u32 = 2;
const CT_DST_IP: u32 = 20;
/// IPS_CONFIRMED.
const CONFIRMED: u32 = 1 << 3;
const CODE_RETURN: i32 = -5;
pub(super) const CODE_GOTO: i32 = -4;
/// Registers: `R + i` is the i-th of 32 bits; longer values fill those that follow.
pub(super) const R: u32 = 8;

/// One step of a rule. Numbers are registers unless said.
pub(super) enum Step {
    /// `meta KEY` into a register.
    Meta(u32, u32),
    /// A register is one of TCP and UDP: its own anonymous set.
    TcpOrUdp(u32),
    /// A register equals these bytes.
    Is(u32, &'static [u8]),
    /// Header (which), offset and length into a register.
    Load(u32, u32, u32, u32),
    /// A register is a key of the set.
    In(&'static str, u32),
    /// A register is no key of the set.
    NotIn(&'static str, u32),
    /// The set's data for the key in a register, into another; 0 runs the verdict.
    Map(&'static str, u32, u32),
    /// The original destination address into a register.
    OriginalDestination(u32),
    /// The connection gets the signal.
    Mark,
    /// The connection has the signal.
    Marked,
    /// The connection is an entry of the kernel's table: this is not its first packet.
    Confirmed,
    /// These bytes into a register.
    Put(u32, &'static [u8]),
    /// On in another chain, without coming back.
    Goto(&'static str),
    /// Back.
    Return,
    /// Translate (which way) to the address in a register and the port in another, if given, or the ports
    /// up to that in a third, with flags.
    Nat(u32, u32, &'static [u32], u32),
    /// Masquerade from the port in a register, up to that in another, with flags.
    Masquerade(u32, Option<u32>, u32),
}

use Step::*;

/// Writes one step. `anonymous` is the id of the rule's own set, if it has one.
///
/// Numbers of the kernel's expression attributes stand here as they are: each is used once.
pub(super) fn write(writer: &mut Writer, step: &Step, signal: Signal, anonymous: u32) {
    let immediate = |w: &mut Writer, register: u32, value: &[u8]| {
        expression(w, "immediate", |w| {
            w.be32(1, register);
            w.nest(2, |w| w.bytes(a::DATA_VALUE, value));
        });
    };
    let decide = |w: &mut Writer, code: i32, chain: &str| {
        expression(w, "immediate", |w| {
            w.be32(1, 0);
            w.nest(2, |w| verdict(w, code, chain));
        });
    };
    let look = |w: &mut Writer, set: &str, from: u32, to: Option<u32>, absent: bool| {
        expression(w, "lookup", |w| {
            w.text(1, set);
            w.be32(2, from);
            if let Some(to) = to {
                w.be32(3, to);
            }
            if absent {
                w.be32(5, 1);
            }
        });
    };
    match *step {
        Meta(key, to) => expression(writer, "meta", |w| {
            w.be32(1, to);
            w.be32(2, key);
        }),
        TcpOrUdp(from) => expression(writer, "lookup", |w| {
            w.text(1, "__set%d");
            w.be32(2, from);
            w.be32(4, anonymous);
        }),
        Is(from, value) => compare(writer, from, EQUAL, value),
        Load(to, header, offset, length) => expression(writer, "payload", |w| {
            w.be32(1, to);
            w.be32(2, header);
            w.be32(3, offset);
            w.be32(4, length);
        }),
        In(set, from) => look(writer, set, from, None, false),
        NotIn(set, from) => look(writer, set, from, None, true),
        Map(set, from, to) => look(writer, set, from, Some(to), false),
        OriginalDestination(to) => expression(writer, "ct", |w| {
            w.be32(1, to);
            w.be32(2, CT_DST_IP);
            w.bytes(3, &[0]);
        }),
        Mark => {
            let bits = signal.bits();
            match signal {
                Signal::CtLabel => immediate(writer, R, &bits),
                Signal::CtMark(bit) => {
                    conntrack(writer, R, signal.field());
                    mask(writer, R, &(!bit).to_ne_bytes(), &bits);
                }
            }
            expression(writer, "ct", |w| {
                w.be32(2, signal.field());
                w.be32(4, R);
            });
        }
        Marked => {
            let bits = signal.bits();
            let zero = vec![0; bits.len()];
            conntrack(writer, R, signal.field());
            mask(writer, R, &bits, &zero);
            match signal {
                Signal::CtLabel => compare(writer, R, NOT_EQUAL, &zero),
                Signal::CtMark(_) => compare(writer, R, EQUAL, &bits),
            }
        }
        Confirmed => {
            let (bit, zero) = (CONFIRMED.to_ne_bytes(), [0; 4]);
            conntrack(writer, R, CT_STATUS);
            mask(writer, R, &bit, &zero);
            compare(writer, R, NOT_EQUAL, &zero);
        }
        Put(to, value) => immediate(writer, to, value),
        Goto(chain) => decide(writer, CODE_GOTO, chain),
        Return => decide(writer, CODE_RETURN, ""),
        Nat(direction, address, ports, flags) => expression(writer, "nat", |w| {
            w.be32(1, direction);
            w.be32(2, u32::from(nfnl::IPV4));
            w.be32(3, address);
            for (attribute, port) in [5, 6].into_iter().zip(ports) {
                w.be32(attribute, *port);
            }
            if flags != 0 {
                w.be32(7, flags);
            }
        }),
        Masquerade(low, high, flags) => expression(writer, "masq", |w| {
            w.be32(1, flags);
            w.be32(2, low);
            if let Some(high) = high {
                w.be32(3, high);
            }
        }),
    }
}

/// Writes a verdict as data: on to `chain`, or back if there is none.
pub(super) fn verdict(writer: &mut Writer, code: i32, chain: &str) {
    writer.nest(a::DATA_VERDICT, |w| {
        w.be32(a::VERDICT_CODE, code as u32);
        if !chain.is_empty() {
            w.text(a::VERDICT_CHAIN, chain);
        }
    });
}

const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;

fn expression(writer: &mut Writer, name: &str, fill: impl FnOnce(&mut Writer)) {
    writer.nest(a::LIST_ITEM, |w| {
        w.text(a::EXPRESSION_NAME, name);
        w.nest(a::EXPRESSION_DATA, fill);
    });
}

fn compare(writer: &mut Writer, from: u32, how: u32, value: &[u8]) {
    expression(writer, "cmp", |w| {
        w.be32(1, from);
        w.be32(2, how);
        w.nest(3, |w| w.bytes(a::DATA_VALUE, value));
    });
}

fn conntrack(writer: &mut Writer, to: u32, field: u32) {
    expression(writer, "ct", |w| {
        w.be32(1, to);
        w.be32(2, field);
    });
}

fn mask(writer: &mut Writer, register: u32, and: &[u8], xor: &[u8]) {
    expression(writer, "bitwise", |w| {
        w.be32(1, register);
        w.be32(2, register);
        w.be32(3, and.len() as u32);
        w.nest(4, |w| w.bytes(a::DATA_VALUE, and));
        w.nest(5, |w| w.bytes(a::DATA_VALUE, xor));
    });
}
