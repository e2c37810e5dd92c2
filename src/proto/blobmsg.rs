//! blob and blobmsg: the bytes in which OpenWrt's ubus says everything.
//!
//! An attribute is `id(1) length(3) data`, big endian, the length with its own four bytes; the next
//! one begins at a multiple of four. A blobmsg field is an attribute whose id is its type; the top
//! bit says that `name length(2) name NUL`, padded likewise, stands before its value. Tables and
//! arrays hold fields again; those of an array have an empty name.
//!
//! Reading stops at what makes no sense and never panics on any bytes. Nothing recurses: depth is
//! the reader's own.

use std::fmt::Display;

/// The bytes of an attribute's head.
pub const HEAD: usize = 4;
/// Longest attribute that has a place in its length.
pub const LENGTH_MAX: usize = 0x00ff_ffff;

/// The id has a name in front of its value.
const NAMED: u8 = 0x80;

/// The types of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Nothing: JSON's `null`.
    Null = 0,
    /// Values in a row.
    Array = 1,
    /// Named values.
    Table = 2,
    /// Text with a NUL at its end.
    Text = 3,
    /// Eight bytes.
    Int64 = 4,
    /// Four bytes.
    Int32 = 5,
    /// Two bytes.
    Int16 = 6,
    /// One byte, which JSON knows as a boolean.
    Int8 = 7,
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Id without its top bit.
    pub id: u8,
    /// Its top bit: a name comes first.
    pub named: bool,
    /// What it holds, without padding.
    pub data: &'a [u8],
}

/// The attributes in a row of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let bytes = self.0;
        let word = u32::from_be_bytes(*bytes.first_chunk()?);
        let length = word as usize & LENGTH_MAX;
        let data = bytes.get(HEAD..length)?;
        self.0 = bytes.get(padded(length)..).unwrap_or_default();
        let id = (word >> 24) as u8;
        Some(Attribute { id: id & !NAMED, named: id & NAMED != 0, data })
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A text.
    Text(&'a str),
    /// A signed number of two to eight bytes.
    Number(i64),
    /// Yes or no.
    Flag(bool),
    /// Named values.
    Table(Fields<'a>),
    /// Values in a row.
    Array(Fields<'a>),
    /// Nothing, or something else.
    Other,
}

/// The fields of a table or array, or of a whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields<'a>(Attributes<'a>);

impl<'a> Fields<'a> {
    /// Those in these bytes.
    pub fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields(Attributes(bytes))
    }

    /// The value of this name; the last, if there are several.
    pub fn get(self, name: &str) -> Option<Value<'a>> {
        let mut found = None;
        for (key, value) in self {
            if key == name {
                found = Some(value);
            }
        }
        found
    }

    /// The text of this name.
    pub fn text(self, name: &str) -> Option<&'a str> {
        match self.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<(&'a str, Value<'a>)> {
        let Attribute { id, named, data } = self.0.next()?;
        let (name, value) = match named {
            true => {
                let length = usize::from(u16::from_be_bytes(*data.first_chunk()?));
                let name = data.get(2..2 + length)?;
                (std::str::from_utf8(name).ok()?, data.get(padded(2 + length + 1)..)?)
            }
            false => ("", data),
        };
        Some((name, value_of(id, value)))
    }
}

fn value_of(kind: u8, data: &[u8]) -> Value<'_> {
    match (kind, data) {
        (1, _) => Value::Array(Fields::new(data)),
        (2, _) => Value::Table(Fields::new(data)),
        (3, _) => read_text(data).map_or(Value::Other, Value::Text),
        (4, &[a, b, c, d, e, f, g, h]) => {
            Value::Number(i64::from_be_bytes([a, b, c, d, e, f, g, h]))
        }
        (5, &[a, b, c, d]) => Value::Number(i32::from_be_bytes([a, b, c, d]).into()),
        (6, &[a, b]) => Value::Number(i16::from_be_bytes([a, b]).into()),
        (7, &[byte]) => Value::Flag(byte != 0),
        _ => Value::Other,
    }
}

/// A text up to its NUL, which must be there.
pub fn read_text(data: &[u8]) -> Option<&str> {
    let end = data.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&data[..end]).ok()
}

/// Attributes being written. What is opened must be closed.
///
/// # Panics
/// In debug builds, when an attribute becomes longer than [`LENGTH_MAX`]: whoever writes bounds
/// what is written.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    /// Where those begin that are open.
    open: Vec<usize>,
}

impl Writer {
    /// Nothing written yet.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// What has been written.
    pub fn finish(mut self) -> Vec<u8> {
        while !self.open.is_empty() {
            self.close();
        }
        self.bytes
    }

    /// How much that is.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it is nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that are no attribute.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// An attribute.
    pub fn attribute(&mut self, id: u8, data: &[u8]) {
        self.nest(id);
        self.raw(data);
        self.close();
    }

    /// An attribute of four bytes.
    pub fn word(&mut self, id: u8, value: u32) {
        self.attribute(id, &value.to_be_bytes());
    }

    /// An attribute of text.
    pub fn string(&mut self, id: u8, text: &str) {
        self.nest(id);
        self.raw(text.as_bytes());
        self.raw(&[0]);
        self.close();
    }

    /// Begins an attribute; what is written until it is [closed](Writer::close) is in it.
    pub fn nest(&mut self, id: u8) {
        self.open.push(self.bytes.len());
        self.raw(&[id, 0, 0, 0]);
    }

    /// Begins a field likewise. The name is shorter than 64 KiB, and empty in an array.
    pub fn begin(&mut self, kind: Kind, name: &str) {
        self.nest(kind as u8 | NAMED);
        self.raw(&(name.len() as u16).to_be_bytes());
        self.raw(name.as_bytes());
        self.raw(&[0]);
        self.pad();
    }

    /// Ends what was begun last.
    pub fn close(&mut self) {
        let Some(start) = self.open.pop() else { return };
        let length = self.bytes.len() - start;
        debug_assert!(length <= LENGTH_MAX);
        self.bytes[start + 1..start + HEAD].copy_from_slice(&(length as u32).to_be_bytes()[1..]);
        self.pad();
    }

    /// A field of text, which has no NUL.
    pub fn text(&mut self, name: &str, value: &str) {
        self.value(Kind::Text, name, value.as_bytes(), &[0]);
    }

    /// A field of text made of something displayed.
    pub fn shown(&mut self, name: &str, value: &dyn Display) {
        self.text(name, &value.to_string());
    }

    /// A field with a number: of four bytes, signed, where that is enough.
    pub fn number(&mut self, name: &str, value: u64) {
        match i32::try_from(value) {
            Ok(value) => self.value(Kind::Int32, name, &value.to_be_bytes(), &[]),
            Err(_) => self.value(Kind::Int64, name, &value.to_be_bytes(), &[]),
        }
    }

    /// A field with yes or no.
    pub fn flag(&mut self, name: &str, value: bool) {
        self.value(Kind::Int8, name, &[value.into()], &[]);
    }

    /// A field with nothing.
    pub fn null(&mut self, name: &str) {
        self.value(Kind::Null, name, &[], &[]);
    }

    fn value(&mut self, kind: Kind, name: &str, data: &[u8], end: &[u8]) {
        self.begin(kind, name);
        self.raw(data);
        self.raw(end);
        self.close();
    }

    fn pad(&mut self) {
        self.bytes.resize(padded(self.bytes.len()), 0);
    }
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests;
