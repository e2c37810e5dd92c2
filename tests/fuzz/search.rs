//! Seeds, and how they are changed.

use std::fs;
use std::path::Path;

pub type Random = fastrand::Rng;

/// The files of a folder below `tests` that have this extension; all of them if it is empty.
pub fn captures(folder: &str, extension: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|path| path.extension().unwrap_or_default() == extension);
    files.sort();
    assert!(files.len() >= 4, "no captures in {folder:?}");
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Runs a target over its seeds and over so many that `next` makes of them.
pub fn search(
    target: fn(&[u8]),
    seeds: &[Vec<u8>],
    tries: u32,
    mut next: impl FnMut(&mut Random) -> Vec<u8>,
) {
    seeds.iter().for_each(|bytes| target(bytes));
    let mut random = Random::with_seed(7);
    for _ in 0..tries {
        target(&next(&mut random));
    }
}

/// Some bytes changed, cut out or put in.
pub fn changed(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..random.usize(1..6) {
        let at = random.usize(0..=bytes.len());
        match random.u8(0..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.u8(..)),
            2 => {
                let more = random.usize(0..24);
                bytes.extend(std::iter::repeat_with(|| random.u8(..)).take(more));
            }
            3 => {
                let end = (at + random.usize(0..8)).min(bytes.len());
                let piece: Vec<u8> = bytes.drain(at..end).collect();
                let to = random.usize(0..=bytes.len());
                let twice = random.bool();
                for _ in 0..=u8::from(twice) {
                    bytes.splice(to..to, piece.iter().copied());
                }
            }
            _ => {
                let any = random.u8(..);
                let with =
                    random.choice(*b"\x00\x01\x02\x03\x04\x7f\x80\xff \r\n<>&'\"=:;").unwrap();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = if random.bool() { with } else { any };
                }
            }
        }
    }
    bytes
}
