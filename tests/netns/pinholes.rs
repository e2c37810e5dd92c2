//! IPv6 pinholes from request to packet: what they let in, count, outlive, and when they end.

use crate::clients::{ControlPoint, IGD2};
use crate::traffic::{End, FROM_ALICE, FROM_ALICE6, FROM_BOB, FROM_OTHER_PEER6, FROM_PEER6};
use crate::world::{Host, World, ALICE6, OTHER_PEER6, PEER6, ROUTER6};
use std::fs;
use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::thread;
use std::time::Duration;

/// In the type of the service of pinholes.
pub const FIREWALL: &str = ":WANIPv6FirewallControl:";
const TCP: &str = "6";
/// UDP's number.
pub const UDP: &str = "17";

/// Alice's control point for pinholes, over IPv4: her IPv6 address is hers by her neighbour entry.
fn alice(world: &World) -> ControlPoint<'_> {
    world.control_point(FROM_ALICE, IGD2).service(FIREWALL)
}

/// The same over IPv6.
fn by_ipv6(world: &World, from: End) -> ControlPoint<'_> {
    let location = format!("http://[{ROUTER6}]:5000/igd2/desc.xml");
    world.control_point_at(from, &location, FIREWALL)
}

fn to(port: u16) -> SocketAddrV6 {
    SocketAddrV6::new(ALICE6, port, 0, 0)
}

impl ControlPoint<'_> {
    /// AddPinhole to Alice: remote host and port, internal port, protocol number, seconds. Its
    /// UniqueID.
    pub fn pinhole(
        &self,
        (remote, remote_port): (&str, u16),
        port: u16,
        protocol: &str,
        lease: u32,
    ) -> Result<String, u16> {
        self.value(
            "AddPinhole",
            &[
                ("RemoteHost", remote),
                ("RemotePort", &remote_port.to_string()),
                ("InternalClient", &ALICE6.to_string()),
                ("InternalPort", &port.to_string()),
                ("Protocol", protocol),
                ("LeaseTime", &lease.to_string()),
            ],
        )
    }

    pub fn open(&self, port: u16, protocol: &str, lease: u32) -> String {
        self.pinhole(("", 0), port, protocol, lease).unwrap()
    }

    fn packets(&self, unique_id: &str) -> Result<u32, u16> {
        let packets = self.value("GetPinholePackets", &[("UniqueID", unique_id)])?;
        Ok(packets.parse().unwrap())
    }

    fn close(&self, unique_id: &str) -> Result<(), u16> {
        self.call("DeletePinhole", &[("UniqueID", unique_id)]).map(|out| assert_eq!(out, []))
    }
}

#[test]
fn a_pinhole_lets_tcp_and_udp_in_and_is_closed_by_deletion_and_by_time_154_162_244() {
    let world = World::new();
    let _daemon = world.start();
    let _servers = [
        world.tcp_server(Host::Alice, (ALICE6, 7000)),
        world.udp_server(Host::Alice, (ALICE6, 7000)),
    ];
    let alice = alice(&world);
    assert!(world.tcp(FROM_PEER6, to(7000)).is_err());
    assert!(world.udp(FROM_PEER6, to(7000)).is_err());

    let tcp = alice.open(7000, TCP, 3600);
    assert!(world.tcp(FROM_PEER6, to(7000)).is_ok());
    assert!(world.udp(FROM_PEER6, to(7000)).is_err(), "UDP is another pinhole");
    let udp = alice.open(7000, UDP, 2);
    let peer = FROM_PEER6.port(40_000);
    assert_eq!(world.udp(peer, to(7000)), Ok(peer.source), "the source is what it was");
    assert_eq!(alice.close(&tcp), Ok(()));
    assert!(world.tcp(FROM_PEER6, to(7000)).is_err());
    assert_eq!(alice.close(&tcp), Err(704));
    thread::sleep(Duration::from_millis(2100));
    assert!(world.udp(FROM_PEER6, to(7000)).is_err(), "its time is up");
    assert_eq!(alice.packets(&udp), Err(704));
    assert_eq!(world.list(), [""; 0]);
}

