//! Deleting, expiry, enumeration, and the counters.

use super::*;
use crate::gateway::{Reason, EVENTS_MAX};

#[test]
fn deleting_removes_at_once_and_what_is_absent_is_no_mapping_139() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    let mapping = lab.rows().remove(0);
    lab.events();
    assert_eq!(lab.delete(Asker::Host(ALICE.into()), UDP, 3000), Err(Refusal::NoSuchMapping));
    assert_eq!(lab.delete(Asker::Host(ALICE.into()), TCP, 3001), Err(Refusal::NoSuchMapping));
    let other_remote = lab.gateway.delete(Asker::Owner, Some(TCP), 3000, Some(REMOTE), lab.now);
    assert_eq!(other_remote, Err(Refusal::NoSuchMapping));
    assert_eq!(lab.delete(Asker::Host(ALICE.into()), TCP, 3000), Ok(()));
    assert_eq!(lab.events(), [Event::Removed { mapping, reason: Reason::Deleted }]);
    assert_eq!((lab.rows(), lab.slots()), (vec![], vec![]));
    assert_eq!(lab.delete(Asker::Host(ALICE.into()), TCP, 3000), Err(Refusal::NoSuchMapping));
}

#[test]
fn another_hosts_mapping_is_not_deleted_unless_secure_mode_is_off_140_242() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    assert_eq!(lab.delete(Asker::Host(BOB.into()), TCP, 3000), Err(Refusal::NotOwner));
    assert_eq!(lab.gateway.len(), 1);
    let open = Policy { secure_mode: false, ..Policy::default() };
    lab.gateway.set_policy(open, lab.now).unwrap();
    assert_eq!(lab.delete(Asker::Host(BOB.into()), TCP, 3000), Ok(()));
    lab.open(&ask(ALICE, 3000));
    assert_eq!(lab.delete(Asker::Owner, TCP, 3000), Ok(()));
}

#[test]
fn without_a_protocol_a_hosts_own_mappings_of_the_port_go_141() {
    let mut lab = Lab::new();
    let udp = |request| Request { protocol: UDP, ..request };
    lab.open(&ask(ALICE, 3000));
    lab.open(&udp(ask(ALICE, 3000)));
    lab.open(&ask(ALICE, 4000));
    lab.open(&udp(ask(BOB, 4000)));
    let now = lab.now;
    let mut delete =
        |host: Ipv4Addr, port| lab.gateway.delete(Asker::Host(host.into()), None, port, None, now);
    assert_eq!(delete(BOB, 3000), Err(Refusal::NotOwner));
    assert_eq!(delete(ALICE, 5000), Err(Refusal::NoSuchMapping));
    assert_eq!(delete(ALICE, 3000), Ok(()));
    assert_eq!(delete(ALICE, 4000), Ok(()));
    assert_eq!(lab.rows().iter().map(|m| *m.internal.ip()).collect::<Vec<_>>(), [BOB]);
}

#[test]
fn a_range_is_deleted_in_one_batch_and_skips_what_is_not_the_askers_143() {
    let mut lab = Lab::new();
    for port in 3000..3010 {
        lab.open(&ask(if port % 2 == 0 { ALICE } else { BOB }, port));
    }
    let (now, before) = (lab.now, lab.gateway.backend().applies());
    let mut delete = |asker, ports, all| lab.gateway.delete_range(asker, TCP, ports, all, now);
    assert_eq!(delete(Asker::Host(GUEST.into()), 0..=65535, true), Err(Refusal::NoSuchMapping));
    #[allow(clippy::reversed_empty_ranges)]
    let reversed = delete(Asker::Owner, 65535..=0, true);
    assert_eq!(reversed, Err(Refusal::NoSuchMapping));
    assert_eq!(delete(Asker::Host(ALICE.into()), 3001..=3005, true), Ok(2));
    assert_eq!(lab.gateway.backend().applies(), before + 1);
    assert_eq!(lab.ports(), [3000, 3001, 3003, 3005, 3006, 3007, 3008, 3009]);

    let open = Policy { secure_mode: false, ..Policy::default() };
    lab.gateway.set_policy(open, now).unwrap();
    let mut delete = |asker, ports, all| lab.gateway.delete_range(asker, TCP, ports, all, now);
    assert_eq!(delete(Asker::Host(ALICE.into()), 3006..=3009, false), Ok(2));
    assert_eq!(delete(Asker::Host(ALICE.into()), 3006..=3009, true), Ok(2));
    assert_eq!(delete(Asker::Owner, 0..=65535, true), Ok(4));
}

