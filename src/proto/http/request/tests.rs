use super::*;
use crate::proto::http::{host_allowed, Chunked, Progress};
use proptest::prelude::*;

/// The parsed head, for bytes that must be one.
fn head(text: &str) -> Request<'_> {
    parse_head(text.as_bytes()).unwrap().expect("a whole head").0
}

/// The status that refuses these bytes.
fn refused(text: &str) -> u16 {
    parse_head(text.as_bytes()).unwrap_err().status()
}

/// A GET with these header lines, each with its own line end.
fn with(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

fn body_of(method: &str, lines: &str) -> Result<BodyKind, u16> {
    let text = format!("{method} / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let request = head(&text);
    request.body().map_err(Error::status)
}

fn captures() -> impl Iterator<Item = (String, Vec<u8>)> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures/http");
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|ext| ext == "txt"))
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
}

#[test]
fn every_real_request_is_read_to_its_last_byte() {
    let mut seen = 0;
    for (name, bytes) in captures() {
        let (request, used) = parse_head(&bytes).unwrap().expect(&name);
        let rest = &bytes[used..];
        match request.body().expect(&name) {
            BodyKind::None => assert_eq!(rest, b"", "{name}"),
            BodyKind::Length(length) => assert_eq!(rest.len(), length, "{name}"),
            BodyKind::Chunked => {
                let mut body = Vec::new();
                let progress = Chunked::new().decode(rest, &mut body).expect(&name);
                assert_eq!(progress, Progress { consumed: rest.len(), done: true }, "{name}");
                assert_eq!(body, b"<a/>", "{name}");
            }
        }
        let v6 = name.ends_with("-ipv6.txt");
        let local = if v6 { "[2001:db8:1::1]:5000" } else { "192.168.1.1:5000" };
        assert!(host_allowed(request.host(), local.parse().unwrap(), &[]), "{name}");
        assert_ne!(request.method, Method::Other, "{name}");
        seen += 1;
    }
    assert!(seen >= 28, "{seen} captures");
}

#[test]
fn a_head_gives_its_parts_and_its_length() {
    let text = "POST /ctl/IPConn?x=1 HTTP/1.1\r\nHOST: 192.168.1.1:5000\r\nsoapAction :x\r\n\r\n";
    assert_eq!(refused(text), 400);
    let text = text.replace(" :x", ":\t \"urn:x#Y\" \t") + "<body/>";
    let (request, used) = parse_head(text.as_bytes()).unwrap().unwrap();
    assert_eq!(&text[used..], "<body/>");
    assert_eq!(request.method, Method::Post);
    assert_eq!(request.path, "/ctl/IPConn");
    assert_eq!(request.host_in_target, None);
    assert_eq!(request.host(), Some("192.168.1.1:5000"));
    assert!(request.http11);
    assert_eq!(request.header("SOAPACTION"), Some("\"urn:x#Y\""));
    assert_eq!(request.header("Man"), None);
}

#[test]
fn every_method_served_is_told_apart() {
    for (word, method) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("M-POST", Method::MPost), // item 51
        ("SUBSCRIBE", Method::Subscribe),
        ("UNSUBSCRIBE", Method::Unsubscribe),
        ("NOTIFY", Method::Other),
        ("get", Method::Other),
    ] {
        assert_eq!(head(&format!("{word} / HTTP/1.0\r\n\r\n")).method, method, "{word}");
    }
}

#[test]
fn a_target_in_any_form_gives_host_and_path() {
    for (target, host, path) in [
        ("/a/b", None, "/a/b"),
        ("/a?b=/c#d", None, "/a"),
        ("//a", None, "//a"), // item 71: whoever looks the path up overlooks these
        ("a", None, "a"),
        ("http://192.168.1.1:5000/a?b", Some("192.168.1.1:5000"), "/a"), // item 70
        ("HTTP://h", Some("h"), "/"),
        ("http://h?q", Some("h"), "/"),
        ("*", None, "*"),
    ] {
        let text = format!("GET {target} HTTP/1.0\r\n\r\n");
        let request = head(&text);
        assert_eq!((request.host_in_target, request.path), (host, path), "{target}");
    }
}

#[test]
fn untidy_line_ends_are_read() {
    let (request, used) =
        parse_head(b"\r\n\nGET /a HTTP/1.1\nHost: h\r\nA:b\n\nrest").unwrap().unwrap();
    assert_eq!((request.path, request.header("a"), used), ("/a", Some("b"), 33));
    assert_eq!(refused(&("\r\n".repeat(5) + "GET / HTTP/1.0\r\n\r\n")), 400);
}

#[test]
fn a_head_in_pieces_ends_where_the_whole_one_does() {
    let bytes = b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\nbody\r\n\r\n";
    for cut in 0..bytes.len() {
        match find_head_end(&bytes[..cut], 0) {
            None => {
                assert_eq!(parse_head(&bytes[..cut]), Ok(None));
                assert_eq!(find_head_end(bytes, cut), Some(29), "{cut}");
            }
            end => assert_eq!(end, Some(29)),
        }
    }
}

