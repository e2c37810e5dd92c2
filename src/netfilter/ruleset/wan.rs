//! The elements that follow the WAN.

use crate::netfilter::ruleset::{step, TABLE};
use crate::netlink::nfnl::{self, attribute as a, message as m};
use crate::netlink::wire::{self, Writer};

/// Which of the sets that follow the WAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WanSet {
    /// Addresses that are ours: on to the mappings.
    Ext4,
    /// The same: which address a hairpinned connection seems to come from.
    Self4,
    /// Device: IPv6 on to the pinholes.
    In6,
    /// Device: out by the mappings.
    Out4,
    /// Device: what comes in here is no hairpin.
    Wanif,
}

impl WanSet {
    /// All of them.
    pub const ALL: [WanSet; 5] =
        [WanSet::Ext4, WanSet::Self4, WanSet::In6, WanSet::Out4, WanSet::Wanif];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            WanSet::Ext4 => "ext4",
            WanSet::Self4 => "self4",
            WanSet::In6 => "in6",
            WanSet::Out4 => "out4",
            WanSet::Wanif => "wanif",
        }
    }
}

/// Writes the message that adds (`add`) or deletes one element of a set that follows the WAN.
pub fn wan_element(writer: &mut Writer, set: WanSet, key: &[u8], add: bool) {
    let (message, flags) = if add { (m::NEW_ELEMENT, wire::CREATE) } else { (m::DEL_ELEMENT, 0) };
    nfnl::message(writer, message, flags);
    writer.text(a::LIST_TABLE, TABLE);
    writer.text(a::LIST_SET, set.name());
    writer.nest(a::LIST_ELEMENTS, |w| {
        w.nest(a::LIST_ITEM, |w| {
            w.nest(a::ELEMENT_KEY, |w| w.bytes(a::DATA_VALUE, key));
            let data = match set {
                _ if !add => return,
                WanSet::Wanif => return,
                WanSet::Self4 => None,
                WanSet::Ext4 => Some("w0"),
                WanSet::In6 => Some("p6"),
                WanSet::Out4 => Some("w0_out"),
            };
            w.nest(a::ELEMENT_DATA, |w| match data {
                None => w.bytes(a::DATA_VALUE, key),
                Some(chain) => step::verdict(w, step::CODE_GOTO, chain),
            });
        });
    });
}

/// A device name as the kernel compares it; `None` if it cannot be one.
pub fn device_key(name: &str) -> Option<[u8; 16]> {
    let mut key = [0; 16];
    let usable = (1..key.len()).contains(&name.len())
        && !name.bytes().any(|b| b == 0 || b == b'/' || b.is_ascii_whitespace());
    key.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
    usable.then_some(key)
}
