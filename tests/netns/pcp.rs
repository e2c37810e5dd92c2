//! PCP (RFC 6887) on the wire, byte by byte, with packets through what was mapped.

use crate::pcp_client::{
    filter, head, map, third_party, Answer, Pcp, NONCE, OTHER_NONCE, PREFER_FAILURE,
};
use crate::traffic::{
    FROM_ALICE, FROM_ALICE6, FROM_BOB, FROM_OTHER_PEER, FROM_OTHER_PEER6, FROM_PEER, FROM_PEER6,
};
use crate::world::{
    Host, World, ALICE, ALICE6, BOB, EXTERNAL, OTHER_PEER, PEER, PEER6, ROUTER, ROUTER6,
};
use postern::gateway::policy::NEW_PER_MINUTE_DEFAULT;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

/// MAP of UDP 7000 to 17000 by Alice.
fn alice() -> Pcp {
    map(FROM_ALICE, 7000, 17000)
}

const TO: (Ipv4Addr, u16) = (EXTERNAL, 17000);

#[test]
fn s11_3_what_is_mapped_is_reached_until_it_is_ended_203_205_216() {
    let world = World::new();
    let _daemon = world.start();
    let _servers = (
        world.udp_server(Host::Alice, (ALICE, 7000)),
        world.tcp_server(Host::Alice, (ALICE, 7000)),
    );
    let answer = alice().ask(&world);
    assert_eq!((answer.code, answer.lifetime, answer.port), (0, 7200, 17000));
    assert_eq!(answer.address, IpAddr::V4(EXTERNAL));
    assert!(answer.epoch <= 5);
    let row = "ipv4 UDP 11.22.33.1:17000 -> 192.168.1.10:7000 remote=null '' pcp enabled=true";
    assert_eq!(world.rows(), [row]);
    assert!(world.udp(FROM_PEER.port(40000), TO).is_ok());
    assert!(world.tcp(FROM_PEER, TO).is_err());
    assert_eq!(Pcp { protocol: 6, ..alice() }.open(&world), 17000);
    assert!(world.tcp(FROM_PEER, TO).is_ok());
    assert_eq!(Pcp { external: 18000, lifetime: 600, ..alice() }.ask(&world).port, 17000);
    let end = Pcp { lifetime: 0, ..alice() };
    let answer = end.ask(&world);
    assert_eq!((answer.code, answer.lifetime, answer.port), (0, 0, 17000));
    assert!(world.udp(FROM_PEER.port(40001), TO).is_err());
    assert!(world.tcp(FROM_PEER, TO).is_ok());
}

#[test]
fn s8_2_only_hosts_of_the_lan_are_answered_and_from_where_they_asked_190_199() {
    let world = World::new();
    let _daemon = world.start();
    let announce = |client: IpAddr| head(0, 0, client);
    let answer = world.ask_pmp(FROM_ALICE, &announce(ALICE.into())).unwrap();
    assert_eq!((answer.len(), &answer[..8]), (24, &[2, 0x80, 0, 0, 0, 0, 0, 0][..]));
    let answer = world.ask_pmp(FROM_ALICE6, &announce(ALICE6.into())).unwrap();
    assert_eq!(answer[..4], [2, 0x80, 0, 0]);
    // An IPv6 host knows its router by the address of the link.
    let show = world.command(Host::Router, "ip").args(["-6", "addr", "show", "br-lan"]).output();
    let show = String::from_utf8(show.unwrap().stdout).unwrap();
    let link: Ipv6Addr =
        show.split([' ', '/']).find(|word| word.starts_with("fe80")).unwrap().parse().unwrap();
    let index = world.inside(Host::Alice, || {
        fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap().lines().find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words[5] == "eth0").then(|| u32::from_str_radix(words[1], 16).unwrap())
        })
    });
    let router = SocketAddrV6::new(link, 5351, 0, index.unwrap());
    let answer = world.ask_pmp_at(FROM_ALICE6, router.into(), &announce(ALICE6.into())).unwrap();
    assert_eq!(answer[..4], [2, 0x80, 0, 0]);
    let mismatch = world.ask_pmp(FROM_ALICE, &announce(BOB.into())).unwrap();
    assert_eq!(mismatch[3], 12);
    world.firewall_stop();
    for to in [EXTERNAL, ROUTER] {
        let answer = world.ask_pmp_at(FROM_PEER, (to, 5351).into(), &announce(PEER.into()));
        assert_eq!(answer, None, "from outside at {to}");
    }
    let wan6 = "2001:db8:ffff::1".parse::<IpAddr>().unwrap();
    for to in [wan6, ROUTER6.into()] {
        let answer = world.ask_pmp_at(FROM_PEER6, (to, 5351).into(), &announce(PEER6.into()));
        assert_eq!(answer, None, "from outside at {to}");
    }
}

