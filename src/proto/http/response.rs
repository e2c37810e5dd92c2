//! Replies (RFC 9112 §4, RFC 9110 §15).

/// The interim reply to a client that [waits](super::Request::wants_continue) for it.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A reply. Length, server, date and connection headers are added as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code, 200..=599.
    pub status: u16,
    /// Headers in the order they are written.
    pub headers: Vec<(&'static str, String)>,
    /// The body, empty for none.
    pub body: Vec<u8>,
    /// More follows the body, whose end is that of the connection (RFC 9112 §6.3).
    pub goes_on: bool,
}

impl Response {
    /// A reply with this status code, without headers and body.
    pub fn new(status: u16) -> Self {
        Response { status, headers: Vec::new(), body: Vec::new(), goes_on: false }
    }

    /// With one more header. Control characters in the value are left out when it is written.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, content_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = bytes.into();
        self.header("Content-Type", content_type)
    }

    /// Appends the reply to `out`. `date` is an [IMF-fixdate](super::date); empty leaves it out, for
    /// a router that does not know the time yet. `head_only` answers HEAD: the length is that of
    /// the body, the body is not there. `close` says that no other request is read.
    pub fn write(&self, out: &mut Vec<u8>, server: &str, date: &str, head_only: bool, close: bool) {
        push(out, &["HTTP/1.1 ", &self.status.to_string(), " ", reason(self.status), "\r\n"]);
        line(out, "Server", server);
        if !date.is_empty() {
            line(out, "Date", date);
        }
        for (name, value) in &self.headers {
            line(out, name, value);
        }
        if !self.goes_on {
            line(out, "Content-Length", &self.body.len().to_string());
        }
        line(out, "Connection", if close || self.goes_on { "close" } else { "keep-alive" });
        push(out, &["\r\n"]);
        if !head_only {
            out.extend_from_slice(&self.body);
        }
    }
}

/// One header line. No control character gets through, so no value can begin another line.
fn line(out: &mut Vec<u8>, name: &str, value: &str) {
    push(out, &[name, ": "]);
    out.extend(value.bytes().filter(|b| !b.is_ascii_control()));
    push(out, &["\r\n"]);
}

fn push(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

/// The phrases of the status codes a gateway uses.
const PHRASES: [(u16, &str); 17] = [
    (200, "OK"),
    (400, "Bad Request"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (408, "Request Timeout"),
    (411, "Length Required"),
    (412, "Precondition Failed"),
    (413, "Content Too Large"),
    (414, "URI Too Long"),
    (415, "Unsupported Media Type"),
    (421, "Misdirected Request"),
    (431, "Request Header Fields Too Large"),
    (500, "Internal Server Error"),
    (501, "Not Implemented"),
    (503, "Service Unavailable"),
    (505, "HTTP Version Not Supported"),
];

/// The phrase that goes with a status code, or a general one for a code no gateway uses.
pub fn reason(status: u16) -> &'static str {
    PHRASES.iter().find(|(code, _)| *code == status).map_or("Status", |(_, phrase)| phrase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(response: &Response, head_only: bool, close: bool) -> String {
        let mut out = Vec::new();
        response.write(&mut out, "OS/1 UPnP/1.1 P/1", "D", head_only, close);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_reply_is_written_whole() {
        let reply =
            Response::new(200).header("EXT", "").body("text/xml; charset=\"utf-8\"", "<é/>");
        let head = "HTTP/1.1 200 OK\r\nServer: OS/1 UPnP/1.1 P/1\r\nDate: D\r\nEXT: \r\n\
                    Content-Type: text/xml; charset=\"utf-8\"\r\nContent-Length: 5\r\n";
        assert_eq!(written(&reply, false, true), format!("{head}Connection: close\r\n\r\n<é/>"));
        assert_eq!(written(&reply, true, false), format!("{head}Connection: keep-alive\r\n\r\n"));
        let mut out = Vec::new();
        Response::new(404).write(&mut out, "S", "", false, true);
        let short =
            "HTTP/1.1 404 Not Found\r\nServer: S\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), short);
    }

    #[test]
    fn no_value_splits_a_reply() {
        let reply = Response::new(200).header("SID", "a\r\nX: y\n\0\r\n\r\nb");
        assert!(written(&reply, false, true).contains("\r\nSID: aX: yb\r\n"));
    }
}
