//! RFC 6887 §13: PREFER_FAILURE, FILTER, THIRD_PARTY.

use super::*;
use crate::gateway::{FILTERS_MAX, FILTERS_PER_MAPPING};
use crate::netfilter::Slot;

fn exactly(external: u16, address: IpAddr) -> Pcp {
    Pcp { external, address, options: PREFER_FAILURE.to_vec(), ..map() }
}

#[test]
fn s13_2_the_suggested_port_and_address_or_none_225() {
    let mut lab = Lab::new();
    let told = lab.pcp(&exactly(17000, EXTERNAL.into()));
    assert_eq!((told.granted(), &told.options[..]), ((17000, 7200), &PREFER_FAILURE[..]));
    let before = lab.state().0;
    let refused = |lab: &mut Lab, request: Pcp| lab.pcp(&request).refused();
    assert_eq!(refused(&mut lab, exactly(17001, EXTERNAL.into())), (11, 30), "it has another");
    let bob = |request| Pcp { host: BOB.into(), ..request };
    let none = Ipv4Addr::UNSPECIFIED.into();
    assert_eq!(refused(&mut lab, bob(exactly(17000, none))), (11, 30), "taken");
    assert_eq!(refused(&mut lab, bob(exactly(17002, PEER.into()))), (11, 30), "not our address");
    assert_eq!(refused(&mut lab, bob(exactly(5351, none))), (11, 30), "the router's own");
    assert_eq!(refused(&mut lab, bob(exactly(0, none))), (6, 1800));
    let denied = PermRule {
        allow: false,
        external: 80..=80,
        internal: (BOB.into(), 32),
        internal_ports: 0..=65535,
    };
    let policy = Policy { rules: vec![denied], ..lab.gateway.policy().clone() };
    lab.gateway.set_policy(policy, lab.now).unwrap();
    assert_eq!(refused(&mut lab, bob(exactly(80, none))), (11, 30), "the owner's rules");
    assert_eq!(lab.state().0, before);
    assert_eq!(lab.pcp(&exactly(17000, none)).granted(), (17000, 7200), "renewed");
}

#[test]
fn s11_3_a_wrong_nonce_is_told_before_a_wrong_port_204() {
    let mut lab = Lab::new();
    lab.pcp(&exactly(17000, EXTERNAL.into()));
    let stranger = Pcp { nonce: OTHER_NONCE, ..exactly(17001, PEER.into()) };
    assert_eq!(lab.pcp(&stranger).refused().0, 2);
}

#[test]
fn s13_2_over_ipv6_only_the_own_port_and_address_can_be_had_225() {
    let mut lab = Lab::new();
    let ask = |external, address: IpAddr| Pcp {
        external,
        address,
        options: PREFER_FAILURE.to_vec(),
        ..map6()
    };
    assert_eq!(lab.pcp(&ask(7001, ALICE6.into())).refused(), (11, 30));
    assert_eq!(lab.pcp(&ask(7000, BOB6.into())).refused(), (11, 30));
    assert_eq!(lab.pcp(&ask(7000, ALICE6.into())).granted(), (7000, 7200));
    let stranger = Pcp { nonce: OTHER_NONCE, ..ask(7001, BOB6.into()) };
    assert_eq!(lab.pcp(&stranger).refused().0, 2, "the nonce comes first");
}

/// The filters that the kernel has, as the words of the state file, and whether others are let in.
fn kernel(lab: &mut Lab) -> (Vec<String>, bool, usize) {
    let slots: Vec<Slot> = lab.gateway.backend().elements().keys().copied().collect();
    let filters = slots.iter().filter_map(|slot| match slot {
        Slot::Filtered(_, _, filter) | Slot::Filtered6(_, filter) => Some(filter.to_string()),
        _ => None,
    });
    let open = |s: &&Slot| matches!(s, Slot::Forward(..) | Slot::Pinhole(_));
    let selects = |s: &&Slot| matches!(s, Slot::Select(..) | Slot::Select6(_));
    (filters.collect(), slots.iter().find(open).is_some(), slots.iter().filter(selects).count())
}

#[test]
fn s13_3_filters_add_up_and_renewals_keep_them_227() {
    let mut lab = Lab::new();
    let with = |options: &[Vec<u8>]| Pcp { options: options.concat(), ..map() };
    let (one, net) = (filter(PEER, 128, 9000), filter(PEER, 96 + 24, 0));
    let told = lab.pcp(&with(std::slice::from_ref(&one)));
    assert_eq!(told.options, one);
    assert_eq!(kernel(&mut lab), (vec!["198.51.100.7/32,9000".into()], false, 1));
    lab.pcp(&map()).granted();
    assert_eq!(kernel(&mut lab).0.len(), 1, "a renewal without filters");
    let other = filter(EXTERNAL, 128, 0);
    lab.pcp(&with(&[other])).granted();
    let both = ["198.51.100.7/32,9000", "203.0.113.1/32,*"].map(String::from).to_vec();
    assert_eq!(kernel(&mut lab), (both, false, 1));
    lab.pcp(&with(&[net])).granted();
    let wider = ["198.51.100.0/24,*", "203.0.113.1/32,*"].map(String::from).to_vec();
    assert_eq!(kernel(&mut lab), (wider, false, 1), "one lies within another");
    let none = filter(Ipv4Addr::UNSPECIFIED, 0, 0);
    lab.pcp(&with(&[none.clone(), one])).granted();
    assert_eq!(kernel(&mut lab).0, ["198.51.100.7/32,9000"], "changed");
    lab.pcp(&with(&[none])).granted();
    assert_eq!(kernel(&mut lab), (vec![], true, 0), "all are let in");
    lab.pcp(&with(&[filter(PEER, 128, 0)])).granted();
    assert_eq!(kernel(&mut lab), (vec!["198.51.100.7/32,*".into()], false, 1), "closed again");
    lab.pcp(&Pcp { lifetime: 0, ..map() }).granted();
    assert_eq!(kernel(&mut lab), (vec![], false, 0));
    assert!(lab.gateway.backend().elements().is_empty());
}

