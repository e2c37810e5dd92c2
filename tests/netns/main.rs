//! The whole daemon against a real kernel: hosts, router and Internet are network namespaces,
//! the firewall is shaped like OpenWrt's, packets are real.
//!
//! Needs root, `nft`, `ip`, `upnpc`, `chromium` and the clients that `tests/setup.sh` installs. Every test
//! builds its own world and leaves nothing behind.

// All of this is test code, though only some of it is marked `#[test]`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod clients;
mod daemon;
mod pcp_client;
mod script;
mod traffic;
mod ubusd;
mod world;

mod browser;
mod confinement;
mod control;
mod cves;
mod discovery;
mod endurance;
mod events;
mod faces;
mod firewall;
mod forwards;
mod hostile;
mod interfaces;
mod ipv6;
mod lifecycle;
mod limits;
mod malformed;
mod natpmp;
mod packets;
mod pcp;
mod pcp_table;
mod pinholes;
mod revocation;
mod table;
mod ubus;
mod upnpc;
mod wan;
