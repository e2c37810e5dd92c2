//! ubus: any bytes are a message or nothing, and fields are the same when they are written and read
//! again.

use postern::proto::blobmsg::{Attributes, Fields, Kind, Value, Writer};
use postern::proto::ubus::{end, length, read, reply, Status, MESSAGE_MAX, PREFIX};

/// Deepest that is walked here: a reader goes as deep as it likes.
const DEPTH: usize = 16;

pub fn run(bytes: &[u8]) {
    match length(bytes) {
        Ok(Some(length)) => assert!((PREFIX..=8 + MESSAGE_MAX).contains(&length)),
        Ok(None) => assert!(bytes.len() < PREFIX),
        Err(_) => assert!(!bytes.is_empty()),
    }
    if let Some(call) = read(bytes) {
        fields(call.data.unwrap_or_default());
        for answer in [end(&call, 7, Status::NotFound), reply(&call, 7).finish()] {
            assert_eq!(length(&answer), Ok(Some(answer.len())));
            let told = read(&answer).unwrap();
            assert_eq!((told.sequence, told.peer), (call.sequence, call.peer));
            assert_eq!(told.object, Some(7));
        }
    }
    assert!(Attributes(bytes).count() <= bytes.len() / 4);
    fields(bytes);
}

fn fields(bytes: &[u8]) {
    let mut out = Writer::new();
    let (mut names, mut count) = (Vec::new(), 0);
    written(&mut out, Fields::new(bytes), DEPTH, &mut |name| {
        count += 1;
        if names.len() < 4 {
            names.push(name.to_owned());
        }
    });
    assert!(count <= DEPTH * (bytes.len() / 4 + 1));
    let again = out.finish();
    same(Fields::new(bytes), Fields::new(&again), DEPTH);
    for name in names {
        let _ = (Fields::new(bytes).get(&name), Fields::new(bytes).text(&name));
    }
}

fn written(out: &mut Writer, fields: Fields<'_>, depth: usize, seen: &mut dyn FnMut(&str)) {
    for (name, value) in fields {
        seen(name);
        let (kind, inside) = match value {
            Value::Text(text) => {
                out.text(name, text);
                continue;
            }
            Value::Flag(flag) => {
                out.flag(name, flag);
                continue;
            }
            Value::Number(number) if number >= 0 => {
                out.number(name, number as u64);
                continue;
            }
            Value::Table(inside) if depth > 0 => (Kind::Table, inside),
            Value::Array(inside) if depth > 0 => (Kind::Array, inside),
            _ => {
                out.null(name);
                continue;
            }
        };
        out.begin(kind, name);
        written(out, inside, depth - 1, seen);
        out.close();
    }
}

fn same(mut one: Fields<'_>, mut other: Fields<'_>, depth: usize) {
    loop {
        let (left, right) = match (one.next(), other.next()) {
            (None, None) => return,
            (Some(left), Some(right)) => (left, right),
            (left, right) => panic!("{left:?} but {right:?}"),
        };
        assert_eq!(left.0, right.0);
        match (left.1, right.1) {
            (Value::Table(a), Value::Table(b)) | (Value::Array(a), Value::Array(b)) => {
                same(a, b, depth - 1);
            }
            (Value::Number(..0) | Value::Other, right) => assert_eq!(right, Value::Other),
            (Value::Table(_) | Value::Array(_), right) if depth == 0 => {
                assert_eq!(right, Value::Other);
            }
            (left, right) => assert_eq!(left, right),
        }
    }
}
