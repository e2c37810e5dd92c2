//! Clients of others that `tests/setup.sh` installs, those that need no gateway to themselves, from their first search to their last
//! deletion, on [`Host::Alice`](crate::world::Host). What each must say, and what comes of it, is
//! in `tests/netns/faces`; here each must come to its end and leave nothing behind.

use crate::script::{installed, Script};
use crate::world::World;

const ADDRESS: &str = "192.168.1.10";
/// How many there are.
pub const COUNT: usize = 9;

fn built(world: &World, path: &str, args: &[&str]) -> Script {
    Script::program(world, installed(path).to_str().unwrap(), args)
}

fn start(world: &World, number: usize) -> Script {
    let ports = ["7501", "17501"];
    let host = [ADDRESS, "7501", "17501"];
    match number {
        0 => Script::node(world, include_str!("../clients/nat-upnp.mjs"), &ports),
        1 => {
            let source = include_str!("../clients/nat-port-mapper.mjs");
            Script::node(world, source, &[ADDRESS, "17502"])
        }
        2 => Script::python(world, include_str!("../clients/upnpclient.py"), &host),
        3 => Script::python(world, include_str!("../clients/async-upnp-client.py"), &ports),
        4 => built(world, "clients-rust/debug/igd-next-client", &[&["4"], &host[..]].concat()),
        5 => built(world, "clients-c/libupnp", &[&["4", "2"], &host[..]].concat()),
        6 => {
            let source = include_str!("../clients/nat-pmp.py");
            Script::python(world, source, &["7501", "17501", "17502"])
        }
        7 => {
            let args = [&["map", "192.168.1.1"], &host[..]].concat();
            built(world, "clients-rust/debug/crab-nat-client", &args)
        }
        _ => built(world, "clients-rust/debug/natpmp-client", &["7501", "17501", "17502"]),
    }
}

/// Runs the client with this number, below [`COUNT`].
pub fn run(world: &World, number: usize) {
    let mut client = start(world, number);
    let mut lines = Vec::new();
    loop {
        match client.said() {
            line if line.is_empty() => break,
            line => lines.push(line),
        }
        // It waits after a line, if at all.
        client.go_on();
    }
    let closed = lines.iter().any(|line| line.starts_with("unmapped"));
    assert!(closed, "client {number}: {lines:?}");
}
