use super::*;
use crate::proto::ssdp::{HOST_V4, HOST_V6_LINK};

const IGD2: &str = "urn:schemas-upnp-org:device:InternetGatewayDevice:2";

fn advert() -> Advert {
    Advert {
        kind: IGD2.to_owned(),
        usn: format!("uuid:0a4b::{IGD2}"),
        location: "http://192.168.1.1:5000/igd2/desc.xml".to_owned(),
    }
}

fn common() -> Common<'static> {
    Common {
        server: "Linux/6 UPnP/1.1 Postern/1",
        max_age: 1800,
        boot_id: 7,
        config_id: 9,
        date: None,
        host: HOST_V4,
    }
}

fn written(write: impl Fn(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn item_12_an_answer_has_every_header() {
    let common = Common { date: Some("Sun, 06 Nov 1994 08:49:37 GMT"), ..common() };
    let text = format!(
        "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\nDATE: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         EXT:\r\nLOCATION: http://192.168.1.1:5000/igd2/desc.xml\r\n\
         SERVER: Linux/6 UPnP/1.1 Postern/1\r\nST: {IGD2}\r\nUSN: uuid:0a4b::{IGD2}\r\n\
         BOOTID.UPNP.ORG: 7\r\nCONFIGID.UPNP.ORG: 9\r\n\r\n"
    );
    assert_eq!(written(|out| write_response(out, &advert(), &common)), text);
    let without = Common { date: None, ..common };
    assert!(!written(|out| write_response(out, &advert(), &without)).contains("DATE"));
}

#[test]
fn items_18_20_and_21_announcements_have_every_header() {
    let alive = format!(
        "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nCACHE-CONTROL: max-age=1800\r\n\
         LOCATION: http://192.168.1.1:5000/igd2/desc.xml\r\nNT: {IGD2}\r\nNTS: ssdp:alive\r\n\
         SERVER: Linux/6 UPnP/1.1 Postern/1\r\nUSN: uuid:0a4b::{IGD2}\r\n\
         BOOTID.UPNP.ORG: 7\r\nCONFIGID.UPNP.ORG: 9\r\n\r\n"
    );
    assert_eq!(written(|out| write_alive(out, &advert(), &common())), alive);
    let byebye = format!(
        "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNT: {IGD2}\r\nNTS: ssdp:byebye\r\n\
         USN: uuid:0a4b::{IGD2}\r\nBOOTID.UPNP.ORG: 7\r\nCONFIGID.UPNP.ORG: 9\r\n\r\n"
    );
    assert_eq!(written(|out| write_byebye(out, &advert(), &common())), byebye);
    let update = format!(
        "NOTIFY * HTTP/1.1\r\nHOST: [FF02::C]:1900\r\n\
         LOCATION: http://192.168.1.1:5000/igd2/desc.xml\r\nNT: {IGD2}\r\nNTS: ssdp:update\r\n\
         USN: uuid:0a4b::{IGD2}\r\nBOOTID.UPNP.ORG: 7\r\nCONFIGID.UPNP.ORG: 9\r\n\
         NEXTBOOTID.UPNP.ORG: 8\r\n\r\n"
    );
    let v6 = Common { host: HOST_V6_LINK, ..common() };
    assert_eq!(written(|out| write_update(out, &advert(), &v6, 8)), update);
}

#[test]
fn item_25_whatever_the_values_a_message_is_one_datagram_with_no_line_of_theirs() {
    let hostile = "a\r\nX: y\r\n\r\n".repeat(200);
    let advert = Advert { kind: hostile.clone(), usn: hostile.clone(), location: hostile.clone() };
    let common = Common {
        server: &hostile,
        max_age: u32::MAX,
        boot_id: u32::MAX,
        config_id: u32::MAX,
        date: Some(&hostile),
        host: &hostile,
    };
    for (text, lines) in [
        (written(|out| write_response(out, &advert, &common)), 12),
        (written(|out| write_alive(out, &advert, &common)), 12),
        (written(|out| write_byebye(out, &advert, &common)), 9),
        (written(|out| write_update(out, &advert, &common, u32::MAX)), 11),
    ] {
        assert!(text.len() <= MESSAGE_MAX, "{}", text.len());
        assert_eq!(text.split("\r\n").count(), lines, "{text}");
        assert!(text.ends_with("\r\n\r\n"));
    }
}

#[test]
fn item_19_announcements_come_again_before_half_of_max_age_is_over() {
    for max_age in [4, 120, 1800, 1801, u32::MAX] {
        for random in [0, 1, 449, 450, 899, u32::MAX] {
            let pause = next_alive(max_age, random).as_secs();
            let (quarter, half) = (u64::from(max_age / 4), u64::from(max_age) / 2);
            assert!((quarter..half).contains(&pause), "{max_age} {random}: {pause}");
        }
    }
    assert_ne!(next_alive(1800, 1), next_alive(1800, 2));
    assert!(!next_alive(0, 7).is_zero());
}
