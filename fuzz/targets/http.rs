//! HTTP: a head is found and read alike however its bytes come, what it says of its body is within
//! the limits, and a chunked body is the same in one piece and in many.

use postern::proto::http::{
    find_head_end, host_allowed, parse_head, BodyKind, Chunked, Error, Progress, Request, BODY_MAX,
    HEAD_MAX, TARGET_MAX,
};
use std::net::SocketAddr;

pub fn run(bytes: &[u8]) {
    let end = find_head_end(bytes, 0);
    // As a connection that reads one byte at a time looks for it.
    let mut seen = 0;
    let found = (1..=bytes.len()).find_map(|length| {
        let found = find_head_end(&bytes[..length], seen);
        seen = length;
        found
    });
    assert_eq!(found, end);
    match parse_head(bytes) {
        Ok(None) => assert!(end.is_none() && bytes.len() < HEAD_MAX),
        Ok(Some((request, length))) => {
            assert!(Some(length) == end && length <= HEAD_MAX);
            assert_eq!(parse_head(&bytes[..length]), Ok(Some((request.clone(), length))));
            assert_eq!(parse_head(&bytes[..length - 1]), Ok(None));
            head(&request);
            chunked(&bytes[length..]);
        }
        Err(error) => assert!((400..=505).contains(&error.status())),
    }
    chunked(bytes);
    allowed(&String::from_utf8_lossy(bytes));
}

fn head(request: &Request<'_>) {
    assert!((1..=TARGET_MAX).contains(&request.path.len()));
    assert!(!request.path.contains(['?', '#', ' ', '\r', '\n']));
    assert!(!request.http11 || request.header_count("hOST") == 1);
    assert!(!request.wants_continue() || request.http11);
    let _ = request.keep_alive();
    match request.body() {
        Ok(BodyKind::Length(length)) => assert!(length <= BODY_MAX),
        Ok(BodyKind::Chunked) => assert!(request.http11),
        Ok(BodyKind::None) => assert_eq!(request.header_count("Content-Length"), 0),
        Err(error) => assert!((400..=505).contains(&error.status())),
    }
    if let Some(host) = request.host() {
        allowed(host);
    }
}

/// Nothing but the address itself passes where no name is known.
fn allowed(host: &str) {
    let v4: SocketAddr = ([192, 168, 1, 1], 5000).into();
    // The same port with zeros in front is that port (RFC 3986 section 3.2.3).
    let plain = match host.rsplit_once(':') {
        Some((name, port)) => format!("{name}:{}", port.trim_start_matches('0')),
        None => host.to_owned(),
    };
    if host_allowed(Some(host), v4, &[]) {
        assert!(host.starts_with('[') || ["192.168.1.1", "192.168.1.1:5000"].contains(&&*plain));
    }
    let v6: SocketAddr = ([0xfe80, 0, 0, 0, 0, 0, 0, 1], 5000).into();
    assert!(!host_allowed(Some(host), v6, &[]) || host.starts_with('['));
    let named = host_allowed(Some(host), v4, &["openwrt.lan"]);
    let name = plain.to_ascii_lowercase();
    if named && !host_allowed(Some(host), v4, &[]) {
        assert!(["openwrt.lan", "openwrt.lan:5000"].contains(&&*name));
    }
}

/// The body of these bytes, fed in pieces whose lengths are in them, too.
fn chunked(bytes: &[u8]) {
    let whole = decode(bytes, &mut |rest| rest);
    assert_eq!(decode(bytes, &mut |_| 1), whole);
    let mut lengths = bytes.iter().rev().map(|byte| usize::from(*byte) + 1).cycle();
    assert_eq!(decode(bytes, &mut |_| lengths.next().unwrap_or(1)), whole);
    if let Ok((body, Progress { consumed, done })) = whole {
        assert!(body.len() <= BODY_MAX && (done || consumed == bytes.len()));
    }
}

fn decode(
    bytes: &[u8],
    next: &mut dyn FnMut(usize) -> usize,
) -> Result<(Vec<u8>, Progress), Error> {
    let (mut decoder, mut body, mut at) = (Chunked::new(), Vec::new(), 0);
    loop {
        let rest = &bytes[at..];
        let piece = &rest[..next(rest.len()).min(rest.len())];
        let Progress { consumed, done } = decoder.decode(piece, &mut body)?;
        at += consumed;
        if done || at == bytes.len() {
            return Ok((body, Progress { consumed: at, done }));
        }
        assert_eq!(consumed, piece.len());
    }
}
