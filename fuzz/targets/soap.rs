//! SOAP and XML: any body is an invocation within its limits or an error, and what was read is read
//! the same once more when it is written.

use super::documents::is_large;
use postern::proto::http::{parse_head, Method};
use postern::proto::soap::{
    fault, m_post_header, Error, Invocation, Response, Target, ARGUMENTS_MAX, VALUE_MAX,
};
use postern::proto::xml::{self, DOCUMENT_MAX};

pub fn run(bytes: &[u8]) {
    // A whole request, or a body alone.
    let mut body = bytes;
    if let Ok(Some((request, length))) = parse_head(bytes) {
        body = &bytes[length..];
        let _ = request.header("man").and_then(m_post_header);
        let header = request.header("soapaction").filter(|_| request.method == Method::Post);
        if let Some(target) = header.and_then(Target::parse) {
            assert_eq!(Target::parse(header.unwrap_or_default()), Some(target));
            assert!(!target.service.is_empty() && target.action.is_ascii());
        }
    }
    read(body);
    text(&String::from_utf8_lossy(bytes));
}

fn read(body: &[u8]) {
    let invocation = match Invocation::parse(body) {
        Ok(invocation) => invocation,
        Err(Error::Malformed | Error::TooLong) => return,
    };
    assert!(body.len() <= DOCUMENT_MAX && invocation.arguments.len() <= ARGUMENTS_MAX);
    assert!(invocation.arguments.iter().all(|(_, value)| value.len() <= VALUE_MAX));

    // What UPnP names: an attribute's line ends would not stay, and some namespaces are XML's own.
    let service = invocation.service.as_deref().unwrap_or("urn:any");
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if service.starts_with("http") || !plain(service) || !plain(&invocation.action) {
        return;
    }
    let mut response = Response::new(Target { service, action: &invocation.action });
    for (name, value) in &invocation.arguments {
        response.argument(name, value);
    }
    let written = response.finish();
    if is_large(&written) {
        return;
    }
    let again = Invocation::parse(&written).unwrap();
    assert_eq!(again.action, format!("{}Response", invocation.action));
    assert_eq!(again.service.as_deref(), Some(service));
    assert_eq!(again.arguments, invocation.arguments);
}

/// Text comes back from an element and from a fault, but for what XML cannot hold.
fn text(text: &str) {
    let left_out = |c: char| (c < ' ' && !"\t\n\r".contains(c)) || "\u{fffe}\u{ffff}".contains(c);
    let kept = text.replace(left_out, "");
    let mut out = String::new();
    xml::element(&mut out, "a", text);
    if !is_large(out.as_bytes()) {
        assert_eq!(xml::with_root(out.as_bytes(), xml::text).as_deref(), Ok(kept.as_str()));
    }
    let fault = fault(501, text);
    let read = Invocation::parse(&fault);
    assert!(is_large(&fault) || read.is_ok_and(|read| read.action == "Fault"));
}
