//! The chains and rules.

use crate::netfilter::ruleset::step::{self, Step, Step::*, R};
use crate::netfilter::ruleset::{sets, Signal, TABLE};
use crate::netlink::nfnl::{self, attribute as a, message as m};
use crate::netlink::wire::{self, Writer};

/// Chains in the order they are made; those with a hook name it and their priority.
const CHAINS: [(&str, Option<(u32, i32)>); 9] = [
    ("pre", Some((PREROUTING, BEFORE_US))),
    ("w0", None),
    ("w0_f", None),
    ("p6", None),
    ("p6_ok", None),
    ("p6_count", None),
    ("post", Some((POSTROUTING, SRCNAT - 5))),
    ("w0_out", None),
    ("hairpin", None),
];

/// The chain that is there only while packets are counted: each packet of each connection passes
/// it.
const COUNTING: &str = "count6";

const PREROUTING: u32 = 0;
const FORWARD: u32 = 2;
const POSTROUTING: u32 = 4;
/// The main firewall's own redirects come first.
const DSTNAT: i32 = -100;
/// Translations of a lower priority come before ours.
pub const BEFORE_US: i32 = DSTNAT + 5;
/// Its masquerading comes after us.
const SRCNAT: i32 = 100;
/// What it drops comes before us, and is not counted.
const FILTER: i32 = 0;
const ACCEPT: u32 = 1;

const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
const SNAT: u32 = 0;
const DNAT: u32 = 1;
const FLAG_PORT_GIVEN: u32 = 0x02;
const FLAG_FULLY_RANDOM: u32 = 0x10;

const IS_IPV4: [Step; 2] = [Meta(META_NFPROTO, R), Is(R, &[2])];
const IS_IPV6: [Step; 2] = [Meta(META_NFPROTO, R), Is(R, &[10])];
const IS_PORTED: [Step; 2] = [Meta(META_L4PROTO, R), TcpOrUdp(R)];
const SADDR: (u32, u32, u32) = (NETWORK, 12, 4);
const DADDR: (u32, u32, u32) = (NETWORK, 16, 4);
const SADDR6: (u32, u32, u32) = (NETWORK, 8, 16);
const DADDR6: (u32, u32, u32) = (NETWORK, 24, 16);
const SPORT: (u32, u32, u32) = (TRANSPORT, 0, 2);
const DPORT: (u32, u32, u32) = (TRANSPORT, 2, 2);

/// The look-ups of pinholes; what is found is counted.
const BY_ANY: [Step; 4] =
    [load(R, DADDR6), Meta(META_L4PROTO, R + 4), load(R + 5, DPORT), In("p6_any", R)];
const BY_HOST: [Step; 5] = [
    load(R, SADDR6),
    load(R + 4, DADDR6),
    Meta(META_L4PROTO, R + 8),
    load(R + 9, DPORT),
    In("p6_rh", R),
];
const BY_PORT: [Step; 5] = [
    load(R, DADDR6),
    Meta(META_L4PROTO, R + 4),
    load(R + 5, DPORT),
    load(R + 6, SPORT),
    In("p6_rp", R),
];
const BY_BOTH: [Step; 6] = [
    load(R, SADDR6),
    load(R + 4, DADDR6),
    Meta(META_L4PROTO, R + 8),
    load(R + 9, DPORT),
    load(R + 10, SPORT),
    In("p6_rhp", R),
];
const BY_FILTER: [Step; 8] = [
    load(R, DADDR6),
    In("p6_sel", R),
    load(R, DADDR6),
    load(R + 4, (NETWORK, 6, 1)),
    load(R + 5, DPORT),
    load(R + 6, SADDR6),
    load(R + 10, SPORT),
    In("p6_flt", R),
];
/// A later packet of a pinhole's connection, inbound. The first has been counted when `p6` looked
/// it up; its connection is not confirmed before it has passed everything.
const IS_LATER: [Step; 5] =
    [Meta(META_IIFNAME, R), In("wanif", R), Marked, Confirmed, Goto("p6_count")];

