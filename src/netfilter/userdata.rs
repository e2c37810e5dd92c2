//! What rides in kernel objects' userdata: a list of `type(1) length(1) value`.
//!
//! Pure. The kernel keeps it and hands it back; `nft` shows type 0 as the comment and leaves other
//! types alone, so both a person and the next run of the daemon can read who made an element.
//! Reading never panics on any bytes and ignores types it does not know.

use crate::gateway::guard::Client;
use crate::gateway::mapping::{Id, Origin, DESCRIPTION_MAX};
use crate::netfilter::Note;

/// Longest userdata that every kernel stores; of 256 bytes it keeps none.
pub const USERDATA_MAX: usize = 254;

/// A NUL-terminated text that `nft list` shows.
const COMMENT: u8 = 0;
/// Ours: [`VERSION`], origin, flags, and the mapping's name as 8 bytes big endian; in the table's
/// userdata, what [`Stamp`] says.
const POSTERN: u8 = 0x80;
/// Ours: the description, when the comment could not hold it as it is.
const DESCRIPTION: u8 = 0x81;
/// Ours: a pinhole's UniqueID, 2 bytes big endian.
const UNIQUE_ID: u8 = 0x82;
/// Ours: who asked by PCP: nonce, port and peer's port, 16 bytes, big endian.
const CLIENT: u8 = 0x83;
/// Version of what [`POSTERN`] holds in an element.
const VERSION: u8 = 1;

/// What the table says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Version of the layout.
    pub schema: u8,
    /// When the table was first made, in seconds of `CLOCK_BOOTTIME`.
    pub created: u64,
    /// The conntrack mark bit that it sets, or 0 when it sets the label.
    pub mark: u32,
}

/// The userdata of an element that carries `note`; at most [`USERDATA_MAX`] bytes. A description
/// longer than [`DESCRIPTION_MAX`] is cut.
pub fn write_note(note: &Note) -> Vec<u8> {
    let mut out = Vec::new();
    let description = cut(&note.description);
    let comment: String = description.chars().map(printable).collect();
    if !comment.is_empty() {
        put(&mut out, COMMENT, &[comment.as_bytes(), &[0]]);
    }
    let head = [VERSION, origin_number(note.origin), 0];
    put(&mut out, POSTERN, &[&head, &note.id.0.to_be_bytes()]);
    if comment != description {
        put(&mut out, DESCRIPTION, &[description.as_bytes()]);
    }
    if let Some(Client { nonce, port, peer_port }) = note.client {
        put(&mut out, CLIENT, &[&nonce, &port.to_be_bytes(), &peer_port.to_be_bytes()]);
    }
    out
}

/// The same for a pinhole.
pub fn write_pinhole_note(note: &Note, unique_id: u16) -> Vec<u8> {
    let mut out = write_note(note);
    put(&mut out, UNIQUE_ID, &[&unique_id.to_be_bytes()]);
    out
}

/// The UniqueID in a pinhole's userdata; `None` if it has none, or 0.
pub fn read_unique_id(userdata: &[u8]) -> Option<u16> {
    let bytes = find(userdata, UNIQUE_ID)?.first_chunk()?;
    Some(u16::from_be_bytes(*bytes)).filter(|unique_id| *unique_id != 0)
}

/// The note in an element's userdata, or `None` if this daemon did not make the element.
pub fn read_note(userdata: &[u8]) -> Option<Note> {
    let [VERSION, origin, _flags, id @ ..] = find(userdata, POSTERN)? else {
        return None;
    };
    let id = u64::from_be_bytes(*id.first_chunk()?);
    let origin = Origin::ALL.into_iter().find(|o| origin_number(*o) == *origin)?;
    let exact = find(userdata, DESCRIPTION);
    let text = exact.or_else(|| find(userdata, COMMENT)?.split_last().map(|(_, text)| text));
    let description = std::str::from_utf8(text.unwrap_or_default()).unwrap_or_default();
    let client = find(userdata, CLIENT).and_then(read_client);
    Some(Note { id: Id(id), origin, client, description: cut(description).to_owned() })
}

