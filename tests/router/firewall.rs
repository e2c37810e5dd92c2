//! The router's main firewall, made through nf_tables where no `nft` is.
//!
//! In words of `nft`:
//!
//! ```text
//! table inet firewall {
//!     chain input {
//!         type filter hook input priority filter; policy drop;
//!         ct state established,related accept
//!         iif "lan" accept
//!         meta l4proto ipv6-icmp accept      # neighbours ask for each other by it
//!     }
//!     chain forward {
//!         type filter hook forward priority filter; policy drop;
//!         ct state established,related accept
//!         ct label 127 accept      # or, by the mark: ct mark and 0x40000000 != 0 accept
//!     }
//! }
//! ```

use crate::outcome::{Because, Outcome};
use crate::world::LAN;
use postern::netfilter::ruleset::Signal;
use postern::netlink::nfnl::{self, attribute as a, message as m};
use postern::netlink::socket::Socket;
use postern::netlink::wire::{Writer, ACK, APPEND, CREATE};

const TABLE: &str = "firewall";
const INPUT: (&str, u32) = ("input", 1);
const FORWARD: (&str, u32) = ("forward", 2);
const DROP: u32 = 0;
const ACCEPT: u32 = 1;

/// The first of the 32-bit registers; longer values fill those that follow.
const REGISTER: u32 = 8;
const CT_STATE: u32 = 0;
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
const META_IIF: u32 = 4;
const META_L4PROTO: u32 = 16;
const ICMPV6: u8 = 58;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;

/// Puts the firewall in place in this namespace, or in the place of the one that is there.
pub fn load(signal: Signal) -> Outcome {
    let mut writer = Writer::new(1);
    nfnl::begin(&mut writer);
    for message in [m::NEW_TABLE, m::DEL_TABLE, m::NEW_TABLE] {
        nfnl::message(&mut writer, message, if message == m::NEW_TABLE { CREATE } else { 0 });
        writer.text(a::TABLE_NAME, TABLE);
    }
    let state = ESTABLISHED_OR_RELATED.to_ne_bytes();
    for chain in [INPUT, FORWARD] {
        drops_by_default(&mut writer, chain);
        accept(&mut writer, chain, |w| has_one_of(w, CT_STATE, &state));
    }
    accept(&mut writer, INPUT, |w| is(w, META_IIF, &LAN.index.to_ne_bytes()));
    accept(&mut writer, INPUT, |w| is(w, META_L4PROTO, &[ICMPV6]));
    accept(&mut writer, FORWARD, |w| has_one_of(w, signal.field(), &signal.bits()));
    writer.add_flags(ACK);
    nfnl::end(&mut writer);
    let mut socket = Socket::nfnetlink().because("nfnetlink")?;
    let refused = socket.batch(&writer.finish(), &mut |_| {}).because("loading the firewall")?;
    match refused.first() {
        Some(fault) => {
            let why = std::io::Error::from_raw_os_error(fault.errno);
            Err(format!("the kernel refuses message {} of the firewall: {why}", fault.sequence))
        }
        None => Ok(()),
    }
}

fn drops_by_default(writer: &mut Writer, (name, hook): (&str, u32)) {
    nfnl::message(writer, m::NEW_CHAIN, CREATE);
    writer.text(a::CHAIN_TABLE, TABLE);
    writer.text(a::CHAIN_NAME, name);
    writer.text(a::CHAIN_TYPE, "filter");
    writer.nest(a::CHAIN_HOOK, |w| {
        w.be32(a::HOOK_NUMBER, hook);
        w.be32(a::HOOK_PRIORITY, 0);
    });
    writer.be32(a::CHAIN_POLICY, DROP);
}

/// Adds a rule: what passes these steps is let through.
fn accept(writer: &mut Writer, (chain, _): (&str, u32), steps: impl FnOnce(&mut Writer)) {
    nfnl::message(writer, m::NEW_RULE, CREATE | APPEND);
    writer.text(a::RULE_TABLE, TABLE);
    writer.text(a::RULE_CHAIN, chain);
    writer.nest(a::RULE_EXPRESSIONS, |w| {
        steps(w);
        expression(w, "immediate", |w| {
            w.be32(1, 0);
            w.nest(2, |w| w.nest(a::DATA_VERDICT, |w| w.be32(a::VERDICT_CODE, ACCEPT)));
        });
    });
}

/// The connection has one of these bits in a field (`NFT_CT_*`).
fn has_one_of(writer: &mut Writer, field: u32, bits: &[u8]) {
    let zero = vec![0; bits.len()];
    expression(writer, "ct", |w| {
        w.be32(1, REGISTER);
        w.be32(2, field);
    });
    expression(writer, "bitwise", |w| {
        w.be32(1, REGISTER);
        w.be32(2, REGISTER);
        w.be32(3, bits.len() as u32);
        w.nest(4, |w| w.bytes(a::DATA_VALUE, bits));
        w.nest(5, |w| w.bytes(a::DATA_VALUE, &zero));
    });
    compare(writer, NOT_EQUAL, &zero);
}

/// The packet has this value in a field (`NFT_META_*`).
fn is(writer: &mut Writer, field: u32, value: &[u8]) {
    expression(writer, "meta", |w| {
        w.be32(1, REGISTER);
        w.be32(2, field);
    });
    compare(writer, EQUAL, value);
}

fn compare(writer: &mut Writer, how: u32, value: &[u8]) {
    expression(writer, "cmp", |w| {
        w.be32(1, REGISTER);
        w.be32(2, how);
        w.nest(3, |w| w.bytes(a::DATA_VALUE, value));
    });
}

fn expression(writer: &mut Writer, name: &str, fill: impl FnOnce(&mut Writer)) {
    writer.nest(a::LIST_ITEM, |w| {
        w.text(a::EXPRESSION_NAME, name);
        w.nest(a::EXPRESSION_DATA, fill);
    });
}
