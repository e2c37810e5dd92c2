//! Networks and rules that change, crashes, restarts, and a kernel that others edit.

use super::*;
use crate::gateway::elements::difference;
use crate::gateway::{ExternalState, Reason, RESYNC_BATCH};
use crate::netfilter::memory::Kept;
use crate::netfilter::{Backend, Change, Note, WAN_ADDRESSES_MAX};

/// Another run over the same kernel: nothing is known yet.
fn after_a_crash(lab: &mut Lab) -> Gateway<Memory> {
    let mut gateway = Gateway::new(std::mem::take(lab.gateway.backend()), Policy::default(), 1);
    gateway.set_lans(lab.gateway.lans().to_vec(), lab.now);
    gateway
}

/// A mapping's own element, as somebody else might have put it.
fn element(id: u64, port: u16, internal: &str) -> Element {
    let note = Note { id: Id(id), origin: Origin::Upnp, client: None, description: "x".into() };
    let internal = internal.parse().unwrap();
    Element {
        rule: Rule::Forward { protocol: TCP, port, remote: None, internal, note },
        expires: None,
    }
}

fn put(memory: &mut Memory, element: Element) {
    memory
        .elements_mut()
        .insert(element.rule.slot(), Kept { element, connections: 0, fresh: false });
}

#[test]
fn the_kernels_wan_follows_the_device_and_is_told_once_299() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    lab.events();
    let mappings = lab.kernel();
    let second = Ipv4Addr::new(203, 0, 113, 9);
    lab.gateway.set_wan(wan(&[second, PUBLIC, second])).unwrap();
    assert_eq!(lab.gateway.backend().wan().addresses, [PUBLIC, second]);
    assert_eq!(lab.gateway.backend().wan().device.as_deref(), Some("wan0"));
    lab.gateway.set_wan(wan(&[second])).unwrap();
    assert_eq!(lab.events(), [Event::External(ExternalState::Active(second))]);
    assert_eq!(lab.kernel(), mappings);
    let many: Vec<_> = (1..=100).map(|n| Ipv4Addr::new(203, 0, 113, n)).collect();
    lab.gateway.set_wan(wan(&many)).unwrap();
    assert_eq!(lab.gateway.backend().wan().addresses, many[..WAN_ADDRESSES_MAX]);
}

#[test]
fn the_owners_external_address_stands_in_front_of_the_wans_own() {
    let front = Ipv4Addr::new(198, 51, 100, 99);
    let mut lab = Lab::with(Policy { external_ip: Some(front), ..Policy::default() });
    let inner = Ipv4Addr::new(192, 168, 77, 2);
    lab.gateway.set_wan(wan(&[inner])).unwrap();
    assert_eq!(lab.gateway.external(), ExternalState::Active(front));
    assert_eq!(lab.gateway.backend().wan().addresses, [inner, front]);
    lab.gateway.set_wan(wan(&[])).unwrap();
    assert_eq!(lab.gateway.external(), ExternalState::None);
}

#[test]
fn a_wan_change_that_the_kernel_refuses_is_a_fact_all_the_same() {
    let mut lab = Lab::new();
    lab.gateway.backend().fail_next(1);
    assert!(lab.gateway.set_wan(wan(&[])).is_err());
    assert_eq!(lab.gateway.external(), ExternalState::None);
    assert!(lab.gateway.needs_resync());
    lab.gateway.resync(lab.now).unwrap();
    assert!(lab.gateway.backend().wan().addresses.is_empty());
}

#[test]
fn a_table_that_is_made_anew_for_something_else_gets_its_mappings_back_301() {
    type Cause = fn(&mut Lab);
    let causes: [Cause; 2] = [
        |lab| lab.gateway.set_wan(wan(&[PUBLIC])).unwrap(),
        |lab| lab.gateway.set_policy(Policy::default(), lab.now).unwrap(),
    ];
    for cause in causes {
        let mut lab = Lab::new();
        lab.open(&ask(ALICE, 3000));
        let kernel = lab.kernel();
        lab.gateway.backend().remove().unwrap();
        cause(&mut lab);
        assert!(lab.gateway.backend().exists());
        assert!(lab.gateway.needs_resync(), "what was in it is missing");
        lab.gateway.reconcile(lab.now).unwrap();
        assert_eq!((lab.ports(), lab.kernel()), (vec![3000], kernel));
        assert!(!lab.gateway.needs_resync());
    }
}