#[test]
fn the_owner_deletes_by_name_or_everything() {
    let mut lab = Lab::new();
    let ids = [3000, 3001, 3002].map(|port| lab.open(&ask(ALICE, port)).id);
    assert_eq!(lab.gateway.delete_id(ids[1], lab.now), Ok(()));
    assert_eq!(lab.gateway.delete_id(ids[1], lab.now), Err(Refusal::NoSuchMapping));
    assert_eq!(lab.gateway.flush(lab.now), Ok(2));
    assert_eq!(lab.gateway.flush(lab.now), Ok(0));
    assert_eq!((lab.rows(), lab.slots()), (vec![], vec![]));
    assert!(lab.open(&ask(ALICE, 3000)).id > ids[2]);
}

#[test]
fn what_a_host_has_asked_for_goes_with_it_and_nothing_else_234() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    lab.open(&Request { origin: Origin::Manual, ..ask(ALICE, 3001) });
    lab.open(&ask(BOB, 3002));
    lab.events();
    assert_eq!(lab.gateway.flush_host(GUEST.into(), lab.now), Ok(0));
    assert_eq!(lab.gateway.flush_host(ALICE.into(), lab.now), Ok(1));
    assert_eq!(lab.ports(), [3001, 3002]);
    let reason = Reason::Deleted;
    assert!(matches!(&lab.events()[..], [Event::Removed { reason: r, .. }] if *r == reason));
}

#[test]
fn a_deletion_that_the_kernel_refuses_has_not_happened() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    lab.events();
    let before = lab.state();
    let now = lab.now;
    for deletion in 0..4 {
        lab.gateway.backend().fail_next(1);
        let refusal = match deletion {
            0 => lab.delete(Asker::Host(ALICE.into()), TCP, 3000).err(),
            1 => lab.gateway.delete_range(Asker::Owner, TCP, 0..=65535, true, now).err(),
            2 => lab.gateway.delete_id(Id(1), now).err(),
            _ => lab.gateway.flush(now).err(),
        };
        assert_eq!(refusal, Some(Refusal::Backend));
        assert_eq!(lab.state(), before);
    }
}

#[test]
fn an_ended_lease_is_gone_from_list_and_count_and_needs_no_batch_126() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    lab.open(&Request { lease: Some(secs(60)), ..ask(BOB, 4000) });
    lab.events();
    let ended = lab.rows().remove(1);
    assert_eq!(lab.gateway.poll_timeout(), ended.expires);
    let (applies, id) = (lab.gateway.backend().applies(), lab.gateway.system_update_id());
    lab.wait(59);
    assert_eq!((lab.gateway.len(), lab.events()), (2, vec![]));
    lab.wait(1);
    assert_eq!(lab.ports(), [3000]);
    assert_eq!(lab.events(), [Event::Removed { mapping: ended, reason: Reason::Expired }]);
    assert_eq!(lab.gateway.poll_timeout(), Some(lab.now + secs(3540)));
    assert_eq!(lab.gateway.backend().applies(), applies);
    assert_eq!(lab.gateway.system_update_id(), id + 1);
    assert_eq!(lab.slots().len(), 3);
}

