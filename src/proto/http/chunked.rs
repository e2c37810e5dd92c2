//! Chunked transfer coding (RFC 9112 §7.1), decoded as it comes.

use super::{Error, BODY_MAX};

/// Most bytes of a chunked body that are not data: sizes, extensions, line ends, trailer.
///
/// Keeps a body of many one-byte chunks or an endless trailer from costing more than it may.
pub const FRAMING_MAX: usize = 16384;

/// How far [`Chunked::decode`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that are used up.
    pub consumed: usize,
    /// The body is complete; what is left of the input belongs to the next request.
    pub done: bool,
}

/// A decoder for one chunked body.
#[derive(Clone, Debug, Default)]
pub struct Chunked {
    state: State,
    /// Bytes of data so far, at most [`BODY_MAX`].
    data: usize,
    /// Bytes of framing so far, at most [`FRAMING_MAX`].
    framing: usize,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The first digit of a chunk's size.
    #[default]
    Start,
    /// More of a chunk's size; so much so far.
    Size(usize),
    /// The rest of the line with the chunk's size.
    Extension(usize),
    /// LF, after the CR that ends the line with the chunk's size.
    SizeEnd(usize),
    /// Data, this many bytes.
    Data(usize),
    /// The line end after data; whether its CR has been seen.
    DataEnd(bool),
    /// A trailer line; whether it has anything but a CR yet.
    Trailer(bool),
    /// Nothing of ours.
    Done,
}

impl Chunked {
    /// A decoder at the start of a body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes all of `input` that belongs to the body and appends the data to `out`, at most
    /// [`BODY_MAX`] bytes over all calls. Extensions and trailer fields are skipped.
    ///
    /// # Errors
    /// `Malformed` for what is no chunked coding or has more than [`FRAMING_MAX`] bytes of framing;
    /// `BodyTooLarge` as soon as a chunk's size says so. `out` may hold a part of the body then.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Progress, Error> {
        let mut rest = input;
        while let (false, Some((&byte, after))) = (self.state == State::Done, rest.split_first()) {
            if let State::Data(left) = self.state {
                let (data, after) = rest.split_at(left.min(rest.len()));
                out.extend_from_slice(data);
                rest = after;
                self.state = match left - data.len() {
                    0 => State::DataEnd(false),
                    left => State::Data(left),
                };
                continue;
            }
            self.framing += 1;
            if self.framing > FRAMING_MAX {
                return Err(Error::Malformed);
            }
            self.state = self.step(byte)?;
            rest = after;
        }
        Ok(Progress { consumed: input.len() - rest.len(), done: self.state == State::Done })
    }

    /// The state after one byte of framing.
    fn step(&mut self, byte: u8) -> Result<State, Error> {
        let digit = char::from(byte).to_digit(16).and_then(|digit| usize::try_from(digit).ok());
        Ok(match (self.state, byte) {
            (State::Start, _) => State::Size(digit.ok_or(Error::Malformed)?),
            (State::Size(size), b';' | b' ' | b'\t') => State::Extension(size),
            (State::Size(size) | State::Extension(size), b'\r') => State::SizeEnd(size),
            (State::Size(size) | State::Extension(size) | State::SizeEnd(size), b'\n') => {
                self.begin(size)?
            }
            (State::Size(size), _) => {
                let digit = digit.ok_or(Error::Malformed)?;
                State::Size(size.saturating_mul(16).saturating_add(digit))
            }
            (State::Extension(size), _) => State::Extension(size),
            (State::DataEnd(false), b'\r') => State::DataEnd(true),
            (State::DataEnd(_), b'\n') => State::Start,
            (State::Trailer(false), b'\n') => State::Done,
            (State::Trailer(true), b'\n') => State::Trailer(false),
            (State::Trailer(seen), b'\r') => State::Trailer(seen),
            (State::Trailer(_), _) => State::Trailer(true),
            _ => return Err(Error::Malformed),
        })
    }

    /// The state after the line with a chunk's size.
    fn begin(&mut self, size: usize) -> Result<State, Error> {
        if size > BODY_MAX - self.data {
            return Err(Error::BodyTooLarge);
        }
        self.data += size;
        Ok(if size == 0 { State::Trailer(false) } else { State::Data(size) })
    }
}

#[cfg(test)]
mod tests;