#[test]
fn mappings_of_a_lan_that_is_gone_stay_until_they_end_300() {
    let mut lab = Lab::new();
    lab.open(&ask(GUEST, 3000));
    lab.gateway.set_lans(vec![lan("br-lan", ROUTER)], lab.now);
    assert_eq!(lab.ports(), [3000]);
    assert_eq!(lab.add(&ask(GUEST, 3000)), Err(Refusal::Denied));
}

#[test]
fn new_rules_end_what_they_deny_and_keep_the_rest_305() {
    let mut lab = Lab::new();
    for port in [3000, 3001, 3002, 3003] {
        lab.open(&ask(ALICE, port));
    }
    lab.events();
    let rows = lab.rows();
    let policy = Policy {
        rules: vec![rule(false, 3001..=3001)],
        reserved: vec![(TCP, 3002)],
        ..limits(1, 1)
    };
    lab.gateway.backend().fail_next(1);
    assert!(lab.gateway.set_policy(policy.clone(), lab.now).is_err());
    assert_eq!((lab.rows(), lab.gateway.policy()), (rows.clone(), &Policy::default()));
    assert_eq!(lab.events(), []);
    lab.gateway.set_policy(policy.clone(), lab.now).unwrap();
    assert_eq!((lab.ports(), lab.gateway.policy()), (vec![3000, 3003], &policy));
    let removed = |m: &Mapping| Event::Removed { mapping: m.clone(), reason: Reason::Policy };
    assert_eq!(lab.events(), [removed(&rows[1]), removed(&rows[2])]);
    assert_eq!(lab.slots().len(), 6);
}

#[test]
fn after_a_crash_everything_is_read_back_and_nothing_announced_243() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    lab.open(&Request { remote: Some(REMOTE), lease: None, ..ask(ALICE, 3000) });
    lab.open(&Request { enabled: false, origin: Origin::Pcp, ..ask(BOB, 4000) });
    lab.open(&Request { lease: Some(secs(5)), ..ask(BOB, 4001) });
    lab.delete(Asker::Owner, TCP, 4000).unwrap();
    lab.open(&Request { enabled: false, origin: Origin::Pcp, ..ask(BOB, 4000) });
    let mut rows = lab.rows();
    rows.remove(2);
    // The kernel's clock goes on without a daemon.
    lab.now += secs(6);
    lab.gateway.backend().set_now(lab.now);
    let mut gateway = after_a_crash(&mut lab);
    assert_eq!(gateway.adopt(lab.now), Ok(3));
    lab.gateway = gateway;
    assert_eq!(lab.rows(), rows);
    assert_eq!(lab.events(), []);
    lab.gateway.set_wan(wan(&[PUBLIC])).unwrap();
    assert_eq!(lab.open(&ask(BOB, 5000)).id, Id(6));
}

#[test]
fn what_cannot_be_adopted_is_taken_out_of_the_kernel() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    let memory = lab.gateway.backend();
    for (id, port, internal) in [
        // The same name twice, none of ours, and one that leaves no room to count on.
        (1, 3001, "192.168.1.10:1"),
        (0, 3002, "192.168.1.10:2"),
        (u64::MAX, 3003, "192.168.1.10:3"),
        // Nonsense.
        (7, 0, "192.168.1.10:4"),
        (8, 3004, "192.168.1.10:0"),
    ] {
        put(memory, element(id, port, internal));
    }
    // Another host's share of a port.
    let mut foreign = element(9, 3000, "192.168.1.11:5");
    if let Rule::Forward { remote, .. } = &mut foreign.rule {
        *remote = Some(REMOTE);
    }
    put(memory, foreign);
    lab.gateway = after_a_crash(&mut lab);
    assert_eq!(lab.gateway.adopt(lab.now), Ok(3));
    let names: Vec<_> = lab.rows().iter().map(|m| (m.id.0, m.external.port)).collect();
    assert_eq!(names, [(1, 3000), (2, 3001), (3, 3003)]);
    assert_eq!(lab.slots().len(), 9);
}

