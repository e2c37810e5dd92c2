//! A request's head: its line, its headers, and what they say of the body (RFC 9112 §2–§6).

use super::{Error, BODY_MAX, HEADERS_MAX, HEAD_MAX, LEADING_MAX, TARGET_MAX};

/// The methods a gateway serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A description is wanted.
    Get,
    /// Its head alone is wanted.
    Head,
    /// A control request (UDA 1.1 §3.2.1).
    Post,
    /// The same with an extension declared (UDA 1.0 §3.2.1).
    MPost,
    /// A subscription (UDA 1.1 §4.1.2).
    Subscribe,
    /// Its end (UDA 1.1 §4.1.4).
    Unsubscribe,
    /// Anything else.
    Other,
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// There is none.
    None,
    /// This many bytes, at most [`BODY_MAX`].
    Length(usize),
    /// Chunked coding: feed a [`Chunked`](super::Chunked).
    Chunked,
}

/// A request's head, borrowed from the bytes it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The target's path, without query or fragment; `/` if it has none. Slashes are as the client
    /// sent them, and some double the first one or leave it off.
    pub path: &'a str,
    /// `host[:port]` of an absolute target.
    pub host_in_target: Option<&'a str>,
    /// HTTP/1.1 or a later 1.x; otherwise HTTP/1.0.
    pub http11: bool,
    headers: Vec<(&'a str, &'a [u8])>,
}

/// Where the head ends: the offset just past its blank line, or `None` if that has not come yet.
///
/// `from` is how many bytes an earlier call has seen in vain (0 at first), so that a head that
/// comes in small pieces is searched once and not over and over.
pub fn find_head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let start = leading(bytes);
    let mut at = from.max(start);
    while let Some(next) = bytes.get(at..)?.iter().position(|&b| b == b'\n') {
        at += next;
        let before = bytes.get(start..at)?;
        let before = before.strip_suffix(b"\r").unwrap_or(before);
        at += 1;
        if before.is_empty() || before.ends_with(b"\n") {
            return Some(at);
        }
    }
    None
}

/// Parses a head. Returns it with its length in bytes, or `None` when more bytes are needed.
///
/// Searches for the end from the start each time: call it when [`find_head_end`] has seen the end,
/// or when [`HEAD_MAX`] bytes are there.
///
/// # Errors
/// `Malformed` for anything that is no head, has control bytes, folded lines or space before a
/// colon, more than one `Host`, or (HTTP/1.1) none; `TargetTooLong`, `HeadTooLarge`, `Version`.
pub fn parse_head(bytes: &[u8]) -> Result<Option<(Request<'_>, usize)>, Error> {
    let end = match find_head_end(bytes, 0) {
        Some(end) if end <= HEAD_MAX => end,
        None if bytes.len() < HEAD_MAX => return Ok(None),
        _ => {
            let line = bytes.iter().skip(leading(bytes)).position(|&b| b == b'\n');
            return Err(match line {
                Some(length) if length < HEAD_MAX => Error::HeadTooLarge,
                _ => Error::TargetTooLong,
            });
        }
    };
    let head = bytes.get(leading(bytes)..end).unwrap_or_default();
    let mut lines =
        head.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));

    let mut request = request_line(lines.next().unwrap_or_default())?;
    for line in lines.take_while(|line| !line.is_empty()) {
        if request.headers.len() == HEADERS_MAX {
            return Err(Error::HeadTooLarge);
        }
        request.headers.push(header_line(line)?);
    }
    check_host(&request)?;
    Ok(Some((request, end)))
}

/// How many line-end bytes to skip in front.
fn leading(bytes: &[u8]) -> usize {
    bytes.iter().take(LEADING_MAX).take_while(|&&b| b == b'\r' || b == b'\n').count()
}

fn request_line(line: &[u8]) -> Result<Request<'_>, Error> {
    if line.iter().any(u8::is_ascii_control) {
        return Err(Error::Malformed);
    }
    let mut words = line.split(|&b| b == b' ').filter(|word| !word.is_empty());
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Error::Malformed);
    };
    let http11 = match version {
        b"HTTP/1.0" => false,
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] if minor.is_ascii_digit() => true,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Error::Version)
        }
        _ => return Err(Error::Malformed),
    };
    if target.len() > TARGET_MAX {
        return Err(Error::TargetTooLong);
    }
    let target = std::str::from_utf8(target).map_err(|_| Error::Malformed)?;
    let (host_in_target, path) = split_target(target);
    Ok(Request { method: Method::of(method)?, path, host_in_target, http11, headers: Vec::new() })
}

