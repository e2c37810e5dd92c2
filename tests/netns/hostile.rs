//! Attacks that are known by name, sent as they are sent: mapping for others (UPnProxy, Eternal
//! Silence), events to others (CallStranger), requests from the WAN with the firewall open, forged
//! sources, amplification. All are refused or bounded, and nothing is changed by them.

mod callbacks;
mod forged;

use crate::clients::{msearch, ControlPoint, GROUP};
use crate::discovery::{plug_guest, GUEST};
use crate::malformed::{control, with_length};
use crate::pcp_client::{map, natpmp, third_party, Pcp};
use crate::pinholes::{FIREWALL, UDP};
use crate::traffic::{End, FROM_ALICE, FROM_ALICE6, FROM_BOB, FROM_PEER, FROM_PEER6, REFUSED};
use crate::world::{succeed, Host, World, ALICE, BOB, BOB6, EXTERNAL, PEER6, ROUTER, ROUTER6};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

/// The description that version 2 control points read.
const DESCRIPTION: &str = "http://192.168.1.1:5000/igd2/desc.xml";

fn connection(world: &World, from: End) -> ControlPoint<'_> {
    world.control_point_at(from, DESCRIPTION, ":WANIPConnection:")
}

/// Asks for a port towards this host by both actions; the answers.
fn map_to(from: &ControlPoint<'_>, client: &str) -> [Result<(), u16>; 2] {
    ["AddPortMapping", "AddAnyPortMapping"].map(|action| {
        let arguments = [
            ("NewRemoteHost", ""),
            ("NewExternalPort", "17000"),
            ("NewProtocol", "TCP"),
            ("NewInternalPort", "7000"),
            ("NewInternalClient", client),
            ("NewEnabled", "1"),
            ("NewPortMappingDescription", "proxy"),
            ("NewLeaseDuration", "0"),
        ];
        from.call(action, &arguments).map(drop)
    })
}

/// What no mapping may lead to, whoever asks.
const NO_LAN_HOSTS: [&str; 13] = [
    "11.22.33.2",
    "8.8.8.8",
    "11.22.33.1",
    "192.168.1.1",
    "192.168.1.0",
    "192.168.1.255",
    "127.0.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "239.255.255.250",
    "255.255.255.255",
    "169.254.1.1",
    "192.168.2.10",
];

#[test]
fn no_mapping_leads_out_of_the_lan_to_the_router_or_to_a_group_133_257() {
    // UPnProxy (Akamai 2018), Eternal Silence.
    let world = World::new();
    let rule = "config perm_rule\n\toption action 'allow'\n\toption ext_ports '0-65535'\n";
    for secure in ["1", "0"] {
        let more = format!("\toption secure_mode '{secure}'\n\tlist pcp_third_party '{ALICE}'\n");
        let daemon = world.start_with(&(world.config(&more) + rule));
        let alice = connection(&world, FROM_ALICE);
        for client in NO_LAN_HOSTS {
            for answer in map_to(&alice, client) {
                assert!(matches!(answer, Err(606 | 715)), "{client}: {answer:?}");
            }
            let third: Ipv4Addr = client.parse().unwrap();
            let asked = Pcp { options: third_party(third), ..map(FROM_ALICE, 7000, 17000) };
            let code = asked.ask(&world).code;
            assert!(matches!(code, 2 | 3 | 6), "{client}: {code}");
        }
        for name in [
            "localhost",
            "bob",
            "192.168.1.20.evil.example",
            "3232235796",
            "0xc0a80114",
            "::ffff:192.168.1.20",
            "192.168.1.20;",
            "192.168.1.20,192.168.1.10",
        ] {
            for answer in map_to(&alice, name) {
                assert!(matches!(answer, Err(402 | 501 | 600 | 601 | 606)), "{name}: {answer:?}");
            }
        }
        assert_eq!(world.rows(), [""; 0]);
        let table = world.table().unwrap();
        assert!(!table.contains("17000"), "{table}");
        // Of another LAN host the owner decides, and nobody but the owner.
        let other = map_to(&alice, "192.168.1.20");
        let listed = Pcp { options: third_party(BOB), ..map(FROM_ALICE, 7001, 17001) };
        match secure {
            "1" => assert_eq!(other, [Err(606); 2]),
            _ => assert_eq!(other, [Ok(()); 2]),
        }
        assert_eq!(listed.ask(&world).code, 0, "listed");
        assert_eq!(
            Pcp { options: third_party(ALICE), ..map(FROM_BOB, 7002, 17002) }.ask(&world).code,
            5
        );
        succeed("delete", world.cli(&["delete", "--all"]));
        daemon.stop();
    }
}

#[test]
fn no_pinhole_leads_to_another_host_157_257() {
    let world = World::new();
    let _daemon = world.start();
    let location = format!("http://[{ROUTER6}]:5000/igd2/desc.xml");
    let by_v4 = connection(&world, FROM_ALICE).service(FIREWALL);
    let by_v6 = world.control_point_at(FROM_ALICE6, &location, FIREWALL);
    for client in [
        &PEER6.to_string(),
        &ROUTER6.to_string(),
        &BOB6.to_string(),
        "2001:db8:ffff::1",
        "2001:db8:1::77",
        "::1",
        "::",
        "ff02::1",
        "ff05::c",
        "fe80::1",
        "::ffff:192.168.1.10",
        "64:ff9b::c0a8:10a",
        "192.168.1.10",
        "",
        "alice",
    ] {
        for asker in [&by_v4, &by_v6] {
            let arguments = [
                ("RemoteHost", ""),
                ("RemotePort", "0"),
                ("InternalClient", client),
                ("InternalPort", "7000"),
                ("Protocol", UDP),
                ("LeaseTime", "3600"),
            ];
            let answer = asker.call("AddPinhole", &arguments);
            assert!(matches!(answer, Err(402 | 501 | 601 | 606 | 708)), "{client}: {answer:?}");
        }
        if let Ok(IpAddr::V6(third)) = client.parse() {
            let asked = Pcp { options: third_party(third), ..map(FROM_ALICE6, 7000, 7000) };
            assert_eq!(asked.ask(&world).code, 5, "{client}");
        }
    }
    assert_eq!(world.rows(), [""; 0]);
}

