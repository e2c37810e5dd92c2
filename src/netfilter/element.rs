//! Elements ↔ netlink: keys, data, time, userdata and counters of the sets that hold mappings.
//!
//! Pure. A key is a row of fields, each padded to four bytes, addresses and ports in network
//! order; a map whose data is one field keeps it unpadded. Reading never panics on any bytes.

use crate::gateway::guard::Filter;
use crate::gateway::mapping::Protocol;
use crate::gateway::pinhole::Hole;
use crate::netfilter::ruleset::TABLE;
use crate::netfilter::userdata::{read_note, read_unique_id, write_note, write_pinhole_note};
use crate::netfilter::{Installed, Note, Rule, Slot};
use crate::netlink::nfnl::{self, attribute as a, message as m};
use crate::netlink::wire::{self, be16, be64, Attributes, Message, Writer};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::Duration;

/// The sets that hold mappings and pinholes, in the order they are read back.
pub const SETS: [&str; 13] = [
    "w0_ext", "w0_sel", "w0_any", "w0_rh", "w0_flt", "w0_off", "w0_rev", "p6_any", "p6_rh",
    "p6_rp", "p6_rhp", "p6_sel", "p6_flt",
];

/// Shortest time the kernel is given, in milliseconds: a tick of the slowest that OpenWrt builds
/// (HZ=100). Before Linux 6.1 what is less than a tick is rounded down to 0, which means for ever.
const TIMEOUT_MIN_MS: u64 = 10;
/// Longest time the kernel is given, in milliseconds: 2³² − 1 seconds.
const TIMEOUT_MAX_MS: u64 = u32::MAX as u64 * 1000;

/// What an element has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Connections: the first packet of each. Of a pinhole: packets.
    pub packets: u64,
    /// The bytes of those packets.
    pub bytes: u64,
}

/// The set that a slot is in.
pub fn set(slot: &Slot) -> &'static str {
    match slot {
        Slot::Gate(..) => "w0_ext",
        Slot::Forward(_, _, None) => "w0_any",
        Slot::Forward(_, _, Some(_)) => "w0_rh",
        Slot::Select(..) => "w0_sel",
        Slot::Filtered(..) => "w0_flt",
        Slot::Held(..) => "w0_off",
        Slot::Reverse(..) => "w0_rev",
        Slot::Pinhole(Hole { remote: None, remote_port: None, .. }) => "p6_any",
        Slot::Pinhole(Hole { remote: Some(_), remote_port: None, .. }) => "p6_rh",
        Slot::Pinhole(Hole { remote: None, remote_port: Some(_), .. }) => "p6_rp",
        Slot::Pinhole(Hole { remote: Some(_), remote_port: Some(_), .. }) => "p6_rhp",
        Slot::Select6(_) => "p6_sel",
        Slot::Filtered6(..) => "p6_flt",
    }
}

/// A key's bytes; of one with a filter the first of all that it is for.
pub fn key(slot: &Slot) -> Vec<u8> {
    filter_key(slot, false)
}

/// The last key that an element with a filter is for. `None`: it is for one key only.
pub fn key_end(slot: &Slot) -> Option<Vec<u8>> {
    let filtered = matches!(slot, Slot::Filtered(..) | Slot::Filtered6(..));
    filtered.then(|| filter_key(slot, true))
}