#[test]
fn what_somebody_takes_out_of_a_whole_table_is_deleted_and_what_he_puts_in_is_undone() {
    let mut lab = Lab::new();
    for port in [3000, 3001, 3002] {
        lab.open(&ask(ALICE, port));
    }
    lab.open(&Request { lease: Some(secs(1)), ..ask(ALICE, 3003) });
    lab.events();
    let before = lab.kernel();
    let memory = lab.gateway.backend();
    memory.elements_mut().remove(&Slot::Forward(TCP, 3000, None));
    memory.elements_mut().remove(&Slot::Gate(TCP, 3001));
    memory.elements_mut().remove(&Slot::Forward(TCP, 3003, None));
    put(memory, element(0, 80, "192.168.1.10:80"));
    put(memory, element(99, 81, "192.168.1.10:81"));
    lab.gateway.reconcile(lab.now).unwrap();
    assert_eq!(lab.ports(), [3001, 3002, 3003], "what ends in a moment may just have ended");
    let removed = lab.events().into_iter().filter_map(|event| match event {
        Event::Removed { mapping, reason } => Some((mapping.external.port, reason)),
        _ => None,
    });
    assert_eq!(removed.collect::<Vec<_>>(), [(3000, Reason::Deleted)]);
    let of_3000 = |e: &Element| match e.rule {
        Rule::Gate { port, .. } | Rule::Forward { port, .. } | Rule::Reverse { port, .. } => {
            port == 3000
        }
        _ => false,
    };
    let want: Vec<Element> = before.into_iter().filter(|e| !of_3000(e)).collect();
    assert_eq!(lab.kernel(), want);
    // A table that is gone was not emptied on purpose.
    *lab.gateway.backend() = Memory::new();
    lab.gateway.reconcile(lab.now).unwrap();
    assert_eq!(lab.kernel(), want);
}

#[test]
fn a_kernel_that_cannot_be_read_is_adopted_later() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    lab.gateway = after_a_crash(&mut lab);
    lab.gateway.backend().fail_next(1);
    assert!(lab.gateway.adopt(lab.now).is_err());
    assert_eq!((lab.gateway.len(), lab.slots().len()), (0, 3));
    assert_eq!(lab.gateway.adopt(lab.now), Ok(1));
}

#[test]
fn saved_mappings_come_back_unless_they_ended_or_somebody_was_faster_243() {
    let mut before = Lab::new();
    for port in [3000, 3001, 3002, 3003] {
        let lease = Some(secs(u64::from(port) - 2990));
        before.open(&Request { lease, ..ask(ALICE, port) });
    }
    let mut saved = before.rows();
    let mut lab = Lab::with(Policy { rules: vec![rule(false, 3003..=3003)], ..Policy::default() });
    lab.now = before.now + secs(10);
    lab.open(&ask(BOB, 3001));
    lab.events();
    let bobs = lab.rows().remove(0);
    assert_eq!(lab.gateway.restore(saved.clone(), Vec::new(), lab.now), Ok(1));
    assert_eq!(lab.rows(), [bobs, saved.swap_remove(2)]);
    assert_eq!(lab.events(), []);
    assert_eq!(lab.slots().len(), 6);
}

#[test]
fn what_the_kernel_does_not_take_back_is_not_restored() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    let saved = lab.rows();
    lab.gateway.flush(lab.now).unwrap();
    lab.gateway.backend().fail_next(1);
    assert!(lab.gateway.restore(saved.clone(), Vec::new(), lab.now).is_err());
    assert_eq!((lab.rows(), lab.slots()), (vec![], vec![]));
    assert_eq!(lab.gateway.restore(saved.clone(), Vec::new(), lab.now), Ok(1));
    assert_eq!(lab.rows(), saved);
}

