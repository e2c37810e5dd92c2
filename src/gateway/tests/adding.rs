//! Making and refreshing: what is granted.

use super::*;
use crate::gateway::mapping::DESCRIPTION_MAX;
use crate::gateway::LEASE_MIN;
use crate::netfilter::Note;

#[test]
fn a_new_mapping_is_three_elements_in_one_batch_and_one_event() {
    let mut lab = Lab::new();
    let request = Request { internal: SocketAddrV4::new(ALICE, 80), ..ask(ALICE, 8080) };
    let granted = lab.open(&request);
    let mapping = Mapping {
        id: Id(1),
        external: external(8080),
        internal: SocketAddrV4::new(ALICE, 80),
        expires: Some(lab.now + secs(3600)),
        enabled: true,
        origin: Origin::Upnp,
        description: "a game".into(),
        guard: None,
    };
    assert_eq!(granted, Granted { id: Id(1), port: 8080, new: true });
    assert_eq!(lab.gateway.at(0), Some(&mapping));
    let (protocol, port, internal, expires) = (TCP, 8080, mapping.internal, mapping.expires);
    let note = Note { id: Id(1), origin: Origin::Upnp, client: None, description: "a game".into() };
    let rules = [
        Rule::Gate { protocol, port },
        Rule::Forward { protocol, port, remote: None, internal, note },
        Rule::Reverse { protocol, internal, port },
    ];
    assert_eq!(lab.kernel(), rules.map(|rule| Element { rule, expires }));
    assert_eq!((lab.gateway.backend().applies(), lab.gateway.backend().changes()), (1, 3));
    assert_eq!(lab.events(), [Event::Added { mapping, new: true }]);
}

#[test]
fn the_same_client_asking_again_refreshes_and_keeps_name_and_origin_112() {
    let mut lab = Lab::new();
    lab.open(&Request { origin: Origin::Pcp, ..ask(ALICE, 3000) });
    lab.gateway.backend().set_connections(&Slot::Forward(TCP, 3000, None), 9);
    lab.wait(100);
    let again = Request {
        internal: SocketAddrV4::new(ALICE, 3001),
        description: "another",
        lease: None,
        ..ask(ALICE, 3000)
    };
    assert_eq!(lab.add(&again), Ok(Granted { id: Id(1), port: 3000, new: false }));
    let mapping = Mapping {
        id: Id(1),
        external: external(3000),
        internal: SocketAddrV4::new(ALICE, 3001),
        expires: None,
        enabled: true,
        origin: Origin::Pcp,
        description: "another".into(),
        guard: None,
    };
    assert_eq!(lab.gateway.at(0), Some(&mapping));
    assert_eq!(lab.events().last(), Some(&Event::Added { mapping, new: false }));
    assert_eq!(lab.leaves_from(TCP, SocketAddrV4::new(ALICE, 3000)), None);
    assert_eq!(lab.leaves_from(TCP, SocketAddrV4::new(ALICE, 3001)), Some(3000));
    assert_eq!(lab.gateway.connections(&external(3000)), 9);
    assert_eq!(lab.gateway.poll_timeout(), None);
}

#[test]
fn mappings_that_differ_in_protocol_or_remote_host_are_distinct_114() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    lab.open(&Request { remote: Some(REMOTE), lease: Some(secs(9000)), ..ask(ALICE, 3000) });
    lab.open(&Request { protocol: UDP, ..ask(BOB, 3000) });
    let internal = SocketAddrV4::new(ALICE, 3000);
    assert_eq!(
        lab.slots(),
        [
            Slot::Gate(TCP, 3000),
            Slot::Gate(UDP, 3000),
            Slot::Forward(TCP, 3000, None),
            Slot::Forward(TCP, 3000, Some(REMOTE)),
            Slot::Forward(UDP, 3000, None),
            Slot::Reverse(TCP, internal),
            Slot::Reverse(UDP, SocketAddrV4::new(BOB, 3000)),
        ]
    );
    // The gate stays for the one that ends last.
    assert_eq!(lab.kernel()[0].expires, Some(lab.now + secs(9000)));
    assert_eq!(lab.kernel()[5].expires, Some(lab.now + secs(3600)));
}

