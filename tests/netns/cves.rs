//! What has broken UPnP daemons before: the bytes of each known hole, or of its class, sent to the
//! daemon. Each is answered with its protocol's error or left unanswered, changes nothing, and the
//! daemon goes on. (Conformance 267, 269; what CallStranger, UPnProxy and web pages do is in
//! `hostile` and `browser`.)

mod events;
mod http;
mod pcp;
mod soap;
mod ssdp;
mod words;

use crate::clients::{ask, ControlPoint};
use crate::malformed::{control, with_length};
use crate::traffic::FROM_ALICE;
use crate::world::{World, EXTERNAL};
use std::time::{Duration, Instant};

const CLOSE: &str = "Connection: close\r\n";
/// How long any answer may take: bad bytes cost no more than good ones.
const PATIENCE: Duration = Duration::from_secs(2);

/// A world with one mapping that must stay, and its owner.
struct Target<'w> {
    world: &'w World,
    alice: ControlPoint<'w>,
    rows: Vec<String>,
}

impl<'w> Target<'w> {
    fn of(world: &'w World) -> Target<'w> {
        let location = "http://192.168.1.1:5000/igd2/desc.xml";
        let alice = world.control_point_at(FROM_ALICE, location, ":WANIPConnection:");
        alice.add(&ask("TCP", 17000, 7000)).unwrap();
        Target { world, alice, rows: world.rows() }
    }

    /// Asserts that nothing has changed and that it answers.
    #[track_caller]
    fn unharmed(&self) {
        assert_eq!(self.world.rows(), self.rows);
        assert_eq!(self.alice.external_address(), EXTERNAL.to_string());
    }

    /// The status that bytes are answered with, or 0.
    #[track_caller]
    fn status(&self, request: impl AsRef<[u8]>) -> u16 {
        let start = Instant::now();
        let answer = self.world.http(FROM_ALICE, request.as_ref());
        assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
        answer.status
    }

    /// The status of a SOAP body that would be an AddPortMapping.
    #[track_caller]
    fn soap(&self, body: &str) -> u16 {
        let (head, _) = control("AddPortMapping", "", CLOSE);
        self.status(with_length((head, body.to_owned())))
    }
}

/// Arguments of AddPortMapping that would be granted, with this one in its place.
fn mapping<'a>(name: &str, value: &'a str) -> Vec<(&'static str, &'a str)> {
    let all = [
        ("NewRemoteHost", ""),
        ("NewExternalPort", "17001"),
        ("NewProtocol", "TCP"),
        ("NewInternalPort", "7001"),
        ("NewInternalClient", "192.168.1.10"),
        ("NewEnabled", "1"),
        ("NewPortMappingDescription", "x"),
        ("NewLeaseDuration", "600"),
    ];
    all.into_iter().map(|(n, v)| (n, if n == name { value } else { v })).collect()
}

fn elements(arguments: &[(&str, &str)]) -> String {
    arguments.iter().map(|(name, value)| format!("<{name}>{value}</{name}>")).collect()
}
