//! Random histories: what clients, the owner, the network and bad luck may do.

use super::world::POLICIES;
use crate::gateway::mapping::{Origin, Protocol};
use proptest::prelude::*;

/// Time goes by in steps of so many seconds: more than the clock tolerance, so that no wrong end is
/// too little wrong to be put right.
pub(super) const TICK: u64 = 3;

#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) client: usize,
    pub(super) target: usize,
    pub(super) origin: Origin,
    pub(super) protocol: Protocol,
    pub(super) exactly: bool,
    pub(super) port: u16,
    pub(super) remote: usize,
    pub(super) internal_port: u16,
    pub(super) lease: Option<u64>,
    pub(super) enabled: bool,
    pub(super) high_ports_only: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Add(Ask),
    Delete { asker: Option<usize>, protocol: Option<Protocol>, port: u16, remote: usize },
    DeleteRange { asker: Option<usize>, protocol: Protocol, first: u16, last: u16, all: bool },
    DeleteId(usize),
    Flush,
    Advance(u64),
    Wan(usize),
    Lans(bool),
    Policy(usize),
    Tamper(Vec<usize>),
    Crash,
    Restart,
}

/// How the backend treats the calls of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Luck {
    Good,
    OutOfStepOnce,
    Fails(usize),
}

fn ask() -> impl Strategy<Value = Ask> {
    let who = (0..4usize, prop_oneof![9 => Just(None), 1 => (0..4usize).prop_map(Some)]);
    let how = (0..3usize, any::<bool>(), any::<bool>(), prop::bool::weighted(0.85));
    let ports = (port(), 0..3usize, 0..4u16, prop::bool::weighted(0.3));
    (who, how, ports, prop::option::weighted(0.8, (1..20u64).prop_map(|n| n * TICK))).prop_map(
        |(
            (client, target),
            (origin, tcp, exactly, enabled),
            (port, remote, inner, high),
            lease,
        )| {
            Ask {
                client,
                target: target.unwrap_or(client),
                origin: Origin::ALL[origin],
                protocol: if tcp { Protocol::Tcp } else { Protocol::Udp },
                exactly,
                port,
                remote,
                internal_port: [0, 80, 3000, 3001][usize::from(inner)],
                lease,
                enabled,
                high_ports_only: high,
            }
        },
    )
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![1 => Just(0), 1 => Just(443), 1 => Just(5000), 12 => 2000..2005u16]
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)]
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let asker = || prop::option::weighted(0.8, 0..4usize);
    prop_oneof![
        20 => ask().prop_map(Op::Add),
        5 => (asker(), prop::option::of(protocol()), port(), 0..3usize).prop_map(
            |(asker, protocol, port, remote)| Op::Delete { asker, protocol, port, remote }
        ),
        2 => (asker(), protocol(), port(), port(), any::<bool>()).prop_map(
            |(asker, protocol, first, last, all)| {
                Op::DeleteRange { asker, protocol, first, last, all }
            }
        ),
        1 => (0..8usize).prop_map(Op::DeleteId),
        1 => Just(Op::Flush),
        8 => (0..10u64).prop_map(|n| Op::Advance(n * TICK)),
        2 => (0..4usize).prop_map(Op::Wan),
        1 => any::<bool>().prop_map(Op::Lans),
        2 => (0..POLICIES).prop_map(Op::Policy),
        2 => prop::collection::vec(0..40usize, 1..5).prop_map(Op::Tamper),
        1 => Just(Op::Crash),
        1 => Just(Op::Restart),
    ]
}

pub(super) fn luck() -> impl Strategy<Value = Luck> {
    prop_oneof![
        8 => Just(Luck::Good),
        1 => Just(Luck::OutOfStepOnce),
        1 => (1..5usize).prop_map(Luck::Fails),
    ]
}
