//! RFC 6887: the header, MAP, lifetimes.

use super::natpmp::manual;
use super::*;

#[test]
fn s9_another_version_is_told_which_one_is_spoken_190_192() {
    let mut lab = Lab::new();
    for version in [1, 3, 255] {
        let mut bytes = map().bytes();
        bytes[0] = version;
        let answer = lab.ask(ALICE, &bytes).unwrap();
        assert_eq!(answer[..8], [2, 0x81, 0, 1, 0, 0, 7, 8]);
        assert_eq!(answer[24..], bytes[24..]);
    }
    assert_eq!(lab.ask(ALICE, &[1, 9]).unwrap().len(), 24);
    assert_eq!(lab.rows(), [""; 0]);
}

#[test]
fn s8_2_what_cannot_be_a_request_is_dropped_191_193() {
    let mut lab = Lab::new();
    assert_eq!(lab.ask(ALICE, &[]), None);
    assert_eq!(lab.ask(ALICE, &[2]), None);
    assert_eq!(lab.ask(ALICE, &map().bytes()[..23]), None);
    let mut answer = map().bytes();
    answer[1] |= 0x80;
    assert_eq!(lab.ask(ALICE, &answer), None);
}

#[test]
fn s8_2_a_request_that_is_malformed_or_passed_a_nat_changes_nothing_194_195_200() {
    let mut lab = Lab::new();
    let before = lab.state();
    let code = |lab: &mut Lab, host: Ipv4Addr, bytes: &[u8]| lab.ask(host, bytes).unwrap()[3];
    assert_eq!(code(&mut lab, ALICE, &[map().bytes(), vec![0; 2]].concat()), 3);
    assert_eq!(code(&mut lab, ALICE, &map().bytes()[..56]), 3);
    assert_eq!(code(&mut lab, BOB, &map().bytes()), 12);
    let mut unknown = map().bytes();
    unknown[1] = 77;
    assert_eq!(code(&mut lab, ALICE, &unknown), 4);
    assert_eq!(lab.state(), before);
}

#[test]
fn s11_3_a_mapping_is_made_and_told_with_the_external_address_203_207() {
    let mut lab = Lab::new();
    let told = lab.pcp(&Pcp { external: 17000, ..map() });
    let want =
        Told { code: 0, lifetime: 7200, port: 17000, address: EXTERNAL.into(), options: vec![] };
    assert_eq!(told, want);
    assert_eq!(lab.rows(), ["UDP 17000 -> 192.168.1.10:7000 7200 pcp"]);
    let (port, _) = lab.pcp(&Pcp { internal: 7001, ..map() }).granted();
    assert!(port >= 1024);
    lab.pcp(&Pcp { protocol: TCP, external: 17000, ..map() }).granted();
    assert_eq!(lab.rows()[2], "TCP 17000 -> 192.168.1.10:7000 7200 pcp");
}

