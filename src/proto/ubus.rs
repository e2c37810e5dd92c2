//! ubus messages, as a client of OpenWrt's ubusd says and hears them.
//!
//! `version(1) type(1) sequence(2) peer(4)`, big endian, then one attribute with attributes in it.
//! A request is answered by any number of DATA and one STATUS of the same sequence and peer.
//! Reading never panics on any bytes.

use crate::proto::blobmsg::{read_text, Attributes, Kind, Writer, HEAD, LENGTH_MAX};

/// Longest message that ubusd takes, padding included.
pub const MESSAGE_MAX: usize = 1 << 20;
/// The bytes before the attributes: the head of the message, and that of its one attribute.
pub const PREFIX: usize = 8 + HEAD;
/// ubusd's own object, which sends events and registers who hears them.
pub const EVENTS: u32 = 1;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Type {
    /// ubusd's first words.
    Hello = 0,
    /// The end of an answer.
    Status = 1,
    /// A part of an answer.
    Data = 2,
    /// Which object has a path?
    Lookup = 4,
    /// Call a method; also how events and notifications arrive.
    Invoke = 5,
    /// Here is an object.
    AddObject = 6,
    /// Tell one object of another's notifications.
    Subscribe = 8,
}

/// The attributes of messages.
mod attribute {
    pub(super) const STATUS: u8 = 1;
    pub(super) const PATH: u8 = 2;
    pub(super) const OBJECT: u8 = 3;
    pub(super) const METHOD: u8 = 4;
    pub(super) const SIGNATURE: u8 = 6;
    pub(super) const DATA: u8 = 7;
    pub(super) const TARGET: u8 = 8;
    pub(super) const NO_REPLY: u8 = 10;
}

/// How a request ends, in ubus's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// An argument is missing, of another type, or out of its range.
    InvalidArgument = 2,
    /// No such method.
    MethodNotFound = 3,
    /// No such thing.
    NotFound = 4,
    /// Not allowed.
    PermissionDenied = 6,
    /// Not possible as things are.
    NotSupported = 8,
    /// There is no room.
    NoMemory = 11,
    /// The system does not do it.
    SystemError = 13,
}

/// A message's bytes make no sense, so nothing after them does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A message that has arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// [`Type`] as a number.
    pub kind: u8,
    /// Its number, and its answer's.
    pub sequence: u16,
    /// Whom it is from, or answers.
    pub peer: u32,
    /// Of the end of an answer: how it ended.
    pub status: Option<u32>,
    /// The object asked, asking or made.
    pub object: Option<u32>,
    /// The method called, or the event's name.
    pub method: Option<&'a str>,
    /// Fields.
    pub data: Option<&'a [u8]>,
    /// Nobody waits for an answer.
    pub no_reply: bool,
}

/// How long the message is that begins with `bytes`, without padding; `None` while less than
/// [`PREFIX`] bytes are there.
///
/// # Errors
/// What is there is no message.
pub fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    if bytes.first().is_some_and(|version| *version != 0) {
        return Err(Malformed);
    }
    let Some(word) = bytes.get(8..PREFIX).and_then(|bytes| bytes.first_chunk()) else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*word) as usize & LENGTH_MAX;
    match (HEAD..=MESSAGE_MAX).contains(&length) {
        true => Ok(Some(8 + length)),
        false => Err(Malformed),
    }
}

/// Reads a whole message. Attributes that are unknown or of a wrong size are passed over.
pub fn read(bytes: &[u8]) -> Option<Message<'_>> {
    let (head, body) = bytes.split_at_checked(PREFIX)?;
    let &[_, kind, s0, s1, p0, p1, p2, p3, ..] = head else { return None };
    let mut message = Message {
        kind,
        sequence: u16::from_be_bytes([s0, s1]),
        peer: u32::from_be_bytes([p0, p1, p2, p3]),
        ..Message::default()
    };
    for attribute in Attributes(body) {
        let word = || attribute.data.try_into().ok().map(u32::from_be_bytes);
        match attribute.id {
            attribute::STATUS => message.status = word(),
            attribute::OBJECT => message.object = word(),
            attribute::METHOD => message.method = read_text(attribute.data),
            attribute::DATA => message.data = Some(attribute.data),
            attribute::NO_REPLY => message.no_reply = attribute.data.first() != Some(&0),
            _ => {}
        }
    }
    Some(message)
}

/// A method of an object: its name, and its arguments with their types.
pub type Method = (&'static str, &'static [(&'static str, Kind)]);

/// Begins a message.
pub fn begin(kind: Type, sequence: u16, peer: u32) -> Writer {
    let mut out = Writer::new();
    out.raw(&[0, kind as u8]);
    out.raw(&sequence.to_be_bytes());
    out.raw(&peer.to_be_bytes());
    out.nest(0);
    out
}

/// Makes an object: at a path with its methods, or without one, to hear events by.
pub fn add_object(sequence: u16, object: Option<(&str, &[Method])>) -> Vec<u8> {
    let mut out = begin(Type::AddObject, sequence, 0);
    if let Some((path, methods)) = object {
        out.string(attribute::PATH, path);
        out.nest(attribute::SIGNATURE);
        for (name, arguments) in methods {
            out.begin(Kind::Table, name);
            for (name, kind) in *arguments {
                out.number(name, *kind as u64);
            }
            out.close();
        }
    }
    out.finish()
}

/// Asks for the object at a path.
pub fn lookup(sequence: u16, path: &str) -> Vec<u8> {
    let mut out = begin(Type::Lookup, sequence, 0);
    out.string(attribute::PATH, path);
    out.finish()
}

/// Asks that `object`, which is ours, hears what `target` notifies.
pub fn subscribe(sequence: u16, object: u32, target: u32) -> Vec<u8> {
    let mut out = begin(Type::Subscribe, sequence, 0);
    out.word(attribute::OBJECT, object);
    out.word(attribute::TARGET, target);
    out.finish()
}

/// Begins the call of a method; fields are written into it.
pub fn invoke(sequence: u16, object: u32, method: &str) -> Writer {
    let mut out = begin(Type::Invoke, sequence, object);
    out.word(attribute::OBJECT, object);
    out.string(attribute::METHOD, method);
    out.nest(attribute::DATA);
    out
}

/// Begins the data of the answer to a call of `object`, which is ours; fields are written into it.
pub fn reply(call: &Message<'_>, object: u32) -> Writer {
    let mut out = begin(Type::Data, call.sequence, call.peer);
    out.word(attribute::OBJECT, object);
    out.nest(attribute::DATA);
    out
}

/// The end of the answer.
pub fn end(call: &Message<'_>, object: u32, status: Status) -> Vec<u8> {
    let mut out = begin(Type::Status, call.sequence, call.peer);
    out.word(attribute::STATUS, status as u32);
    out.word(attribute::OBJECT, object);
    out.finish()
}

#[cfg(test)]
mod tests;
