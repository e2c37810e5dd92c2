//! NAT-PMP (RFC 6886) on the wire, byte by byte, with packets through what was mapped.

use crate::pcp_client::natpmp;
use crate::traffic::{End, FROM_ALICE, FROM_BOB, FROM_PEER, REFUSED};
use crate::world::{Host, World, ALICE, EXTERNAL, PEER, ROUTER};
use std::net::{Ipv4Addr, SocketAddr};

const UDP: u8 = 1;
const TCP: u8 = 2;

/// Result code, internal port, external port and lifetime of an answer, whose length and opcode
/// must be right.
#[track_caller]
fn told(world: &World, from: End, request: &[u8]) -> [u32; 4] {
    let answer = world.ask_pmp(from, request).expect("no answer");
    assert_eq!((answer.len(), answer[0], answer[1]), (16, 0, 0x80 | request[1]));
    let short = |at: usize| u32::from(u16::from_be_bytes([answer[at], answer[at + 1]]));
    [short(2), short(8), short(10), u32::from_be_bytes(answer[12..].try_into().unwrap())]
}

/// The epoch that an answer tells.
fn epoch(answer: &[u8]) -> u32 {
    u32::from_be_bytes(answer[4..8].try_into().unwrap())
}

#[test]
fn s3_2_the_external_address_is_told_on_every_lan_address_and_nowhere_else_168_169_188() {
    let world = World::new();
    world.ip(Host::Router, "addr add 192.168.7.1/24 dev br-lan");
    world.ip(Host::Alice, "addr add 192.168.7.10/24 dev eth0");
    let _daemon = world.start();
    let other = End::v4(Host::Alice, Ipv4Addr::new(192, 168, 7, 10), 0);
    let second = SocketAddr::from((Ipv4Addr::new(192, 168, 7, 1), 5351));
    for (from, to) in [(FROM_ALICE, (ROUTER, 5351).into()), (other, second)] {
        let answer = world.ask_pmp_at(from, to, &[0, 0]).unwrap();
        assert_eq!(answer[..4], [0, 128, 0, 0]);
        assert_eq!(answer[8..], EXTERNAL.octets());
        assert!(epoch(&answer) <= 5);
    }
    world.firewall_stop();
    for to in [EXTERNAL, ROUTER] {
        let answer = world.ask_pmp_at(FROM_PEER, (to, 5351).into(), &[0, 0]);
        assert_eq!(answer, None, "from outside at {to}");
    }
    let stranger = End::v4(Host::Bob, Ipv4Addr::new(192, 168, 2, 50), 0);
    world.ip(Host::Router, "route add 192.168.2.0/24 dev br-lan");
    world.ip(Host::Bob, "addr add 192.168.2.50/24 dev eth0");
    assert_eq!(world.ask_pmp(stranger, &[0, 0]), None, "no host of the LAN");
}

#[test]
fn s3_3_what_is_mapped_is_reached_until_it_is_ended_170_172_174_177() {
    let world = World::new();
    let _daemon = world.start();
    let _servers = (
        world.udp_server(Host::Alice, (ALICE, 7000)),
        world.tcp_server(Host::Alice, (ALICE, 7000)),
    );
    let to = (EXTERNAL, 17000);
    assert!(world.udp(FROM_PEER, to).is_err());
    assert_eq!(told(&world, FROM_ALICE, &natpmp(UDP, 7000, 17000, 600)), [0, 7000, 17000, 600]);
    let row = "ipv4 UDP 11.22.33.1:17000 -> 192.168.1.10:7000 remote=null '' natpmp enabled=true";
    assert_eq!(world.rows(), [row]);
    assert!(world.udp(FROM_PEER.port(40000), to).is_ok());
    assert!(world.tcp(FROM_PEER, to).is_err(), "that is another protocol");
    assert_eq!(told(&world, FROM_ALICE, &natpmp(UDP, 7000, 18000, 900)), [0, 7000, 17000, 900]);
    assert_eq!(told(&world, FROM_ALICE, &natpmp(TCP, 7000, 17000, 900)), [0, 7000, 17000, 900]);
    assert!(world.tcp(FROM_PEER, to).is_ok());
    assert_eq!(told(&world, FROM_ALICE, &natpmp(UDP, 7000, 0, 0)), [0, 7000, 0, 0]);
    assert!(world.udp(FROM_PEER.port(40001), to).is_err());
    assert!(world.tcp(FROM_PEER, to).is_ok());
}

#[test]
fn s3_4_a_host_ends_all_of_its_mappings_of_a_protocol_and_no_others_178() {
    let world = World::new();
    let _daemon = world.start();
    for port in 7000..7003 {
        told(&world, FROM_ALICE, &natpmp(UDP, port, port, 600));
    }
    told(&world, FROM_ALICE, &natpmp(TCP, 7000, 7000, 600));
    told(&world, FROM_BOB, &natpmp(UDP, 8000, 8000, 600));
    assert_eq!(told(&world, FROM_ALICE, &natpmp(UDP, 0, 0, 0)), [0, 0, 0, 0]);
    let left = [
        "ipv4 TCP 11.22.33.1:7000 -> 192.168.1.10:7000 remote=null '' natpmp enabled=true",
        "ipv4 UDP 11.22.33.1:8000 -> 192.168.1.20:8000 remote=null '' natpmp enabled=true",
    ];
    assert_eq!(world.rows(), left);
}

