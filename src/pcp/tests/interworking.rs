//! One table for UPnP, NAT-PMP and PCP (RFC 6970 and what it leaves open).

use super::*;
use crate::gateway::Asker;

#[test]
fn an_external_port_has_one_owner_whoever_asks_by_what_238_242() {
    let mut lab = Lab::new();
    lab.natpmp(ALICE, 1, (7000, 17000), 7200);
    lab.pcp(&Pcp { internal: 7001, external: 17001, ..map() });
    lab.upnp(ALICE, 17002, 7002).unwrap();
    for external in [17000, 17001] {
        assert_eq!(lab.upnp(BOB, external, 7), Err(Refusal::Conflict));
    }
    for (i, external) in [17000, 17001, 17002].into_iter().enumerate() {
        let internal = 7000 + i as u16;
        assert_ne!(lab.natpmp(BOB, 1, (internal, external), 7200)[2], external.into());
        let ask = Pcp { host: BOB.into(), internal: 8000 + internal, external, ..map() };
        assert_ne!(lab.pcp(&ask).granted().0, external);
    }
    let udp = Some(Protocol::Udp);
    for external in [17000, 17001] {
        let by_bob = lab.gateway.delete(Asker::Host(BOB.into()), udp, external, None, lab.now);
        assert_eq!(by_bob, Err(Refusal::NotOwner));
    }
    assert_eq!(lab.natpmp(BOB, 1, (7002, 0), 0)[0], 0, "his own port of that number");
    assert!(lab.rows().contains(&"UDP 17002 -> 192.168.1.10:7002 ever upnp".into()));
}

#[test]
fn a_mapping_of_another_protocol_is_used_and_its_lease_never_shortened_240() {
    let mut lab = Lab::new();
    lab.upnp(ALICE, 17000, 7000).unwrap();
    assert_eq!(lab.natpmp(ALICE, 1, (7000, 18000), 600), [0, 7000, 17000, 600]);
    assert_eq!(lab.pcp(&map()).granted(), (17000, 7200));
    assert_eq!(lab.rows(), ["UDP 17000 -> 192.168.1.10:7000 ever upnp"]);
    assert_eq!(lab.pcp(&Pcp { options: filter(PEER, 128, 0), ..map() }).refused(), (13, 1800));
    assert_eq!(lab.pcp(&Pcp { lifetime: 0, ..map() }).refused().0, 2, "no nonce guards it");
    assert_eq!(lab.natpmp(ALICE, 1, (7000, 0), 0), [0, 7000, 0, 0], "its host may end it");
    assert_eq!(lab.rows(), [""; 0]);

    lab.pcp(&Pcp { external: 17000, ..map() });
    assert_eq!(lab.natpmp(ALICE, 1, (7000, 0), 600), [0, 7000, 17000, 600]);
    assert_eq!(lab.rows(), ["UDP 17000 -> 192.168.1.10:7000 7200 pcp"]);
    assert_eq!(lab.upnp(ALICE, 17000, 7000), Ok(17000));
    assert_eq!(lab.rows(), ["UDP 17000 -> 192.168.1.10:7000 ever pcp"]);
    assert_eq!(lab.upnp(ALICE, 17000, 7001), Err(Refusal::Conflict), "a nonce guards it");
    assert_eq!(lab.pcp(&map()).granted(), (17000, 7200));
    assert_eq!(lab.rows(), ["UDP 17000 -> 192.168.1.10:7000 ever pcp"], "as UPnP was told");
}

#[test]
fn who_cannot_know_of_a_filter_is_not_told_that_everybody_is_let_in_227_240() {
    use crate::gateway::pinhole::{Hole, PinholeRequest};
    let mut lab = Lab::new();
    lab.pcp(&Pcp { external: 17000, options: filter(PEER, 128, 0), ..map() });
    assert_eq!(lab.upnp(ALICE, 17000, 7000), Err(Refusal::Conflict));
    assert_eq!(lab.natpmp(ALICE, 1, (7000, 0), 600), [2, 7000, 0, 0]);
    lab.pcp(&Pcp { options: filter(PEER6, 128, 0), ..map6() });
    let hole = Hole {
        internal: ALICE6,
        internal_port: 7000,
        protocol: Protocol::Udp,
        remote: None,
        remote_port: None,
    };
    let ask = PinholeRequest {
        client: ALICE6,
        origin: Origin::Upnp,
        hole,
        lease: Duration::from_secs(60),
        description: "",
        high_ports_only: false,
    };
    assert_eq!(lab.gateway.add_pinhole(&ask, lab.now), Err(Refusal::Conflict));
    lab.pcp(&Pcp { options: filter(PEER6, 0, 0), ..map6() });
    lab.gateway.add_pinhole(&ask, lab.now).unwrap();
    assert_eq!(
        lab.pcp(&Pcp { nonce: OTHER_NONCE, ..map6() }).refused(),
        (2, 7200),
        "not shortened"
    );
}

#[test]
fn nonces_and_filters_outlive_the_daemon_204_243() {
    let mut lab = Lab::new();
    lab.pcp(&Pcp {
        external: 17000,
        options: [filter(PEER, 128, 9), filter(BOB, 128, 0)].concat(),
        ..map()
    });
    lab.pcp(&Pcp { external: 17001, internal: 7001, ..map() });
    lab.pcp(&Pcp { external: 17002, internal: 7002, ..peer() });
    lab.pcp(&Pcp { options: filter(PEER6, 64, 0), ..map6() });
    lab.pcp(&Pcp { internal: 7001, ..map6() });
    let before = lab.state();
    let memory = std::mem::take(lab.gateway.backend());
    let mut again = Lab::new();
    again.now = lab.now;
    *again.gateway.backend() = memory;
    assert_eq!(again.gateway.adopt(again.now), Ok(5));
    let after = again.state();
    assert_eq!((after.0, after.1), (before.0, before.1));
    assert_eq!(again.pcp(&Pcp { nonce: OTHER_NONCE, ..map() }).refused().0, 2);
    assert_eq!(again.pcp(&map()).granted(), (17000, 7200));
    assert_eq!(again.pcp(&Pcp { nonce: OTHER_NONCE, ..map6() }).refused().0, 2);
    assert_eq!(again.gateway.next_after(None).map(|m| m.id), Some(Id(1)));
}