#[test]
fn a_disabled_mapping_is_held_and_opens_nothing_and_can_be_switched_125() {
    let mut lab = Lab::new();
    let off = Request { enabled: false, ..ask(ALICE, 3000) };
    lab.open(&off);
    assert_eq!(lab.slots(), [Slot::Held(TCP, 3000, None)]);
    assert_eq!(lab.add(&ask(BOB, 3000)), Err(Refusal::Conflict));
    lab.add(&ask(ALICE, 3000)).unwrap();
    let internal = SocketAddrV4::new(ALICE, 3000);
    let on = [Slot::Gate(TCP, 3000), Slot::Forward(TCP, 3000, None), Slot::Reverse(TCP, internal)];
    assert_eq!(lab.slots(), on);
    lab.add(&off).unwrap();
    assert_eq!(lab.slots(), [Slot::Held(TCP, 3000, None)]);
    lab.wait(3600);
    assert_eq!((lab.gateway.len(), lab.slots()), (0, vec![]));
}

#[test]
fn a_preferred_port_is_given_if_free_and_another_if_not_136() {
    let mut lab = Lab::new();
    assert_eq!(lab.open(&any(ALICE, 3000, 3000)).port, 3000);
    let other = lab.open(&any(BOB, 3000, 3000)).port;
    assert!((1024..49152).contains(&other) && other != 3000);
    // Own and identical: overwritten. Own, but for another endpoint: another port.
    assert_eq!(lab.add(&any(ALICE, 3000, 3000)), Ok(Granted { id: Id(1), port: 3000, new: false }));
    assert_ne!(lab.open(&any(ALICE, 3000, 3001)).port, 3000);
    // Who was given another port gets that one again.
    let again = Granted { id: Id(2), port: other, new: false };
    assert_eq!(lab.add(&any(BOB, 3000, 3000)), Ok(again));
}

#[test]
fn no_preference_is_any_port_and_the_same_one_when_asked_again_138() {
    let mut lab = Lab::new();
    let first = lab.open(&any(ALICE, 0, 3000));
    assert!((1024..49152).contains(&first.port));
    assert_eq!(lab.add(&any(ALICE, 0, 3000)), Ok(Granted { new: false, ..first }));
    assert_ne!(lab.open(&any(ALICE, 0, 3001)).port, first.port);
}

#[test]
fn a_nat_pmp_mapping_keeps_the_companion_port_for_its_host_175() {
    let mut lab = Lab::new();
    let pmp = |request| Request { origin: Origin::NatPmp, protocol: UDP, ..request };
    lab.open(&pmp(ask(ALICE, 3000)));
    assert_eq!(lab.add(&ask(BOB, 3000)), Err(Refusal::Conflict));
    assert_ne!(lab.open(&any(BOB, 3000, 3000)).port, 3000);
    lab.open(&ask(ALICE, 3000));
    lab.open(&ask(BOB, 4000));
    assert_ne!(lab.open(&pmp(any(ALICE, 4000, 4000))).port, 4000);
    // Nobody else has companions.
    lab.open(&Request { protocol: UDP, ..ask(ALICE, 4000) });
}

#[test]
fn a_refresh_that_changes_nothing_is_the_kernels_yes_too() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    let before = lab.kernel();
    lab.gateway.backend().elements_mut().clear();
    assert!(!lab.add(&ask(ALICE, 3000)).unwrap().new);
    assert_eq!(lab.kernel(), before);
}

#[test]
fn a_table_that_is_gone_is_made_again_before_the_answer() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    lab.open(&ask(BOB, 4000));
    let before = lab.kernel();
    crate::netfilter::Backend::remove(lab.gateway.backend()).unwrap();
    assert!(!lab.add(&ask(ALICE, 3000)).unwrap().new);
    assert_eq!(lab.kernel(), before);
    assert_eq!(lab.gateway.backend().wan().addresses, [PUBLIC]);
}

#[test]
fn a_description_is_cleaned_and_cut_130_267() {
    let mut lab = Lab::new();
    let long = format!(" x;\n\"{}", "y".repeat(200));
    lab.open(&Request { description: &long, ..ask(ALICE, 3000) });
    let kept = &lab.rows()[0].description;
    assert_eq!((&kept[..4], kept.len()), ("x;\"y", DESCRIPTION_MAX));
}

#[test]
fn a_lease_is_never_too_short_for_the_kernel_nor_too_long_for_the_clock() {
    let mut lab = Lab::new();
    lab.open(&Request { lease: Some(Duration::ZERO), ..ask(ALICE, 3000) });
    lab.open(&Request { lease: Some(Duration::MAX), ..ask(ALICE, 3001) });
    lab.open(&Request { lease: None, ..ask(ALICE, 3002) });
    let ends: Vec<_> = lab.rows().iter().map(|m| m.expires).collect();
    assert_eq!(ends, [Some(lab.now + LEASE_MIN), None, None]);
}
