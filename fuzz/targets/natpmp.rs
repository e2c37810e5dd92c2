//! NAT-PMP's decoder: no bytes make it panic, and an answer is never a request.

use postern::proto::natpmp::{read, write_unknown, Request};

pub fn run(bytes: &[u8]) {
    match read(bytes) {
        Some(Request::Unknown) => assert_eq!(read(&write_unknown(bytes)), None),
        Some(_) => assert!(bytes[0] == 0 && bytes[1] < 3),
        None => {}
    }
}
