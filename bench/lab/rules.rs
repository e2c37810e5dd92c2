//! Many rules of miniupnpd's in a moment: copies of one that it has made itself, with other ports.
//!
//! Ten thousand of its own making would take many minutes. The copies are byte for byte what it would
//! send; nft cannot write such rules, whose protocol is a byte of the packet and no name.

use super::clients::{external, internal};
use postern::netlink::nfnl::{self, attribute, message};
use postern::netlink::socket::Socket;
use postern::netlink::wire::{self, Writer};

const TABLE: &str = "fw4";
const RULE_USERDATA: u16 = 7;
const CHAINS: [&str; 2] = ["upnp_prerouting", "upnp_forward"];
/// Rules in one transaction.
const PIECE: usize = 500;

/// A rule as the kernel tells it.
struct Rule {
    chain: &'static str,
    expressions: Vec<u8>,
    userdata: Option<Vec<u8>>,
}

/// Copies the rules of the newest mapping, which is `model`, for these others. The thread must be
/// in the router's namespace.
pub fn copy(model: u16, numbers: std::ops::RangeInclusive<u16>) {
    let mut socket = Socket::nfnetlink().unwrap();
    let models = CHAINS.map(|chain| newest(&mut socket, chain));
    let rules: Vec<(u16, &Rule)> =
        numbers.flat_map(|number| models.iter().map(move |rule| (number, rule))).collect();
    let mut writer = Writer::new(1);
    for piece in rules.chunks(PIECE) {
        nfnl::begin(&mut writer);
        for (number, rule) in piece {
            rule.write(&mut writer, model, *number);
        }
        writer.add_flags(wire::ACK);
        nfnl::end(&mut writer);
        let faults = socket.batch(&writer.finish(), &mut |_| {}).unwrap();
        assert!(faults.is_empty(), "{faults:?}");
    }
}

fn newest(socket: &mut Socket, chain: &'static str) -> Rule {
    let mut writer = Writer::new(1);
    nfnl::message(&mut writer, message::GET_RULE, wire::DUMP);
    writer.text(attribute::RULE_TABLE, TABLE);
    writer.text(attribute::RULE_CHAIN, chain);
    let mut found = None;
    let each = &mut |message: &wire::Message<'_>| {
        let attributes = message.attributes(nfnl::HEADER_LEN);
        let Some(expressions) = attributes.find(attribute::RULE_EXPRESSIONS) else { return };
        let userdata = attributes.find(RULE_USERDATA).map(<[u8]>::to_vec);
        found = Some(Rule { chain, expressions: expressions.to_vec(), userdata });
    };
    socket.ask(&writer.finish(), each).unwrap();
    found.unwrap_or_else(|| panic!("no rule in {chain}"))
}

impl Rule {
    fn write(&self, writer: &mut Writer, model: u16, number: u16) {
        let mut expressions = self.expressions.clone();
        if self.chain == CHAINS[0] {
            patch(&mut expressions, external(model), external(number));
        }
        patch(&mut expressions, internal(model), internal(number));
        nfnl::message(writer, message::NEW_RULE, wire::CREATE | wire::APPEND);
        writer.text(attribute::RULE_TABLE, TABLE);
        writer.text(attribute::RULE_CHAIN, self.chain);
        writer.bytes(attribute::RULE_EXPRESSIONS | wire::NESTED, &expressions);
        if let Some(userdata) = &self.userdata {
            writer.bytes(RULE_USERDATA, userdata);
        }
    }
}

/// Puts a port in the place of another, which must be there once.
fn patch(bytes: &mut [u8], old: u16, new: u16) {
    let old = old.to_be_bytes();
    let mut places = bytes.windows(2).enumerate().filter(|(_, pair)| *pair == old);
    let place = places.next().expect("the port is not in the rule").0;
    assert!(places.next().is_none(), "which of them is the port?");
    bytes[place..place + 2].copy_from_slice(&new.to_be_bytes());
}
