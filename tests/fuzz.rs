//! The fuzz targets of `fuzz/` in a short form: recorded messages of real clients, changed at
//! random. `make fuzz` searches for minutes, guided by what the code does.

// All of this is test code, though only some of it is marked `#[test]`.
#![allow(clippy::unwrap_used)]

#[path = "../fuzz/targets/natpmp.rs"]
mod natpmp;
#[path = "../fuzz/targets/pcp.rs"]
mod pcp;
#[path = "../fuzz/targets/pcp_service.rs"]
mod pcp_service;

use std::fs;
use std::path::Path;

/// Changed messages for each target.
const TRIES: u32 = 30_000;

/// Recorded requests.
fn captures() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/pcp");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "bin"));
    files.sort();
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Some bytes changed, cut out or put in.
fn changed(random: &mut fastrand::Rng, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..random.usize(1..6) {
        let at = random.usize(0..=bytes.len());
        match random.u8(0..4) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.u8(..)),
            2 => {
                let more = random.usize(0..24);
                bytes.extend(std::iter::repeat_with(|| random.u8(..)).take(more));
            }
            _ => {
                let any = random.u8(..);
                let with = random.choice([0, 1, 2, 3, 4, 127, 128, 255, any]).unwrap();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = with;
                }
            }
        }
    }
    bytes
}

fn search(target: fn(&[u8]), mut next: impl FnMut(&mut fastrand::Rng, &[Vec<u8>]) -> Vec<u8>) {
    let captures = captures();
    assert!(captures.len() >= 4, "no captures");
    captures.iter().for_each(|bytes| target(bytes));
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..TRIES {
        target(&next(&mut random, &captures));
    }
}

fn one(random: &mut fastrand::Rng, captures: &[Vec<u8>]) -> Vec<u8> {
    let bytes = random.choice(captures).unwrap().clone();
    changed(random, bytes)
}

#[test]
fn no_change_of_a_recorded_message_breaks_the_decoder_of_natpmp() {
    search(natpmp::run, one);
}

#[test]
fn no_change_of_a_recorded_message_breaks_the_decoder_of_pcp() {
    search(pcp::run, one);
}

#[test]
fn no_row_of_messages_brings_the_table_out_of_step_or_over_its_limits() {
    let mut round = 0;
    search(pcp_service::run, |random, captures| {
        round += 1;
        // A few at a time, each with what happens and its length in front.
        let mut row = Vec::new();
        for _ in 0..random.usize(0..if round % 100 == 0 { 60 } else { 6 }) {
            let message = one(random, captures);
            let length = message.len().min(255);
            row.extend([random.u8(..) | 0x80, length as u8]);
            row.extend(&message[..length]);
        }
        row
    });
}
