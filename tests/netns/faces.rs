//! Two npm clients that need opposite faces, against the same daemon.

use crate::traffic::FROM_PEER;
use crate::world::{Host, World, ALICE, EXTERNAL};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

/// A script of `tests/clients` that says what it has done, one line a step, and goes on when told.
struct Script {
    child: Child,
    steps: BufReader<ChildStdout>,
    go_on: ChildStdin,
}

impl Script {
    fn start(world: &World, source: &str, args: &[&str]) -> Script {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients");
        assert!(home.join("node_modules").is_dir(), "run tests/setup.sh first");
        let mut command = world.command(Host::Alice, "node");
        command.current_dir(home).args(["--input-type=module", "--eval", source, "--"]).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let steps = BufReader::new(child.stdout.take().unwrap());
        let go_on = child.stdin.take().unwrap();
        Script { child, steps, go_on }
    }

    fn said(&mut self) -> String {
        let mut line = String::new();
        self.steps.read_line(&mut line).unwrap();
        line.trim_end().to_string()
    }

    fn go_on(&mut self) {
        self.go_on.write_all(b"\n").unwrap();
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_client_that_knows_only_version_1_and_one_that_takes_only_version_2_both_open_a_port() {
    // Conformance 141, 277, 278, 279, 281.
    let world = World::new();
    let _daemon = world.start();
    let _servers = [
        world.tcp_server(Host::Alice, (ALICE, 7001)),
        world.tcp_server(Host::Alice, (ALICE, 17002)),
    ];
    let (one, two) = (SocketAddrV4::new(EXTERNAL, 17001), SocketAddrV4::new(EXTERNAL, 17002));

    let mut v1 = Script::start(&world, include_str!("../clients/nat-upnp.mjs"), &["7001", "17001"]);
    assert_eq!(v1.said(), "external address 11.22.33.1");
    assert_eq!(v1.said(), "mapped 17001");
    // This one always deletes by its local port, so both are the same.
    let mut v2 = Script::start(&world, include_str!("../clients/nat-port-mapper.mjs"), &["17002"]);
    assert_eq!(v2.said(), "external address 11.22.33.1");
    assert_eq!(v2.said(), "mapped 17002");
    assert_eq!(world.tcp(FROM_PEER.port(40000), one), Ok(FROM_PEER.port(40000).source));
    assert_eq!(world.tcp(FROM_PEER.port(40000), two), Ok(FROM_PEER.port(40000).source));
    assert_eq!(
        world.rows(),
        [
            "ipv4 TCP 11.22.33.1:17001 -> 192.168.1.10:7001 remote=null 'node:nat:upnp' upnp enabled=true",
            "ipv4 TCP 11.22.33.1:17002 -> 192.168.1.10:17002 remote=null '@achingbrain/nat-port-mapper' upnp enabled=true",
        ]
    );
    v1.go_on();
    assert_eq!(v1.said(), "unmapped");
    v2.go_on();
    assert_eq!(v2.said(), "unmapped");
    assert_eq!(world.rows(), [""; 0]);
    assert!(world.tcp(FROM_PEER, one).is_err());
    assert!(world.tcp(FROM_PEER, two).is_err());
}
