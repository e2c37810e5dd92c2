//! Netlink framing: messages and attributes, written and read (RFC 3549 §2.3, netlink(7)).
//!
//! Pure. Headers are in the machine's byte order; what is inside an attribute is the family's
//! business, so writers and readers name the order. Reading never panics on any bytes: what is cut
//! short or has an impossible length ends the walk.

use std::mem::take;

/// Bytes of a message header.
pub const HEADER_LEN: usize = 16;
/// Bytes of an attribute header.
const ATTRIBUTE_LEN: usize = 4;
/// Room for what is mostly written: growing bit by bit costs more than the writing.
const USUAL_LEN: usize = 1024;
/// Everything starts at a multiple of this.
const ALIGN: usize = 4;
/// In an attribute's kind: it holds attributes.
pub const NESTED: u16 = 0x8000;
/// The bits of an attribute's type that are its kind.
const KIND_MASK: u16 = 0x3fff;

/// Message kind: an acknowledgement or an error.
pub const ERROR: u16 = 2;
/// Message kind: the end of a dump.
pub const DONE: u16 = 3;

/// Flag: a request.
pub const REQUEST: u16 = 0x01;
/// Flag: answer even if all is well.
pub const ACK: u16 = 0x04;
/// The change is told to the asker as it is to those who listen for changes.
pub const ECHO: u16 = 0x08;
/// Flag of a dump's answer: what is dumped changed meanwhile.
pub const DUMP_INTERRUPTED: u16 = 0x10;
/// Flag: all of them.
pub const DUMP: u16 = 0x300;
/// Flag: fail if it is there.
pub const EXCLUSIVE: u16 = 0x200;
/// Flag: make it if it is not there.
pub const CREATE: u16 = 0x400;
/// Flag: put it last.
pub const APPEND: u16 = 0x800;

/// Writes messages one after the other into one buffer. Lengths are filled in when a message or
/// nest ends.
///
/// Sequence numbers count up from the first message on. A nest longer than 65535 bytes gets that
/// length, and the kernel refuses the message: callers keep their lists short.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    start: usize,
    next: u32,
}

impl Writer {
    /// An empty buffer; the first message will carry `sequence`.
    pub fn new(sequence: u32) -> Writer {
        Writer { bytes: Vec::new(), start: 0, next: sequence }
    }

    /// Starts a message and returns its sequence number.
    pub fn message(&mut self, kind: u16, flags: u16) -> u32 {
        if self.bytes.is_empty() {
            self.bytes.reserve(USUAL_LEN);
        }
        self.close();
        self.start = self.bytes.len();
        let sequence = self.next;
        self.next = self.next.wrapping_add(1);
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        sequence
    }

    /// Adds flags to the message that is being written.
    pub fn add_flags(&mut self, flags: u16) {
        if let Some(place) = self.bytes.get_mut(self.start + 6..self.start + 8) {
            let old = u16::from_ne_bytes([place[0], place[1]]);
            place.copy_from_slice(&(old | flags).to_ne_bytes());
        }
    }

    /// The family's own header, as it is.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    /// An attribute with this value.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value);
        self.patch(start);
    }

    /// An attribute with a NUL-terminated string.
    pub fn text(&mut self, kind: u16, value: &str) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.patch(start);
    }

    /// An attribute with a big-endian number.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute with a big-endian number.
    pub fn be64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute that holds what `fill` writes.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Writer)) {
        let start = self.open(kind | NESTED);
        fill(self);
        self.patch(start);
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The messages; the writer is empty again and its sequence goes on.
    pub fn finish(&mut self) -> Vec<u8> {
        self.close();
        self.start = 0;
        take(&mut self.bytes)
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn patch(&mut self, start: usize) {
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.pad();
    }

    fn pad(&mut self) {
        while self.bytes.len() % ALIGN != 0 {
            self.bytes.push(0);
        }
    }

    fn close(&mut self) {
        let length = u32::try_from(self.bytes.len() - self.start).unwrap_or(u32::MAX);
        if let Some(place) = self.bytes.get_mut(self.start..self.start + 4) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
    }
}

/// One message as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is, in the family's numbers.
    pub kind: u16,
    /// Its flags.
    pub flags: u16,
    /// The number of the request that it answers.
    pub sequence: u32,
    /// The number of the socket that it is for or, of an announcement, that made the change.
    pub port: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The error number that an [`ERROR`] or [`DONE`] carries: 0 for success.
    pub fn errno(&self) -> i32 {
        ne32(self.payload).map_or(0, |code| (code as i32).wrapping_neg())
    }

    /// The attributes behind a family header of `header` bytes.
    pub fn attributes(&self, header: usize) -> Attributes<'a> {
        Attributes(self.payload.get(header..).unwrap_or_default())
    }
}