#[test]
fn s8_2_what_is_malformed_changes_nothing_on_the_wire_191_192_193_194_196_200() {
    let world = World::new();
    let _daemon = world.start();
    let code = |bytes: &[u8]| world.ask_pmp(FROM_ALICE, bytes).map(|answer| answer[3]);
    let good = alice().bytes();
    assert_eq!(code(&[2]), None);
    assert_eq!(code(&good[..23]), None);
    assert_eq!(code(&[&[1][..], &good[1..]].concat()), Some(1));
    assert_eq!(code(&[&good[..], &[0]].concat()), Some(3));
    assert_eq!(code(&good[..56]), Some(3));
    let long = world.ask_pmp(FROM_ALICE, &[&good[..], &[0x80, 0, 5, 0], &[0; 1280]].concat());
    assert_eq!(long.map(|answer| (answer[3], answer.len())), Some((3, 1100)));
    assert_eq!(code(&head(9, 0, ALICE.into())), Some(4));
    assert_eq!(world.rows(), [""; 0]);
}

#[test]
fn s13_3_a_filter_lets_in_the_peer_that_it_names_and_no_other_227() {
    let world = World::new();
    let _daemon = world.start();
    let _servers = (
        world.udp_server(Host::Alice, (ALICE, 7000)),
        world.tcp_server(Host::Alice, (ALICE, 7000)),
    );
    let to_peer = Pcp { options: filter(PEER, 128, 0), ..alice() };
    let answer = to_peer.ask(&world);
    assert_eq!((answer.code, &answer.bytes[60..]), (0, &filter(PEER, 128, 0)[..]));
    assert!(world.udp(FROM_PEER, TO).is_ok());
    assert!(world.udp(FROM_OTHER_PEER, TO).is_err());
    Pcp { protocol: 6, ..to_peer.clone() }.open(&world);
    assert!(world.tcp(FROM_PEER, TO).is_ok());
    assert!(world.tcp(FROM_OTHER_PEER, TO).is_err());
    let rows = world.rows();
    assert!(rows[0].contains("remote=11.22.33.2 "), "{rows:?}");
    assert!(world.list()[0]["connections"].as_u64() >= Some(1), "{:?}", world.list());

    // By port, added to it, and by prefix in its place.
    Pcp { options: filter(OTHER_PEER, 128, 40002), ..alice() }.open(&world);
    assert!(world.udp(FROM_PEER.port(40003), TO).is_ok());
    assert!(world.udp(FROM_OTHER_PEER.port(40002), TO).is_ok());
    assert!(world.udp(FROM_OTHER_PEER.port(40004), TO).is_err());
    let none = filter(Ipv4Addr::UNSPECIFIED, 0, 0);
    let net = filter(OTHER_PEER, 96 + 32, 0);
    Pcp { options: [none.clone(), net].concat(), ..alice() }.open(&world);
    assert!(world.udp(FROM_PEER.port(40005), TO).is_err());
    assert!(world.udp(FROM_OTHER_PEER.port(40006), TO).is_ok());
    Pcp { options: [none.clone(), filter(PEER, 96 + 24, 0)].concat(), ..alice() }.open(&world);
    assert!(world.udp(FROM_PEER.port(40007), TO).is_ok());
    assert!(world.udp(FROM_OTHER_PEER.port(40008), TO).is_ok());
    Pcp { options: [none.clone(), filter(PEER, 128, 0)].concat(), ..alice() }.open(&world);
    assert!(world.udp(FROM_OTHER_PEER.port(40009), TO).is_err());
    Pcp { options: none, ..alice() }.open(&world);
    assert!(world.udp(FROM_OTHER_PEER.port(40010), TO).is_ok());
}

