//! The LAN over IPv6: discovery, descriptions, and hosts that use both families.

use crate::clients::{ask, bob_asks, header, IGD1, IGD2};
use crate::traffic::{End, FROM_ALICE, FROM_ALICE6, FROM_BOB6, FROM_PEER, FROM_PEER6, REFUSED};
use crate::world::{Host, World, ALICE, ALICE6, EXTERNAL, ROUTER6};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

const LINK: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xc);
const SITE: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xc);
const GLOBAL: Ipv6Addr = Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0, 0xc);

/// A host's address of the link, when it can be bound to.
fn link_local(world: &World, host: Host) -> Ipv6Addr {
    let address = || {
        let mut command = world.command(host, "ip");
        command.args(["-6", "-o", "addr", "show", "scope", "link", "-tentative"]);
        let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let word = text.split_whitespace().skip_while(|word| *word != "inet6").nth(1)?;
        Some(word.split('/').next()?.parse().unwrap())
    };
    let mut found = None;
    world.wait_for(|_| {
        found = address();
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn the_address_that_answers_is_the_one_in_location_15_27_28() {
    let world = World::new();
    let _daemon = world.start();
    let of_link = End::v6(Host::Alice, link_local(&world, Host::Alice));
    for (from, group) in [
        (FROM_ALICE6, LINK),
        (FROM_ALICE6, SITE),
        (FROM_ALICE6, ROUTER6),
        (of_link, LINK),
        (of_link, ROUTER6),
    ] {
        for (target, face) in [(IGD1, "igd1"), (IGD2, "igd2")] {
            let answers = world.search_v6(from, group, target);
            assert_eq!(answers.len(), 1, "{from:?} {group} {target}: {answers:?}");
            let (sender, answer) = &answers[0];
            assert_eq!((sender.ip(), sender.port()), (IpAddr::V6(ROUTER6), 1900));
            let location = format!("http://[{ROUTER6}]:5000/{face}/desc.xml");
            assert_eq!(header(answer, "LOCATION"), location, "{from:?} {group}");
        }
    }
    assert_eq!(world.search_v6(FROM_ALICE6, GLOBAL, IGD1), []);
    assert_eq!(world.search_v6(FROM_ALICE6, LINK, "ssdp:all").len(), 10);
}

#[test]
fn a_lan_with_addresses_of_the_link_alone_is_served_there_27() {
    let world = World::new();
    world.ip(Host::Router, &format!("addr del {ROUTER6}/64 dev br-lan"));
    let _daemon = world.start();
    let from = End::v6(Host::Alice, link_local(&world, Host::Alice));
    let answers = world.search_v6(from, LINK, IGD2);
    assert_eq!(answers.len(), 1, "{answers:?}");
    let (sender, answer) = &answers[0];
    let SocketAddr::V6(sender) = sender else { panic!("{sender}") };
    let address = sender.ip();
    assert_eq!(address.segments()[0], 0xfe80);
    assert_eq!(header(answer, "LOCATION"), format!("http://[{address}]:5000/igd2/desc.xml"));
    let request = format!(
        "GET /igd2/desc.xml HTTP/1.1\r\nHost: [{address}]:5000\r\nConnection: close\r\n\r\n"
    );
    let to = SocketAddrV6::new(*address, 5000, 0, sender.scope_id());
    let answer = world.http_at(from, to.into(), request.as_bytes());
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("InternetGatewayDevice:2"));
}

/// Everything announced on a LAN host's link for a while, by group.
fn announced(world: &World, group: Ipv6Addr, time: Duration, during: impl FnOnce()) -> Vec<String> {
    let socket = world.inside(Host::Alice, || {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind_device(Some(b"eth0")).unwrap();
        socket.bind(&SockAddr::from(SocketAddrV6::new(group, 1900, 0, 0))).unwrap();
        let index = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
        let line = index.lines().find(|line| line.ends_with("eth0")).unwrap();
        let index = u32::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        socket.join_multicast_v6(&group, index).unwrap();
        UdpSocket::from(socket)
    });
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    during();
    let end = Instant::now() + time;
    let (mut heard, mut bytes) = (Vec::new(), [0; 2048]);
    while Instant::now() < end {
        if let Ok((length, _)) = socket.recv_from(&mut bytes) {
            heard.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
        }
    }
    heard
}

#[test]
fn it_is_announced_once_in_each_scope_and_taken_back_16_17_18_20_27() {
    let world = World::new();
    for (group, host) in [(LINK, "[FF02::C]:1900"), (SITE, "[FF05::C]:1900")] {
        let mut daemon = None;
        let start = || daemon = Some(world.start());
        let heard = announced(&world, group, Duration::from_millis(1500), start);
        let kinds: Vec<&str> = heard.iter().map(|text| header(text, "NTS")).collect();
        let wanted = [vec!["ssdp:byebye"; 10], vec!["ssdp:alive"; 30]].concat();
        assert_eq!(kinds, wanted, "{group}");
        let location = format!("http://[{ROUTER6}]:5000/igd1/desc.xml");
        assert!(heard.iter().all(|text| header(text, "HOST") == host));
        assert!(heard[10..].iter().all(|text| header(text, "LOCATION") == location));
        let stop = || daemon.take().unwrap().stop();
        let heard = announced(&world, group, Duration::from_millis(300), stop);
        assert_eq!(heard.len(), 10);
        assert!(heard.iter().all(|text| header(text, "NTS") == "ssdp:byebye"));
    }
}

#[test]
fn an_address_that_comes_later_is_served_and_one_that_goes_is_not_21_300() {
    let world = World::new();
    let _daemon = world.start();
    let boot = |world: &World| {
        let answers = world.search(FROM_ALICE, IGD1);
        header(&answers[0], "BOOTID.UPNP.ORG").parse::<u32>().unwrap()
    };
    let before = boot(&world);
    let unique: Ipv6Addr = "fd00:1::1".parse().unwrap();
    world.ip(Host::Alice, "addr add fd00:1::10/64 dev eth0 nodad");
    world.ip(Host::Router, &format!("addr add {unique}/64 dev br-lan"));
    let internal = |world: &World| world.status()["internal"].to_string();
    world.wait_for(|world| internal(world).contains("fd00:1::1"));
    assert!(boot(&world) > before, "control points hear of it");
    let from = End::v6(Host::Alice, "fd00:1::10".parse().unwrap());
    let (sender, answer) = &world.search_v6(from, LINK, IGD1)[0];
    assert_eq!(sender.ip(), IpAddr::V6(unique));
    assert_eq!(header(answer, "LOCATION"), "http://[fd00:1::1]:5000/igd1/desc.xml");
    world.ip(Host::Router, &format!("addr del {unique}/64 dev br-lan"));
    world.wait_for(|world| !internal(world).contains("fd00:1::1"));
    assert_eq!(world.search_v6(FROM_ALICE6, LINK, IGD1).len(), 1, "the others stay");
}

#[test]
fn ipv6_can_be_switched_off() {
    let world = World::new();
    let _daemon = world.start_with(&world.config("\toption ipv6_disable '1'"));
    assert_eq!(world.search_v6(FROM_ALICE6, LINK, IGD2), []);
    assert_eq!(world.tcp(FROM_ALICE6, (ROUTER6, 5000)), REFUSED);
    let location = world.control_point(FROM_ALICE, IGD2).location;
    assert!(!world.get(FROM_ALICE, &location).body.contains("WANIPv6"));
}

#[test]
fn nothing_answers_over_ipv6_on_the_wan_255() {
    let world = World::new();
    world.firewall_stop();
    let _daemon = world.start();
    for group in [LINK, SITE, "2001:db8:ffff::1".parse().unwrap(), ROUTER6] {
        assert_eq!(world.search_v6(FROM_PEER6, group, "ssdp:all"), [], "{group}");
    }
    for address in ["2001:db8:ffff::1", "2001:db8:1::1"] {
        let to: IpAddr = address.parse().unwrap();
        assert_eq!(world.tcp(FROM_PEER6, (to, 5000)), REFUSED, "{address}");
    }
}

#[test]
fn a_host_that_asks_over_ipv6_maps_its_own_ipv4_address_and_no_other_134_282() {
    let world = World::new();
    let _daemon = world.start();
    let _server = world.tcp_server(Host::Alice, (ALICE, 7000));
    let location = format!("http://[{ROUTER6}]:5000/igd1/desc.xml");
    let control = |from: End| world.control_point_at(from, &location, ":WANIPConnection:");
    let alice = control(FROM_ALICE6);
    assert_eq!(alice.add(&ask("TCP", 17000, 7000)), Ok(()));
    let peer = FROM_PEER.port(40000);
    assert_eq!(world.tcp(peer, (EXTERNAL, 17000)), Ok(peer.source));

    let bob = control(FROM_BOB6);
    assert_eq!(bob.add(&ask("TCP", 17001, 7000)), Err(606), "forged");
    assert_eq!(bob.delete("TCP", 17000), Err(606));
    assert_eq!(bob.add(&bob_asks("TCP", 17001, 7000)), Ok(()));
    assert_eq!(alice.delete("TCP", 17000), Ok(()));
    assert!(world.tcp(FROM_PEER, (EXTERNAL, 17000)).is_err());
    assert_eq!(world.rows().len(), 1);
    // By an address of the link alone, too.
    let of_link = End::v6(Host::Alice, link_local(&world, Host::Alice));
    assert_eq!(control(of_link).add(&ask("TCP", 17002, 7000)), Ok(()));
}

#[test]
fn the_routers_ipv6_address_is_in_its_status() {
    let world = World::new();
    let _daemon = world.start();
    let status = world.status();
    assert_eq!(status["external"]["address6"], "2001:db8:ffff::1");
    assert!(status["internal"].to_string().contains(&ROUTER6.to_string()));
    assert!(world.udp(FROM_ALICE6, (ALICE6, 1)).is_err());
}