#[test]
fn enumeration_is_dense_and_in_the_order_of_making_144_151() {
    let mut lab = Lab::new();
    for port in [3005, 3001, 3003] {
        lab.open(&ask(ALICE, port));
    }
    lab.add(&ask(ALICE, 3005)).unwrap();
    assert_eq!(lab.ports(), [3005, 3001, 3003]);
    lab.delete(Asker::Owner, TCP, 3001).unwrap();
    lab.open(&ask(ALICE, 3001));
    assert_eq!(lab.ports(), [3005, 3003, 3001]);
    assert_eq!((lab.gateway.len(), lab.gateway.at(3)), (3, None));
    let by_port: Vec<u16> = lab.gateway.range(TCP, 3002..=3005).map(|m| m.external.port).collect();
    assert_eq!(by_port, [3003, 3005]);
    let mut walked = Vec::new();
    let mut last = None;
    while let Some(mapping) = lab.gateway.next_after(last) {
        walked.push(mapping.external.port);
        last = Some(mapping.id);
    }
    assert_eq!(walked, lab.ports());
}

#[test]
fn packets_leave_from_the_oldest_unlimited_port_and_the_next_takes_over_246() {
    let mut lab = Lab::new();
    let internal = SocketAddrV4::new(ALICE, 7);
    let to = |port, lease| Request { internal, lease: Some(secs(lease)), ..ask(ALICE, port) };
    lab.open(&Request { remote: Some(REMOTE), ..to(3000, 1000) });
    assert_eq!(lab.leaves_from(TCP, internal), Some(3000));
    for (port, lease) in [(3001, 300), (3002, 100), (3003, 300), (3004, 200)] {
        lab.open(&to(port, lease));
        assert_eq!(lab.leaves_from(TCP, internal), Some(3001));
    }
    lab.add(&to(3001, 50)).unwrap();
    lab.wait(49);
    assert_eq!(lab.leaves_from(TCP, internal), Some(3001));
    lab.wait(1);
    assert_eq!(lab.leaves_from(TCP, internal), Some(3002));
    lab.delete(Asker::Owner, TCP, 3002).unwrap();
    assert_eq!(lab.leaves_from(TCP, internal), Some(3003));
    lab.add(&Request { enabled: false, ..to(3003, 300) }).unwrap();
    assert_eq!(lab.leaves_from(TCP, internal), Some(3004));
    lab.wait(150);
    assert_eq!(lab.leaves_from(TCP, internal), Some(3000));
}

#[test]
fn a_takeover_that_the_kernel_refuses_is_made_good_by_the_next_change() {
    let mut lab = Lab::new();
    let internal = SocketAddrV4::new(ALICE, 7);
    lab.open(&Request { internal, lease: Some(secs(10)), ..ask(ALICE, 3000) });
    lab.open(&Request { internal, ..ask(ALICE, 3001) });
    lab.gateway.backend().fail_next(1);
    lab.wait(10);
    assert_eq!(lab.ports(), [3001]);
    assert!(lab.gateway.needs_resync());
    assert_eq!(lab.leaves_from(TCP, internal), None);
    lab.open(&ask(BOB, 4000));
    assert!(!lab.gateway.needs_resync());
    assert_eq!(lab.leaves_from(TCP, internal), Some(3001));
}

#[test]
fn the_update_id_counts_every_change_and_wraps() {
    let mut lab = Lab::new();
    lab.gateway.update_id = u32::MAX - 2;
    let mut seen = Vec::new();
    lab.open(&ask(ALICE, 3000));
    seen.push(lab.gateway.system_update_id());
    lab.add(&ask(ALICE, 3000)).unwrap();
    seen.push(lab.gateway.system_update_id());
    assert_eq!(lab.add(&ask(BOB, 3000)), Err(Refusal::Conflict));
    seen.push(lab.gateway.system_update_id());
    lab.delete(Asker::Owner, TCP, 3000).unwrap();
    seen.push(lab.gateway.system_update_id());
    assert_eq!(seen, [u32::MAX - 1, u32::MAX, u32::MAX, 0]);
}

#[test]
fn events_that_nobody_takes_are_bounded_and_the_oldest_go_first() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    for _ in 0..EVENTS_MAX / 2 {
        lab.gateway.set_wan(wan(&[])).unwrap();
        lab.gateway.set_wan(wan(&[PUBLIC])).unwrap();
    }
    let events = lab.events();
    assert_eq!(events.len(), EVENTS_MAX);
    assert!(events.iter().all(|event| matches!(event, Event::External(_))));
}