/// Walks over messages.
#[derive(Clone, Debug)]
pub struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = usize::try_from(ne32(self.0)?).ok()?;
        let message = self.0.get(..length)?;
        let found = Message {
            kind: ne16(message.get(4..)?)?,
            flags: ne16(message.get(6..)?)?,
            sequence: ne32(message.get(8..)?)?,
            port: ne32(message.get(12..)?)?,
            payload: message.get(HEADER_LEN..)?,
        };
        self.0 = skip(self.0, length);
        Some(found)
    }
}

/// Walks over attributes: kind and value.
#[derive(Clone, Debug)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Attributes<'a> {
    /// The value of the first attribute of this kind.
    pub fn find(&self, kind: u16) -> Option<&'a [u8]> {
        self.clone().find_map(|(found, value)| (found == kind).then_some(value))
    }

    /// The attributes inside the first attribute of this kind; none if it is not there.
    pub fn nest(&self, kind: u16) -> Attributes<'a> {
        Attributes(self.find(kind).unwrap_or_default())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let length = usize::from(ne16(self.0)?);
        let kind = ne16(self.0.get(2..)?)? & KIND_MASK;
        let value = self.0.get(ATTRIBUTE_LEN..length)?;
        self.0 = skip(self.0, length);
        Some((kind, value))
    }
}

fn skip(bytes: &[u8], length: usize) -> &[u8] {
    length.checked_next_multiple_of(ALIGN).and_then(|end| bytes.get(end..)).unwrap_or_default()
}

fn first<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.get(..N)?.try_into().ok()
}

/// The number at the start, in the machine's order.
pub fn ne16(bytes: &[u8]) -> Option<u16> {
    first(bytes).map(u16::from_ne_bytes)
}

/// The number at the start, in the machine's order.
pub fn ne32(bytes: &[u8]) -> Option<u32> {
    first(bytes).map(u32::from_ne_bytes)
}

/// The number at the start, big endian.
pub fn be16(bytes: &[u8]) -> Option<u16> {
    first(bytes).map(u16::from_be_bytes)
}

/// The number at the start, big endian.
pub fn be32(bytes: &[u8]) -> Option<u32> {
    first(bytes).map(u32::from_be_bytes)
}

/// The number at the start, big endian.
pub fn be64(bytes: &[u8]) -> Option<u64> {
    first(bytes).map(u64::from_be_bytes)
}

/// A NUL-terminated (or full-length) string; `None` if it is not UTF-8.
pub fn text(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    std::str::from_utf8(bytes.get(..end)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_back_with_its_lengths_filled_in() {
        let mut writer = Writer::new(7);
        assert_eq!(writer.message(0x0a0c, REQUEST), 7);
        writer.raw(&[1, 0, 0, 0]);
        writer.text(1, "wan");
        writer.nest(3, |w| w.be32(1, 0xdead_beef));
        writer.add_flags(ACK);
        assert_eq!(writer.message(17, REQUEST), 8);
        let bytes = writer.finish();

        let found: Vec<_> = Messages(&bytes).collect();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].kind, found[0].flags, found[0].sequence), (0x0a0c, REQUEST | ACK, 7));
        let attributes = found[0].attributes(4);
        assert_eq!(attributes.find(1).and_then(text), Some("wan"));
        assert_eq!(attributes.nest(3).find(1).and_then(be32), Some(0xdead_beef));
        assert_eq!(attributes.find(2), None);
        assert_eq!((found[1].kind, found[1].sequence, found[1].payload), (17, 8, &[][..]));
        assert_eq!(writer.message(1, 0), 9, "the numbers go on");
    }

    #[test]
    fn lengths_that_cannot_be_end_the_walk() {
        let attribute = |length: u16| {
            let bytes = [length.to_ne_bytes(), 1u16.to_ne_bytes(), [9; 2], [9; 2]].concat();
            Attributes(&bytes).next().map(|(kind, value)| (kind, value.to_vec()))
        };
        assert_eq!(attribute(8), Some((1, vec![9; 4])));
        assert_eq!(attribute(3), None);
        assert_eq!(attribute(200), None);
        let message = |length: u32| Messages(&[length.to_ne_bytes(); 5].concat()).next().is_some();
        assert!(message(16) && message(20));
        assert!(!message(0) && !message(15) && !message(21));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic_or_run_for_ever(
            bytes in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            let messages = Messages(&bytes).map(|m| {
                m.errno();
                m.attributes(4).map(|(_, value)| Attributes(value).count()).sum::<usize>()
            });
            prop_assert!(messages.count() <= bytes.len() / HEADER_LEN + 1);
            prop_assert!(Attributes(&bytes).count() <= bytes.len() / ATTRIBUTE_LEN + 1);
            let _ = text(&bytes);
        }
    }
}
