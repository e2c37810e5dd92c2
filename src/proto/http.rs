//! HTTP/1.x as a small server needs it (RFC 9110, RFC 9112; UDA 1.1 §2.1, §3.2).
//!
//! Bytes in, values out: a head is parsed in place ([`parse_head`]), a chunked body is decoded as
//! it comes ([`Chunked`]), a reply is appended to a buffer ([`Response::write`]). No function here
//! does I/O or panics, whatever the bytes. What could make two readers see two different messages
//! (RFC 9112 §11.2) is refused; what is merely untidy (LF alone, blank lines in front, an absolute
//! target) is read.

mod chunked;
mod date;
mod host;
mod request;
mod response;

pub use chunked::{Chunked, Progress, FRAMING_MAX};
pub use date::date;
pub use host::host_allowed;
pub use request::{find_head_end, parse_head, BodyKind, Method, Request};
pub use response::{reason, Response, CONTINUE};

use std::fmt;

/// Longest head, in bytes: request line and header lines with the blank line that ends them.
pub const HEAD_MAX: usize = 8192;
/// Most header lines in a head.
pub const HEADERS_MAX: usize = 64;
/// Longest request target, in bytes.
pub const TARGET_MAX: usize = 1024;
/// Longest request body, in bytes, after any chunked coding is undone.
pub const BODY_MAX: usize = 16384;
/// Most CR and LF bytes skipped in front of a request line (RFC 9112 §2.2).
pub const LEADING_MAX: usize = 8;

/// Why a request is not read. The connection cannot be used after one of these: answer and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No HTTP, or ambiguous where it ends.
    Malformed,
    /// A body is needed, and its length is not said.
    LengthRequired,
    /// The body is longer than [`BODY_MAX`].
    BodyTooLarge,
    /// The target is longer than [`TARGET_MAX`].
    TargetTooLong,
    /// The head is longer than [`HEAD_MAX`] or has more than [`HEADERS_MAX`] lines.
    HeadTooLarge,
    /// A transfer coding other than chunked.
    Coding,
    /// HTTP, but not version 1.
    Version,
}

impl Error {
    /// The status code that tells the client.
    pub const fn status(self) -> u16 {
        match self {
            Error::Malformed => 400,
            Error::LengthRequired => 411,
            Error::BodyTooLarge => 413,
            Error::TargetTooLong => 414,
            Error::HeadTooLarge => 431,
            Error::Coding => 501,
            Error::Version => 505,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(reason(self.status()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_status_with_a_phrase() {
        for (error, text) in [
            (Error::Malformed, "400 Bad Request"),
            (Error::LengthRequired, "411 Length Required"),
            (Error::BodyTooLarge, "413 Content Too Large"),
            (Error::TargetTooLong, "414 URI Too Long"),
            (Error::HeadTooLarge, "431 Request Header Fields Too Large"),
            (Error::Coding, "501 Not Implemented"),
            (Error::Version, "505 HTTP Version Not Supported"),
        ] {
            assert_eq!(format!("{} {error}", error.status()), text);
        }
        assert_eq!(reason(299), "Status");
    }
}
