//! nf_tables over netlink: the numbers, the header and the batch (linux/netfilter/nf_tables.h,
//! linux/netfilter/nfnetlink.h).
//!
//! Pure. Every number inside an attribute is big endian, except the data of expressions, which is
//! whatever the packet or the kernel's own word is. Names here are the kernel's, without `NFT`.

use crate::netlink::wire::{self, Message, Writer};

/// Bytes of the header behind every nfnetlink message header.
pub const HEADER_LEN: usize = 4;
/// The family of tables for IPv4 and IPv6 together.
pub const INET: u8 = 1;
/// The family of IPv4 tables.
pub const IPV4: u8 = 2;
/// The family of IPv6 tables.
pub const IPV6: u8 = 10;
/// In a dump request: tables of every family.
pub const ANY_FAMILY: u8 = 0;

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

/// Message numbers.
#[allow(missing_docs)]
pub mod message {
    pub const NEW_TABLE: u8 = 0;
    pub const GET_TABLE: u8 = 1;
    pub const DEL_TABLE: u8 = 2;
    pub const NEW_CHAIN: u8 = 3;
    pub const GET_CHAIN: u8 = 4;
    pub const DEL_CHAIN: u8 = 5;
    pub const NEW_RULE: u8 = 6;
    pub const GET_RULE: u8 = 7;
    pub const NEW_SET: u8 = 9;
    pub const GET_SET: u8 = 10;
    pub const NEW_ELEMENT: u8 = 12;
    pub const GET_ELEMENT: u8 = 13;
    pub const DEL_ELEMENT: u8 = 14;
    pub const NEW_GENERATION: u8 = 15;
}

/// Attribute numbers, each group for one message or nest.
#[allow(missing_docs)]
pub mod attribute {
    pub const LIST_ITEM: u16 = 1;

    pub const TABLE_NAME: u16 = 1;
    pub const TABLE_FLAGS: u16 = 2;
    pub const TABLE_USERDATA: u16 = 6;

    pub const CHAIN_TABLE: u16 = 1;
    pub const CHAIN_NAME: u16 = 3;
    pub const CHAIN_HOOK: u16 = 4;
    pub const CHAIN_POLICY: u16 = 5;
    pub const CHAIN_TYPE: u16 = 7;
    pub const HOOK_NUMBER: u16 = 1;
    pub const HOOK_PRIORITY: u16 = 2;

    pub const RULE_TABLE: u16 = 1;
    pub const RULE_CHAIN: u16 = 2;
    pub const RULE_EXPRESSIONS: u16 = 4;

    pub const EXPRESSION_NAME: u16 = 1;
    pub const EXPRESSION_DATA: u16 = 2;

    pub const SET_TABLE: u16 = 1;
    pub const SET_NAME: u16 = 2;
    pub const SET_FLAGS: u16 = 3;
    pub const SET_KEY_TYPE: u16 = 4;
    pub const SET_KEY_LEN: u16 = 5;
    pub const SET_DATA_TYPE: u16 = 6;
    pub const SET_DATA_LEN: u16 = 7;
    pub const SET_DESCRIPTION: u16 = 9;
    pub const SET_ID: u16 = 10;
    pub const SET_GC_INTERVAL: u16 = 12;
    pub const SET_USERDATA: u16 = 13;
    pub const SET_EXPRESSION: u16 = 17;
    pub const DESCRIPTION_SIZE: u16 = 1;
    pub const DESCRIPTION_CONCAT: u16 = 2;
    pub const FIELD_LEN: u16 = 1;

    pub const LIST_TABLE: u16 = 1;
    pub const LIST_SET: u16 = 2;
    pub const LIST_ELEMENTS: u16 = 3;
    pub const LIST_SET_ID: u16 = 4;
    pub const ELEMENT_KEY: u16 = 1;
    pub const ELEMENT_KEY_END: u16 = 10;
    pub const ELEMENT_DATA: u16 = 2;
    pub const ELEMENT_TIMEOUT: u16 = 4;
    pub const ELEMENT_EXPIRATION: u16 = 5;
    pub const ELEMENT_USERDATA: u16 = 6;
    pub const ELEMENT_EXPRESSION: u16 = 7;
    pub const ELEMENT_EXPRESSIONS: u16 = 11;

    pub const DATA_VALUE: u16 = 1;
    pub const DATA_VERDICT: u16 = 2;
    pub const VERDICT_CODE: u16 = 1;
    pub const VERDICT_CHAIN: u16 = 2;

    pub const COUNTER_BYTES: u16 = 1;
    pub const COUNTER_PACKETS: u16 = 2;
}

/// The kind of an nf_tables message.
pub const fn kind(message: u8) -> u16 {
    SUBSYSTEM << 8 | message as u16
}

/// Starts an nf_tables message in the inet family; returns its sequence number.
pub fn message(writer: &mut Writer, message: u8, flags: u16) -> u32 {
    message_of(writer, message, flags, INET)
}

/// Starts an nf_tables message; returns its sequence number.
pub fn message_of(writer: &mut Writer, message: u8, flags: u16, family: u8) -> u32 {
    let sequence = writer.message(kind(message), wire::REQUEST | flags);
    writer.raw(&[family, 0, 0, 0]);
    sequence
}

/// Opens a batch: what follows up to [`end`] happens whole or not at all.
pub fn begin(writer: &mut Writer) {
    mark(writer, BATCH_BEGIN);
}

/// Closes a batch. Without it the kernel checks everything and changes nothing.
pub fn end(writer: &mut Writer) {
    mark(writer, BATCH_END);
}

fn mark(writer: &mut Writer, kind: u16) {
    writer.message(kind, wire::REQUEST);
    writer.raw(&[0, 0, 0, SUBSYSTEM as u8]);
}

/// The nf_tables number of a message, if it is of nf_tables.
pub fn number(message: &Message<'_>) -> Option<u8> {
    let [number, subsystem] = message.kind.to_le_bytes();
    (u16::from(subsystem) == SUBSYSTEM).then_some(number)
}

/// The family in a message's header.
pub fn family(message: &Message<'_>) -> Option<u8> {
    message.payload.first().copied()
}
