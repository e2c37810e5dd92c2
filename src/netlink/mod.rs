//! Netlink: how the daemon talks to the kernel.
//!
//! [`wire`] is the framing that every netlink family shares, [`nfnl`] adds what nf_tables puts on
//! top, [`route`] keeps the state of links, addresses and default routes. These three are pure.
//! [`socket`] and [`watch`] do the input and output.

pub mod diag;
pub mod neighbour;
pub mod nfnl;
#[cfg(test)]
pub(crate) mod recorded;
pub mod route;
pub mod socket;
pub mod watch;
pub mod wire;
