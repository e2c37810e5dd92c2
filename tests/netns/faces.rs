//! Clients of others, unmodified: one row for each client and step, which is what the client says
//! itself; the daemon's list and packets prove it.

mod gupnp;
mod igd_next;
mod libupnp;
mod npm;
mod pmp;
mod pypi;

use crate::traffic::{End, FROM_PEER, FROM_PEER6};
use crate::world::{Host, World, ALICE6, EXTERNAL};
use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A program, mostly a script of `tests/clients`, that says what it has done, one line a step, and
/// goes on when told. It runs as [`Host::Alice`].
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
    /// Node with the clients from npm.
    fn node(world: &World, source: &str, args: &[&str]) -> Script {
        let mut command = world.command(Host::Alice, "node");
        command.current_dir(installed("clients/node_modules").parent().unwrap());
        command.args(["--input-type=module", "--eval", source, "--"]).args(args);
        Script::start(command)
    }

    /// Python with the clients from PyPI.
    fn python(world: &World, source: &str, args: &[&str]) -> Script {
        let python = installed("clients-python/bin/python");
        Script::program(world, python.to_str().unwrap(), &[&["-c", source], args].concat())
    }

    /// Any other program.
    fn program(world: &World, program: &str, args: &[&str]) -> Script {
        let mut command = world.command(Host::Alice, program);
        command.args(args);
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

    /// Asserts that it says these lines.
    #[track_caller]
    fn says<T: Display>(&mut self, lines: impl IntoIterator<Item = T>) {
        for line in lines {
            assert_eq!(self.said(), line.to_string());
        }
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

/// How `postern list` shows a mapping of Alice.
fn row(protocol: &str, external: u16, internal: u16, description: &str) -> String {
    format!("ipv4 {protocol} 11.22.33.1:{external} -> 192.168.1.10:{internal} remote=null '{description}' upnp enabled=true")
}

/// How `postern list` shows a pinhole of Alice.
fn hole(protocol: &str, port: u16) -> String {
    format!("ipv6 {protocol} 2001:db8:1::10:{port} -> 2001:db8:1::10:{port} remote=null '' upnp enabled=true")
}

/// Seconds that each entry has left.
fn left(world: &World) -> Vec<u64> {
    world.list().iter().map(|entry| entry["expires_in"].as_u64().unwrap()).collect()
}

/// Asserts that a packet from the Internet to this external port comes to Alice, who answers it,
/// or that none does.
#[track_caller]
fn assert_open(world: &World, protocol: &str, external: u16, open: bool) {
    assert_reached(world, protocol, FROM_PEER, (EXTERNAL, external).into(), open);
}

/// The same over IPv6, to a port of Alice herself.
#[track_caller]
fn assert_open6(world: &World, protocol: &str, port: u16, open: bool) {
    assert_reached(world, protocol, FROM_PEER6, (ALICE6, port).into(), open);
}

#[track_caller]
fn assert_reached(world: &World, protocol: &str, from: End, to: SocketAddr, open: bool) {
    // A flow that came in while it was open goes on, so a closed port is tried from another one.
    let from = from.port(if open { 40000 } else { 40001 });
    let answer = if protocol == "TCP" { world.tcp(from, to) } else { world.udp(from, to) };
    match open {
        true => assert_eq!(answer, Ok(from.source), "{protocol} {to}"),
        false => assert!(answer.is_err(), "{protocol} {to}: {answer:?}"),
    }
}