/// AddPortMapping to Bob, as bytes.
fn add_for(client: Ipv4Addr) -> String {
    let arguments = format!(
        "<NewRemoteHost/><NewExternalPort>17000</NewExternalPort><NewProtocol>TCP</NewProtocol>\
         <NewInternalPort>7000</NewInternalPort><NewInternalClient>{client}</NewInternalClient>\
         <NewEnabled>1</NewEnabled><NewPortMappingDescription/><NewLeaseDuration>0</NewLeaseDuration>"
    );
    with_length(control("AddPortMapping", &arguments, "Connection: close\r\n"))
}

/// Everything that could be asked from where nobody is served.
fn ask_from_outside(world: &World, from: End, to: [IpAddr; 2]) {
    let client = from.source.ip();
    let events = format!(
        "SUBSCRIBE /igd2/wanip/event HTTP/1.1\r\nHost: 192.168.1.1:5000\r\nCONNECTION: close\r\n\
         CALLBACK: <http://{}/>\r\nNT: upnp:event\r\n\r\n",
        SocketAddr::new(client, 80)
    );
    for to in to {
        assert_eq!(world.tcp(from, (to, 5000)), REFUSED, "{to}");
        for request in [&add_for(ALICE), &events, "GET /igd1/desc.xml HTTP/1.0\r\n\r\n"] {
            let answer = world.http_at(from, (to, 5000).into(), request.as_bytes());
            assert_eq!((answer.status, &answer.head[..]), (0, ""), "HTTP at {to}");
        }
    }
    let socket = world.inside(from.host, || UdpSocket::bind(from.source).unwrap());
    let mut requests = vec![map(from, 7000, 17000).bytes()];
    if client.is_ipv4() {
        requests.extend([vec![0, 0], natpmp(1, 7000, 17000, 600)]);
    }
    for (to, request) in to.iter().flat_map(|to| requests.iter().map(move |r| (to, r))) {
        socket.send_to(request, (*to, 5351)).unwrap();
    }
    socket.set_read_timeout(Some(Duration::from_millis(600))).unwrap();
    let mut bytes = [0; 64];
    let answer = socket.recv_from(&mut bytes).ok();
    assert_eq!(answer, None, "{bytes:?}");
    assert_eq!(world.rows(), [""; 0]);
    assert_eq!(world.status()["subscriptions"], 0);
    assert_eq!(world.get(FROM_ALICE, "/igd1/desc.xml").status, 200, "the LAN is served meanwhile");
}

/// Asserts that no search is answered at these addresses or in the group.
fn search_in_vain(world: &World, from: End, routers: [Ipv4Addr; 2]) {
    for place in routers.iter().chain([GROUP.ip()]) {
        let search = msearch("ssdp:all", "MX: 1\r\n");
        let answers = world.ask_udp(from, SocketAddrV4::new(*place, 1900), &search);
        assert_eq!(answers, [], "SSDP at {place}");
    }
}

#[test]
fn nothing_is_asked_from_outside_even_with_the_firewall_open_255() {
    // CVE-2011-4499 to 4506 (VU#357851), VU#184540; the LAN's address through the WAN's device too.
    let world = World::new();
    let _daemon = world.start();
    world.firewall_stop();
    let _servers = [
        world.tcp_server(Host::Router, (Ipv4Addr::UNSPECIFIED, 9)),
        world.tcp_server(Host::Router, (Ipv6Addr::UNSPECIFIED, 10)),
    ];
    let wan6: IpAddr = "2001:db8:ffff::1".parse().unwrap();
    for (to, from) in [
        ((EXTERNAL, 9).into(), FROM_PEER),
        ((ROUTER, 9).into(), FROM_PEER),
        (SocketAddr::from((wan6, 10)), FROM_PEER6),
        ((ROUTER6, 10).into(), FROM_PEER6),
    ] {
        assert!(world.tcp(from, to).is_ok(), "{to} is reached from outside");
    }
    ask_from_outside(&world, FROM_PEER, [EXTERNAL.into(), ROUTER.into()]);
    ask_from_outside(&world, FROM_PEER6, [wan6, ROUTER6.into()]);
    search_in_vain(&world, FROM_PEER, [EXTERNAL, ROUTER]);
}

#[test]
fn nothing_is_asked_from_a_network_that_is_not_served_even_with_the_firewall_open_256() {
    let world = World::new();
    plug_guest(&world);
    world.firewall_stop();
    // A host of the guest network alone.
    world.ip(Host::Bob, "link set eth0 down\nroute add default via 192.168.2.1");
    let _daemon = world.start();
    let guest = End::v4(Host::Bob, GUEST, 0);
    let routers = [Ipv4Addr::new(192, 168, 2, 1), ROUTER];
    let _server = world.tcp_server(Host::Router, (Ipv4Addr::UNSPECIFIED, 9));
    for router in routers {
        assert!(world.tcp(guest, (router, 9)).is_ok(), "{router} is reached from there");
    }
    ask_from_outside(&world, guest, routers.map(IpAddr::from));
    search_in_vain(&world, guest, routers);
}
