//! Rules of other tables, read as far as they say which packets of the Internet go elsewhere.
//!
//! Pure. Only nf_tables' own expressions are understood: rules made through the iptables interface
//! hide what they test.

use crate::netlink::nfnl::{self, attribute as a};
use crate::netlink::wire::{be16, be32, text, Attributes, Message};
use std::net::Ipv4Addr;

/// What a test looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The device the packet came in by.
    Device,
    /// Its family, one byte.
    Family,
    /// Its transport protocol, one byte.
    Protocol,
    /// Its IPv4 destination, or the first bytes of it.
    Destination,
    /// Its destination port.
    Port,
    /// Anything else.
    Other,
}

/// What a field must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// This.
    Is(Vec<u8>),
    /// This or more.
    AtLeast(Vec<u8>),
    /// This or less.
    AtMost(Vec<u8>),
    /// An element of this set.
    Among(String),
    /// Something that is not understood.
    Other,
}

/// What becomes of a packet that passes every test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The rules of another chain are asked.
    Jump(String),
    /// It goes elsewhere: to this address, and this port if another one, where that is known.
    Forward(Option<(Ipv4Addr, Option<u16>)>),
}

/// A rule that does something of interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its tests in order.
    pub tests: Vec<(Field, Test)>,
    /// What it does.
    pub action: Action,
}

/// Most tests of a rule that are kept; more count as one that is not understood.
const TESTS_MAX: usize = 16;

/// Attributes of expressions; `DREG` is the same in all that load something, `SREG` in all that test.
const DREG: u16 = 1;
const META_KEY: u16 = 2;
const PAYLOAD_BASE: u16 = 2;
const PAYLOAD_OFFSET: u16 = 3;
const PAYLOAD_LEN: u16 = 4;
const SREG: u16 = 1;
const CMP_OP: u16 = 2;
const CMP_DATA: u16 = 3;
const RANGE_OP: u16 = 2;
const RANGE_FROM: u16 = 3;
const RANGE_TO: u16 = 4;
const LOOKUP_SET: u16 = 1;
const LOOKUP_SREG: u16 = 2;
const LOOKUP_DREG: u16 = 3;
const LOOKUP_FLAGS: u16 = 5;
const IMMEDIATE_DATA: u16 = 2;
const NAT_TYPE: u16 = 1;
const NAT_FAMILY: u16 = 2;
const NAT_ADDRESS: u16 = 3;
const NAT_PORT: u16 = 5;

const META_IIFNAME: u32 = 6;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
const EQUAL: u32 = 0;
const AT_MOST: u32 = 3;
const AT_LEAST: u32 = 5;
const DNAT: u32 = 1;
const JUMP: i32 = -3;
const GOTO: i32 = -4;

/// What a register holds.
#[derive(Clone, Copy)]
enum Register<'a> {
    Field(Field),
    Value(&'a [u8]),
}

