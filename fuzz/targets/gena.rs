//! GENA: any request is a demand within its limits or a status, a callback is the same when its URL
//! is read again, and every NOTIFY is a whole request that no subscriber's words get into.

use super::documents::is_large;
use postern::proto::gena::{
    parse, status, write_notify, Callback, Demand, CALLBACKS_MAX, SID_MAX, URL_MAX,
};
use postern::proto::http::{parse_head, BodyKind};
use postern::proto::xml::{self, DOCUMENT_MAX};

pub fn run(bytes: &[u8]) {
    assert!(status(bytes).is_none_or(|status| status <= 999));
    let Ok(Some((request, length))) = parse_head(bytes) else { return };
    match parse(&request) {
        Ok(Demand::Renew(sid, _) | Demand::Cancel(sid)) => {
            assert!((1..=SID_MAX).contains(&sid.len()));
        }
        Ok(Demand::Subscribe(callbacks, _)) => {
            assert!((1..=CALLBACKS_MAX).contains(&callbacks.len()));
            let words = String::from_utf8_lossy(&bytes[length..]);
            callbacks.iter().for_each(|callback| notified(callback, &words));
        }
        Err(status) => assert!([400, 405, 412].contains(&status)),
    }
}

fn notified(callback: &Callback, words: &str) {
    assert_ne!(callback.address.port(), 0);
    assert!(callback.path.starts_with('/') && callback.path.len() <= URL_MAX);
    let again = format!(
        "SUBSCRIBE / HTTP/1.1\r\nHOST: a\r\nNT: upnp:event\r\nCALLBACK: <http://{}{}>\r\n\r\n",
        callback.host, callback.path
    );
    // The port may have been left out, and an address written shorter.
    if callback.host.len() + callback.path.len() + 7 <= URL_MAX {
        let (request, _) = parse_head(again.as_bytes()).unwrap().unwrap();
        assert_eq!(parse(&request), Ok(Demand::Subscribe(vec![callback.clone()], Some(0))));
    }

    let mut out = Vec::new();
    let values = [("ExternalIPAddress", words.to_owned()), ("SystemUpdateID", "7".to_owned())];
    write_notify(&mut out, callback, "uuid:x", u32::MAX, &values);
    let (request, length) = parse_head(&out).unwrap().unwrap();
    assert_eq!(request.header("host"), Some(&*callback.host));
    assert_eq!(request.header("seq"), Some("4294967295"));
    let body = &out[length..];
    if body.len() <= DOCUMENT_MAX {
        assert_eq!(request.body(), Ok(BodyKind::Length(body.len())));
        let properties = xml::with_root(body, |root| root.children().count());
        // One is the line end after them.
        assert!(is_large(body) || properties == Ok(2), "{properties:?}");
    }
}
