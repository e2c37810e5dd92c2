use super::*;
use proptest::prelude::*;

/// The fields of `{"a":1,"b":"text","c":true,"d":null,"e":[1,"x"],"f":{"g":5000000000}}` as
/// libubox writes them (recorded from its `ubus send`).
const RECORDED: &str = "8500000c0001610000000001\
    8300000d000162007465787400000000\
    87000009000163000100000080000008000164008100002000016500\
    8500000c0000000000000001\
    8300000a0000000078000000\
    820000180001660084000010000167000000000\
    12a05f200";

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

#[test]
fn fields_are_written_as_libubox_writes_them() {
    let mut out = Writer::new();
    out.number("a", 1);
    out.text("b", "text");
    out.flag("c", true);
    out.null("d");
    out.begin(Kind::Array, "e");
    out.number("", 1);
    out.text("", "x");
    out.close();
    out.begin(Kind::Table, "f");
    out.number("g", 5_000_000_000);
    out.close();
    assert_eq!(out.finish(), bytes(RECORDED));
}

#[test]
fn fields_are_read_as_libubox_means_them() {
    let recorded = bytes(RECORDED);
    let fields = Fields::new(&recorded);
    let names: Vec<&str> = fields.map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(fields.get("a"), Some(Value::Number(1)));
    assert_eq!(fields.text("b"), Some("text"));
    assert_eq!(fields.get("c"), Some(Value::Flag(true)));
    assert_eq!(fields.get("d"), Some(Value::Other));
    let Some(Value::Array(list)) = fields.get("e") else { panic!("{fields:?}") };
    assert_eq!(list.collect::<Vec<_>>(), [("", Value::Number(1)), ("", Value::Text("x"))]);
    let Some(Value::Table(table)) = fields.get("f") else { panic!("{fields:?}") };
    assert_eq!(table.collect::<Vec<_>>(), [("g", Value::Number(5_000_000_000))]);
    assert_eq!((fields.get("g"), fields.text("a")), (None, None));
}

#[test]
fn numbers_are_signed_and_take_eight_bytes_only_where_four_are_too_few() {
    for (value, length) in [(0x7fff_ffff, 12), (0x8000_0000, 16), (u64::MAX >> 1, 16)] {
        let mut out = Writer::new();
        out.number("n", value);
        let written = out.finish();
        assert_eq!(written.len(), length);
        assert_eq!(Fields::new(&written).get("n"), Some(Value::Number(value as i64)));
    }
    let minus = bytes("8500000c00016e00ffffffff8600000a00016d00fffe0000");
    let fields = Fields::new(&minus);
    assert_eq!(fields.get("n"), Some(Value::Number(-1)));
    assert_eq!(fields.get("m"), Some(Value::Number(-2)));
}

#[test]
fn what_is_of_a_wrong_size_or_without_end_is_something_else_or_the_end() {
    // A number of three bytes, a text without NUL, a text that is no UTF-8.
    for hex in ["8500000b00016e00ffffff00", "8300000a00016e0078780000", "8300000a00016e00ff000000"]
    {
        let odd = bytes(hex);
        assert_eq!(Fields::new(&odd).collect::<Vec<_>>(), [("n", Value::Other)], "{hex}");
    }
    // Shorter than its head, longer than there is, a name longer than its field.
    for hex in ["85000003", "8500000c00016e00ff", "8500000cffff6e0000000001"] {
        let odd = bytes(hex);
        assert_eq!(Fields::new(&odd).next(), None, "{hex}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        fields in prop::collection::vec(("[a-z]{0,9}", "[^\0]{0,40}", any::<u32>(), any::<bool>()), 0..20)
    ) {
        let mut out = Writer::new();
        for (name, text, number, flag) in &fields {
            out.begin(Kind::Table, name);
            out.text("text", text);
            out.number(name, u64::from(*number) * 3);
            out.flag("", *flag);
            out.close();
        }
        prop_assert_eq!(out.len() % 4, 0);
        let written = out.finish();
        let read: Vec<_> = Fields::new(&written).collect();
        prop_assert_eq!(read.len(), fields.len());
        for ((name, value), (key, text, number, flag)) in read.into_iter().zip(&fields) {
            prop_assert_eq!(name, key);
            let Value::Table(table) = value else { panic!("{value:?}") };
            let expected = [
                ("text", Value::Text(text)),
                (key.as_str(), Value::Number(i64::from(*number) * 3)),
                ("", Value::Flag(*flag)),
            ];
            prop_assert_eq!(table.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn no_bytes_panic_or_read_for_ever(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fn walk(fields: Fields<'_>, depth: usize) -> usize {
            let inner = |value| match value {
                Value::Table(inner) | Value::Array(inner) if depth < 8 => walk(inner, depth + 1),
                _ => 0,
            };
            fields.map(|(_, value)| 1 + inner(value)).sum()
        }
        let mut likely = bytes.clone();
        for head in likely.chunks_mut(8) {
            head[0] = 0x80 | (head[0] % 9);
            head.iter_mut().skip(1).take(2).for_each(|byte| *byte = 0);
        }
        prop_assert!(walk(Fields::new(&bytes), 0) <= bytes.len());
        prop_assert!(walk(Fields::new(&likely), 0) <= 9 * bytes.len());
    }
}