const fn load(to: u32, what: (u32, u32, u32)) -> Step {
    Load(to, what.0, what.1, what.2)
}

/// Every rule, in order: its chain and its steps, in pieces.
pub(super) const RULES: &[(&str, &[&[Step]])] = &[
    ("pre", &[&IS_IPV4, &[load(R, DADDR), Map("ext4", R, 0)]]),
    ("pre", &[&IS_IPV6, &[Meta(META_IIFNAME, R), Map("in6", R, 0)]]),
    ("w0", &[&[Meta(META_L4PROTO, R), load(R + 1, DPORT), NotIn("w0_ext", R), Return]]),
    ("w0", &[&[Mark]]),
    (
        "w0",
        &[
            &IS_PORTED,
            &IS_IPV4,
            &[load(R, SADDR), Meta(META_L4PROTO, R + 1), load(R + 2, DPORT)],
            &[Map("w0_rh", R, R), Nat(DNAT, R, &[R + 1], 0)],
        ],
    ),
    ("w0", &[&[Meta(META_L4PROTO, R), load(R + 1, DPORT), In("w0_sel", R), Goto("w0_f")]]),
    (
        "w0",
        &[
            &IS_PORTED,
            &[Meta(META_L4PROTO, R), load(R + 1, DPORT)],
            &[Map("w0_any", R, R), Nat(DNAT, R, &[R + 1], 0)],
        ],
    ),
    (
        "w0_f",
        &[
            &IS_PORTED,
            &IS_IPV4,
            &[load(R, (NETWORK, 9, 1)), load(R + 1, DPORT), load(R + 2, SADDR), load(R + 3, SPORT)],
            &[Map("w0_flt", R, R), Nat(DNAT, R, &[R + 1], 0)],
        ],
    ),
    ("p6", &[&IS_IPV6, &BY_ANY, &[Goto("p6_ok")]]),
    ("p6", &[&IS_IPV6, &BY_HOST, &[Goto("p6_ok")]]),
    ("p6", &[&IS_IPV6, &BY_PORT, &[Goto("p6_ok")]]),
    ("p6", &[&IS_IPV6, &BY_BOTH, &[Goto("p6_ok")]]),
    ("p6", &[&IS_IPV6, &BY_FILTER, &[Goto("p6_ok")]]),
    ("p6_ok", &[&[Mark]]),
    ("p6_count", &[&IS_IPV6, &BY_ANY, &[Return]]),
    ("p6_count", &[&IS_IPV6, &BY_HOST, &[Return]]),
    ("p6_count", &[&IS_IPV6, &BY_PORT, &[Return]]),
    ("p6_count", &[&IS_IPV6, &BY_BOTH, &[Return]]),
    ("p6_count", &[&IS_IPV6, &BY_FILTER, &[Return]]),
    ("post", &[&IS_IPV4, &[Meta(META_OIFNAME, R), Map("out4", R, 0)]]),
    ("post", &[&IS_IPV4, &[Marked, Meta(META_IIFNAME, R), NotIn("wanif", R), Goto("hairpin")]]),
    (
        "w0_out",
        &[
            &IS_PORTED,
            &IS_IPV4,
            &[load(R, SADDR), Meta(META_L4PROTO, R + 1), load(R + 2, SPORT)],
            &[Map("w0_rev", R, R), Masquerade(R, None, FLAG_PORT_GIVEN)],
        ],
    ),
    (
        "w0_out",
        &[
            &IS_PORTED,
            &[Meta(META_L4PROTO, R), load(R + 1, SPORT), In("w0_ext", R)],
            &[Put(R, &49152u16.to_be_bytes()), Put(R + 1, &65535u16.to_be_bytes())],
            &[Masquerade(R, Some(R + 1), FLAG_PORT_GIVEN | FLAG_FULLY_RANDOM)],
        ],
    ),
    (
        "hairpin",
        &[
            &IS_PORTED,
            &IS_IPV4,
            &[OriginalDestination(R), Map("self4", R, R)],
            &[load(R + 4, SADDR), Meta(META_L4PROTO, R + 5), load(R + 6, SPORT)],
            &[Map("w0_rev", R + 4, R + 4), Nat(SNAT, R, &[R + 4], FLAG_PORT_GIVEN)],
        ],
    ),
    (
        "hairpin",
        &[
            &IS_PORTED,
            &IS_IPV4,
            &[Meta(META_L4PROTO, R), load(R + 1, SPORT), In("w0_ext", R)],
            &[OriginalDestination(R), Map("self4", R, R)],
            &[Put(R + 4, &49152u16.to_be_bytes()), Put(R + 5, &65535u16.to_be_bytes())],
            &[Nat(SNAT, R, &[R + 4, R + 5], FLAG_PORT_GIVEN | FLAG_FULLY_RANDOM)],
        ],
    ),
    ("hairpin", &[&[OriginalDestination(R), Map("self4", R, R), Nat(SNAT, R, &[], 0)]]),
];

