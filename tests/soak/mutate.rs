//! Requests that real clients have sent, as they were or with something wrong.

use fastrand::Rng;
use std::fs;
use std::path::Path;

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum To {
    /// TCP port 5000.
    Http,
    /// UDP port 1900.
    Ssdp,
    /// UDP port 5351.
    Pmp,
}

/// All messages of `tests/captures`.
pub struct Captures(Vec<(To, Vec<u8>)>);

fn replace(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(old.len()).position(|window| window == old) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(new);
        rest = &rest[at + old.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// Makes the length that the head tells that of the body.
fn fix_length(message: &[u8]) -> Vec<u8> {
    let Some(end) = message.windows(4).position(|window| window == b"\r\n\r\n") else {
        return message.to_vec();
    };
    let head = String::from_utf8_lossy(&message[..end]).into_owned();
    let body = &message[end..];
    let line = |line: &str| match line.to_ascii_lowercase().starts_with("content-length:") {
        true => format!("Content-Length: {}", body.len() - 4),
        false => line.to_owned(),
    };
    let head: Vec<String> = head.split("\r\n").map(line).collect();
    [head.join("\r\n").as_bytes(), body].concat()
}

impl Captures {
    /// Reads them, as if the host at `192.168.1.66` and `2001:db8:1::66` had sent them.
    pub fn read() -> Captures {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
        let mut all = Vec::new();
        for (name, to) in
            [("http", To::Http), ("soap", To::Http), ("ssdp", To::Ssdp), ("pcp", To::Pmp)]
        {
            for entry in fs::read_dir(dir.join(name)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "md") {
                    continue;
                }
                let mut bytes = fs::read(&path).unwrap();
                for (old, new) in [
                    (&b"192.168.1.100"[..], &b"192.168.1.66"[..]),
                    (b"192.168.1.10", b"192.168.1.66"),
                    (b"10.9.9.254:5000", b"192.168.1.1:5000"),
                    (b"2001:db8:1::10", b"2001:db8:1::66"),
                    (&[192, 168, 1, 10], &[192, 168, 1, 66]),
                ] {
                    bytes = replace(&bytes, old, new);
                }
                all.push((to, if to == To::Http { fix_length(&bytes) } else { bytes }));
            }
        }
        // In the same order on every machine.
        all.sort_by(|a, b| a.1.cmp(&b.1));
        assert!(all.len() > 100, "only {} captures", all.len());
        Captures(all)
    }

    /// One of them, changed in up to three places, or in none.
    pub fn choose(&self, random: &mut Rng) -> (To, Vec<u8>) {
        let (to, mut bytes) = self.0[random.usize(..self.0.len())].clone();
        for _ in 0..random.u8(..4) {
            let at = random.usize(..=bytes.len());
            let end = random.usize(at..=bytes.len().min(at + 40));
            match random.u8(..7) {
                0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
                1 if at < bytes.len() => bytes[at] = random.u8(..),
                2 => bytes.truncate(at),
                3 => drop(bytes.drain(at..end)),
                4 => bytes.splice(at..at, (0..random.u8(..40)).map(|_| b'~')).for_each(drop),
                5 => {
                    let twice = bytes[at..end].to_vec();
                    bytes.splice(at..at, twice).for_each(drop);
                }
                // A number becomes a large one, or none.
                _ => {
                    let digit = bytes[at..].iter().position(u8::is_ascii_digit).map(|n| n + at);
                    if let Some(at) = digit {
                        let word = [&b"4294967296"[..], b"-1", b"", b"65535"][random.usize(..4)];
                        bytes.splice(at..=at, word.iter().copied()).for_each(drop);
                    }
                }
            }
        }
        (to, bytes)
    }
}