fn filter_key(slot: &Slot, last: bool) -> Vec<u8> {
    let (address, protocol, port) = match *slot {
        Slot::Gate(protocol, port)
        | Slot::Select(protocol, port)
        | Slot::Forward(protocol, port, None) => (None, protocol, port),
        Slot::Forward(protocol, port, remote) => (remote, protocol, port),
        Slot::Held(protocol, port, remote) => {
            (Some(remote.unwrap_or(Ipv4Addr::UNSPECIFIED)), protocol, port)
        }
        Slot::Reverse(protocol, internal) => (Some(*internal.ip()), protocol, internal.port()),
        Slot::Pinhole(hole) => return pinhole_key(&hole),
        Slot::Filtered(protocol, port, filter) => {
            let mut key = Vec::with_capacity(16);
            put_endpoint(&mut key, protocol, port);
            put_filter(&mut key, &filter, last);
            return key;
        }
        Slot::Select6(internal) => return internal.octets().to_vec(),
        Slot::Filtered6(hole, filter) => {
            let mut key = pinhole_key(&hole);
            put_filter(&mut key, &filter, last);
            return key;
        }
    };
    let mut key = Vec::with_capacity(12);
    if let Some(address) = address {
        key.extend_from_slice(&address.octets());
    }
    put_endpoint(&mut key, protocol, port);
    key
}

fn pinhole_key(hole: &Hole) -> Vec<u8> {
    let mut key = Vec::with_capacity(44);
    for address in hole.remote.into_iter().chain([hole.internal]) {
        key.extend_from_slice(&address.octets());
    }
    put_endpoint(&mut key, hole.protocol, hole.internal_port);
    if let Some(port) = hole.remote_port {
        put_port(&mut key, port);
    }
    key
}

/// The first or last address and port that a filter is for.
fn put_filter(key: &mut Vec<u8>, filter: &Filter, last: bool) {
    let len = u32::from(filter.prefix_len());
    match filter.address() {
        IpAddr::V4(address) => {
            let host = if last { u32::MAX.checked_shr(len).unwrap_or(0) } else { 0 };
            key.extend_from_slice(&(address.to_bits() | host).to_be_bytes());
        }
        IpAddr::V6(address) => {
            let host = if last { u128::MAX.checked_shr(len).unwrap_or(0) } else { 0 };
            key.extend_from_slice(&(address.to_bits() | host).to_be_bytes());
        }
    }
    put_port(key, filter.port().unwrap_or(if last { u16::MAX } else { 0 }));
}

fn put_endpoint(key: &mut Vec<u8>, protocol: Protocol, port: u16) {
    key.extend_from_slice(&[protocol.number(), 0, 0, 0]);
    put_port(key, port);
}

fn put_port(key: &mut Vec<u8>, port: u16) {
    key.extend_from_slice(&port.to_be_bytes());
    key.extend_from_slice(&[0; 2]);
}

/// Time left as the kernel is told it: from [`TIMEOUT_MIN_MS`] up, for 0 would mean for ever.
pub fn milliseconds(remaining: Duration) -> u64 {
    u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX).clamp(TIMEOUT_MIN_MS, TIMEOUT_MAX_MS)
}

/// Writes the message that adds an element; it fails if its key is there. Returns its number.
pub fn add(writer: &mut Writer, rule: &Rule, remaining: Option<Duration>, count: Count) -> u32 {
    let slot = rule.slot();
    message(writer, m::NEW_ELEMENT, wire::CREATE | wire::EXCLUSIVE, &slot, |w| {
        if let Some(remaining) = remaining {
            w.be64(a::ELEMENT_TIMEOUT, milliseconds(remaining));
        }
        write_key(w, &slot);
        match rule {
            Rule::Gate { .. } | Rule::Select { .. } | Rule::Select6 { .. } => {}
            Rule::Forward { internal, note, .. } | Rule::Filtered { internal, note, .. } => {
                destination(w, *internal);
                counted(w, count);
                w.bytes(a::ELEMENT_USERDATA, &write_note(note));
            }
            Rule::Pinhole { unique_id, note, .. } | Rule::Filtered6 { unique_id, note, .. } => {
                counted(w, count);
                w.bytes(a::ELEMENT_USERDATA, &write_pinhole_note(note, *unique_id));
            }
            Rule::Held { internal, note, .. } => {
                destination(w, *internal);
                w.bytes(a::ELEMENT_USERDATA, &write_note(note));
            }
            Rule::Reverse { port, .. } => {
                w.nest(a::ELEMENT_DATA, |w| w.bytes(a::DATA_VALUE, &port.to_be_bytes()));
            }
        }
    })
}