/// How many rules the table has, but for that of [`COUNTING`].
pub const RULE_COUNT: usize = RULES.len();

/// Writes the messages that make all chains; sets may name them from here on.
pub(super) fn create_chains(writer: &mut Writer) {
    for (name, hook) in CHAINS {
        chain(writer, name, "nat", hook);
    }
}

/// Writes the messages that make all rules. Anonymous sets get ids after `last_set`.
pub(super) fn create(writer: &mut Writer, signal: Signal, last_set: u32) {
    let mut id = last_set;
    for (chain, pieces) in RULES {
        let steps = || pieces.iter().copied().flatten();
        if steps().any(|step| matches!(step, TcpOrUdp(_))) {
            id += 1;
            sets::tcp_and_udp(writer, id);
        }
        rule(writer, chain, pieces, signal, id);
    }
}

/// Writes the messages that begin (`on`) or end the counting of pinholes' packets.
pub fn count(writer: &mut Writer, signal: Signal, on: bool) {
    if on {
        chain(writer, COUNTING, "filter", Some((FORWARD, FILTER + 1)));
        rule(writer, COUNTING, &[&IS_IPV6, &IS_LATER], signal, 0);
    } else {
        // With its rule.
        nfnl::message(writer, m::DEL_CHAIN, 0);
        writer.text(a::CHAIN_TABLE, TABLE);
        writer.text(a::CHAIN_NAME, COUNTING);
    }
}

/// Whether a rule of this chain counts the packets of pinholes.
pub fn is_counting(chain: &str) -> bool {
    chain == COUNTING
}

fn rule(writer: &mut Writer, chain: &str, pieces: &[&[Step]], signal: Signal, set: u32) {
    nfnl::message(writer, m::NEW_RULE, wire::CREATE | wire::APPEND);
    writer.text(a::RULE_TABLE, TABLE);
    writer.text(a::RULE_CHAIN, chain);
    writer.nest(a::RULE_EXPRESSIONS, |w| {
        pieces.iter().copied().flatten().for_each(|step| step::write(w, step, signal, set));
    });
}

fn chain(writer: &mut Writer, name: &str, kind: &str, hook: Option<(u32, i32)>) {
    nfnl::message(writer, m::NEW_CHAIN, wire::CREATE | wire::EXCLUSIVE);
    writer.text(a::CHAIN_TABLE, TABLE);
    writer.text(a::CHAIN_NAME, name);
    if let Some((number, priority)) = hook {
        writer.nest(a::CHAIN_HOOK, |w| {
            w.be32(a::HOOK_NUMBER, number);
            w.be32(a::HOOK_PRIORITY, priority as u32);
        });
        writer.be32(a::CHAIN_POLICY, ACCEPT);
        writer.text(a::CHAIN_TYPE, kind);
    }
}
