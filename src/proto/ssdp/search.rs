//! Searches (UDA 1.1 §1.3.2) and how long to wait with the answer (§1.3.3).

use std::time::Duration;

/// Longest search, in bytes: what fits into one Ethernet frame.
pub const SEARCH_MAX: usize = 1500;
/// Longest search target, in bytes. It is written back in the answer.
pub const TARGET_MAX: usize = 128;
/// Largest `MX`, in seconds; a larger one counts as this (UDA 1.1 §1.3.2).
pub const MX_MAX: u8 = 5;
/// Longest time an answer waits. Clients in the field listen for 1–2 s whatever their `MX`, some
/// for a quarter of a second.
pub const DELAY_MAX: Duration = Duration::from_millis(DELAY_MAX_MS as u64);

const DELAY_MAX_MS: u32 = 300;

/// What is searched for, in the client's own text: the answer's `ST` must repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `ssdp:all`: everything.
    All,
    /// `upnp:rootdevice`.
    RootDevice,
    /// `uuid:…`, the whole text: one device.
    Uuid(&'a str),
    /// `urn:…`, the whole text: a device or service type.
    Type(&'a str),
}

impl<'a> Target<'a> {
    /// The target of this text, or `None` for one that no UPnP device has.
    pub fn of(text: &'a str) -> Option<Target<'a>> {
        if text.len() > TARGET_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        match text {
            "ssdp:all" => Some(Target::All),
            "upnp:rootdevice" => Some(Target::RootDevice),
            _ if text.starts_with("uuid:") => Some(Target::Uuid(text)),
            _ if text.starts_with("urn:") => Some(Target::Type(text)),
            _ => None,
        }
    }

    /// The text, as it was searched.
    pub fn text(self) -> &'a str {
        match self {
            Target::All => "ssdp:all",
            Target::RootDevice => "upnp:rootdevice",
            Target::Uuid(text) | Target::Type(text) => text,
        }
    }
}

/// A type's name and version: `("urn:…:WANIPConnection", 1)` for `urn:…:WANIPConnection:1`.
pub fn split_version(urn: &str) -> Option<(&str, u32)> {
    let (name, version) = urn.rsplit_once(':')?;
    Some((name, number(version)?))
}

/// One search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search<'a> {
    /// What for.
    pub target: Target<'a>,
    /// Seconds over which answers may be spread, 0..=[`MX_MAX`]. `None` for a unicast search.
    pub mx: Option<u8>,
}

/// Parses a datagram. `multicast` says how it was sent. `None` for what gets no answer: no search,
/// no `MAN: "ssdp:discover"`, a multicast search without a valid `MX`, a target that is never ours.
///
/// Header names in any case, space around values, LF alone, a missing last blank line, a NUL at the
/// end and headers we do not know do not matter.
pub fn parse_search(bytes: &[u8], multicast: bool) -> Option<Search<'_>> {
    if bytes.len() > SEARCH_MAX {
        return None;
    }
    let mut lines =
        bytes.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    if lines.next()? != b"M-SEARCH * HTTP/1.1" {
        return None;
    }

    let (mut man, mut mx, mut target) = (None, None, None);
    for line in lines.take_while(|line| !line.is_empty()) {
        let Some((name, value)) = header(line) else {
            continue;
        };
        let slot = match name {
            _ if name.eq_ignore_ascii_case("MAN") => &mut man,
            _ if name.eq_ignore_ascii_case("MX") => &mut mx,
            _ if name.eq_ignore_ascii_case("ST") => &mut target,
            _ => continue,
        };
        slot.get_or_insert(value);
    }

    if man? != "\"ssdp:discover\"" {
        return None;
    }
    let mx = match multicast {
        true => Some(number(mx?)?.min(MX_MAX.into()).try_into().unwrap_or(MX_MAX)),
        false => None,
    };
    Some(Search { target: Target::of(target?)?, mx })
}

/// How long to wait with the answer: anything from nothing to `mx` seconds, but never more than
/// [`DELAY_MAX`]. `random` is uniform over all of `u32`. A unicast search is answered at once.
pub fn delay(mx: Option<u8>, random: u32) -> Duration {
    let window = (u32::from(mx.unwrap_or(0)) * 1000).min(DELAY_MAX_MS);
    Duration::from_millis(u64::from(random % (window + 1)))
}

/// Name and value, trimmed, of a line that is a header and readable.
fn header(line: &[u8]) -> Option<(&str, &str)> {
    let blank = |c: char| c.is_ascii_whitespace() || c == '\0';
    let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
    Some((name.trim_end_matches(blank), value.trim_matches(blank)))
}

/// A plain decimal number; one that is too large counts as the largest. No sign.
fn number(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