/// Writes the message that deletes an element. Returns its number. `echo`: the kernel shall tell
/// what it was like at its end.
pub fn delete(writer: &mut Writer, slot: &Slot, echo: bool) -> u32 {
    let flags = if echo { wire::ECHO } else { 0 };
    message(writer, m::DEL_ELEMENT, flags, slot, |w| write_key(w, slot))
}

/// Writes the request for one element.
pub fn get(writer: &mut Writer, slot: &Slot) {
    message(writer, m::GET_ELEMENT, wire::ACK, slot, |w| write_key(w, slot));
}

fn write_key(writer: &mut Writer, slot: &Slot) {
    writer.nest(a::ELEMENT_KEY, |w| w.bytes(a::DATA_VALUE, &key(slot)));
    if let Some(end) = key_end(slot) {
        writer.nest(a::ELEMENT_KEY_END, |w| w.bytes(a::DATA_VALUE, &end));
    }
}

/// Writes the request for all elements of a set.
pub fn dump(writer: &mut Writer, set: &str) {
    nfnl::message(writer, m::GET_ELEMENT, wire::DUMP);
    writer.text(a::LIST_TABLE, TABLE);
    writer.text(a::LIST_SET, set);
}

/// The count of an element that may have let more in than was counted: no byte comes alone.
pub fn uncertain(count: Count) -> Count {
    Count { bytes: count.bytes.max(1), ..count }
}

/// What has certainly let nothing in of the elements that the kernel tells of.
pub fn unused<'a>(message: &Message<'a>) -> impl Iterator<Item = Slot> + 'a {
    let list = message.attributes(nfnl::HEADER_LEN);
    let set = list.find(a::LIST_SET).and_then(wire::text).unwrap_or_default();
    let counts = |item: &Attributes<'_>| {
        [a::ELEMENT_EXPRESSION, a::ELEMENT_EXPRESSIONS]
            .iter()
            .any(|kind| item.find(*kind).is_some())
    };
    let found = items(message).filter(counts).filter_map(move |item| read(set, &item));
    found.filter(|(_, count)| *count == Count::default()).map(|(found, _)| found.rule.slot())
}

/// What an element has counted before.
fn counted(writer: &mut Writer, count: Count) {
    if count != Count::default() {
        writer.nest(a::ELEMENT_EXPRESSION, |w| counter(w, count));
    }
}

/// A counter expression.
pub fn counter(writer: &mut Writer, count: Count) {
    writer.text(a::EXPRESSION_NAME, "counter");
    writer.nest(a::EXPRESSION_DATA, |w| {
        w.be64(a::COUNTER_BYTES, count.bytes);
        w.be64(a::COUNTER_PACKETS, count.packets);
    });
}

fn message(
    writer: &mut Writer,
    number: u8,
    flags: u16,
    slot: &Slot,
    item: impl FnOnce(&mut Writer),
) -> u32 {
    let sequence = nfnl::message(writer, number, flags);
    writer.text(a::LIST_TABLE, TABLE);
    writer.text(a::LIST_SET, set(slot));
    writer.nest(a::LIST_ELEMENTS, |w| w.nest(a::LIST_ITEM, item));
    sequence
}

fn destination(writer: &mut Writer, to: SocketAddrV4) {
    let mut data = [0; 8];
    data[..4].copy_from_slice(&to.ip().octets());
    data[4..6].copy_from_slice(&to.port().to_be_bytes());
    writer.nest(a::ELEMENT_DATA, |w| w.bytes(a::DATA_VALUE, &data));
}

/// The items of a message that lists elements.
pub fn items<'a>(message: &Message<'a>) -> impl Iterator<Item = Attributes<'a>> {
    let list = message.attributes(nfnl::HEADER_LEN).nest(a::LIST_ELEMENTS);
    list.filter(|(kind, _)| *kind == a::LIST_ITEM).map(|(_, item)| Attributes(item))
}

