//! Bytes for tests, recorded on a little-endian machine, as the machine that runs the tests has
//! them.
//!
//! Only the headers of messages and attributes are in the machine's order; what is inside an
//! attribute is the same everywhere, and a test whose attribute is not states both.

/// Bytes of an nfnetlink message before its attributes: sixteen of every message's header, then
/// four that are the same everywhere.
const BEFORE_ATTRIBUTES: usize = 20;
/// What each header is made of: lengths of its numbers.
const MESSAGE: [usize; 5] = [4, 2, 2, 4, 4];
const ATTRIBUTE: [usize; 2] = [2, 2];

/// Hexadecimal digits with any white space.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Recorded nfnetlink messages in this machine's order.
pub fn here(recorded: &str) -> Vec<u8> {
    let bytes = hex(recorded);
    if cfg!(target_endian = "little") {
        bytes
    } else {
        turned(bytes)
    }
}

/// Little-endian nfnetlink messages as a big-endian machine has them.
fn turned(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut rest = &mut bytes[..];
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        let (message, others) = rest.split_at_mut(length);
        turn_numbers(message, &MESSAGE);
        turn_attributes(&mut message[BEFORE_ATTRIBUTES..]);
        rest = others;
    }
    bytes
}

fn turn_attributes(mut rest: &mut [u8]) {
    const NESTED: u16 = 0x8000;
    while !rest.is_empty() {
        let [length, kind] = [0, 2].map(|at| u16::from_le_bytes([rest[at], rest[at + 1]]));
        let padded = usize::from(length).next_multiple_of(4);
        let (attribute, others) = rest.split_at_mut(padded);
        turn_numbers(attribute, &ATTRIBUTE);
        if kind & NESTED != 0 {
            turn_attributes(&mut attribute[4..]);
        }
        rest = others;
    }
}

fn turn_numbers(mut header: &mut [u8], lengths: &[usize]) {
    for length in lengths {
        let (number, others) = header.split_at_mut(*length);
        number.reverse();
        header = others;
    }
}

#[test]
fn a_big_endian_machine_has_other_headers_and_the_same_values() {
    let little = "2c000000 0d0a 0500 02000000 00000000 01000000
        0c00 0100 706f737465726e00 0c00 0380 0800 0100 00000102";
    let big = "0000002c 0a0d 0005 00000002 00000000 01000000
        000c 0001 706f737465726e00 000c 8003 0008 0001 00000102";
    assert_eq!(turned(hex(little)), hex(big));
}