#[test]
fn remote_host_and_port_really_limit_who_comes_in_160() {
    let world = World::new();
    let _daemon = world.start();
    let _server = world.udp_server(Host::Alice, (ALICE6, 7000));
    let alice = alice(&world);
    let comes = |from: End| world.udp(from, to(7000)).is_ok();
    let (peer, other) = (FROM_PEER6, FROM_OTHER_PEER6);
    let only = |remote: &str, port: u16| alice.pinhole((remote, port), 7000, UDP, 60).unwrap();

    let by_host = only(&PEER6.to_string(), 0);
    assert!(comes(peer.port(4001)) && !comes(other.port(4001)));
    alice.close(&by_host).unwrap();
    let by_port = only("", 4002);
    assert!(comes(peer.port(4002)) && comes(other.port(4002)) && !comes(peer.port(4003)));
    alice.close(&by_port).unwrap();
    only(&OTHER_PEER6.to_string(), 4004);
    assert!(comes(other.port(4004)) && !comes(other.port(4005)) && !comes(peer.port(4004)));
    let rows = world.rows();
    let remote = format!("remote=[{OTHER_PEER6}]:4004");
    assert!(rows.len() == 1 && rows[0].contains(&remote), "{rows:?}");
}

#[test]
fn every_packet_that_comes_in_is_counted_once_163_164() {
    let world = World::new();
    let _daemon = world.start();
    let alice = alice(&world);
    let silent = alice.open(7000, UDP, 600);
    let check = |id: &str| alice.value("CheckPinholeWorking", &[("UniqueID", id)]);
    assert_eq!((alice.packets(&silent), check(&silent)), (Ok(0), Err(709)));
    assert!(world.table().unwrap().contains("chain count6"));

    // One flow that nobody answers, one that is answered, and packets of neither.
    let hole = world.inside(Host::Alice, || UdpSocket::bind((ALICE6, 7000)).unwrap());
    world.inside(Host::Internet, || {
        let sender = UdpSocket::bind((PEER6, 5001)).unwrap();
        for port in [7000; 7].into_iter().chain([7001; 3]) {
            sender.send_to(b"x", to(port)).unwrap();
        }
    });
    hole.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    for _ in 0..7 {
        hole.recv_from(&mut [0; 8]).unwrap();
    }
    drop(hole);
    assert_eq!((alice.packets(&silent), check(&silent)), (Ok(7), Ok("1".into())));
    let server = world.udp_server(Host::Alice, (ALICE6, 7000));
    let peer = FROM_PEER6.port(5002);
    for _ in 0..5 {
        world.udp(peer, to(7000)).unwrap();
    }
    assert_eq!(alice.packets(&silent), Ok(12), "answers are not counted");
    // A refresh and a restart keep the count.
    assert_eq!(alice.open(7000, UDP, 900), silent);
    assert_eq!(alice.packets(&silent), Ok(12));
    drop(server);
    alice.close(&silent).unwrap();
    assert!(!world.table().unwrap().contains("chain count6"), "nothing to count costs nothing");
}

#[test]
fn a_pinhole_outlives_firewall_reloads_crashes_and_restarts_under_its_name_301() {
    let world = World::new();
    let daemon = world.start();
    let _server = world.tcp_server(Host::Alice, (ALICE6, 7000));
    let alice_ = alice(&world);
    let id = alice_.open(7000, TCP, 600);
    let passes = || world.tcp(FROM_PEER6, to(7000)).is_ok();
    for _ in 0..3 {
        world.firewall_reload();
        assert!(passes());
    }
    world.firewall_restart();
    assert!(passes());
    let before = alice_.packets(&id).unwrap();
    assert!(before >= 12, "{before}: four connections of three packets and more");

    daemon.crash();
    assert!(passes(), "the kernel goes on");
    let listed = String::from_utf8(world.cli(&["list"]).stdout).unwrap();
    assert!(listed.contains(&ALICE6.to_string()), "{listed}");
    let daemon = world.start();
    assert!(alice_.packets(&id).unwrap() > before);
    daemon.stop();
    assert!(!passes());
    let _daemon = world.start();
    assert!(passes());
    assert_eq!(alice_.open(7000, TCP, 700), id);
}

