//! What the owner maps by hand: bound by no rule for hosts, and out of their reach.

use super::*;
use crate::gateway::pinhole::{Hole, PinholeRequest};
use crate::gateway::Reason;
use std::net::Ipv6Addr;

const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);

fn by_hand(client: Ipv4Addr, port: u16) -> Request<'static> {
    Request { origin: Origin::Manual, lease: None, ..ask(client, port) }
}

fn closed() -> Policy {
    Policy { rules: vec![rule(false, 0..=65535)], ..Policy::default() }
}

#[test]
fn the_rules_for_hosts_do_not_bind_the_owner_but_the_router_s_own_ports_do() {
    let reserved = vec![(TCP, 5000)];
    let mut lab = Lab::with(Policy { reserved, ..closed() });
    assert_eq!(lab.add(&ask(ALICE, 80)), Err(Refusal::Denied));
    lab.open(&by_hand(ALICE, 80));
    assert_eq!(lab.rows()[0].origin, Origin::Manual);
    assert_eq!(lab.add(&by_hand(ALICE, 5000)), Err(Refusal::Reserved));
    let nowhere = Request { port: Port::Exactly(0), ..by_hand(ALICE, 81) };
    assert_eq!(lab.add(&nowhere), Err(Refusal::Denied));
    assert_eq!(lab.add(&by_hand(ROUTER, 81)), Err(Refusal::InvalidTarget));
    assert_eq!(lab.add(&by_hand(REMOTE, 81)), Err(Refusal::InvalidTarget));
    assert_eq!(lab.ports(), [80]);
}

#[test]
fn new_rules_and_a_restart_leave_it_open() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    lab.open(&by_hand(ALICE, 3001));
    lab.gateway.set_policy(closed(), lab.now).unwrap();
    assert_eq!(lab.ports(), [3001]);
    let saved = lab.rows();

    let mut lab = Lab::with(closed());
    assert_eq!(lab.gateway.restore(saved.clone(), vec![], lab.now), Ok(1));
    assert_eq!(lab.rows(), saved);
}

#[test]
fn no_host_changes_or_deletes_it_not_even_the_one_it_leads_to() {
    let mut lab = Lab::with(Policy { secure_mode: false, ..Policy::default() });
    lab.open(&by_hand(ALICE, 3000));
    let before = lab.rows();
    for host in [ALICE, BOB] {
        let asker = Asker::Host(host.into());
        assert_eq!(lab.delete(asker, TCP, 3000), Err(Refusal::NotOwner));
        let range = lab.gateway.delete_range(asker, TCP, 0..=65535, true, lab.now);
        assert_eq!(range, Err(Refusal::NoSuchMapping));
        assert_eq!(lab.add(&ask(host, 3000)), Err(Refusal::Conflict));
        let one_remote = Request { remote: Some(REMOTE), ..ask(host, 3000) };
        assert_eq!(lab.add(&one_remote), Err(Refusal::Conflict));
    }
    assert_eq!(lab.rows(), before);
    // Who does not insist on the port gets another one, not this one refreshed.
    let granted = lab.open(&any(ALICE, 3000, 3000));
    assert_ne!(granted.port, 3000);
    assert_eq!(lab.rows()[0], before[0]);
}

#[test]
fn the_owner_refreshes_the_owner_s_and_takes_nothing_from_a_host() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    assert_eq!(lab.add(&by_hand(ALICE, 3000)), Err(Refusal::Conflict));
    assert_eq!(lab.add(&by_hand(BOB, 3000)), Err(Refusal::Conflict));
    let made = lab.open(&by_hand(ALICE, 3001));
    let again = Request { lease: Some(secs(60)), description: "other", ..by_hand(ALICE, 3001) };
    assert_eq!(lab.add(&again), Ok(Granted { new: false, ..made }));
    lab.delete(Asker::Owner, TCP, 3001).unwrap();
    assert_eq!(lab.ports(), [3000]);
}

#[test]
fn a_host_keeps_the_other_protocol_of_a_port_that_was_mapped_to_it_by_hand() {
    let mut lab = Lab::new();
    lab.open(&by_hand(ALICE, 3000));
    lab.open(&Request { origin: Origin::NatPmp, protocol: UDP, ..ask(ALICE, 3000) });
    let bob = Request { origin: Origin::NatPmp, protocol: UDP, ..ask(BOB, 3000) };
    assert_eq!(lab.add(&bob), Err(Refusal::Conflict));
}

#[test]
fn a_pinhole_made_by_hand_is_the_owner_s_too() {
    let mut lab = Lab::with(closed());
    let lan6 = Lan {
        address: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1).into(),
        prefix_len: 64,
        ..lan("br-lan", ROUTER)
    };
    lab.gateway.set_lans(vec![lan("br-lan", ROUTER), lan6], lab.now);
    let hole =
        Hole { internal: HOST6, internal_port: 80, protocol: TCP, remote: None, remote_port: None };
    let by = |origin| PinholeRequest {
        client: HOST6,
        origin,
        hole,
        lease: secs(60),
        description: "web",
        high_ports_only: false,
    };
    assert_eq!(lab.gateway.add_pinhole(&by(Origin::Upnp), lab.now), Err(Refusal::Denied));
    let made = lab.gateway.add_pinhole(&by(Origin::Manual), lab.now).unwrap();
    let host = Asker::Host(HOST6.into());
    let (id, now) = (made.unique_id, lab.now);
    assert_eq!(lab.gateway.update_pinhole(host, id, secs(99), now), Err(Refusal::NotOwner));
    assert_eq!(lab.gateway.delete_pinhole(host, id, now), Err(Refusal::NotOwner));
    lab.gateway.set_policy(Policy::default(), now).unwrap();
    assert_eq!(lab.gateway.add_pinhole(&by(Origin::Upnp), now), Err(Refusal::NotOwner));
    lab.gateway.set_policy(closed(), now).unwrap();
    let kept: Vec<_> = lab.gateway.pinholes().cloned().collect();
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].origin, kept[0].expires), (Origin::Manual, now + secs(60)));
    assert_eq!(lab.gateway.restore(vec![], kept.clone(), now), Ok(0), "it is there");
    lab.gateway.delete_id(made.id, now).unwrap();
    let last = lab.events().pop();
    let gone = Event::PinholeRemoved { pinhole: kept[0].clone(), reason: Reason::Deleted };
    assert_eq!(last, Some(gone));
}