#[test]
fn what_is_no_head_is_400() {
    for text in [
        "\0\r\n\r\n",
        "GET\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\t HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1x\r\nHost: a\r\n\r\n",
        "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n",
    ] {
        assert_eq!(refused(text), 400, "{text:?}");
    }
    for line in
        ["A : b\r\n", " A: b\r\n", "A: b\r\n c\r\n", ": b\r\n", "A\r\n", "A: \0\r\n", "A: b\rc\r\n"]
    {
        assert_eq!(refused(&with(line)), 400, "{line:?}");
    }
    assert_eq!(parse_head(b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n"), Err(Error::Malformed));
}

#[test]
fn a_header_nobody_reads_may_be_any_text() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX-Name: \xe9t\xe9\r\n\r\n";
    let (request, _) = parse_head(bytes).unwrap().unwrap();
    assert_eq!((request.header("X-Name"), request.header_count("x-name")), (None, 1));
}

#[test]
fn each_limit_of_item_262_has_its_status() {
    for version in ["0.9", "2.0", "3.1"] {
        assert_eq!(refused(&format!("GET / HTTP/{version}\r\n\r\n")), 505);
    }
    let lines = |count: usize| format!("GET / HTTP/1.0\r\n{}\r\n", "A: b\r\n".repeat(count));
    assert_eq!(head(&lines(HEADERS_MAX)).header_count("a"), HEADERS_MAX);
    assert_eq!(refused(&lines(HEADERS_MAX + 1)), 431);

    let target = |length: usize| format!("GET /{} HTTP/1.0\r\n\r\n", "a".repeat(length - 1));
    assert_eq!(head(&target(TARGET_MAX)).path.len(), TARGET_MAX);
    assert_eq!(refused(&target(TARGET_MAX + 1)), 414);
    assert_eq!(refused(&target(HEAD_MAX)), 414);

    let value = |length: usize| format!("GET / HTTP/1.0\r\nA: {}\r\n\r\n", "b".repeat(length - 23));
    assert_eq!(parse_head(value(HEAD_MAX).as_bytes()).unwrap().unwrap().1, HEAD_MAX);
    assert_eq!(refused(&value(HEAD_MAX + 1)), 431);
    assert_eq!(parse_head(&value(HEAD_MAX).as_bytes()[..HEAD_MAX - 1]), Ok(None));
    assert_eq!(refused(&value(HEAD_MAX + 1)[..HEAD_MAX]), 431);
}

#[test]
fn a_body_ends_in_one_way_only_or_is_refused() {
    assert_eq!(body_of("GET", ""), Ok(BodyKind::None));
    assert_eq!(body_of("SUBSCRIBE", "Content-Length: 0\r\n"), Ok(BodyKind::Length(0)));
    assert_eq!(body_of("POST", "Content-Length: 16384\r\n"), Ok(BodyKind::Length(BODY_MAX)));
    assert_eq!(
        body_of("POST", "Content-Length: 5\r\ncontent-length: 5\r\n"),
        Ok(BodyKind::Length(5))
    );
    assert_eq!(body_of("POST", "Transfer-Encoding: Chunked\r\n"), Ok(BodyKind::Chunked));
    for (method, lines, status) in [
        ("POST", "", 411),
        ("M-POST", "", 411),
        ("GET", "Content-Length: 16385\r\n", 413),
        ("POST", "Content-Length: 99999999999999999999999\r\n", 413),
        ("POST", "Content-Length: 5\r\nContent-Length: 6\r\n", 400),
        ("POST", "Content-Length: 5, 5\r\n", 400),
        ("POST", "Content-Length: -1\r\n", 400),
        ("POST", "Content-Length: +5\r\n", 400),
        ("POST", "Content-Length: 0x5\r\n", 400),
        ("POST", "Content-Length:\r\n", 400),
        ("POST", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        ("POST", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("POST", "Transfer-Encoding: gzip, chunked\r\n", 501),
    ] {
        assert_eq!(body_of(method, lines), Err(status), "{lines:?}");
    }
    let old = head("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").body();
    assert_eq!(old, Err(Error::Malformed));
}

#[test]
fn the_connection_stays_only_where_both_want_it() {
    assert!(head(&with("")).keep_alive());
    assert!(!head(&with("Connection: x\r\nConnection: TE, Close\r\n")).keep_alive());
    assert!(!head("GET / HTTP/1.0\r\n\r\n").keep_alive());
    assert!(head("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive());
}

#[test]
fn item_68_a_client_that_waits_is_seen() {
    assert!(head(&with("Expect: 100-Continue\r\n")).wants_continue());
    assert!(!head(&with("")).wants_continue());
    assert!(!head("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").wants_continue());
}

/// Bytes that are often nearly a request.
fn requestish() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..12),
        proptest::sample::select(vec![
            "GET ",
            "POST ",
            "/",
            "http://",
            "?",
            " HTTP/1.1\r\n",
            "Host: a\r\n",
            "\r\n",
            "\n",
            ":",
            "Content-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Expect: 100-continue\r\n",
            "5\r\n",
            "0\r\n\r\n",
            "[::1]",
            "%",
            "é",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in requestish(), from in 0usize..99) {
        let end = find_head_end(&bytes, from);
        prop_assert!(end.is_none_or(|end| end <= bytes.len()));
        if let Ok(Some((request, used))) = parse_head(&bytes) {
            prop_assert_eq!(Some(used), find_head_end(&bytes, 0));
            let _ = (request.body(), request.keep_alive(), request.wants_continue());
            host_allowed(request.host(), "[::1]:1".parse().unwrap(), &["a"]);
        }
    }
}