#[test]
fn s13_3_a_filter_over_ipv6_227() {
    let mut lab = Lab::new();
    let with = |options: Vec<u8>| Pcp { options, ..map6() };
    lab.pcp(&with(filter(PEER6, 64, 9000))).granted();
    assert_eq!(kernel(&mut lab), (vec!["2001:db8:9::/64,9000".into()], false, 1));
    lab.pcp(&Pcp { internal: 7001, lifetime: 120, ..with(filter(PEER6, 128, 0)) }).granted();
    assert_eq!(kernel(&mut lab).2, 1, "one for each host");
    lab.pcp(&with(filter(PEER6, 0, 0))).granted();
    assert_eq!(kernel(&mut lab), (vec!["2001:db8:9::7/128,*".into()], true, 1));
    lab.wait(121);
    assert_eq!(kernel(&mut lab), (vec![], true, 0));
    lab.pcp(&with(filter(PEER6, 128, 0))).granted();
    lab.pcp(&Pcp { lifetime: 0, ..map6() }).granted();
    assert!(lab.gateway.backend().elements().is_empty());
}

#[test]
fn s13_3_too_many_filters_are_refused_whole_227() {
    let mut lab = Lab::new();
    let hosts = |from: usize, count: usize| -> Vec<u8> {
        (from..from + count)
            .flat_map(|i| filter(Ipv4Addr::from_bits(i as u32 * 2), 128, 0))
            .collect()
    };
    let with = |internal, options| Pcp { internal, options, ..map() };
    let most = FILTERS_PER_MAPPING;
    assert_eq!(lab.pcp(&with(7000, hosts(1, most + 1))).refused(), (13, 1800));
    assert_eq!(lab.rows(), [""; 0]);
    lab.pcp(&with(7000, hosts(1, most))).granted();
    assert_eq!(lab.pcp(&with(7000, hosts(100, 1))).refused(), (13, 1800));
    assert_eq!(kernel(&mut lab).0.len(), most);
    for i in 1..FILTERS_MAX / most {
        lab.pcp(&with(7000 + i as u16, hosts(1, most))).granted();
    }
    assert_eq!(lab.pcp(&with(8000, hosts(1, 1))).refused(), (13, 1800), "all together");
    lab.pcp(&with(7000, hosts(1, most))).granted();
    lab.pcp(&Pcp { lifetime: 0, ..map() });
    lab.pcp(&with(8000, hosts(1, 1))).granted();
}

#[test]
fn s13_1_another_host_is_mapped_only_by_who_may_226() {
    let mut lab = Lab::new();
    let for_bob = Pcp { external: 17000, options: third_party(BOB), ..map() };
    assert_eq!(lab.pcp(&for_bob).refused(), (5, 1800), "off");
    lab.settings.third_party = vec![ALICE.into(), ALICE6.into()];
    let told = lab.pcp(&for_bob);
    assert_eq!((told.granted(), told.options), ((17000, 7200), third_party(BOB)));
    assert_eq!(lab.rows(), ["UDP 17000 -> 192.168.1.20:7000 7200 pcp"]);
    assert_eq!(lab.pcp(&Pcp { host: BOB.into(), nonce: OTHER_NONCE, ..map() }).refused().0, 2);
    let none =
        (0..1).filter_map(|i| super::super::update(&lab.gateway, lab.gateway.at(i)?, 7, lab.now));
    assert_eq!(none.count(), 0, "Bob has not asked");
    assert_eq!(lab.pcp(&Pcp { options: third_party(ALICE), ..map() }).refused(), (3, 1800));
    assert_eq!(lab.pcp(&Pcp { options: third_party(ROUTER), ..map() }).refused(), (2, 1800));
    assert_eq!(lab.pcp(&Pcp { options: third_party(PEER), ..map() }).refused(), (2, 1800));
    assert_eq!(lab.pcp(&Pcp { options: third_party(BOB6), ..map() }).refused(), (2, 1800));
    let of_bob = Pcp { host: BOB.into(), options: third_party(ALICE), ..map() };
    assert_eq!(lab.pcp(&of_bob).refused(), (5, 1800), "he may not");
    assert_eq!(lab.pcp(&Pcp { lifetime: 0, ..for_bob }).code, 0);
    assert_eq!(lab.rows(), [""; 0]);
    lab.pcp(&Pcp { options: third_party(BOB6), ..map6() }).granted();
    assert_eq!(lab.gateway.pinholes().next().unwrap().hole.internal, BOB6);
}