#[test]
fn s3_5_what_cannot_be_done_is_told_180_181_182() {
    let world = World::new();
    let rules = "config perm_rule\n\toption action 'deny'\n\toption ext_ports '1-1023'\n\
                 \toption int_ports '1-1023'\n";
    let _daemon = world.start_with(&(world.config("\toption max_mappings_per_host '1'") + rules));
    assert_eq!(told(&world, FROM_ALICE, &natpmp(UDP, 7000, 17000, 600)), [0, 7000, 17000, 600]);
    assert_eq!(told(&world, FROM_ALICE, &natpmp(UDP, 7001, 17001, 600)), [4, 7001, 0, 0]);
    let unknown = world.ask_pmp(FROM_ALICE, &[0, 9, 1, 2, 3, 4, 5, 6]);
    assert_eq!(unknown.as_deref(), Some(&[0, 137, 0, 5, 3, 4, 5, 6][..]));
    assert_eq!(world.ask_pmp(FROM_ALICE, &[0, 128, 0, 0, 0, 0, 0, 0]), None);
    world.unplug_wan();
    world.wait_for_state("no-external-address");
    let address = world.ask_pmp(FROM_ALICE, &[0, 0]).unwrap();
    assert_eq!((address[..4].to_vec(), &address[8..]), (vec![0, 128, 0, 3], &[0, 0, 0, 0][..]));
    assert_eq!(told(&world, FROM_BOB, &natpmp(UDP, 7000, 0, 600)), [3, 7000, 0, 0]);
}

#[test]
fn s3_2_1_the_address_is_announced_at_start_and_when_it_is_another_183_184() {
    let world = World::new();
    let heard = world.announcements(Host::Alice);
    let _daemon = world.start();
    let natpmp = |heard: Vec<(u64, SocketAddr, Vec<u8>)>| -> Vec<(u64, Vec<u8>)> {
        let ours = heard.into_iter().filter(|(_, from, bytes)| {
            assert_eq!(from.port(), 5351);
            bytes[0] == 0
        });
        ours.map(|(when, _, bytes)| (when, bytes)).collect()
    };
    let first = natpmp(heard.until(2500));
    assert!(first.len() >= 3, "{first:?}");
    for (_, bytes) in &first {
        assert_eq!((&bytes[..4], &bytes[8..]), (&[0, 128, 0, 0][..], &EXTERNAL.octets()[..]));
    }
    // A start and a new LAN address begin it together or one after the other.
    let gaps: Vec<u64> = first.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    let doubled = gaps.windows(2).filter(|gap| gap[1] * 10 >= gap[0] * 17 && gap[0] >= 200);
    assert!(doubled.count() >= 1, "{gaps:?}");

    let next = Ipv4Addr::new(11, 22, 33, 44);
    let heard = world.announcements(Host::Bob);
    world.wan_address(next);
    let new = natpmp(heard.until(1500));
    let of_next: Vec<_> = new.iter().filter(|(_, bytes)| bytes[8..] == next.octets()).collect();
    assert!(of_next.len() >= 2, "{new:?}");
    assert!(of_next.iter().all(|(_, bytes)| epoch(bytes) <= 2), "the epoch begins anew: {new:?}");
}

#[test]
fn s3_9_a_mapped_host_leaves_from_its_external_port_to_anybody_186() {
    let world = World::new();
    let _daemon = world.start();
    let _servers = (
        world.udp_server(Host::Internet, (PEER, 9000)),
        world.udp_server(Host::Internet, (PEER, 9001)),
    );
    told(&world, FROM_ALICE, &natpmp(UDP, 7000, 17000, 600));
    let external = SocketAddr::from((EXTERNAL, 17000));
    for port in [9000, 9001] {
        assert_eq!(world.udp(FROM_ALICE.port(7000), (PEER, port)), Ok(external));
    }
    // Another host that uses the external port as its own source is moved aside.
    let moved = world.udp(FROM_BOB.port(17000), (PEER, 9000)).unwrap();
    assert_ne!(moved, external);
    assert_eq!(world.udp(FROM_ALICE.port(7000), (PEER, 9000)), Ok(external), "still its own");
}

#[test]
fn with_enable_natpmp_off_nobody_listens_185() {
    let world = World::new();
    let _daemon = world.start_with(&world.config("\toption enable_natpmp '0'"));
    assert_eq!(world.ask_pmp(FROM_ALICE, &[0, 0]), None);
    assert_eq!(world.udp(FROM_ALICE, (ROUTER, 5351)), REFUSED);
}

#[test]
fn without_upnp_natpmp_is_served_all_the_same() {
    let world = World::new();
    let _daemon = world.start_with(&world.config("\toption enable_upnp '0'"));
    assert_eq!(told(&world, FROM_ALICE, &natpmp(UDP, 7000, 17000, 600)), [0, 7000, 17000, 600]);
    assert_eq!(world.tcp(FROM_ALICE, (ROUTER, 5000)), REFUSED);
}

#[test]
fn a_mapped_port_is_reached_from_within_by_the_external_address_245() {
    let world = World::new();
    let _daemon = world.start();
    let _servers = (
        world.udp_server(Host::Alice, (ALICE, 7000)),
        world.tcp_server(Host::Alice, (ALICE, 7000)),
    );
    for opcode in [UDP, TCP] {
        told(&world, FROM_ALICE, &natpmp(opcode, 7000, 17000, 600));
    }
    told(&world, FROM_BOB, &natpmp(UDP, 7778, 57777, 600));
    let external = |port| SocketAddr::from((EXTERNAL, port));
    for (from, seen) in [(FROM_BOB.port(7777), 7777), (FROM_ALICE.port(7779), 7779)] {
        assert_eq!(world.udp(from, external(17000)), Ok(external(seen)), "{from:?}");
        assert_eq!(world.tcp(from, external(17000)), Ok(external(seen)), "{from:?}");
    }
    // A mapped source shows its external port (RFC 4787 REQ-9).
    assert_eq!(world.udp(FROM_BOB.port(7778), external(17000)), Ok(external(57777)));
}