/// Host and path of a target in any of the forms of RFC 9112 §3.2.
fn split_target(target: &str) -> (Option<&str>, &str) {
    const SCHEME: &str = "http://";
    let absolute = match target.get(..SCHEME.len()) {
        Some(scheme) if scheme.eq_ignore_ascii_case(SCHEME) => target.get(SCHEME.len()..),
        _ => None,
    };
    let (host, rest) = match absolute {
        Some(rest) => {
            let (host, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            (Some(host), rest)
        }
        None => (None, target),
    };
    let end = rest.bytes().position(|byte| matches!(byte, b'?' | b'#'));
    match rest.get(..end.unwrap_or(rest.len())) {
        None | Some("") => (host, "/"),
        Some(path) => (host, path),
    }
}

/// Name and trimmed value. A name is a token, so a folded line or space before the colon fails.
fn header_line(line: &[u8]) -> Result<(&str, &[u8]), Error> {
    let colon = line.iter().position(|&b| b == b':').ok_or(Error::Malformed)?;
    let (name, value) = line.split_at(colon);
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    if value.iter().any(|&b| b.is_ascii_control() && b != b'\t') {
        return Err(Error::Malformed);
    }
    Ok((token(name).ok_or(Error::Malformed)?, value))
}

/// The text, if it is a token (RFC 9110 §5.6.2).
fn token(bytes: &[u8]) -> Option<&str> {
    let of_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let text = std::str::from_utf8(bytes).ok()?;
    (!bytes.is_empty() && bytes.iter().all(of_token)).then_some(text)
}

/// At most one readable `Host`, and in HTTP/1.1 exactly one (RFC 9112 §3.2).
fn check_host(request: &Request<'_>) -> Result<(), Error> {
    match request.header_count("Host") {
        0 if !request.http11 => Ok(()),
        1 if request.header("Host").is_some() => Ok(()),
        _ => Err(Error::Malformed),
    }
}

impl Method {
    fn of(word: &[u8]) -> Result<Method, Error> {
        Ok(match word {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"M-POST" => Method::MPost,
            b"SUBSCRIBE" => Method::Subscribe,
            b"UNSUBSCRIBE" => Method::Unsubscribe,
            _ => token(word).map(|_| Method::Other).ok_or(Error::Malformed)?,
        })
    }
}

impl<'a> Request<'a> {
    /// The first header of this name, in any case, trimmed. `None` too if it is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.values(name).next().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// How many headers have this name, readable or not.
    pub fn header_count(&self, name: &str) -> usize {
        self.values(name).count()
    }

    /// Who the client thinks it talks to: the target's host, else the `Host` header
    /// (RFC 9112 §3.2.2). For [`host_allowed`](super::host_allowed).
    pub fn host(&self) -> Option<&'a str> {
        self.host_in_target.or_else(|| self.header("Host"))
    }

    /// Whether a web page may have sent it: it has an `Origin`, or a `Sec-Fetch-Site` other than
    /// `none`, which stands for the address bar (Fetch, Fetch Metadata §2.3).
    pub fn is_of_page(&self) -> bool {
        self.header_count("Origin") > 0
            || self.values("Sec-Fetch-Site").any(|site| !site.eq_ignore_ascii_case(b"none"))
    }

    /// Whether a page of any site may send this type of body without the browser asking the server
    /// first: none, or one of the three that forms have (Fetch, CORS-safelisted request-header).
    pub fn has_type_of_form(&self) -> bool {
        const FORMS: [&str; 3] =
            ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];
        let essence = |value: &'a str| value.split(';').next().unwrap_or_default().trim();
        match self.header("Content-Type").map(essence) {
            None | Some("") => true,
            Some(kind) => FORMS.iter().any(|form| form.eq_ignore_ascii_case(kind)),
        }
    }

    /// How the body is delimited (RFC 9112 §6.3). Ask for every request, whatever its method: a
    /// body left unread would be taken for the next request.
    ///
    /// # Errors
    /// `Malformed` for a length that is no plain decimal, lengths that differ, or a length and a
    /// transfer coding together; `BodyTooLarge`; `Coding`; `LengthRequired` for a POST or M-POST
    /// without either.
    pub fn body(&self) -> Result<BodyKind, Error> {
        let mut lengths = self.values("Content-Length");
        let mut codings = self.values("Transfer-Encoding");
        match (lengths.next(), codings.next()) {
            (None, None) => match self.method {
                Method::Post | Method::MPost => Err(Error::LengthRequired),
                _ => Ok(BodyKind::None),
            },
            (Some(length), None) => {
                let digits = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
                if !digits || lengths.any(|other| other != length) {
                    return Err(Error::Malformed);
                }
                let length = length.iter().fold(0usize, |sum, digit| {
                    sum.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
                });
                if length > BODY_MAX {
                    return Err(Error::BodyTooLarge);
                }
                Ok(BodyKind::Length(length))
            }
            (None, Some(coding)) if self.http11 && codings.next().is_none() => {
                if !coding.eq_ignore_ascii_case(b"chunked") {
                    return Err(Error::Coding);
                }
                Ok(BodyKind::Chunked)
            }
            _ => Err(Error::Malformed),
        }
    }

    /// Whether the client waits for [`CONTINUE`](super::CONTINUE) before it sends the body
    /// (RFC 9110 §10.1.1).
    pub fn wants_continue(&self) -> bool {
        self.http11 && self.lists("Expect", b"100-continue")
    }

    /// Whether the client would send another request on this connection (RFC 9112 §9.3).
    pub fn keep_alive(&self) -> bool {
        !self.lists("Connection", b"close")
            && (self.http11 || self.lists("Connection", b"keep-alive"))
    }

    /// Whether a comma-separated header has this member, in any case.
    fn lists(&self, name: &str, member: &[u8]) -> bool {
        self.values(name)
            .flat_map(|value| value.split(|&b| b == b','))
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(member))
    }

    fn values<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'a [u8]> + 'r {
        let named = move |(found, _): &&(&str, &[u8])| found.eq_ignore_ascii_case(name);
        self.headers.iter().filter(named).map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests;
