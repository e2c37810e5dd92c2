//! The lease files: any text gives mappings and pinholes, and those are the same when they are
//! written and read again.

use postern::daemon::leases::{
    read, read_peer, read_peer6, write, write_peer, write_peer6, Clocks, Saved,
};
use postern::gateway::mapping::{Mapping, DESCRIPTION_MAX};
use postern::gateway::pinhole::Pinhole;
use std::time::Instant;

pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let clocks = Clocks { now: Instant::now(), boot: "b00t".into(), uptime: 1000, unix: 50_000 };
    let saved = read(&text, &clocks);
    let mut out = String::new();
    write(&mut out, saved.mappings.iter(), saved.pinholes.iter(), &saved.run, &clocks).unwrap();
    assert_eq!(read(&out, &clocks), saved);

    let mut mappings = read_peer(&text, &clocks);
    let mut pinholes = read_peer6(&text, &clocks);
    checked(&Saved { mappings: mappings.clone(), pinholes: pinholes.clone(), ..saved }, &clocks);
    // The file has no place for a remote host, though newer ones that are read do.
    mappings.retain(|mapping| mapping.external.remote.is_none());
    let (mut out, mut out6) = (String::new(), String::new());
    write_peer(&mut out, mappings.iter(), &clocks).unwrap();
    assert_eq!(read_peer(&out, &clocks), mappings);
    write_peer6(&mut out6, pinholes.iter(), &clocks).unwrap();
    assert_eq!(read_peer6(&out6, &clocks), std::mem::take(&mut pinholes));
}

fn checked(saved: &Saved, clocks: &Clocks) {
    let of_mapping = |m: &Mapping| (m.expires, m.description.clone());
    let of_pinhole = |p: &Pinhole| (Some(p.expires), p.description.clone());
    let all = saved.mappings.iter().map(of_mapping).chain(saved.pinholes.iter().map(of_pinhole));
    for (expires, description) in all {
        assert!(expires.is_none_or(|end| end > clocks.now));
        assert!(description.len() <= DESCRIPTION_MAX && !description.contains(char::is_control));
    }
    assert!(saved.mappings.iter().all(|m| m.external.port != 0));
    assert!(saved.pinholes.iter().all(|p| p.hole.internal_port != 0));
}
