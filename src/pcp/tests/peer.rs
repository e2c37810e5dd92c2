//! RFC 6887 §12: PEER.

use super::*;
use crate::netfilter::Flow;

#[test]
fn s12_3_a_flow_is_given_a_port_that_is_known_229() {
    let mut lab = Lab::new();
    let told = lab.pcp(&Pcp { external: 17000, ..peer() });
    let want =
        Told { code: 0, lifetime: 7200, port: 17000, address: EXTERNAL.into(), options: vec![] };
    assert_eq!(told, want);
    assert_eq!(lab.rows(), ["UDP 17000 from 198.51.100.7 -> 192.168.1.10:7000 7200 pcp"]);
    let another = Pcp { peer: Some((BOB.into(), 9)), ..peer() };
    assert_eq!(lab.pcp(&another).granted(), (17000, 7200), "an endpoint has one port");
    lab.wait(100);
    assert_eq!(lab.pcp(&peer()).granted(), (17000, 7200), "renewed");
}

#[test]
fn s12_3_the_port_of_a_flow_that_is_there_is_told_229() {
    let mut lab = Lab::new();
    let flow = Flow {
        protocol: Protocol::Udp,
        internal: SocketAddrV4::new(ALICE, 7000),
        remote: SocketAddrV4::new(PEER, 9000),
    };
    lab.gateway.backend().add_flow(flow, SocketAddrV4::new(EXTERNAL, 50_000));
    assert_eq!(lab.pcp(&Pcp { external: 17000, ..peer() }).granted(), (50_000, 7200));
    let elsewhere = Flow { internal: SocketAddrV4::new(ALICE, 7001), ..flow };
    lab.gateway.backend().add_flow(elsewhere, SocketAddrV4::new(PEER, 50_001));
    let (port, _) = lab.pcp(&Pcp { internal: 7001, ..peer() }).granted();
    assert_ne!(port, 50_001, "that does not leave from here");
}

#[test]
fn s12_1_a_suggestion_that_cannot_be_had_is_refused_229() {
    let mut lab = Lab::new();
    lab.pcp(&Pcp { host: BOB.into(), external: 17000, ..map() });
    assert_eq!(lab.pcp(&Pcp { external: 17000, ..peer() }).refused(), (11, 30));
    assert_eq!(lab.pcp(&Pcp { address: PEER.into(), ..peer() }).refused(), (11, 30));
    assert_eq!(lab.pcp(&Pcp { external: 5351, ..peer() }).refused(), (11, 30));
    assert_eq!(lab.rows().len(), 1);
}

#[test]
fn s12_3_what_cannot_be_a_flow_is_malformed_229() {
    let mut lab = Lab::new();
    let hosts = [
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(224, 0, 0, 1),
        Ipv4Addr::BROADCAST,
    ];
    for host in hosts {
        assert_eq!(lab.pcp(&Pcp { peer: Some((host.into(), 9)), ..peer() }).refused(), (3, 1800));
    }
    assert_eq!(lab.pcp(&Pcp { peer: Some((PEER.into(), 0)), ..peer() }).refused(), (3, 1800));
    assert_eq!(lab.pcp(&Pcp { peer: Some((PEER6.into(), 9)), ..peer() }).refused(), (3, 1800));
    assert_eq!(lab.pcp(&Pcp { internal: 0, ..peer() }).refused(), (3, 1800));
    assert_eq!(lab.pcp(&Pcp { protocol: 50, ..peer() }).refused(), (9, 1800));
    assert_eq!(lab.pcp(&Pcp { options: PREFER_FAILURE.to_vec(), ..peer() }).refused(), (3, 1800));
    assert_eq!(lab.rows(), [""; 0]);
}

#[test]
fn s12_3_another_nonce_is_refused_for_as_long_as_the_mapping_lasts_229() {
    let mut lab = Lab::new();
    lab.pcp(&peer());
    lab.wait(200);
    for lifetime in [0, 7200] {
        let stranger = Pcp { nonce: OTHER_NONCE, lifetime, ..peer() };
        assert_eq!(lab.pcp(&stranger).refused(), (2, 7000));
    }
}

#[test]
fn s12_1_by_peer_nothing_is_shortened_or_ended_229() {
    let mut lab = Lab::new();
    let nothing = lab.pcp(&Pcp { lifetime: 0, external: 4711, ..peer() });
    assert_eq!((nothing.granted(), lab.rows().len()), ((4711, 0), 0));
    lab.pcp(&Pcp { external: 17000, ..peer() });
    lab.wait(200);
    for lifetime in [0, 1, 600, 7000] {
        assert_eq!(lab.pcp(&Pcp { lifetime, ..peer() }).granted(), (17000, 7000));
    }
    let ask = Pcp { peer: Some((PEER6.into(), 9000)), ..map6() };
    assert_eq!(lab.pcp(&Pcp { lifetime: 0, ..ask.clone() }).granted(), (0, 0));
    assert_eq!(lab.pcp(&ask).granted(), (7000, 7200));
    for lifetime in [0, 600] {
        assert_eq!(lab.pcp(&Pcp { lifetime, ..ask.clone() }).granted(), (7000, 7200));
    }
    lab.wait(7190);
    assert_eq!(lab.pcp(&Pcp { lifetime: 0, ..ask }).granted(), (7000, 10), "only asked");
    lab.pcp(&Pcp { external: 17001, internal: 7001, ..map() });
    let asks = Pcp { lifetime: 0, internal: 7001, ..peer() };
    assert_eq!(lab.pcp(&asks).granted(), (17001, 7200), "of MAP");
}

#[test]
fn s11_3_map_after_peer_has_its_port_and_cannot_end_it_217() {
    let mut lab = Lab::new();
    lab.pcp(&Pcp { external: 17000, ..peer() });
    assert_eq!(lab.pcp(&Pcp { lifetime: 0, ..map() }).refused().0, 2);
    let exactly = Pcp { external: 18000, options: PREFER_FAILURE.to_vec(), ..map() };
    assert_eq!(lab.pcp(&exactly).refused(), (11, 30));
    assert_eq!(lab.pcp(&Pcp { external: 18000, ..map() }).granted(), (17000, 7200));
    lab.pcp(&Pcp { lifetime: 0, ..map() }).granted();
    assert_eq!(lab.rows(), ["UDP 17000 from 198.51.100.7 -> 192.168.1.10:7000 7200 pcp"]);
}

#[test]
fn s12_3_peer_after_map_tells_its_port_and_makes_nothing_229() {
    let mut lab = Lab::new();
    lab.pcp(&Pcp { external: 17000, ..map() });
    assert_eq!(lab.pcp(&Pcp { nonce: OTHER_NONCE, ..peer() }).granted(), (17000, 7200));
    assert_eq!(lab.rows().len(), 1);
}

#[test]
fn s12_3_over_ipv6_a_pinhole_is_opened_for_the_peer_229() {
    let mut lab = Lab::new();
    let ask = Pcp { peer: Some((PEER6.into(), 9000)), ..map6() };
    assert_eq!(lab.pcp(&ask).granted(), (7000, 7200));
    let hole = lab.gateway.pinholes().next().unwrap().hole;
    assert_eq!((hole.remote, hole.remote_port), (Some(PEER6), Some(9000)));
    assert_eq!(lab.pcp(&Pcp { external: 7001, ..ask.clone() }).refused(), (11, 30));
    assert_eq!(lab.pcp(&Pcp { nonce: OTHER_NONCE, ..ask.clone() }).refused(), (2, 7200));
    assert_eq!(lab.pcp(&Pcp { lifetime: 0, ..map6() }).refused().0, 2, "by MAP it is not ended");
}