/// The key's bytes of one item.
pub fn item_key<'a>(item: &Attributes<'a>) -> Option<&'a [u8]> {
    item.nest(a::ELEMENT_KEY).find(a::DATA_VALUE)
}

/// What one item has counted.
pub fn item_count(item: &Attributes<'_>) -> Count {
    let mut expression = item.nest(a::ELEMENT_EXPRESSION);
    if expression.find(a::EXPRESSION_NAME).is_none() {
        expression = item.nest(a::ELEMENT_EXPRESSIONS).nest(a::LIST_ITEM);
    }
    let data = expression.nest(a::EXPRESSION_DATA);
    let number = |kind| data.find(kind).and_then(be64).unwrap_or(0);
    Count { packets: number(a::COUNTER_PACKETS), bytes: number(a::COUNTER_BYTES) }
}

/// One item of a set of [`SETS`] in words, and what it has counted. `None` if it is nothing that
/// this daemon has words for: another protocol, or port 0.
pub fn read(set: &str, item: &Attributes<'_>) -> Option<(Installed, Count)> {
    let key = item_key(item)?;
    let rule = match set {
        "w0_ext" => {
            let (protocol, port) = endpoint(key)?;
            Rule::Gate { protocol, port }
        }
        "w0_sel" => {
            let (protocol, port) = endpoint(key)?;
            Rule::Select { protocol, port }
        }
        "w0_flt" => {
            let (first, rest) = key.split_at_checked(8)?;
            let (protocol, port) = endpoint(first)?;
            let filter = filter::<4>(key, rest, item)?;
            let (internal, note) = target(item)?;
            Rule::Filtered { protocol, port, filter, internal, note }
        }
        "p6_sel" => {
            Rule::Select6 { internal: address6(key).filter(|(_, rest)| rest.is_empty())?.0 }
        }
        "p6_flt" => {
            let (first, rest) = key.split_at_checked(24)?;
            let hole = hole(first, false, false)?;
            let filter = filter::<16>(key, rest, item)?;
            let (unique_id, note) = pinhole_note(item);
            Rule::Filtered6 { hole, filter, unique_id, note }
        }
        "w0_any" => {
            let (protocol, port) = endpoint(key)?;
            let (internal, note) = target(item)?;
            Rule::Forward { protocol, port, remote: None, internal, note }
        }
        "w0_rev" => {
            let (address, key) = address(key)?;
            let (protocol, port) = endpoint(key)?;
            let internal = SocketAddrV4::new(address, port);
            let data = item.nest(a::ELEMENT_DATA).find(a::DATA_VALUE)?;
            Rule::Reverse { protocol, internal, port: be16(data)? }
        }
        "p6_any" | "p6_rh" | "p6_rp" | "p6_rhp" => {
            let hole = hole(key, set.starts_with("p6_rh"), set.ends_with('p'))?;
            let (unique_id, note) = pinhole_note(item);
            Rule::Pinhole { hole, unique_id, note }
        }
        _ => {
            let (address, key) = address(key)?;
            let (protocol, port) = endpoint(key)?;
            let (internal, note) = target(item)?;
            let remote = (!address.is_unspecified()).then_some(address);
            match set {
                "w0_rh" if remote.is_some() => {
                    Rule::Forward { protocol, port, remote, internal, note }
                }
                "w0_off" => Rule::Held { protocol, port, remote, internal, note },
                _ => return None,
            }
        }
    };
    let timeout = item.find(a::ELEMENT_TIMEOUT).and_then(be64).filter(|ms| *ms != 0);
    let left = item.find(a::ELEMENT_EXPIRATION).and_then(be64);
    let remaining = timeout.map(|timeout| Duration::from_millis(left.unwrap_or(timeout)));
    let count = match rule.slot().is_counted() {
        true => item_count(item),
        false => Count::default(),
    };
    Some((Installed { rule, remaining, connections: count.packets }, count))
}

