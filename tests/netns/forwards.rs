//! The owner's own port forwards, as the main firewall has them: nobody takes them away.

use crate::clients::{ask, bob_asks, ControlPoint, IGD1, IGD2};
use crate::pcp_client::{map, Pcp, PREFER_FAILURE};
use crate::traffic::{FROM_ALICE, FROM_BOB, FROM_PEER};
use crate::world::{Host, World, ALICE, BOB, EXTERNAL};

/// As fw4 writes its redirects, and as people write theirs.
const REDIRECTS: &str = r#"
table inet fw4 {
    chain dstnat_wan {
        meta nfproto ipv4 tcp dport 8080 counter dnat 192.168.1.20:80 comment "!fw4: web"
        meta nfproto ipv4 udp dport 5000-5010 counter dnat 192.168.1.20:5000-5010 comment "!fw4: games"
        meta nfproto ipv4 tcp dport 25565 counter dnat 192.168.1.10:25565 comment "!fw4: alice's"
        ip saddr 11.22.33.3 tcp dport { 3000, 3010-3019 } dnat ip to 192.168.1.20
        meta l4proto { tcp, udp } th dport 4000 dnat ip to 192.168.1.20
        udp dport >= 65000 redirect to :9
        dnat ip to udp dport map { 6000 : 192.168.1.20, 6001 : 192.168.1.21 }
        ip daddr 11.22.33.99 tcp dport 443 dnat ip to 192.168.1.20
        ip daddr 11.22.33.5 counter dnat ip to 192.168.1.20 comment "all of the second address"
        meta mark 0x1 dnat ip to 192.168.1.20
        dnat ip6 to 2001:db8:1::20
    }
    chain dstnat_lan {
        udp dport 53 counter redirect to 53 comment "!fw4: DNS"
        ip saddr 192.168.1.0/24 ip daddr 11.22.33.1 tcp dport 7777 dnat 192.168.1.20:7777
    }
    chain dstnat {
        type nat hook prerouting priority dstnat; policy accept;
        iifname "wan" jump dstnat_wan
        iifname { "br-lan", "guest" } jump dstnat_lan
    }
}
table ip late {
    chain pre {
        type nat hook prerouting priority 0; policy accept;
        tcp dport 9999 dnat to 192.168.1.20
    }
}
"#;

/// Whether Alice may have an external port, for the internal port of the same number.
fn may_have(alice: &ControlPoint<'_>, protocol: &'static str, port: u16) -> bool {
    match alice.add(&ask(protocol, port, port)) {
        Ok(()) => true,
        Err(718) => false,
        Err(code) => panic!("{code}"),
    }
}

#[test]
fn what_the_owner_forwards_is_not_given_to_others() {
    // Conformance 129, 207, 252.
    let world = World::new();
    world.ip(Host::Router, "addr add 11.22.33.5/24 dev wan");
    let daemon = world.start();
    let alice = world.control_point(FROM_ALICE, IGD1);
    assert_eq!(alice.add(&ask("TCP", 8081, 8080)), Ok(()), "nothing is forwarded yet");
    world.nft(REDIRECTS);
    let taken = [
        ("TCP", 8080),
        ("UDP", 5000),
        ("UDP", 5010),
        ("TCP", 3000),
        ("TCP", 3010),
        ("TCP", 3019),
        ("TCP", 4000),
        ("UDP", 4000),
        ("UDP", 65000),
        ("UDP", 65535),
        ("UDP", 6001),
    ];
    for (protocol, port) in taken {
        assert!(!may_have(&alice, protocol, port), "{protocol} {port}");
    }
    let free = [
        ("UDP", 8080),
        ("TCP", 5001),
        ("UDP", 4999),
        ("UDP", 5011),
        ("TCP", 3001),
        ("TCP", 3020),
        ("UDP", 64999),
        ("UDP", 6002),
        ("TCP", 1443),
        ("UDP", 1053),
        ("TCP", 7777),
        ("TCP", 9999),
        // Just what the owner's forward does.
        ("TCP", 25565),
    ];
    for (protocol, port) in free {
        assert!(may_have(&alice, protocol, port), "{protocol} {port}");
    }
    let bob = world.control_point(FROM_BOB, IGD1);
    assert_eq!(bob.add(&bob_asks("TCP", 8080, 80)), Ok(()), "the owner's forward goes there");
    let bob = world.control_point(FROM_BOB, IGD2);
    assert_eq!(bob.add(&bob_asks("TCP", 4000, 7000)), Err(729));
    // Who can do with another port gets one.
    let any = bob.add_any(&bob_asks("UDP", 5005, 7000)).unwrap();
    assert!(!(5000..=5010).contains(&any), "{any}");
    let other = map(FROM_ALICE, 7003, 5006).open(&world);
    assert!(!(5000..=5010).contains(&other), "{other}");
    let strict = Pcp { options: PREFER_FAILURE.to_vec(), ..map(FROM_ALICE, 7004, 5006) };
    assert_eq!(strict.ask(&world).code, 11);
    assert!(daemon.log().contains("port forwards of the firewall"));
}

#[test]
fn a_forward_that_is_taken_away_or_comes_is_known_at_the_next_request() {
    let world = World::new();
    let _daemon = world.start();
    let _alices = world.tcp_server(Host::Alice, (ALICE, 80));
    let _bobs = world.tcp_server(Host::Bob, (BOB, 80));
    let alice = world.control_point(FROM_ALICE, IGD1);
    world.nft(REDIRECTS);
    assert_eq!(alice.add(&ask("TCP", 8080, 80)), Err(718));
    world.nft("flush chain inet fw4 dstnat_wan");
    assert_eq!(alice.add(&ask("TCP", 8080, 80)), Ok(()));
    assert!(world.tcp(FROM_PEER, (EXTERNAL, 8080)).is_ok());
    // The lease goes on; the owner's forward comes first now.
    world.nft(REDIRECTS);
    assert_eq!(alice.add(&ask("TCP", 8080, 80)), Ok(()), "a refresh passes");
    assert_eq!(alice.add(&ask("TCP", 4000, 80)), Err(718));
}
