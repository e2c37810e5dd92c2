//! The table `inet postern`: every set, chain and rule, as one batch.
//!
//! Pure. The layout is fixed; mappings and the WAN side are elements of its sets, so no request of
//! a client ever changes a rule. Listed by `nft list table inet postern` it reads as the files
//! in `tests/ruleset` do. A packet's way through it:
//!
//! - inbound, first packet of a connection: `pre` looks up the destination address (`ext4`), `w0`
//!   the port (`w0_ext`), sets the signal for the main firewall, and translates by `w0_rh`
//!   (mappings for one remote host), `w0_flt` or `w0_any`;
//! - outbound: `post` looks up the device (`out4`); `w0_out` lets a mapped endpoint leave from its
//!   external port (`w0_rev`) and keeps everybody else off mapped ports;
//! - LAN host to the router's own external address: `pre` as above, then `hairpin`.
//!
//! - IPv6, inbound: `pre` looks up the device (`in6`), `p6` the pinhole, in one set for each of the
//!   four ways to give or not to give a remote host and port; `p6_ok` sets the signal;
//! - `count6` is there only while there are pinholes: it sends the later packets of their
//!   connections to `p6_count`, where looking them up counts them. The first one was counted in
//!   `p6`, so the counter of a pinhole is its packets.
//!
//! A mapping with filters (PCP) is in `w0_sel` and, once for each filter, in `w0_flt` in the place of
//! `w0_any`; a pinhole with filters in `p6_flt`, and its host in `p6_sel`. `w0_off` is looked up by
//! no rule: it only keeps disabled mappings until they end.

mod rules;
mod sets;
mod step;
mod wan;

pub use rules::{count, is_counting, BEFORE_US, RULE_COUNT};
pub use sets::set_names;
pub use wan::{device_key, wan_element, WanSet};

use crate::netfilter::userdata::{write_stamp, Stamp};
use crate::netlink::nfnl::{self, attribute as a, message as m};
use crate::netlink::wire::{self, Writer};

/// The table's name, in family inet.
pub const TABLE: &str = "postern";
/// Version of the layout. A table of another one is replaced, its mappings carried over.
pub const SCHEMA: u8 = 5;
/// The conntrack label that marks what may pass the main firewall.
pub const LABEL: u8 = 127;
/// The conntrack mark bit that does so where the kernel has no labels, unless configured.
pub const MARK_DEFAULT: u32 = 0x4000_0000;

/// How the main firewall is told which connections may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Conntrack label [`LABEL`].
    CtLabel,
    /// This bit of the conntrack mark.
    CtMark(u32),
}

impl Signal {
    /// `ct-label` or `ct-mark`, as `postern status --json` writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Signal::CtLabel => "ct-label",
            Signal::CtMark(_) => "ct-mark",
        }
    }

    /// What the table's userdata says of it: the mark bit, or 0 for the label.
    pub const fn mark(self) -> u32 {
        match self {
            Signal::CtLabel => 0,
            Signal::CtMark(bit) => bit,
        }
    }

    /// The inverse of [`mark`](Signal::mark).
    pub const fn from_mark(mark: u32) -> Signal {
        match mark {
            0 => Signal::CtLabel,
            bit => Signal::CtMark(bit),
        }
    }

    /// Which conntrack field it is in (`NFT_CT_*`).
    pub const fn field(self) -> u32 {
        match self {
            Signal::CtLabel => step::CT_LABELS,
            Signal::CtMark(_) => step::CT_MARK,
        }
    }

    /// The bit in the field, as the kernel keeps it: in the machine's byte order.
    pub fn bits(self) -> Vec<u8> {
        match self {
            Signal::CtLabel => (1u128 << LABEL).to_ne_bytes().to_vec(),
            Signal::CtMark(bit) => bit.to_ne_bytes().to_vec(),
        }
    }
}

/// Writes the messages that make the table, its sets, chains and rules; it must not be there.
pub fn create(writer: &mut Writer, signal: Signal, created: u64) {
    nfnl::message(writer, m::NEW_TABLE, wire::CREATE | wire::EXCLUSIVE);
    writer.text(a::TABLE_NAME, TABLE);
    writer.be32(a::TABLE_FLAGS, 0);
    let stamp = Stamp { schema: SCHEMA, created, mark: signal.mark() };
    writer.bytes(a::TABLE_USERDATA, &write_stamp(&stamp));
    rules::create_chains(writer);
    let last_set = sets::create(writer);
    rules::create(writer, signal, last_set);
}

/// Writes the messages that remove the table whether or not it is there.
pub fn remove(writer: &mut Writer) {
    nfnl::message(writer, m::NEW_TABLE, wire::CREATE);
    writer.text(a::TABLE_NAME, TABLE);
    nfnl::message(writer, m::DEL_TABLE, 0);
    writer.text(a::TABLE_NAME, TABLE);
}

/// Writes a table that holds one rule that sets the signal; returns the rule's number. Sent in a
/// batch without end it shows whether the kernel can do it, and changes nothing.
pub fn probe(writer: &mut Writer, signal: Signal) -> u32 {
    const NAME: &str = "postern_probe";
    nfnl::message(writer, m::NEW_TABLE, wire::CREATE);
    writer.text(a::TABLE_NAME, NAME);
    nfnl::message(writer, m::NEW_CHAIN, wire::CREATE);
    writer.text(a::CHAIN_TABLE, NAME);
    writer.text(a::CHAIN_NAME, NAME);
    let rule = nfnl::message(writer, m::NEW_RULE, wire::CREATE | wire::APPEND | wire::ACK);
    writer.text(a::RULE_TABLE, NAME);
    writer.text(a::RULE_CHAIN, NAME);
    writer.nest(a::RULE_EXPRESSIONS, |w| step::write(w, &step::Step::Mark, signal, 0));
    rule
}