#[test]
fn a_resync_puts_back_what_others_changed_and_leaves_the_rest_alone_301() {
    let mut lab = Lab::new();
    for port in [3000, 3001, 3002] {
        lab.open(&ask(ALICE, port));
    }
    let good = lab.kernel();
    let changes = lab.gateway.backend().changes();
    lab.gateway.resync(lab.now).unwrap();
    assert_eq!(lab.gateway.backend().changes(), changes);

    let (later, sooner) = (lab.now + secs(3603), lab.now + secs(3599));
    let elements = lab.gateway.backend().elements_mut();
    elements.remove(&Slot::Gate(TCP, 3000));
    elements.get_mut(&Slot::Gate(TCP, 3001)).unwrap().element.expires = Some(later);
    elements.get_mut(&Slot::Gate(TCP, 3002)).unwrap().element.expires = Some(sooner);
    put(lab.gateway.backend(), element(3, 3002, "192.168.1.11:22"));
    put(lab.gateway.backend(), element(99, 9999, "192.168.1.11:22"));
    lab.gateway.resync(lab.now).unwrap();
    assert_eq!(lab.gateway.backend().changes(), changes + 4);
    let mut close_enough = good.clone();
    close_enough[2].expires = Some(sooner);
    assert_eq!(lab.kernel(), close_enough);
}

#[test]
fn of_filters_those_that_a_mapping_has_come_together_and_too_many_do_not_come() {
    let filters: Vec<Filter> =
        (1..=16).map(|port| Filter::new(REMOTE.into(), 32, port).unwrap()).collect();
    let mut lab = Lab::with(limits(1000, 1000));
    for port in 3000..3016 {
        lab.gateway.map(&filtered(port, &filters), lab.now).unwrap();
    }
    let (good, saved) = (lab.kernel(), lab.rows());
    let changes = lab.gateway.backend().changes();
    lab.gateway.backend().elements_mut().remove(&Slot::Filtered(TCP, 3001, filters[3]));
    lab.gateway.resync(lab.now).unwrap();
    assert_eq!((lab.kernel(), lab.gateway.backend().changes() - changes), (good, 16));
    lab.gateway.backend().elements_mut().clear();
    let applies = lab.gateway.backend().applies();
    lab.gateway.resync(lab.now).unwrap();
    assert_eq!(lab.gateway.backend().applies() - applies, 2, "those of all at once");

    // What a file or the kernel has is held to the limits.
    let mut more = saved;
    for id in [17, 18, 19] {
        let mut mapping = more[0].clone();
        (mapping.id, mapping.external.port) = (Id(id), 4000 + id as u16);
        mapping.internal.set_port(4000 + id as u16);
        more.push(mapping);
    }
    more[17].guard.as_mut().unwrap().filters.clear();
    let extra = Filter::new(REMOTE.into(), 32, 17).unwrap();
    more[0].guard.as_mut().unwrap().filters.push(extra);
    let mut lab = Lab::with(limits(1000, 1000));
    assert_eq!(lab.gateway.restore(more, Vec::new(), lab.now), Ok(17));
    assert!(!lab.ports().contains(&3000) && lab.ports().contains(&4018));
    assert!(lab.ports().contains(&4017) && !lab.ports().contains(&4019));
}

#[test]
fn what_the_kernel_lacks_comes_mapping_by_mapping() {
    let mut lab = Lab::new();
    let ports = [3000, 2000, 2500];
    for port in ports {
        lab.open(&ask(ALICE, port));
    }
    let added = difference(&lab.gateway.table, &[], lab.now).map(|change| match change {
        Change::Restore(element) => element.rule.slot(),
        other => panic!("{other:?}"),
    });
    let wanted = ports.into_iter().flat_map(|port| {
        let internal = SocketAddrV4::new(ALICE, port);
        [Slot::Gate(TCP, port), Slot::Forward(TCP, port, None), Slot::Reverse(TCP, internal)]
    });
    assert_eq!(added.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
}

#[test]
fn a_large_resync_is_made_in_bounded_batches() {
    let mut lab = Lab::with(limits(1000, 1000));
    for port in 2000..3000 {
        lab.open(&ask(ALICE, port));
    }
    let good = lab.kernel();
    lab.gateway.backend().elements_mut().clear();
    let applies = lab.gateway.backend().applies();
    lab.gateway.resync(lab.now).unwrap();
    assert_eq!(lab.kernel(), good);
    assert_eq!(lab.gateway.backend().applies() - applies, 3000usize.div_ceil(RESYNC_BATCH));
}
