//! Discovery.

use super::Target;
use crate::clients::{msearch, GROUP, IGD1};
use crate::traffic::FROM_ALICE;
use crate::world::{Host, World, ALICE, ROUTER};
use std::net::{SocketAddrV4, UdpSocket};
use std::time::Duration;

#[test]
fn searches_and_announcements_of_any_shape_get_silence_269() {
    // CVE-2013-0229 (SSDP parser), CVE-2012-5958 to 5965 (unique_service_name of libupnp, which
    // copies parts of ST and USN), CVE-2019-12106 (MiniSSDPd: an announcement updated and freed).
    let world = World::new();
    let _daemon = world.start();
    let target = Target::of(&world);
    let long = "A".repeat(1500);
    let st = |text: &str| msearch(text, "MX: 1\r\n");
    let notify = |nts: &str| {
        format!(
            "NOTIFY * HTTP/1.1\r\nHOST: {GROUP}\r\nNT: upnp:rootdevice\r\nNTS: {nts}\r\n\
             USN: uuid:1::upnp:rootdevice\r\nLOCATION: http://192.168.1.10/{nts}\r\n\
             CACHE-CONTROL: max-age=1\r\nSERVER: x\r\n\r\n"
        )
    };
    let mut shapes = vec![
        String::new(),
        "M-SEARCH".to_owned(),
        "M-SEARCH * HTTP/1.1".to_owned(),
        "M-SEARCH * HTTP/1.1\r\n".to_owned(),
        "M-SEARCH * HTTP/1.1\r\n\r\n".to_owned(),
        "M-SEARCH * HTTP/1.1\nST\nMAN\nMX".to_owned(),
        "M-SEARCH * HTTP/1.1\r\nMAN:\"ssdp:discover\"\r\nST:".to_owned(),
        "M-SEARCH * HTTP/1.1\r\nMAN:\"ssdp:discover\"\r\nMX:1\r\nST:\r\n".to_owned(),
        "M-SEARCH * HTTP/1.1\r\nMAN:\"\r\nMX:\r\nST:\"\r\n\r\n".to_owned(),
        "\r\n".repeat(700),
        ":".repeat(1400),
        "\0".repeat(1400),
        format!("M-SEARCH {long}"),
        format!("M-SEARCH * HTTP/1.1\r\n{long}"),
        format!("M-SEARCH * HTTP/1.1\r\n{long}: x\r\n\r\n"),
        msearch("upnp:rootdevice", &format!("MX: -1\r\nX: {long}\r\n")).replace("MAN", "MEN"),
        st(&long),
        st("uuid:"),
        st(&format!("uuid:{long}")),
        st(&format!("uuid:schemas:device:{long}:anything")),
        st(&format!("urn:schemas-upnp-org:device:{long}:1")),
        st(&format!("urn:schemas-upnp-org:service:{long}:1")),
        st(&format!("urn:schemas-upnp-org:device:InternetGatewayDevice:{}", "9".repeat(1200))),
        st("urn:schemas-upnp-org:device:InternetGatewayDevice:-1"),
        st("urn:schemas-upnp-org:device:InternetGatewayDevice:"),
        st("urn:schemas-upnp-org:device"),
        st("urn:::::"),
        st("uuid:schemas:device"),
        st("::"),
        st("upnp:rootdevice::upnp:rootdevice"),
        "X".repeat(60_000),
    ];
    shapes.extend(
        ["ssdp:alive", "ssdp:update", "ssdp:alive", "ssdp:byebye", "ssdp:byebye"].map(notify),
    );
    world.inside(Host::Alice, || {
        let socket = UdpSocket::bind((ALICE, 0)).unwrap();
        for shape in &shapes {
            for to in [SocketAddrV4::new(ROUTER, 1900), GROUP] {
                socket.send_to(shape.as_bytes(), to).unwrap();
            }
        }
        socket.set_read_timeout(Some(Duration::from_millis(600))).unwrap();
        let mut bytes = [0; 2048];
        let answer = socket.recv(&mut bytes);
        assert!(answer.is_err(), "{}", String::from_utf8_lossy(&bytes));
    });
    assert!(!world.search(FROM_ALICE, IGD1).is_empty());
    target.unharmed();
}