/// Reads a rule; `None` if it neither forwards nor asks another chain.
pub fn read(message: &Message<'_>) -> Option<Seen> {
    let (mut tests, mut action) = (Vec::new(), None);
    let mut registers: Vec<(u32, Register<'_>)> = Vec::new();
    let rule = message.attributes(nfnl::HEADER_LEN);
    for (_, expression) in rule.nest(a::RULE_EXPRESSIONS) {
        let expression = Attributes(expression);
        let data = expression.nest(a::EXPRESSION_DATA);
        let number = |kind: u16| data.find(kind).and_then(be32);
        let value = |kind: u16| data.nest(kind).find(a::DATA_VALUE).unwrap_or_default();
        let held = |register: Option<u32>| {
            let loaded = registers.iter().rev().find(|(of, _)| Some(*of) == register);
            loaded.map(|(_, held)| *held)
        };
        let field = |register| match held(register) {
            Some(Register::Field(field)) => field,
            _ => Field::Other,
        };
        let constant = |register| match held(register) {
            Some(Register::Value(value)) => Some(value),
            _ => None,
        };
        match expression.find(a::EXPRESSION_NAME).and_then(text)? {
            "counter" | "log" => {}
            "meta" => {
                let loaded = match number(META_KEY) {
                    Some(META_IIFNAME) => Field::Device,
                    Some(META_NFPROTO) => Field::Family,
                    Some(META_L4PROTO) => Field::Protocol,
                    _ => Field::Other,
                };
                registers.push((number(DREG)?, Register::Field(loaded)));
            }
            "payload" => {
                let place = (number(PAYLOAD_BASE)?, number(PAYLOAD_OFFSET)?, number(PAYLOAD_LEN)?);
                let loaded = match place {
                    (TRANSPORT, 2, 2) => Field::Port,
                    (NETWORK, 16, 1..=4) => Field::Destination,
                    (NETWORK, 9, 1) => Field::Protocol,
                    _ => Field::Other,
                };
                registers.push((number(DREG)?, Register::Field(loaded)));
            }
            "cmp" => {
                let value = value(CMP_DATA).to_vec();
                let test = match number(CMP_OP) {
                    Some(EQUAL) => Test::Is(value),
                    Some(AT_LEAST) => Test::AtLeast(value),
                    Some(AT_MOST) => Test::AtMost(value),
                    _ => Test::Other,
                };
                tests.push((field(number(SREG)), test));
            }
            "range" if number(RANGE_OP) == Some(EQUAL) => {
                let field = field(number(SREG));
                tests.push((field, Test::AtLeast(value(RANGE_FROM).to_vec())));
                tests.push((field, Test::AtMost(value(RANGE_TO).to_vec())));
            }
            "lookup" => {
                let set = data.find(LOOKUP_SET).and_then(text)?.to_owned();
                let inverted = number(LOOKUP_FLAGS).is_some_and(|flags| flags != 0);
                let test = if inverted { Test::Other } else { Test::Among(set) };
                tests.push((field(number(LOOKUP_SREG)), test));
                if let Some(register) = number(LOOKUP_DREG) {
                    registers.push((register, Register::Field(Field::Other)));
                }
            }
            "immediate" => {
                let verdict = data.nest(IMMEDIATE_DATA).nest(a::DATA_VERDICT);
                match verdict.find(a::VERDICT_CODE).and_then(be32).map(|code| code as i32) {
                    Some(JUMP | GOTO) => {
                        let chain = verdict.find(a::VERDICT_CHAIN).and_then(text)?;
                        action = Some(Action::Jump(chain.to_owned()));
                    }
                    Some(_) => {}
                    None => registers.push((number(DREG)?, Register::Value(value(IMMEDIATE_DATA)))),
                }
            }
            "nat" if number(NAT_TYPE) == Some(DNAT) => {
                if number(NAT_FAMILY) == Some(u32::from(nfnl::IPV6)) {
                    return None;
                }
                let address = constant(number(NAT_ADDRESS)).and_then(be32).map(Ipv4Addr::from);
                let port = number(NAT_PORT);
                let known = port.is_none() || constant(port).is_some();
                let port = constant(port).and_then(be16);
                action =
                    Some(Action::Forward(address.filter(|_| known).map(|address| (address, port))));
            }
            "redir" => action = Some(Action::Forward(None)),
            // What it loads or tests is not known.
            _ => {
                registers.clear();
                tests.push((Field::Other, Test::Other));
            }
        }
    }
    if tests.len() > TESTS_MAX {
        tests.truncate(TESTS_MAX);
        tests.push((Field::Other, Test::Other));
    }
    action.map(|action| Seen { tests, action })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::nfnl::message as m;
    use crate::netlink::wire::{Messages, Writer};
    use proptest::prelude::*;

    fn expression(w: &mut Writer, name: &str, fill: impl FnOnce(&mut Writer)) {
        w.nest(a::LIST_ITEM, |w| {
            w.text(a::EXPRESSION_NAME, name);
            w.nest(a::EXPRESSION_DATA, fill);
        });
    }

    fn seen(fill: impl FnOnce(&mut Writer)) -> Option<Seen> {
        let mut writer = Writer::new(1);
        nfnl::message(&mut writer, m::NEW_RULE, 0);
        writer.nest(a::RULE_EXPRESSIONS, fill);
        let bytes = writer.finish();
        let message = Messages(&bytes).next().unwrap();
        read(&message)
    }

    fn load_port(w: &mut Writer) {
        expression(w, "payload", |w| {
            w.be32(DREG, 1);
            w.be32(PAYLOAD_BASE, TRANSPORT);
            w.be32(PAYLOAD_OFFSET, 2);
            w.be32(PAYLOAD_LEN, 2);
        });
    }

    fn forward(w: &mut Writer) {
        expression(w, "immediate", |w| {
            w.be32(DREG, 1);
            w.nest(IMMEDIATE_DATA, |w| w.bytes(a::DATA_VALUE, &[192, 168, 1, 10]));
        });
        expression(w, "nat", |w| {
            w.be32(NAT_TYPE, DNAT);
            w.be32(NAT_FAMILY, u32::from(nfnl::IPV4));
            w.be32(NAT_ADDRESS, 1);
        });
    }

    #[test]
    fn a_register_is_what_was_loaded_last() {
        let found = seen(|w| {
            load_port(w);
            expression(w, "range", |w| {
                w.be32(RANGE_OP, EQUAL);
                w.be32(SREG, 1);
                w.nest(RANGE_FROM, |w| w.bytes(a::DATA_VALUE, &[0, 80]));
                w.nest(RANGE_TO, |w| w.bytes(a::DATA_VALUE, &[0, 90]));
            });
            expression(w, "counter", |_| {});
            forward(w);
        });
        let tests = vec![
            (Field::Port, Test::AtLeast(vec![0, 80])),
            (Field::Port, Test::AtMost(vec![0, 90])),
        ];
        let action = Action::Forward(Some(([192, 168, 1, 10].into(), None)));
        assert_eq!(found, Some(Seen { tests, action }));
    }

    #[test]
    fn what_is_not_understood_is_told() {
        let found = seen(|w| {
            load_port(w);
            expression(w, "limit", |_| {});
            expression(w, "cmp", |w| {
                w.be32(SREG, 1);
                w.be32(CMP_OP, EQUAL);
                w.nest(CMP_DATA, |w| w.bytes(a::DATA_VALUE, &[0, 80]));
            });
            forward(w);
        });
        let tests = found.unwrap().tests;
        assert!(tests.contains(&(Field::Other, Test::Other)), "{tests:?}");
        let many = seen(|w| {
            for _ in 0..100 {
                expression(w, "limit", |_| {});
            }
            forward(w);
        });
        assert_eq!(many.unwrap().tests.len(), TESTS_MAX + 1);
        assert_eq!(seen(load_port), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some(message) = Messages(&bytes).next() {
                let _ = read(&message);
            }
            let message = Message { kind: 0, flags: 0, sequence: 0, port: 0, payload: &bytes };
            let _ = read(&message);
        }
    }
}
