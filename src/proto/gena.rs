//! GENA as a publisher speaks it (UDA 1.1 §4): what a subscriber asks, and the NOTIFY it gets.
//!
//! Pure. No bytes make it panic.

use super::http::{Method, Request};
use super::xml::{close, element, open};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Most callback URLs of one subscription; more are not tried.
pub const CALLBACKS_MAX: usize = 4;
/// Longest callback URL, in bytes; a longer one is left out.
pub const URL_MAX: usize = 256;
/// Longest `SID` that can be one of ours: `uuid:` and 36 characters.
pub const SID_MAX: usize = 41;

/// Where events are to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// Address and port, without the index of a device.
    pub address: SocketAddr,
    /// `host:port` as the URL has it, for `HOST`; no zone.
    pub host: String,
    /// Path and query, beginning with a slash.
    pub path: String,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// A subscription. Seconds, `None` for one without end.
    Subscribe(Vec<Callback>, Option<u32>),
    /// Another term for this `SID`.
    Renew(String, Option<u32>),
    /// The end of this `SID`.
    Cancel(String),
}

/// Reads a SUBSCRIBE or UNSUBSCRIBE.
///
/// # Errors
/// The status: 400 for `SID` together with `NT` or `CALLBACK`; 412 for what is missing or wrong
/// (§4.1.2 to §4.1.4); 405 for another method.
pub fn parse(request: &Request<'_>) -> Result<Demand, u16> {
    let sid = request.header("sid").map(str::trim);
    let (nt, callback) = (request.header("nt"), request.header("callback"));
    match (request.method, sid) {
        (Method::Subscribe | Method::Unsubscribe, Some(_))
            if nt.is_some() || callback.is_some() =>
        {
            Err(400)
        }
        (Method::Subscribe, Some(sid)) if is_sid(sid) => {
            Ok(Demand::Renew(sid.to_owned(), seconds(request.header("timeout"))))
        }
        (Method::Unsubscribe, Some(sid)) if is_sid(sid) => Ok(Demand::Cancel(sid.to_owned())),
        (Method::Subscribe, None) if nt.is_some_and(|nt| nt.trim() == "upnp:event") => {
            let callbacks = callbacks(callback.unwrap_or_default());
            match callbacks.is_empty() {
                true => Err(412),
                false => Ok(Demand::Subscribe(callbacks, seconds(request.header("timeout")))),
            }
        }
        (Method::Subscribe | Method::Unsubscribe, _) => Err(412),
        _ => Err(405),
    }
}

fn is_sid(text: &str) -> bool {
    (1..=SID_MAX).contains(&text.len())
}

/// `TIMEOUT`: `Second-N` in any case. `None` for `infinite`; what is missing or nothing of the
/// kind counts as 0.
fn seconds(header: Option<&str>) -> Option<u32> {
    let text = header.unwrap_or_default().trim().to_ascii_lowercase();
    let number = text.strip_prefix("second-").unwrap_or(&text);
    match number {
        "infinite" => None,
        _ if number.bytes().all(|b| b.is_ascii_digit()) && !number.is_empty() => {
            Some(number.parse().unwrap_or(u32::MAX))
        }
        _ => Some(0),
    }
}

/// The URLs of `CALLBACK` that can be used, in order: `<url><url>…`.
fn callbacks(header: &str) -> Vec<Callback> {
    let mut found = Vec::new();
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let Some((url, after)) = after.split_once('>') else { break };
        rest = after;
        if found.len() < CALLBACKS_MAX {
            found.extend(callback(url.trim()));
        }
    }
    found
}

/// An `http` URL of a literal address. Names are not resolved: that would take time, and lead
/// anywhere.
fn callback(url: &str) -> Option<Callback> {
    let usable = url.len() <= URL_MAX && url.bytes().all(|b| b.is_ascii_graphic());
    let (scheme, rest) = url.split_at_checked(7).filter(|_| usable)?;
    if !scheme.eq_ignore_ascii_case("http://") {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let after_brackets = authority.find(']').map_or(0, |at| at + 1);
    let (host, port) = match authority.get(after_brackets..)?.find(':') {
        Some(colon) => {
            let (host, port) = authority.split_at(after_brackets + colon);
            let digits = port.get(1..).filter(|port| port.bytes().all(|b| b.is_ascii_digit()))?;
            (host, if digits.is_empty() { 80 } else { digits.parse().ok()? })
        }
        None => (authority, 80),
    };
    let address: IpAddr = match host.strip_prefix('[') {
        // A zone is the subscriber's own name for the link.
        Some(inner) => inner.strip_suffix(']')?.split('%').next()?.parse::<Ipv6Addr>().ok()?.into(),
        None => IpAddr::V4(host.parse().ok()?),
    };
    let path = path.split('#').next().unwrap_or_default();
    let slash = if path.starts_with('/') { "" } else { "/" };
    let address = Some(SocketAddr::new(address, port)).filter(|_| port != 0)?;
    Some(Callback { address, host: address.to_string(), path: [slash, path].concat() })
}

/// Appends a NOTIFY with the values of some variables (§4.3.2).
pub fn write_notify(
    out: &mut Vec<u8>,
    callback: &Callback,
    sid: &str,
    sequence: u32,
    values: &[(&'static str, String)],
) {
    let mut body = String::from(
        "<?xml version=\"1.0\"?>\r\n<e:propertyset xmlns:e=\"urn:schemas-upnp-org:event-1-0\">",
    );
    for (name, value) in values {
        open(&mut body, "e:property");
        element(&mut body, name, value);
        close(&mut body, "e:property");
    }
    close(&mut body, "e:propertyset");
    body.push_str("\r\n");
    for part in [
        "NOTIFY ",
        &callback.path,
        " HTTP/1.1\r\nHOST: ",
        &callback.host,
        "\r\nCONTENT-TYPE: text/xml; charset=\"utf-8\"\r\nCONTENT-LENGTH: ",
        &body.len().to_string(),
        "\r\nNT: upnp:event\r\nNTS: upnp:propchange\r\nSID: ",
        sid,
        "\r\nSEQ: ",
        &sequence.to_string(),
        "\r\nConnection: close\r\n\r\n",
        &body,
    ] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// The number after a sequence number: 4294967295 wraps to 1, for 0 is the first event's
/// (§4.3.2).
pub const fn next_sequence(sequence: u32) -> u32 {
    match sequence {
        u32::MAX => 1,
        sequence => sequence + 1,
    }
}

/// The status of an answer as far as it has come: `None` until its first line says it.
pub fn status(answer: &[u8]) -> Option<u16> {
    let [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9', b' ', rest @ ..] = answer
    else {
        return None;
    };
    let digits = std::str::from_utf8(rest.get(..3)?).ok()?;
    digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
