use super::*;
use crate::proto::blobmsg::{Fields, Value};
use proptest::prelude::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

#[test]
fn requests_are_written_as_libubus_writes_them() {
    // Recorded from its `ubus list`, `ubus listen` and `ubus call`.
    assert_eq!(lookup(1, "nothing"), bytes("0004000100000000000000100200000c6e6f7468696e6700"));
    assert_eq!(add_object(1, None), bytes("000600010000000000000004"));
    let mut register = invoke(2, EVENTS, "register");
    register.number("object", 0x38ad_3b4e);
    register.text("pattern", "network.interface");
    assert_eq!(
        register.finish(),
        bytes(
            "00050002000000010000005803000008000000010400000d7265676973746572000000000700003c\
             8500001400066f626a6563740000000038ad3b4e8300002200077061747465726e0000006e65747\
             76f726b2e696e74657266616365000000"
        )
    );
    assert_eq!(
        subscribe(3, 0x0102_0304, 0x0506_0708),
        bytes(
            "0008000300000000000000140300000801020304080000080506070 8".replace(' ', "").as_str()
        )
    );
}

#[test]
fn an_object_is_made_with_its_methods_and_their_arguments() {
    let methods: [Method; 2] = [("status", &[]), ("delete", &[("id", Kind::Int32)])];
    let written = add_object(7, Some(("postern", &methods)));
    // The signature, field by field: its names and types.
    let message = read(&written).unwrap();
    assert_eq!((message.kind, message.sequence, message.peer), (6, 7, 0));
    let signature = Attributes(&written[PREFIX..]).find(|a| a.id == attribute::SIGNATURE).unwrap();
    let mut fields = Fields::new(signature.data);
    let Some(("status", Value::Table(none))) = fields.next() else { panic!("{signature:?}") };
    assert_eq!(none.count(), 0);
    let Some(("delete", Value::Table(arguments))) = fields.next() else { panic!("{signature:?}") };
    assert_eq!(arguments.collect::<Vec<_>>(), [("id", Value::Number(5))]);
    assert_eq!(fields.next(), None);
}

#[test]
fn an_event_is_read_as_ubusd_sends_it() {
    let recorded = bytes(
        "0005000100000000000000540300000838ad3b4e040000166e6574776f726b2e696e746572666163\
         6500000007000030830000150006616374696f6e0000000069667570000000008300001400096\
         96e746572666163650077616e00",
    );
    assert_eq!(length(&recorded), Ok(Some(recorded.len())));
    let message = read(&recorded).unwrap();
    assert_eq!((message.kind, message.sequence, message.peer), (Type::Invoke as u8, 1, 0));
    assert_eq!(message.object, Some(0x38ad_3b4e));
    assert_eq!(message.method, Some("network.interface"));
    let fields: Vec<_> = Fields::new(message.data.unwrap()).collect();
    let expected = [("action", Value::Text("ifup")), ("interface", Value::Text("wan"))];
    assert_eq!(fields, expected);
    assert!(!message.no_reply);
}

#[test]
fn an_answer_is_written_as_libubus_writes_it() {
    let call = Message { sequence: 1, peer: 0x0a0b_0c0d, ..Message::default() };
    let mut data = reply(&call, 0x38ad_3b4e);
    data.number("a", 1);
    assert_eq!(
        data.finish(),
        bytes("000200010a0b0c0d0000001c0300000838ad3b4e070000108500000c0001610000000001")
    );
    // Recorded but for the peer, which ubusd's events have not.
    assert_eq!(
        end(&call, 0x38ad_3b4e, Status::Ok),
        bytes("000100010a0b0c0d0000001401000008000000000300000838ad3b4e")
    );
    let ended = end(&call, 7, Status::NotFound);
    let read = read(&ended).unwrap();
    assert_eq!((read.status, read.object), (Some(4), Some(7)));
}

#[test]
fn a_message_is_as_long_as_it_says_within_what_ubusd_takes() {
    let hello = bytes("00000000b28b97cc00000004");
    assert_eq!(length(&hello), Ok(Some(12)));
    assert_eq!((0..12).map(|end| length(&hello[..end])).find(|l| *l != Ok(None)), None);
    assert_eq!(read(&hello), Some(Message { peer: 0xb28b_97cc, ..Message::default() }));
    for (body, expected) in [
        ("00000003", Err(Malformed)),
        ("00100000", Ok(Some(8 + MESSAGE_MAX))),
        ("00100001", Err(Malformed)),
    ] {
        assert_eq!(length(&bytes(&["0005000100000000", body].concat())), expected, "{body}");
    }
    assert_eq!(length(b"\x01"), Err(Malformed), "another version");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(noise in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = (length(&noise), read(&noise));
        let framed = [&bytes("000500010000000000000000")[..], &noise].concat();
        let _ = (length(&framed), read(&framed));
    }
}