#[test]
fn only_the_host_itself_opens_and_closes_its_pinholes_157_158_161_162() {
    let world = World::new();
    let _daemon = world.start();
    let bobs = world.control_point(FROM_BOB, IGD2).service(FIREWALL);
    assert_eq!(bobs.pinhole(("", 0), 7000, TCP, 60), Err(606));
    let own = by_ipv6(&world, FROM_ALICE6);
    let id = own.pinhole(("", 0), 7000, TCP, 60).unwrap();
    assert_eq!(bobs.close(&id), Err(606));
    assert_eq!(bobs.packets(&id), Err(606));
    let update = [("UniqueID", &id[..]), ("NewLeaseTime", "5")];
    assert_eq!(bobs.call("UpdatePinhole", &update), Err(606));
    assert_eq!(own.pinhole(("", 0), 80, TCP, 60), Err(606), "a low port");
    // Another address of hers, as with privacy extensions, is known by her MAC address.
    let private: Ipv6Addr = "2001:db8:1::abcd".parse().unwrap();
    world.ip(Host::Alice, &format!("addr add {private}/64 dev eth0 nodad"));
    let private = by_ipv6(&world, End::v6(Host::Alice, private));
    assert_eq!(private.pinhole(("", 0), 7001, TCP, 60).map(drop), Ok(()));
    assert_eq!(private.call("UpdatePinhole", &update), Ok(vec![]));
    assert_eq!(private.close(&id), Ok(()));
}

#[test]
fn a_prefix_that_is_replaced_takes_its_pinholes_along_167() {
    let world = World::new();
    let _daemon = world.start();
    alice(&world).open(7000, TCP, 600);
    world.ip(Host::Router, &format!("addr del {ROUTER6}/64 dev br-lan"));
    world.ip(Host::Router, &format!("addr add {ROUTER6}/64 dev br-lan"));
    thread::sleep(Duration::from_millis(500));
    assert_eq!(world.list().len(), 1, "it came back");
    world.ip(
        Host::Router,
        &format!("addr del {ROUTER6}/64 dev br-lan\naddr add 2001:db8:2::1/64 dev br-lan"),
    );
    world.wait_for(|world| world.list().is_empty());
    assert_eq!(world.status()["pinholes"], 0);
}

#[test]
fn the_owners_rules_hold_for_pinholes_too_157() {
    let world = World::new();
    let rules = "config perm_rule\n\toption action 'deny'\n\toption ext_ports '7000'\n\
                 config perm_rule\n\toption action 'allow'\n\toption int_addr '2001:db8:1::/64'\n\
                 \toption int_ports '22'\n";
    let _daemon = world.start_with(&(world.config("") + rules));
    let alice = by_ipv6(&world, FROM_ALICE6);
    assert_eq!(alice.pinhole(("", 0), 7000, TCP, 60), Err(606));
    assert_eq!(alice.pinhole(("", 0), 23, TCP, 60), Err(606));
    assert!(alice.pinhole(("", 0), 22, TCP, 60).is_ok());
    assert!(alice.pinhole(("", 0), 7001, TCP, 60).is_ok());
}

#[test]
fn where_ipv6_comes_in_by_a_device_of_its_own_pinholes_open_there() {
    let world = World::new();
    let config = world.config("\toption external_device6 'wan'");
    let _daemon =
        world.start_with(&config.replace("external_device 'wan'", "external_device 'ppp9'"));
    let _server = world.tcp_server(Host::Alice, (ALICE6, 7000));
    let id = alice(&world).open(7000, TCP, 60);
    assert!(world.tcp(FROM_PEER6, to(7000)).is_ok());
    assert!(alice(&world).packets(&id).unwrap() > 0);
    let status = world.status();
    assert_eq!(status["external"]["address6"], "2001:db8:ffff::1");
    assert_eq!(status["state"], "no-external-address", "of IPv4 there is none");
}