#[cfg(test)]
mod tests {
    use super::step::Step;
    use super::*;
    use crate::netlink::recorded::{here, hex};
    use crate::netlink::wire::{text, Messages};

    #[test]
    fn the_label_bit_is_where_the_machine_keeps_the_highest() {
        let bits = Signal::CtLabel.bits();
        let last = if cfg!(target_endian = "little") { 15 } else { 0 };
        assert_eq!((bits.len(), bits[last]), (16, 0x80));
        assert_eq!(Signal::CtMark(4).bits(), 4u32.to_ne_bytes());
        for signal in [Signal::CtLabel, Signal::CtMark(MARK_DEFAULT)] {
            assert_eq!(Signal::from_mark(signal.mark()), signal);
        }
    }

    /// A number as nft and the kernel keep it here.
    fn in_order(little: &'static str, big: &'static str) -> &'static str {
        if cfg!(target_endian = "little") {
            little
        } else {
            big
        }
    }

    #[test]
    fn the_label_is_set_whole_and_the_mark_bit_among_others() {
        let probed = |signal| {
            let mut writer = Writer::new(1);
            probe(&mut writer, signal);
            writer.finish()
        };
        let name = "706f737465726e5f70726f6265000000";
        let table_and_chain = format!(
            "28000000 000a 0104 01000000 00000000 01000000 12000100 {name}
             3c000000 030a 0104 02000000 00000000 01000000 12000100 {name} 12000300 {name}"
        );
        let rule = format!("060a 050c 03000000 00000000 01000000 12000100 {name} 12000200 {name}");
        let label =
            in_order("00000000000000000000000000000080", "80000000000000000000000000000000");
        let expected = format!(
            "{table_and_chain} 98000000 {rule} 5c000480
             38000180 0e000100 696d6d656469617465000000
               24000280 08000100 00000008 18000280 14000100 {label}
             20000180 07000100 63740000 14000280 08000200 0000000d 08000400 00000008"
        );
        assert_eq!(probed(Signal::CtLabel), here(&expected));
        let (bit, others) = (in_order("00000040", "40000000"), in_order("ffffffbf", "bfffffff"));
        let expected = format!(
            "{table_and_chain} c4000000 {rule} 88000480
             20000180 07000100 63740000 14000280 08000100 00000008 08000200 00000003
             44000180 0c000100 6269747769736500
               34000280 08000100 00000008 08000200 00000008 08000300 00000004
               0c000480 08000100 {others} 0c000580 08000100 {bit}
             20000180 07000100 63740000 14000280 08000200 00000003 08000400 00000008"
        );
        assert_eq!(probed(Signal::CtMark(MARK_DEFAULT)), here(&expected));
    }

    #[test]
    fn how_nft_prints_a_set_is_a_number_of_the_machines() {
        let mut writer = Writer::new(1);
        create(&mut writer, Signal::CtLabel, 0);
        let bytes = writer.finish();
        let told = |name: &str| {
            let mut sets = Messages(&bytes).filter(|s| nfnl::number(s) == Some(m::NEW_SET));
            sets.find_map(|set| {
                let set = set.attributes(nfnl::HEADER_LEN);
                (set.find(a::SET_NAME).and_then(text) == Some(name))
                    .then(|| set.find(a::SET_USERDATA).map(Vec::from))
            })
        };
        let [row, host, network] = [
            in_order("00000000", "00000000"),
            in_order("01000000", "00000001"),
            in_order("02000000", "00000002"),
        ];
        assert_eq!(told("wanif"), Some(Some(hex(&format!("0004{host}")))));
        assert_eq!(told("self4"), Some(Some(hex(&format!("0004{network}0104{network}")))));
        assert_eq!(told("w0_any"), Some(Some(hex(&format!("0004{row}0104{row}")))));
    }

    #[test]
    fn a_device_name_fills_its_key_and_what_is_none_is_refused() {
        assert_eq!(device_key("pppoe-wan"), Some(*b"pppoe-wan\0\0\0\0\0\0\0"));
        assert!(device_key("fifteen-letters").is_some());
        for name in ["", "sixteen-letters-", "a/b", "a b", "a\0"] {
            assert_eq!(device_key(name), None);
        }
    }

    #[test]
    fn every_set_that_rules_look_up_exists_and_mappings_are_held_in_them() {
        let names: Vec<&str> = set_names().collect();
        for (_, pieces) in rules::RULES {
            for step in pieces.iter().copied().flatten() {
                if let Step::In(set, _) | Step::NotIn(set, _) | Step::Map(set, ..) = step {
                    assert!(names.contains(set), "{set}");
                    assert_ne!(*set, "w0_off", "disabled mappings stay disabled");
                }
            }
        }
        for set in crate::netfilter::element::SETS {
            assert!(names.contains(&set));
        }
        for set in WanSet::ALL {
            assert!(names.contains(&set.name()));
        }
    }
}