#[test]
fn s11_3_a_suggestion_is_a_hint_that_never_does_harm_207_208() {
    let mut lab = Lab::new();
    lab.pcp(&Pcp { host: BOB.into(), external: 17000, ..map() });
    let suggestions = [
        (17000, EXTERNAL.into()),
        (5350, EXTERNAL.into()),
        (5351, EXTERNAL.into()),
        (18000, Ipv4Addr::LOCALHOST.into()),
        (18001, IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];
    for (i, (external, address)) in suggestions.into_iter().enumerate() {
        let internal = 7100 + i as u16;
        let told = lab.pcp(&Pcp { internal, external, address, ..map() });
        assert_eq!((told.code, told.address), (0, EXTERNAL.into()));
        assert!(![17000, 5350, 5351].contains(&told.port), "{}", told.port);
    }
}

#[test]
fn s11_3_another_nonce_is_refused_for_as_long_as_the_mapping_lasts_204() {
    let mut lab = Lab::new();
    lab.pcp(&Pcp { external: 17000, ..map() });
    lab.wait(200);
    let before = lab.state();
    for lifetime in [0, 7200] {
        let stranger = Pcp { nonce: OTHER_NONCE, lifetime, ..map() };
        assert_eq!(lab.pcp(&stranger).refused(), (2, 7000));
    }
    assert_eq!(lab.state().0, before.0);
    lab.wan(&[]);
    assert_eq!(lab.pcp(&Pcp { nonce: OTHER_NONCE, ..map() }).refused(), (2, 7000));
}

#[test]
fn s11_3_the_same_nonce_renews_at_the_same_port_whatever_is_suggested_205() {
    let mut lab = Lab::new();
    lab.pcp(&Pcp { external: 17000, ..map() });
    lab.wait(100);
    assert_eq!(lab.pcp(&Pcp { external: 18000, lifetime: 600, ..map() }).granted(), (17000, 600));
    assert_eq!(lab.pcp(&Pcp { lifetime: 900, ..map() }).granted(), (17000, 900));
    assert_eq!(lab.rows(), ["UDP 17000 -> 192.168.1.10:7000 900 pcp"]);
}

#[test]
fn s11_3_what_the_owner_made_is_told_and_left_alone_206_217() {
    let mut lab = Lab::new();
    manual(&mut lab, 17000, 7000);
    let before = lab.state();
    assert_eq!(lab.pcp(&Pcp { external: 18000, ..map() }).granted(), (17000, u32::MAX));
    assert_eq!(lab.pcp(&Pcp { options: filter(PEER, 128, 0), ..map() }).refused().0, 13);
    assert_eq!(lab.pcp(&Pcp { lifetime: 0, ..map() }).refused(), (2, u32::MAX));
    assert_eq!(lab.state().0, before.0);
}

#[test]
fn s11_3_other_protocols_and_all_ports_are_unsupported_209_210_211() {
    let mut lab = Lab::new();
    for protocol in [1, 41, 47, 50, 132, 255] {
        assert_eq!(lab.pcp(&Pcp { protocol, ..map() }).refused(), (9, 1800));
        assert_eq!(lab.pcp(&Pcp { protocol, internal: 0, ..map() }).refused(), (9, 1800));
    }
    assert_eq!(lab.pcp(&Pcp { internal: 0, ..map() }).refused(), (9, 1800));
    assert_eq!(lab.pcp(&Pcp { protocol: 0, internal: 0, ..map() }).refused(), (9, 1800), "DMZ");
    assert_eq!(lab.pcp(&Pcp { protocol: 0, ..map() }).refused(), (3, 1800));
    assert_eq!(lab.pcp(&Pcp { protocol: 0, lifetime: 0, ..map() }).refused(), (3, 1800));
    assert_eq!(lab.rows(), [""; 0]);
}

#[test]
fn s11_3_no_companion_is_made_or_kept_212() {
    let mut lab = Lab::new();
    lab.pcp(&Pcp { external: 17000, ..map() });
    assert_eq!(lab.rows().len(), 1);
    let bob = Pcp { host: BOB.into(), protocol: TCP, external: 17000, ..map() };
    assert_eq!(lab.pcp(&bob).granted(), (17000, 7200));
}

#[test]
fn s7_4_quotas_and_outages_are_short_errors_213_214() {
    let limits = Limits { mappings: 2, mappings_per_host: 1, ..Limits::default() };
    let mut lab = Lab::with(Policy { limits, ..Policy::default() });
    lab.pcp(&map());
    assert_eq!(lab.pcp(&Pcp { internal: 7001, ..map() }).refused(), (10, 30));
    lab.pcp(&Pcp { host: BOB.into(), ..map() }).granted();
    let third = Pcp { host: Ipv4Addr::new(192, 168, 1, 30).into(), ..map() };
    assert_eq!(lab.pcp(&third).refused(), (8, 30));
    lab.wan(&[]);
    assert_eq!(lab.pcp(&third).refused(), (7, 30));
    lab.wan(&[Ipv4Addr::new(100, 64, 0, 9)]);
    assert_eq!(lab.pcp(&third).refused(), (7, 30));
    lab.wan(&[EXTERNAL]);
    lab.pcp(&Pcp { lifetime: 0, ..map() });
    lab.gateway.backend().fail_next(2);
    assert_eq!(lab.pcp(&map()).refused(), (8, 30));
}

#[test]
fn s15_lifetimes_are_held_between_the_shortest_and_the_longest_215() {
    let mut lab = Lab::new();
    assert_eq!(lab.pcp(&Pcp { lifetime: 1, ..map() }).lifetime, 120);
    assert_eq!(lab.pcp(&Pcp { lifetime: u32::MAX, ..map() }).lifetime, 86_400);
    lab.settings.max_lifetime = 60;
    assert_eq!(lab.pcp(&map()).lifetime, 120, "the shortest counts more");
}

#[test]
fn s15_1_a_lifetime_of_0_ends_the_mapping_and_gives_back_what_was_suggested_216() {
    let mut lab = Lab::new();
    lab.pcp(&Pcp { external: 17000, ..map() });
    let end = Pcp { lifetime: 0, external: 4711, address: PEER.into(), ..map() };
    let want = Told { code: 0, lifetime: 0, port: 4711, address: PEER.into(), options: vec![] };
    for _ in 0..2 {
        assert_eq!(lab.pcp(&end), want);
        assert_eq!(lab.rows(), [""; 0]);
    }
    for end in [Pcp { internal: 0, ..end.clone() }, Pcp { protocol: 50, internal: 0, ..end }] {
        assert_eq!(lab.pcp(&end).code, 0, "a wildcard that never was");
    }
}

#[test]
fn s15_a_port_given_up_is_kept_for_its_former_host_218_219() {
    let mut lab = Lab::new();
    let bob = Pcp { host: BOB.into(), external: 17000, ..map() };
    for protocol in [UDP, TCP] {
        lab.pcp(&Pcp { protocol, external: 17000, ..map() });
        lab.pcp(&Pcp { protocol, lifetime: 0, ..map() });
        let bob = Pcp { protocol, ..bob.clone() };
        assert_ne!(lab.pcp(&bob).granted().0, 17000);
        let exactly = Pcp { internal: 7001, options: PREFER_FAILURE.to_vec(), ..bob.clone() };
        assert_eq!(lab.pcp(&exactly).refused().0, 11);
        assert!(protocol == TCP || lab.upnp(BOB, 17000, 7001).is_err());
        lab.pcp(&Pcp { lifetime: 0, ..bob });
    }
    assert_eq!(lab.pcp(&Pcp { external: 17000, ..map() }).granted().0, 17000, "reclaimed");
    lab.pcp(&Pcp { lifetime: 0, ..map() });
    lab.wait(119);
    assert_eq!(lab.upnp(BOB, 17000, 7009), Err(Refusal::Conflict));
    assert_ne!(lab.pcp(&Pcp { internal: 7002, ..bob.clone() }).granted().0, 17000);
    lab.wait(2);
    assert_eq!(lab.pcp(&Pcp { internal: 7003, ..bob.clone() }).granted().0, 17000);
    lab.wait(7200);
    let tcp = Pcp { protocol: TCP, internal: 7004, ..bob };
    assert_ne!(lab.pcp(&tcp).granted().0, 17000);
    lab.wait(300);
    assert_eq!(lab.pcp(&Pcp { internal: 7005, ..tcp }).granted().0, 17000);
}

#[test]
fn s11_3_over_ipv6_a_pinhole_is_opened_and_nothing_translated_221() {
    let mut lab = Lab::new();
    let want =
        Told { code: 0, lifetime: 7200, port: 7000, address: ALICE6.into(), options: vec![] };
    for address in [Ipv6Addr::UNSPECIFIED.into(), IpAddr::V4(Ipv4Addr::UNSPECIFIED), PEER6.into()] {
        assert_eq!(lab.pcp(&Pcp { external: 17000, address, ..map6() }), want);
    }
    lab.wan(&[]);
    assert_eq!(lab.pcp(&map6()), want, "no IPv4 address is needed");
    let pinholes: Vec<_> = lab.gateway.pinholes().map(|p| (p.hole.internal, p.origin)).collect();
    assert_eq!(pinholes, [(ALICE6, Origin::Pcp)]);
    lab.wait(200);
    for lifetime in [0, 7200] {
        let stranger = Pcp { nonce: OTHER_NONCE, lifetime, ..map6() };
        assert_eq!(lab.pcp(&stranger).refused(), (2, 7000));
    }
    assert_eq!(lab.pcp(&Pcp { lifetime: 0, ..map6() }).granted(), (0, 0));
    assert_eq!(lab.pcp(&Pcp { lifetime: 0, ..map6() }).granted(), (0, 0));
    assert_eq!(lab.gateway.pinholes().count(), 0);
    for internal in [5350, 5351] {
        assert_eq!(lab.pcp(&Pcp { internal, ..map6() }).refused(), (2, 1800));
    }
    let link: Ipv6Addr = "fe80::10".parse().unwrap();
    assert_eq!(lab.pcp(&Pcp { host: link.into(), ..map6() }).refused(), (2, 1800));
}

#[test]
fn s14_1_announce_is_answered_and_changes_nothing_231() {
    let mut lab = Lab::new();
    let mut request = vec![2, 0, 0, 0, 0, 0, 0, 9];
    request.extend(octets(ALICE.into()));
    let answer = lab.ask(ALICE, &request).unwrap();
    let want = [&[2, 0x80, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4][..], &[0; 12]].concat();
    assert_eq!(answer, want);
    assert_eq!(lab.ask(BOB, &request).unwrap()[3], 12);
}

#[test]
fn s14_2_an_update_tells_the_client_the_new_address_and_its_filters_233() {
    let mut lab = Lab::new();
    let options = filter(PEER, 128, 9000);
    lab.pcp(&Pcp { external: 17000, options: options.clone(), ..map() });
    lab.pcp(&Pcp { internal: 7001, external: 17001, ..peer() });
    lab.natpmp(ALICE, 1, (7002, 17002), 7200);
    let new = Ipv4Addr::new(203, 0, 113, 99);
    lab.wan(&[new]);
    lab.wait(200);
    let updates: Vec<_> = (0..3)
        .filter_map(|i| super::super::update(&lab.gateway, lab.gateway.at(i)?, 77, lab.now))
        .collect();
    let [(to, bytes), (_, of_peer)] = &updates[..] else { panic!("{updates:?}") };
    assert_eq!(*to, "192.168.1.10:4000".parse().unwrap());
    let want = Told { code: 0, lifetime: 7000, port: 17000, address: new.into(), options };
    assert_eq!(Told::of(bytes), want);
    assert_eq!((bytes[1], &bytes[8..12], &bytes[24..36]), (0x81, &[0, 0, 0, 77][..], &NONCE[..]));
    let told = Told::of(of_peer);
    assert_eq!((of_peer[1], told.port, told.address), (0x82, 17001, new.into()));
    assert_eq!((&of_peer[60..62], &of_peer[64..80]), (&[0x23, 0x28][..], &octets(PEER.into())[..]));
    lab.wan(&[]);
    let nothing =
        lab.gateway.at(0).and_then(|m| super::super::update(&lab.gateway, m, 77, lab.now));
    assert_eq!(nothing, None);
}
