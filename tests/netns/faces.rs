//! Clients of others, unmodified: two from npm that need opposite faces of the same daemon, and two
//! libraries from PyPI that many programs are built on.

use crate::traffic::FROM_PEER;
use crate::world::{Host, World, ALICE, EXTERNAL};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A script of `tests/clients` that says what it has done, one line a step, and goes on when told.
struct Script {
    child: Child,
    steps: BufReader<ChildStdout>,
    go_on: ChildStdin,
}

/// Something that `tests/setup.sh` has installed.
fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(path);
    assert!(path.exists(), "run tests/setup.sh first: there is no {}", path.display());
    path
}

impl Script {
    fn node(world: &World, source: &str, args: &[&str]) -> Script {
        let mut command = world.command(Host::Alice, "node");
        command.current_dir(installed("clients/node_modules").parent().unwrap());
        command.args(["--input-type=module", "--eval", source, "--"]).args(args);
        Script::start(command)
    }

    fn python(world: &World, source: &str, args: &[&str]) -> Script {
        let python = installed("clients-python/bin/python");
        let mut command = world.command(Host::Alice, python.to_str().unwrap());
        command.args(["-c", source]).args(args);
        Script::start(command)
    }

    fn start(mut command: Command) -> Script {
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

    let mut v1 = Script::node(&world, include_str!("../clients/nat-upnp.mjs"), &["7001", "17001"]);
    assert_eq!(v1.said(), "external address 11.22.33.1");
    assert_eq!(v1.said(), "mapped 17001");
    // This one always deletes by its local port, so both are the same.
    let mut v2 = Script::node(&world, include_str!("../clients/nat-port-mapper.mjs"), &["17002"]);
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

#[test]
fn the_library_of_home_assistant_reads_everything_and_opens_and_closes_ports() {
    // Conformance 38, 98, 99, 108, 109, 117, 283.
    let world = World::new();
    let _daemon = world.start();
    let _tcp = world.tcp_server(Host::Alice, (ALICE, 7001));
    let _udp = world.udp_server(Host::Alice, (ALICE, 7001));
    let to = SocketAddrV4::new(EXTERNAL, 17001);
    let source = include_str!("../clients/async-upnp-client.py");
    let mut client = Script::python(&world, source, &["7001", "17001"]);
    assert_eq!(client.said(), "found http://192.168.1.1:5000/igd1/desc.xml");
    assert_eq!(client.said(), "status Connected ERROR_NONE 11.22.33.1 int int int int");
    assert_eq!(client.said(), "link Ethernet Up");
    assert_eq!(client.said(), "nat True False");
    assert_eq!(client.said(), "mapped 192.168.1.10 7001 True Home & <away>");
    let seen = FROM_PEER.port(40000).source;
    assert_eq!(world.tcp(FROM_PEER.port(40000), to), Ok(seen));
    assert_eq!(world.udp(FROM_PEER.port(40000), to), Ok(seen));
    let row = |protocol| {
        format!("ipv4 {protocol} 11.22.33.1:17001 -> 192.168.1.10:7001 remote=null 'Home & <away>' upnp enabled=true")
    };
    assert_eq!(world.rows(), ["TCP", "UDP"].map(row));
    client.go_on();
    assert_eq!(client.said(), "unmapped");
    assert_eq!(world.rows(), [""; 0]);
    assert!(world.tcp(FROM_PEER, to).is_err());
    assert!(world.udp(FROM_PEER, to).is_err());
}

#[test]
fn a_bittorrent_client_is_reached_through_the_port_it_opens_for_itself() {
    // Conformance 46, 287.
    let world = World::new();
    let _daemon = world.start();
    let source = include_str!("../clients/libtorrent.py");
    let mut client = Script::python(&world, source, &["16881"]);
    for protocol in ["TCP", "UDP"] {
        let mapped = "successfully mapped port using UPnP. local: 192.168.1.10 external port";
        assert_eq!(client.said(), format!("{mapped}: {protocol}/16881"));
    }
    let row = |protocol| {
        format!("ipv4 {protocol} 11.22.33.1:16881 -> 192.168.1.10:16881 remote=null 'libtorrent/2.1.1.0' upnp enabled=true")
    };
    assert_eq!(world.rows(), ["TCP", "UDP"].map(row));
    world.inside(Host::Internet, || {
        let to = SocketAddrV4::new(EXTERNAL, 16881);
        TcpStream::connect_timeout(&to.into(), Duration::from_secs(2)).unwrap();
    });
    client.go_on();
    assert_eq!(client.said(), "ended 2");
    assert_eq!(world.rows(), [""; 0]);
}
