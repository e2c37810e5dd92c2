//! Heads, lengths, paths.

use super::{elements, mapping, Target, CLOSE, PATIENCE};
use crate::malformed::{control, with_length};
use crate::traffic::FROM_ALICE;
use crate::world::{Host, World, ROUTER};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

#[test]
fn heads_cut_or_without_colon_and_bodies_that_end_early_269() {
    // The overruns that Röttger found in ParseHttpHeaders and in minixml (2014).
    let world = World::new();
    let _daemon = world.start();
    let target = Target::of(&world);
    let post = "POST /igd2/wanip/control HTTP/1.1\r\nHost: 192.168.1.1:5000\r\n";
    for (request, status) in [
        (format!("{post}Content-Length\r\n\r\n"), 400),
        (format!("{post}Content-Length:\r\n\r\n"), 400),
        (format!("{post}Content-Length: \t \r\n\r\n"), 400),
        (format!("{post}SOAPAction\r\nContent-Length: 0\r\n\r\n"), 400),
        (format!("{post}:\r\nContent-Length: 0\r\n\r\n"), 400),
        (format!("{post} folded\r\nContent-Length: 0\r\n\r\n"), 400),
        (format!("{post}Content-Length: 1\0\r\n\r\n"), 400),
        (format!("{post}{}\r\n\r\n", "x".repeat(4000)), 400),
        ("POST\r\n\r\n".to_owned(), 400),
        (" \r\n\r\n".to_owned(), 400),
        ("\0\0\0\0\r\n\r\n".to_owned(), 400),
    ] {
        assert_eq!(target.status(&request), status, "{request:.200}");
    }
    // An AddPortMapping whose body ends at each of its bytes, as said by its length.
    let (head, body) = control("AddPortMapping", &elements(&mapping("", "")), "");
    let whole: Vec<String> =
        (0..body.len()).map(|end| with_length((head.clone(), body[..end].to_owned()))).collect();
    let mut refused = 0;
    for some in whole.chunks(90) {
        let last = "GET / HTTP/1.1\r\nHost: 192.168.1.1:5000\r\nConnection: close\r\n\r\n";
        let request = some.concat() + last;
        let answers = world.inside(Host::Alice, || {
            let mut stream = TcpStream::connect((ROUTER, 5000)).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answers = String::new();
            stream.read_to_string(&mut answers).unwrap();
            answers
        });
        refused += answers.matches("HTTP/1.1 400 ").count();
    }
    assert_eq!(refused, body.len());
    // And one that ends before its length, with the connection.
    let mut cut = with_length((head, body.clone()));
    cut.truncate(cut.len() - 10);
    world.inside(Host::Alice, || {
        let mut stream = TcpStream::connect((ROUTER, 5000)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(cut.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0, "no answer to half a request");
    });
    target.unharmed();
}

#[test]
fn lengths_that_are_negative_or_overflow_are_refused_262_269() {
    // CVE-2017-8798 (a chunk's length taken for a signed one), and the same of Content-Length.
    let world = World::new();
    let _daemon = world.start();
    let target = Target::of(&world);
    let (head, body) = control("AddPortMapping", &elements(&mapping("", "")), "");
    let with = |more: &str, body: &str| {
        head.replacen("\r\n\r\n", &format!("\r\n{more}\r\n\r\n"), 1) + body
    };
    for (length, status) in [
        ("-1", 400),
        ("+100", 400),
        ("0x10", 400),
        ("1e3", 400),
        ("100 100", 400),
        ("100, 100", 400),
        ("16385", 413),
        ("2147483648", 413),
        ("4294967295", 413),
        ("4294967296", 413),
        ("9223372036854775808", 413),
        ("18446744073709551615", 413),
        ("18446744073709551617", 413),
        ("99999999999999999999999999999999999999", 413),
    ] {
        let request = with(&format!("Content-Length: {length}"), &body);
        assert_eq!(target.status(request), status, "{length}");
    }
    for twice in [
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        assert_eq!(target.status(with(twice, &body)), 400, "{twice}");
    }
    for (chunk, status) in [
        ("-1", 400),
        ("-80000000", 400),
        ("+10", 400),
        ("0x10", 400),
        ("", 400),
        (" ", 400),
        ("g", 400),
        (";a=b", 400),
        ("4001", 413),
        ("7fffffff", 413),
        ("80000000", 413),
        ("ffffffff", 413),
        ("100000000", 413),
        ("7fffffffffffffff", 413),
        ("ffffffffffffffff", 413),
        ("10000000000000001", 413),
        ("fffffffffffffffffffffffffffffffffffff", 413),
    ] {
        let request =
            with("Transfer-Encoding: chunked", &format!("{chunk}\r\n{body}\r\n0\r\n\r\n"));
        let found = target.status(request);
        assert_eq!(found, status, "{chunk}");
    }
    // Framing without end: of one-byte chunks, of extensions, of trailers.
    for framing in [
        "1;aaaaaaaaaaaa\r\n<\r\n".repeat(4000),
        format!("1;{}", "a".repeat(60_000)),
        "0\r\n".to_owned() + &"X: y\r\n".repeat(9000),
    ] {
        assert!(matches!(target.status(with("Transfer-Encoding: chunked", &framing)), 400 | 413));
    }
    target.unharmed();
}

/// Every file below a folder.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        }
        found.insert(path.display().to_string());
    }
    found
}

#[test]
fn no_request_reads_or_makes_a_file_269() {
    // CVE-2016-6255 (libupnp: POST makes files), and paths that lead out of a folder.
    let world = World::new();
    let _daemon = world.start();
    let target = Target::of(&world);
    // Without the daemon's own, which comes and goes.
    let files = || {
        let mut files = files(&world.dir);
        files.retain(|file| !file.trim_end_matches(".new").ends_with("/leases"));
        files
    };
    let before = files();
    for path in [
        "/../../../../etc/passwd",
        "/igd1/../../../../etc/passwd",
        "/igd1/desc.xml/../../../../etc/passwd",
        "//etc/passwd",
        "/etc/passwd",
        "file:///etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "/..\\..\\..\\etc\\passwd",
        "/igd1/desc.xml%00.html",
        "/proc/self/environ",
        "/",
        "*",
        "/evil.html",
    ] {
        for method in ["GET", "POST", "PUT", "DELETE", "TRACE", "NOTIFY"] {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: 192.168.1.1:5000\r\n{CLOSE}Destination: /evil.html\r\n\
                 Content-Type: text/xml\r\nContent-Length: 4\r\n\r\nevil"
            );
            let answer = world.http(FROM_ALICE, request.as_bytes());
            assert!(matches!(answer.status, 400 | 404 | 405), "{method} {path}: {answer:?}");
            assert!(!answer.body.contains("root:"), "{method} {path}");
        }
    }
    // Where something is served: another method does not write there.
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let request = format!(
            "{method} /igd1/desc.xml HTTP/1.1\r\nHost: 192.168.1.1:5000\r\n{CLOSE}Content-Length: 4\r\n\r\nevil"
        );
        assert_eq!(target.status(request), 405, "{method}");
    }
    assert!(world.get(FROM_ALICE, "/igd1/desc.xml").body.contains("InternetGatewayDevice:1"));
    assert_eq!(files(), before);
    target.unharmed();
}
