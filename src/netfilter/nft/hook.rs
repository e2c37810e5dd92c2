//! Whether the main firewall lets our connections through.
//!
//! Only looked at, never changed: a forward chain that drops by default needs one rule that
//! accepts what carries our signal, and that rule is its owner's. Rules made through the iptables
//! interface hide what they test and are not recognised.

use crate::netfilter::ruleset::{Signal, TABLE};
use crate::netlink::nfnl::{self, attribute as a, message as m};
use crate::netlink::socket::Socket;
use crate::netlink::wire::{self, be32, text, Attributes, Message, Writer};
use std::io;

/// The main firewall's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Nothing drops by default, or a rule accepts our signal.
    Ok,
    /// A forward chain drops by default, and no rule accepts our signal.
    Missing,
}

impl Hook {
    /// `ok` or `missing`, as `postern status --json` writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Hook::Ok => "ok",
            Hook::Missing => "missing",
        }
    }
}

const FORWARD: u32 = 2;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
/// Attributes of the `ct` and `immediate` expressions.
const CT_KEY: u16 = 2;
const IMMEDIATE_DATA: u16 = 2;

pub(super) fn look(socket: &mut Socket, writer: &mut Writer, signal: Signal) -> io::Result<Hook> {
    let mut drops = false;
    nfnl::message_of(writer, m::GET_CHAIN, wire::DUMP, nfnl::ANY_FAMILY);
    socket.ask(&writer.finish(), &mut |message| drops |= drops_forward(message))?;
    if !drops {
        return Ok(Hook::Ok);
    }
    let mut accepts = false;
    nfnl::message_of(writer, m::GET_RULE, wire::DUMP, nfnl::ANY_FAMILY);
    socket.ask(&writer.finish(), &mut |message| accepts |= accepts_signal(message, signal))?;
    Ok(if accepts { Hook::Ok } else { Hook::Missing })
}

/// A base chain of another table, for IPv4 or IPv6, that drops forwarded packets by default.
pub fn drops_forward(message: &Message<'_>) -> bool {
    let chain = message.attributes(nfnl::HEADER_LEN);
    let hook = chain.nest(a::CHAIN_HOOK).find(a::HOOK_NUMBER).and_then(be32);
    let policy = chain.find(a::CHAIN_POLICY).and_then(be32);
    is_foreign(message, chain.find(a::CHAIN_TABLE)) && hook == Some(FORWARD) && policy == Some(DROP)
}

/// A rule of another table that tests our bit and accepts.
pub fn accepts_signal(message: &Message<'_>, signal: Signal) -> bool {
    let rule = message.attributes(nfnl::HEADER_LEN);
    if !is_foreign(message, rule.find(a::RULE_TABLE)) {
        return false;
    }
    let bits = signal.bits();
    let (mut field, mut bit, mut accept) = (false, false, false);
    for (_, expression) in rule.nest(a::RULE_EXPRESSIONS) {
        let expression = Attributes(expression);
        let data = expression.nest(a::EXPRESSION_DATA);
        match expression.find(a::EXPRESSION_NAME).and_then(text) {
            Some("ct") => field |= data.find(CT_KEY).and_then(be32) == Some(signal.field()),
            // The mask of a bitwise step, or the value of a comparison.
            Some("bitwise" | "cmp") if field => {
                bit |= data.clone().any(|(_, value)| {
                    let value = Attributes(value).find(a::DATA_VALUE).unwrap_or_default();
                    value.len() == bits.len() && bits.iter().zip(value).all(|(b, v)| v & b == *b)
                });
            }
            Some("immediate") => {
                let verdict = data.nest(IMMEDIATE_DATA).nest(a::DATA_VERDICT);
                accept |= verdict.find(a::VERDICT_CODE).and_then(be32) == Some(ACCEPT);
            }
            _ => {}
        }
    }
    bit && accept
}

fn is_foreign(message: &Message<'_>, table: Option<&[u8]>) -> bool {
    let family = nfnl::family(message);
    let ip = [nfnl::INET, nfnl::IPV4, nfnl::IPV6].into_iter().any(|known| family == Some(known));
    ip && !(family == Some(nfnl::INET) && table.and_then(text) == Some(TABLE))
}