#[test]
fn s13_3_a_filter_holds_over_ipv6_and_over_a_crash_227_243() {
    let world = World::new();
    let daemon = world.start();
    let _server = world.tcp_server(Host::Alice, (ALICE6, 7000));
    let _server4 = world.udp_server(Host::Alice, (ALICE, 7000));
    let ask = Pcp { protocol: 6, options: filter(PEER6, 128, 0), ..map(FROM_ALICE6, 7000, 0) };
    let answer = ask.ask(&world);
    assert_eq!((answer.code, answer.port, answer.address), (0, 7000, ALICE6.into()));
    let ask4 = Pcp { options: filter(PEER, 128, 0), ..alice() };
    ask4.open(&world);
    let holds = || {
        assert!(world.tcp(FROM_PEER6, (ALICE6, 7000)).is_ok());
        assert!(world.tcp(FROM_OTHER_PEER6, (ALICE6, 7000)).is_err());
        assert!(world.udp(FROM_PEER, TO).is_ok());
        assert!(world.udp(FROM_OTHER_PEER, TO).is_err());
    };
    holds();
    let rows = world.rows();
    daemon.crash();
    assert_eq!(world.rows(), rows, "from the kernel alone");
    holds();
    let daemon = world.start();
    assert_eq!(world.rows(), rows);
    holds();
    daemon.stop();
    let _daemon = world.start();
    assert_eq!(world.rows(), rows, "from the file");
    holds();
    let stranger = Pcp { nonce: OTHER_NONCE, lifetime: 0, ..ask.clone() };
    assert_eq!(Pcp { options: vec![], ..stranger }.ask(&world).code, 2);
    assert_eq!(Pcp { options: vec![], lifetime: 0, ..ask }.ask(&world).code, 0);
    assert!(world.tcp(FROM_PEER6, (ALICE6, 7000)).is_err());
}

#[test]
fn s13_2_prefer_failure_on_a_taken_port_is_11_225() {
    let world = World::new();
    let limit = "max_new_mappings '2'";
    let _daemon = world.start_with(&world.config("").replace("max_new_mappings '0'", limit));
    alice().open(&world);
    let bob = Pcp { options: PREFER_FAILURE.to_vec(), ..map(FROM_BOB, 7000, 17000) };
    let answer = bob.ask(&world);
    assert_eq!((answer.code, answer.lifetime), (11, 30));
    assert_eq!(Pcp { external: 17001, ..bob.clone() }.open(&world), 17001);
    for port in [5350, 5351] {
        assert_eq!(Pcp { internal: 7001, external: port, ..bob.clone() }.ask(&world).code, 11);
    }
    let own = Pcp { protocol: 6, internal: 7001, external: 5000, ..bob.clone() };
    assert_eq!(own.ask(&world).code, 11, "the daemon's own port");
    // What succeeds is counted, so that a search for what is free comes to an end.
    let tries = [17002, 17003]
        .map(|port| Pcp { internal: port, external: port, ..bob.clone() }.ask(&world).code);
    assert_eq!(tries, [0, 10]);
    assert_eq!(world.rows().len(), 3);
}

