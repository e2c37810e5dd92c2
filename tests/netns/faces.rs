//! Clients of others, unmodified: one row for each client and step, which is what the client says
//! itself; the daemon's list and packets prove it.

mod gupnp;
mod igd_next;
mod libupnp;
mod npm;
mod pmp;
mod pypi;

use crate::script::{installed, Script};
use crate::traffic::{End, FROM_PEER, FROM_PEER6};
use crate::world::{World, ALICE6, EXTERNAL};
use std::net::SocketAddr;

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