/// The filter in a key, whose address of `N` bytes and port are `rest`, and the key's end.
fn filter<const N: usize>(key: &[u8], rest: &[u8], item: &Attributes<'_>) -> Option<Filter> {
    let end = item.nest(a::ELEMENT_KEY_END).find(a::DATA_VALUE)?;
    let (same, end) = end.split_at_checked(key.len().checked_sub(rest.len())?)?;
    let parts = |bytes: &[u8]| {
        let (address, port) = bytes.split_first_chunk::<N>()?;
        let [high, low, 0, 0] = *port else { return None };
        let address = address.iter().fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
        Some((address, u16::from_be_bytes([high, low])))
    };
    let ((first, first_port), (last, last_port)) = (parts(rest)?, parts(end)?);
    let host = first ^ last;
    let prefix_len = (N * 8) as u8 - host.count_ones() as u8;
    let address = match N {
        4 => Ipv4Addr::from_bits(first as u32).into(),
        _ => IpAddr::V6(Ipv6Addr::from_bits(first)),
    };
    let port = match (first_port, last_port) {
        (0, u16::MAX) => 0,
        (first, last) => Some(first).filter(|port| *port == last && *port != 0)?,
    };
    // What is no prefix was not made here.
    let whole = key.starts_with(same) && host & host.wrapping_add(1) == 0 && first & host == 0;
    Filter::new(address, prefix_len, port).filter(|_| whole)
}

fn address(key: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let (address, rest) = key.split_first_chunk::<4>()?;
    Some((Ipv4Addr::from(*address), rest))
}

fn endpoint(key: &[u8]) -> Option<(Protocol, u16)> {
    let [protocol, 0, 0, 0, port @ ..] = key else {
        return None;
    };
    let port = be16(port).filter(|port| *port != 0 && key.len() == 8)?;
    Some((Protocol::from_number(*protocol)?, port))
}

/// A pinhole's key, with a remote host, a remote port, or both, as its set has them.
fn hole(key: &[u8], by_host: bool, by_port: bool) -> Option<Hole> {
    let (remote, key) = match by_host {
        true => address6(key).map(|(remote, rest)| (Some(remote), rest))?,
        false => (None, key),
    };
    let (internal, key) = address6(key)?;
    let (key, rest) = key.split_first_chunk::<8>()?;
    let (protocol, internal_port) = endpoint(key)?;
    let remote_port = match (by_port, rest) {
        (false, []) => None,
        (true, [high, low, 0, 0]) => {
            Some(u16::from_be_bytes([*high, *low])).filter(|port| *port != 0)
        }
        _ => return None,
    };
    (remote_port.is_some() == by_port).then_some(Hole {
        internal,
        internal_port,
        protocol,
        remote,
        remote_port,
    })
}

fn address6(key: &[u8]) -> Option<(Ipv6Addr, &[u8])> {
    let (address, rest) = key.split_first_chunk::<16>()?;
    Some((Ipv6Addr::from(*address), rest))
}

/// What a pinhole's element tells of itself; one without a UniqueID was not made here.
fn pinhole_note(item: &Attributes<'_>) -> (u16, Note) {
    let userdata = userdata(item);
    match (read_unique_id(userdata), read_note(userdata)) {
        (Some(unique_id), Some(note)) => (unique_id, note),
        _ => (0, Note::foreign()),
    }
}

fn userdata<'a>(item: &Attributes<'a>) -> &'a [u8] {
    item.find(a::ELEMENT_USERDATA).unwrap_or_default()
}

fn target(item: &Attributes<'_>) -> Option<(SocketAddrV4, Note)> {
    let (address, port) = address(item.nest(a::ELEMENT_DATA).find(a::DATA_VALUE)?)?;
    let note = read_note(userdata(item)).unwrap_or_else(Note::foreign);
    Some((SocketAddrV4::new(address, be16(port)?), note))
}

#[cfg(test)]
mod tests;