#[test]
fn s11_3_a_wrong_nonce_changes_nothing_204() {
    let world = World::new();
    let _daemon = world.start();
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    alice().open(&world);
    for lifetime in [0, 60, 86400] {
        let answer = Pcp { nonce: OTHER_NONCE, lifetime, ..alice() }.ask(&world);
        assert_eq!(answer.code, 2);
        assert!((7190..=7200).contains(&answer.lifetime), "{}", answer.lifetime);
    }
    assert!(world.list()[0]["expires_in"].as_u64() > Some(7100));
    assert!(world.udp(FROM_PEER, TO).is_ok());
}

#[test]
fn s13_1_a_third_party_is_mapped_only_by_whom_the_owner_lists_226() {
    let world = World::new();
    let _daemon = world.start_with(&world.config(&format!("\tlist pcp_third_party '{BOB}'")));
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    let for_alice = Pcp { options: third_party(ALICE), ..map(FROM_BOB, 7000, 17000) };
    assert_eq!(for_alice.open(&world), 17000);
    assert!(world.udp(FROM_PEER, TO).is_ok());
    let for_bob = Pcp { options: third_party(BOB), ..map(FROM_ALICE, 7001, 17001) };
    assert_eq!(for_bob.ask(&world).code, 5);
    assert_eq!(Pcp { options: third_party(BOB), ..for_alice }.ask(&world).code, 3);
}

#[test]
fn s12_a_flow_to_one_peer_leaves_from_the_port_that_peer_was_told_229() {
    let world = World::new();
    let _daemon = world.start();
    let _servers = (
        world.udp_server(Host::Internet, (PEER, 9000)),
        world.udp_server(Host::Alice, (ALICE, 7000)),
    );
    let peer = Pcp { peer: Some((PEER, 9000).into()), ..alice() };
    assert_eq!(peer.open(&world), 17000);
    assert!(world.udp(FROM_PEER, TO).is_ok(), "that peer comes in");
    assert!(world.udp(FROM_OTHER_PEER, TO).is_err(), "no other");

    // Of a flow that is there already, which another host has pushed off its own port.
    let _bob = world.udp(FROM_BOB.port(7100), (PEER, 9000)).unwrap();
    let seen = world.udp(FROM_ALICE.port(7100), (PEER, 9000)).unwrap();
    assert_ne!(seen.port(), 7100);
    let of_flow = Pcp { internal: 7100, external: 0, ..peer.clone() };
    assert_eq!(of_flow.open(&world), seen.port());
    assert_eq!(Pcp { nonce: OTHER_NONCE, ..of_flow }.ask(&world).code, 2);
    let taken = Pcp { external: 17000, ..peer };
    assert_eq!(Pcp { from: FROM_BOB, ..taken }.ask(&world).code, 11);
}

#[test]
fn s14_1_3_a_start_is_announced_to_all_hosts_of_both_families_232() {
    let world = World::new();
    let heard = world.announcements(Host::Alice);
    let _daemon = world.start();
    let heard = heard.until(1800);
    let from: Vec<IpAddr> =
        heard.iter().filter(|(_, _, bytes)| bytes[0] == 2).map(|(_, from, _)| from.ip()).collect();
    for router in [IpAddr::V4(ROUTER), IpAddr::V6(ROUTER6)] {
        assert!(from.iter().filter(|ip| **ip == router).count() >= 2, "{router}: {from:?}");
    }
    for (_, from, bytes) in heard.iter().filter(|(_, _, bytes)| bytes[0] == 2) {
        assert_eq!(from.port(), 5351);
        assert_eq!((bytes.len(), &bytes[..8]), (24, &[2, 0x80, 0, 0, 0, 0, 0, 0][..]));
    }
}

