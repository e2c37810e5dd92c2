//! SSDP: any datagram is a search within its limits or nothing, every answer is one whole datagram
//! that repeats the target, and no source gets more answers than the budget has.

use postern::igd::{tree, Identity};
use postern::proto::ssdp::{
    delay, next_alive, parse_search, split_version, write_alive, write_byebye, write_response,
    write_update, Advert, Budget, Common, Search, Target, DELAY_MAX, MESSAGE_MAX, MX_MAX,
    SEARCH_MAX, SOURCE_BURST, SOURCE_PER_SECOND, TARGET_MAX,
};
use std::net::IpAddr;
use std::time::{Duration, Instant};

const BASE: &str = "http://192.168.1.1:5000";

pub fn run(bytes: &[u8]) {
    let (group, own) = (parse_search(bytes, true), parse_search(bytes, false));
    if let Some(search) = group {
        assert!(search.mx.is_some_and(|mx| mx <= MX_MAX));
        assert_eq!(own, Some(Search { mx: None, ..search }));
        assert!(delay(search.mx, u32::MAX) <= DELAY_MAX);
    }
    if let Some(Search { target, .. }) = own {
        assert!(bytes.len() <= SEARCH_MAX && target.text().len() <= TARGET_MAX);
        assert_eq!(Target::of(target.text()), Some(target));
        for advert in tree::answers(&target, &Identity::default(), BASE) {
            if target != Target::All {
                assert_eq!(advert.kind, target.text());
            }
            written(&advert, "");
        }
    }
    let text = String::from_utf8_lossy(bytes);
    if let Some((name, version)) = split_version(&text) {
        assert!(text.starts_with(name) && text.len() > name.len(), "{version}");
    }
    let kind = text.into_owned();
    written(&Advert { usn: kind.clone(), location: kind.clone(), kind: kind.clone() }, &kind);
    budget(bytes);
}

/// Every message about this is one datagram whose lines are as many as it has fields.
fn written(advert: &Advert, words: &str) {
    let common = Common {
        server: words,
        max_age: 1800,
        boot_id: u32::MAX,
        config_id: u32::MAX,
        date: Some(words),
        host: words,
    };
    let checked = |lines: usize, write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        assert!(out.len() <= MESSAGE_MAX && out.ends_with(b"\r\n\r\n"));
        let control = |byte: &&u8| byte.is_ascii_control();
        assert_eq!(out.iter().filter(control).count(), 2 * lines);
        assert_eq!(out.windows(2).filter(|two| two == b"\r\n").count(), lines);
        assert_eq!(parse_search(&out, false), None);
    };
    checked(11, &|out| write_response(out, advert, &common));
    checked(11, &|out| write_alive(out, advert, &common));
    checked(8, &|out| write_byebye(out, advert, &common));
    checked(10, &|out| write_update(out, advert, &common, u32::MAX));
    assert!(next_alive(1800, u32::MAX) < Duration::from_secs(900));
}

/// Searches of a few sources: source, answers wanted, quarters of seconds since the last.
fn budget(bytes: &[u8]) {
    let start = Instant::now();
    let mut now = start;
    let (mut budget, mut had) = (Budget::default(), [0u32; 4]);
    for search in bytes.chunks_exact(3).take(64) {
        let source = usize::from(search[0] & 3);
        now += Duration::from_millis(u64::from(search[2]) * 250);
        let wanted = u32::from(search[1]);
        let address = match source {
            0 => IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1]),
            _ => IpAddr::from([192, 168, 1, source as u8]),
        };
        let left = budget.left(address, now);
        let got = budget.take(address, wanted, now);
        assert_eq!(got, wanted.min(left));
        had[source] += got;
        let seconds = (now - start).as_secs() as u32 + 1;
        assert!(got <= wanted && had[source] <= SOURCE_BURST + SOURCE_PER_SECOND * seconds);
    }
}