fn read_client(bytes: &[u8]) -> Option<Client> {
    let (nonce, rest) = bytes.split_first_chunk()?;
    let [a, b, c, d] = *rest else { return None };
    let (port, peer_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Some(Client { nonce: *nonce, port, peer_port })
}

/// The userdata of the table.
pub fn write_stamp(stamp: &Stamp) -> Vec<u8> {
    let mut out = Vec::new();
    let comment = format!("postern schema {}", stamp.schema);
    put(&mut out, COMMENT, &[comment.as_bytes(), &[0]]);
    let created = stamp.created.to_be_bytes();
    put(&mut out, POSTERN, &[&[stamp.schema], &created, &stamp.mark.to_be_bytes()]);
    out
}

/// What the table's userdata says, or `None` if this daemon did not make the table.
pub fn read_stamp(userdata: &[u8]) -> Option<Stamp> {
    let (schema, rest) = find(userdata, POSTERN)?.split_first()?;
    let (created, rest) = rest.split_first_chunk()?;
    let mark = u32::from_be_bytes(*rest.first_chunk()?);
    Some(Stamp { schema: *schema, created: u64::from_be_bytes(*created), mark })
}

fn origin_number(origin: Origin) -> u8 {
    match origin {
        Origin::Upnp => 1,
        Origin::NatPmp => 2,
        Origin::Pcp => 3,
        Origin::Manual => 4,
    }
}

/// `nft` has no escape for a quotation mark within a comment.
fn printable(c: char) -> char {
    match c {
        '"' => '\'',
        c if c.is_control() => ' ',
        c => c,
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(DESCRIPTION_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn put(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|p| p.len()).sum();
    debug_assert!(length <= USERDATA_MAX);
    out.extend_from_slice(&[kind, length as u8]);
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

fn find(mut userdata: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        let [kind, length, rest @ ..] = userdata else {
            return None;
        };
        let value = rest.get(..usize::from(*length))?;
        if *kind == wanted {
            return Some(value);
        }
        userdata = &rest[value.len()..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn note(description: &str) -> Note {
        let description = description.into();
        Note { id: Id(0x0102), origin: Origin::NatPmp, client: None, description }
    }

    #[test]
    fn a_plain_description_is_the_comment_and_an_empty_one_takes_no_room() {
        let head = [0x80, 11, 1, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2];
        assert_eq!(write_note(&note("")), head);
        assert_eq!(write_note(&note("Xbox")), [&b"\0\x05Xbox\0"[..], &head].concat());
    }

    #[test]
    fn what_nft_cannot_print_is_kept_beside_the_comment() {
        let bytes = write_note(&note("a\"b"));
        assert_eq!(&bytes[..6], b"\0\x04a'b\0");
        assert_eq!(read_note(&bytes), Some(note("a\"b")));
    }

    #[test]
    fn a_pcp_client_is_known_again_by_its_nonce() {
        let client = Client { nonce: *b"abcdefghijkl", port: 0x1234, peer_port: 0x0506 };
        let note = Note { client: Some(client), ..note("x") };
        let bytes = write_note(&note);
        assert!(bytes.ends_with(b"\x83\x10abcdefghijkl\x12\x34\x05\x06"));
        assert_eq!(read_note(&bytes), Some(note));
    }

    #[test]
    fn types_that_are_unknown_are_ignored_and_foreign_elements_have_no_note() {
        let bytes = [&[0x90, 2, 1, 2][..], &write_note(&note("x"))].concat();
        assert_eq!(read_note(&bytes), Some(note("x")));
        assert_eq!(read_note(b"\0\x05Xbox\0"), None);
        assert_eq!(read_note(&[0x80, 11, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]), None, "newer version");
    }

    #[test]
    fn the_table_says_its_schema_age_and_signal() {
        let stamp = Stamp { schema: 1, created: 77, mark: 0x4000_0000 };
        let bytes = write_stamp(&stamp);
        assert_eq!(bytes, b"\0\x11postern schema 1\0\x80\x0d\x01\0\0\0\0\0\0\0\x4d\x40\0\0\0");
        assert_eq!(read_stamp(&bytes), Some(stamp));
        assert_eq!(read_stamp(b"\0\x11postern schema 1\0"), None);
    }

    proptest! {
        #[test]
        fn every_note_comes_back_and_fits(
            id: u64,
            origin in proptest::sample::select(&Origin::ALL[..]),
            pcp: bool,
            text in "\\PC{0,120}|[\"\u{1}é]{0,120}",
        ) {
            let client = pcp.then_some(Client { nonce: [7; 12], port: 65535, peer_port: 65535 });
            let note = Note { id: Id(id), origin, client, description: cut(&text).into() };
            let bytes = write_note(&note);
            prop_assert!(write_pinhole_note(&note, 65535).len() <= USERDATA_MAX);
            prop_assert_eq!(read_note(&bytes), Some(note));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..64)
        ) {
            let _ = (read_note(&bytes), read_stamp(&bytes));
            let ours = [&[0x80, 11, 1, 1][..], &bytes].concat();
            let _ = (read_note(&ours), read_stamp(&ours));
        }
    }
}