#[test]
fn s14_2_clients_are_told_three_times_where_their_mappings_are_now_233() {
    let world = World::new();
    let _daemon = world.start();
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    let client = world.inside(Host::Alice, || UdpSocket::bind((ALICE, 4000)).unwrap());
    client.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
    let ask = Pcp { options: filter(PEER, 96 + 24, 0), ..alice() };
    client.send_to(&ask.bytes(), (ROUTER, 5351)).unwrap();
    let mut buffer = [0; 1100];
    let mut receive = || {
        let (length, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(from, (ROUTER, 5351).into());
        (Instant::now(), Answer::of(&buffer[..length]))
    };
    let (_, granted) = receive();
    assert_eq!(granted.address, IpAddr::V4(EXTERNAL));
    let next = Ipv4Addr::new(11, 22, 33, 44);
    world.wan_address(next);
    let updates = [receive(), receive(), receive()];
    for (_, update) in &updates {
        assert_eq!((update.code, update.port, update.address), (0, 17000, next.into()));
        assert_eq!(update.bytes[24..36], NONCE);
        assert_eq!(update.bytes[60..], filter(Ipv4Addr::new(11, 22, 33, 0), 120, 0));
        assert!(update.epoch <= 2 && update.lifetime > 7100, "{update:?}");
    }
    let gaps = [updates[1].0 - updates[0].0, updates[2].0 - updates[1].0];
    // 250 and 500 ms; one that is read late on a busy machine is nearer to the next.
    let [first, second] = gaps.map(|gap| gap.as_millis());
    assert!((150..1000).contains(&first) && (350..1500).contains(&second), "{gaps:?}");
    // It would come after 1000 ms.
    client.set_read_timeout(Some(Duration::from_millis(1300))).unwrap();
    assert!(client.recv_from(&mut [0; 1100]).is_err(), "no fourth");
    assert!(world.udp(FROM_PEER, (next, 17000)).is_ok());
}

#[test]
fn s7_3_a_storm_of_requests_does_not_keep_others_waiting_202() {
    let world = World::new();
    // Limited as on a router: each mapping costs a change of the kernel's table.
    let most = NEW_PER_MINUTE_DEFAULT;
    let daemon = world.start_with(&world.config(&format!("\toption max_new_mappings '{most}'")));
    let before = daemon.peak();
    let name = world.name(Host::Alice);
    let storm = std::thread::spawn(move || {
        crate::world::enter(&name);
        let socket = UdpSocket::bind((ALICE, 0)).unwrap();
        let end = Instant::now() + Duration::from_secs(3);
        let mut sent = 0u32;
        while Instant::now() < end {
            for _ in 0..100 {
                let port = 1024 + (sent % 60_000) as u16;
                let bytes = match sent % 4 {
                    0 => head(0, 0, ALICE.into()),
                    _ => map(FROM_ALICE, port, 0).bytes(),
                };
                let _ = socket.send_to(&bytes, (ROUTER, 5351));
                sent += 1;
            }
            // Five thousand in a second.
            std::thread::sleep(Duration::from_millis(18));
        }
        sent
    });
    std::thread::sleep(Duration::from_millis(300));
    let mut waits = Vec::new();
    for port in 0..40 {
        let start = Instant::now();
        // As clients do where nothing comes: the storm may have filled the socket.
        let request = map(FROM_BOB, 7000 + port, 0).bytes();
        let answer = (0..3).find_map(|_| world.ask_pmp(FROM_BOB, &request));
        waits.push(start.elapsed().as_millis());
        assert_eq!(answer.map(|answer| answer[3]), Some(0));
    }
    let sent = storm.join().unwrap();
    waits.sort_unstable();
    println!("{sent} requests; others waited {} ms, at most {} ms", waits[20], waits[39]);
    assert!(sent > 10_000, "{sent}");
    assert!(waits[35] < 200, "{waits:?}");
    // The host has had its share.
    let of_alice = world.list().iter().filter(|m| m["internal_address"] == "192.168.1.10").count();
    assert_eq!(of_alice, usize::from(most));
    let grown = daemon.peak() - before;
    assert!(grown < 300 * u64::from(most) / 1024 + 1024, "{grown} KiB more");
    let peer: SocketAddr = (PEER, 9).into();
    assert_eq!(Pcp { peer: Some(peer), ..map(FROM_BOB, 9000, 0) }.ask(&world).code, 0);
}