#[test]
fn where_no_device_of_ipv6_is_named_pinholes_open_where_its_default_route_leads() {
    let world = World::new();
    world.unplug_wan();
    let _daemon = world
        .start_with(&world.config("").replace("external_device 'wan'", "external_device 'ppp9'"));
    let _server = world.tcp_server(Host::Alice, (ALICE6, 7000));
    alice(&world).open(7000, TCP, 60);
    assert_eq!(world.status()["external"]["address6"], serde_json::Value::Null);
    world.plug_wan();
    world.ip(Host::Router, &format!("route replace default via {PEER6} dev wan"));
    world.wait_for(|world| world.status()["external"]["address6"] == "2001:db8:ffff::1");
    assert!(world.tcp(FROM_PEER6, to(7000)).is_ok());
}

#[test]
fn an_ipv4_mapping_opens_nothing_for_ipv6_and_a_pinhole_nothing_for_ipv4() {
    // Design, invariant 10.
    let world = World::new();
    let _daemon = world.start();
    let _servers = [
        world.tcp_server(Host::Alice, (ALICE6, 7000)),
        world.tcp_server(Host::Alice, (crate::world::ALICE, 7001)),
    ];
    let control = world.control_point(FROM_ALICE, IGD2);
    control.add(&crate::clients::ask("TCP", 7000, 7000)).unwrap();
    assert!(world.tcp(FROM_PEER6, to(7000)).is_err());
    alice(&world).open(7001, TCP, 60);
    let external = (crate::world::EXTERNAL, 7001);
    assert!(world.tcp(crate::traffic::FROM_PEER, external).is_err());
}

#[test]
fn debians_upnpc_does_all_that_it_can_with_a_pinhole() {
    // Conformance 153, 154, 161–165.
    let world = World::new();
    let _daemon = world.start();
    let _server = world.tcp_server(Host::Alice, (ALICE6, 7000));
    let address = ALICE6.to_string();
    // It takes the first IGD:1 it finds, which has no such service, unless it is told where.
    let url = ["-u", "http://192.168.1.1:5000/igd2/desc.xml"];
    let upnpc = |args: &[&str]| world.upnpc(Host::Alice, &[&url, args].concat());
    let says = |args: &[&str], what: &str| {
        let out = upnpc(args);
        assert!(out.contains(what), "{args:?}: no {what:?} in {out}");
    };
    says(&["-S"], "FirewallEnabled: 1 & Inbound Pinhole Allowed: 1");
    says(&["-A", "", "0", &address, "7000", "TCP", "600"], "Pinhole ID = 1");
    assert!(world.tcp(FROM_PEER6, to(7000)).is_ok());
    says(&["-C", "1"], "IsWorking = Yes");
    let packets = upnpc(&["-K", "1"]);
    assert!(packets.contains("GetPinholePackets: Pinhole ID = 1 / PinholePackets = "), "{packets}");
    assert!(!packets.contains("PinholePackets = 0"), "{packets}");
    says(&["-U", "1", "1200"], "UpdatePinhole: Pinhole ID = 1 with Lease Time: 1200");
    assert!(world.list()[0]["expires_in"].as_u64().unwrap() > 1100);
    // Connection tracking's own time, of this namespace.
    let time = world.inside(Host::Router, || {
        fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established").unwrap()
    });
    says(&["-G", "", "0", &address, "7000", "TCP"], &format!("Timeout = {}", time.trim()));
    says(&["-D", "1"], "returned : 0");
    assert!(world.tcp(FROM_PEER6, to(7000)).is_err());
    says(&["-D", "1"], "704");
}
