//! What has come in through a port goes on no longer than the port is open.

use crate::clients::{ask, bob_asks, Ask, IGD1, IGD2};
use crate::pcp_client::{filter, map, Pcp};
use crate::traffic::{End, FROM_ALICE, FROM_ALICE6, FROM_BOB, FROM_OTHER_PEER, FROM_PEER};
use crate::world::{succeed, Host, World, ALICE, ALICE6, EXTERNAL, PEER};
use rustix::process::{getrlimit, prlimit, Pid, Resource, Rlimit, Signal};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const TO: (Ipv4Addr, u16) = (EXTERNAL, 17000);
/// How soon a connection must be ended, and how long one that must not be is looked at.
const SOON: Duration = Duration::from_secs(1);

/// Alice answers every byte on a port of hers, on a few connections.
fn echo(world: &World, at: impl Into<SocketAddr>) -> JoinHandle<()> {
    echo_of(world, Host::Alice, at)
}

/// A host does.
fn echo_of(world: &World, host: Host, at: impl Into<SocketAddr>) -> JoinHandle<()> {
    let at = at.into();
    let listener = world.inside(host, || TcpListener::bind(at).unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().take(4) {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
            });
        }
    })
}

/// A connection from outside, whose first byte has been answered.
struct Connection(TcpStream);

impl Connection {
    fn open(world: &World, from: Host, to: impl Into<SocketAddr>) -> Connection {
        Connection::from(world, End::v4(from, Ipv4Addr::UNSPECIFIED, 0), to)
    }

    /// The same from a port of the host's.
    fn from(world: &World, from: End, to: impl Into<SocketAddr>) -> Connection {
        let to = to.into();
        let stream: TcpStream = world.inside(from.host, || {
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
            if from.source.port() != 0 {
                socket.bind(&from.source.into()).unwrap();
            }
            socket.connect_timeout(&to.into(), SOON).unwrap();
            socket.into()
        });
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut connection = Connection(stream);
        assert!(connection.passes());
        connection
    }

    /// Whether a byte comes back.
    fn passes(&mut self) -> bool {
        self.0.write_all(b"x").is_ok() && self.0.read_exact(&mut [0]).is_ok()
    }

    /// Asserts that nothing comes back soon.
    #[track_caller]
    fn ends(&mut self) {
        let start = Instant::now();
        while self.passes() {
            assert!(start.elapsed() < SOON, "it goes on");
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(Duration::from_millis(200));
        assert!(!self.passes());
        println!("ended after {} ms", start.elapsed().as_millis() - 200);
    }

    /// Asserts that it goes on.
    #[track_caller]
    fn goes_on(&mut self) {
        for _ in 0..4 {
            thread::sleep(Duration::from_millis(100));
            assert!(self.passes());
        }
    }
}

/// A UDP flow from outside.
struct Datagrams(UdpSocket);

impl Datagrams {
    fn open(world: &World, from: End, to: impl Into<SocketAddr>) -> Datagrams {
        let to = to.into();
        let socket = world.inside(from.host, || UdpSocket::bind(from.source).unwrap());
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let datagrams = Datagrams(socket);
        assert!(datagrams.passes());
        datagrams
    }

    fn passes(&self) -> bool {
        self.0.send(b"x").is_ok() && self.0.recv(&mut [0; 64]).is_ok()
    }

    #[track_caller]
    fn ends(&self) {
        let start = Instant::now();
        while self.passes() {
            assert!(start.elapsed() < SOON, "it goes on");
        }
        assert!(!self.passes());
    }
}

#[test]
fn a_deletion_ends_what_came_in_through_the_port_and_nothing_else() {
    let world = World::new();
    let _daemon = world.start();
    let _servers = (echo(&world, (ALICE, 7000)), echo(&world, (ALICE, 7001)));
    let _udp = world.udp_server(Host::Alice, (ALICE, 7000));
    let alice = world.control_point(FROM_ALICE, IGD1);
    alice.add(&ask("TCP", 17000, 7000)).unwrap();
    alice.add(&ask("UDP", 17000, 7000)).unwrap();
    alice.add(&ask("TCP", 17001, 7001)).unwrap();
    let mut through = Connection::open(&world, Host::Internet, TO);
    let mut from_bob = Connection::open(&world, Host::Bob, TO);
    let mut beside = Connection::open(&world, Host::Internet, (EXTERNAL, 17001));
    let datagrams = Datagrams::open(&world, FROM_PEER, TO);
    let _outside = world.udp_server(Host::Internet, (PEER, 9000));
    let outbound = Datagrams::open(&world, FROM_ALICE.port(7002), (PEER, 9000));
    alice.delete("TCP", 17000).unwrap();
    through.ends();
    from_bob.ends();
    assert!(datagrams.passes(), "that is the other protocol");
    alice.delete("UDP", 17000).unwrap();
    datagrams.ends();
    beside.goes_on();
    assert!(outbound.passes());
}

#[test]
fn a_lease_that_ends_a_rule_that_comes_and_a_port_that_leads_elsewhere_end_it_too() {
    let world = World::new();
    let daemon = world.start();
    let _servers = (echo(&world, (ALICE, 7000)), echo(&world, (ALICE, 7001)));
    let alice = world.control_point(FROM_ALICE, IGD1);
    alice.add(&Ask { lease: 1, ..ask("TCP", 17000, 7000) }).unwrap();
    let mut through = Connection::open(&world, Host::Internet, TO);
    thread::sleep(Duration::from_millis(700));
    through.ends();

    alice.add(&ask("TCP", 17000, 7000)).unwrap();
    let mut through = Connection::open(&world, Host::Internet, TO);
    alice.add(&ask("TCP", 17000, 7000)).unwrap();
    through.goes_on();
    alice.add(&ask("TCP", 17000, 7001)).unwrap();
    through.ends();

    let mut through = Connection::open(&world, Host::Internet, TO);
    let rules = "config perm_rule\n\toption action 'deny'\n";
    world.configure(&(world.config("") + rules));
    daemon.signal(Signal::HUP);
    through.ends();
}

#[test]
fn a_look_that_fails_is_made_up_for() {
    let world = World::new();
    let daemon = world.start();
    let _server = echo(&world, (ALICE, 7000));
    let alice = world.control_point(FROM_ALICE, IGD1);
    alice.add(&Ask { lease: 1, ..ask("TCP", 17000, 7000) }).unwrap();
    let mut through = Connection::open(&world, Host::Internet, TO);
    // No descriptor is left for the question.
    let pid = Pid::from_raw(daemon.pid().try_into().unwrap());
    let none = Rlimit { current: Some(0), ..getrlimit(Resource::Nofile) };
    let before = prlimit(pid, Resource::Nofile, none).unwrap();
    world.wait_for(|_| daemon.log().contains("trying again"));
    prlimit(pid, Resource::Nofile, before).unwrap();
    assert!(through.passes());
    through.ends();
}

#[test]
fn outbound_connections_of_a_mapped_port_go_on_however_much_is_closed() {
    let world = World::new();
    let daemon = world.start();
    let _outside = echo_of(&world, Host::Internet, (PEER, 9000));
    let mut outbound = Connection::from(&world, FROM_ALICE.port(7000), (PEER, 9000));
    let alice = world.control_point(FROM_ALICE, IGD1);
    alice.add(&ask("TCP", 17000, 7000)).unwrap();
    // More than are remembered one by one.
    for port in 0..100 {
        alice.add(&ask("TCP", 18000 + port, 7001)).unwrap();
    }
    let rule = "config perm_rule\n\toption action 'deny'\n\toption ext_ports '18000-18099'\n\
                \toption int_addr '0.0.0.0/0'\n\toption int_ports '0-65535'\n";
    world.configure(&(world.config("") + rule));
    daemon.signal(Signal::HUP);
    world.wait_for(|world| world.rows().len() == 1);
    outbound.goes_on();
}

#[test]
fn what_a_host_that_has_left_asked_for_ends_with_all_that_came_in_234() {
    let world = World::new();
    let _daemon = world.start();
    let _server = echo(&world, (ALICE, 7000));
    world.control_point(FROM_ALICE, IGD1).add(&ask("TCP", 17000, 7000)).unwrap();
    map(FROM_ALICE, 7001, 17001).open(&world);
    Pcp { protocol: 6, ..map(FROM_ALICE6, 7000, 0) }.open(&world);
    map(FROM_BOB, 7002, 17002).open(&world);
    let mut through = Connection::open(&world, Host::Internet, TO);
    let left = |host: &str| succeed("delete", world.cli(&["delete", "--host", host]));
    assert_eq!(left(&ALICE.to_string()), "2 mappings closed\n");
    through.ends();
    assert_eq!(left(&ALICE6.to_string()), "1 mappings closed\n");
    let rows = world.rows();
    assert!(rows.len() == 1 && rows[0].contains(":17002 "), "{rows:?}");
    assert!(!world.cli(&["delete", "--host", "bob"]).status.success());
    assert!(!world.cli(&["delete", "--host", "192.168.1.20", "--all"]).status.success());
    assert_eq!(world.rows(), rows);
}

#[test]
fn over_ipv6_the_end_of_a_pinhole_ends_what_came_in_through_it() {
    let world = World::new();
    let _daemon = world.start();
    let _servers = (echo(&world, (ALICE6, 7000)), echo(&world, (ALICE6, 7001)));
    let open = |port| Pcp { protocol: 6, ..map(FROM_ALICE6, port, 0) };
    open(7000).open(&world);
    open(7001).open(&world);
    let mut through = Connection::open(&world, Host::Internet, (ALICE6, 7000));
    let mut beside = Connection::open(&world, Host::Internet, (ALICE6, 7001));
    // By PCP itself nothing is cut off (RFC 6887 §15), lest a forged request does.
    assert_eq!(Pcp { lifetime: 0, ..open(7001) }.ask(&world).code, 0);
    beside.goes_on();
    let id = world.list()[0]["id"].to_string();
    assert!(world.cli(&["delete", &id]).status.success());
    // An answer on its way at that moment would begin a flow of Alice's own, from the same port.
    thread::sleep(Duration::from_millis(300));
    through.ends();
    beside.goes_on();
}

#[test]
fn a_filter_that_comes_ends_the_flows_of_peers_that_it_does_not_name_227() {
    let world = World::new();
    let _daemon = world.start();
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    let alice = map(FROM_ALICE, 7000, 17000);
    alice.open(&world);
    let peer = Datagrams::open(&world, FROM_PEER, TO);
    let other = Datagrams::open(&world, FROM_OTHER_PEER, TO);
    Pcp { options: filter(PEER, 128, 0), ..alice }.open(&world);
    // An answer on its way at that moment would begin a flow of Alice's own.
    thread::sleep(Duration::from_millis(300));
    other.ends();
    assert!(peer.passes());
}

#[test]
fn a_new_udp_mapping_takes_the_flows_of_its_endpoint_to_its_port() {
    let world = World::new();
    let _daemon = world.start();
    let _server = world.udp_server(Host::Internet, (PEER, 9000));
    let from = FROM_ALICE.port(7000);
    assert_eq!(world.udp(from, (PEER, 9000)), Ok((EXTERNAL, 7000).into()));
    map(FROM_ALICE, 7000, 17000).open(&world);
    // The same flow as before, which would have gone on from its old port.
    world.wait_for(|world| world.udp(from, (PEER, 9000)) == Ok((EXTERNAL, 17000).into()));
}

/// Asserts that a host's packets leave from this port soon.
fn leaves_soon(world: &World, from: End, to: (Ipv4Addr, u16), port: u16) {
    world.wait_for(|world| world.udp(from, to).map(|seen| seen.port()) == Ok(port));
}

#[test]
fn a_new_udp_mapping_takes_its_port_from_the_flows_of_others() {
    let world = World::new();
    let _daemon = world.start();
    let _outside = world.udp_server(Host::Internet, (PEER, 9000));
    let to = (PEER, 9000);
    let bob = FROM_BOB.port(17000);
    assert_eq!(world.udp(bob, to).unwrap().port(), 17000);
    let alice = world.control_point(FROM_ALICE, IGD1);
    alice.add(&ask("UDP", 17000, 7000)).unwrap();
    leaves_soon(&world, FROM_ALICE.port(7000), to, 17000);
    assert_ne!(world.udp(bob, to).unwrap().port(), 17000);

    // Towards a peer on a port of the same number, too.
    let _equal = world.udp_server(Host::Internet, (PEER, 17005));
    let equal = (PEER, 17005);
    assert_eq!(world.udp(FROM_BOB.port(17005), equal).unwrap().port(), 17005);
    alice.add(&ask("UDP", 17005, 7005)).unwrap();
    leaves_soon(&world, FROM_ALICE.port(7005), equal, 17005);
    assert_ne!(world.udp(FROM_BOB.port(17005), equal).unwrap().port(), 17005);

    // The same from hand to hand.
    alice.delete("UDP", 17000).unwrap();
    let bobs = world.control_point(FROM_BOB, IGD1);
    bobs.add(&bob_asks("UDP", 17000, 7000)).unwrap();
    leaves_soon(&world, FROM_BOB.port(7000), to, 17000);
    assert_ne!(world.udp(FROM_ALICE.port(7000), to).unwrap().port(), 17000);
}

#[test]
fn a_new_udp_mapping_takes_over_what_went_to_the_router_itself() {
    let world = World::new();
    let _daemon = world.start();
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    let bob = FROM_BOB.port(7777);
    // A flow to the router: its port answers by ICMP, or not at all.
    world.udp(bob, TO).unwrap_err();
    let alice = world.control_point(FROM_ALICE, IGD1);
    alice.add(&ask("UDP", 17000, 7000)).unwrap();
    world.wait_for(|world| world.udp(bob, TO).is_ok());
    // Many clients delete and add when they start.
    alice.delete("UDP", 17000).unwrap();
    world.wait_for(|world| world.udp(bob, TO).is_err());
    alice.add(&ask("UDP", 17000, 7000)).unwrap();
    world.wait_for(|world| world.udp(bob, TO).is_ok());
}

#[test]
fn udp_flows_follow_an_endpoint_whose_port_becomes_another() {
    let world = World::new();
    let daemon = world.start();
    let _outside = world.udp_server(Host::Internet, (PEER, 9000));
    let to = (PEER, 9000);
    let alice = world.control_point(FROM_ALICE, IGD1);
    alice.add(&ask("UDP", 17000, 7000)).unwrap();
    leaves_soon(&world, FROM_ALICE.port(7000), to, 17000);
    // To another port of the host.
    assert_eq!(world.udp(FROM_ALICE.port(7001), to).unwrap().port(), 7001);
    alice.add(&ask("UDP", 17000, 7001)).unwrap();
    leaves_soon(&world, FROM_ALICE.port(7001), to, 17000);
    // To that of the mapping that is left.
    alice.add(&ask("UDP", 17001, 7001)).unwrap();
    leaves_soon(&world, FROM_ALICE.port(7001), to, 17000);
    alice.delete("UDP", 17000).unwrap();
    leaves_soon(&world, FROM_ALICE.port(7001), to, 17001);
    // Enabled after it was not; and begun while the daemon did not run.
    alice.add(&Ask { enabled: false, ..ask("UDP", 17002, 7002) }).unwrap();
    assert_eq!(world.udp(FROM_ALICE.port(7002), to).unwrap().port(), 7002);
    alice.add(&ask("UDP", 17002, 7002)).unwrap();
    leaves_soon(&world, FROM_ALICE.port(7002), to, 17002);
    alice.add(&ask("UDP", 17003, 7003)).unwrap();
    // However many come back at once.
    for port in 18000..18060 {
        alice.add(&ask("UDP", port, port - 10_000)).unwrap();
    }
    daemon.stop();
    assert_eq!(world.udp(FROM_ALICE.port(7003), to).unwrap().port(), 7003);
    let _daemon = world.start();
    leaves_soon(&world, FROM_ALICE.port(7003), to, 17003);
}

#[test]
fn what_came_in_by_an_address_that_is_lost_goes_on_by_none_other_299() {
    let world = World::new();
    let _daemon = world.start();
    let next = Ipv4Addr::new(11, 22, 33, 44);
    let alice = world.control_point(FROM_ALICE, IGD1);
    alice.add(&ask("UDP", 17000, 7000)).unwrap();
    let server = world.inside(Host::Alice, || UdpSocket::bind((ALICE, 7000)).unwrap());
    let peer = world.inside(Host::Internet, || UdpSocket::bind((PEER, 9000)).unwrap());
    for socket in [&server, &peer] {
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    }
    peer.send_to(b"in", TO).unwrap();
    assert_eq!(server.recv_from(&mut [0; 8]).unwrap().1, (PEER, 9000).into());
    let sent_from = |address: Ipv4Addr| {
        server.send_to(b"out", (PEER, 9000)).unwrap();
        matches!(peer.recv_from(&mut [0; 8]), Ok((_, from)) if from == (address, 17000).into())
    };
    assert!(sent_from(EXTERNAL));
    // The link is down for a moment: the flow is the same afterwards.
    world.ip(Host::Router, "link set wan down");
    world.wait_for_state("no-external-address");
    world.ip(Host::Router, "link set wan up");
    world.wait_for_state("active");
    world.wait_for(|_| sent_from(EXTERNAL));
    peer.send_to(b"in", TO).unwrap();
    assert_eq!(server.recv_from(&mut [0; 8]).unwrap().1, (PEER, 9000).into());

    world.wan_address(next);
    let start = Instant::now();
    while !sent_from(next) {
        assert!(start.elapsed() < SOON * 2, "it leaves from the old address");
    }
}

#[test]
fn what_ended_or_is_denied_by_the_next_start_is_ended_then() {
    let world = World::new();
    let daemon = world.start();
    let _servers = [7000, 7001, 7002].map(|port| echo(&world, (ALICE, port)));
    let alice = world.control_point(FROM_ALICE, IGD1);
    let short = |lease| Ask { lease, ..ask("TCP", 17000, 7000) };
    alice.add(&ask("TCP", 17001, 7001)).unwrap();
    alice.add(&ask("TCP", 17002, 7002)).unwrap();
    let mut denied = Connection::open(&world, Host::Internet, (EXTERNAL, 17001));
    let mut kept = Connection::open(&world, Host::Internet, (EXTERNAL, 17002));
    alice.add(&short(1)).unwrap();
    let mut ended = Connection::open(&world, Host::Internet, TO);
    daemon.stop();
    thread::sleep(Duration::from_millis(1100));
    assert!(ended.passes() && denied.passes(), "nobody was there to end it");
    let rule = "config perm_rule\n\toption action 'deny'\n\toption ext_ports '17001'\n\
                \toption int_addr '0.0.0.0/0'\n\toption int_ports '0-65535'\n";
    let daemon = world.start_with(&(world.config("") + rule));
    ended.ends();
    denied.ends();

    // A crash: the kernel ends the lease, and the file that was written before tells of it.
    alice.add(&short(4)).unwrap();
    let begun = Instant::now();
    let mut ended = Connection::open(&world, Host::Internet, TO);
    daemon.stop();
    let config = world.config("") + rule;
    world.start_with(&config).crash();
    thread::sleep(Duration::from_millis(4100).saturating_sub(begun.elapsed()));
    assert!(ended.passes());
    let _daemon = world.start_with(&config);
    ended.ends();
    kept.goes_on();
}

#[test]
fn a_restart_ends_nothing_and_who_wants_nothing_ended_says_so() {
    let world = World::new();
    let daemon = world.start();
    let _server = echo(&world, (ALICE, 7000));
    let alice = world.control_point(FROM_ALICE, IGD2);
    alice.add(&ask("TCP", 17000, 7000)).unwrap();
    let mut through = Connection::open(&world, Host::Internet, TO);
    daemon.stop();
    let _daemon = world.start_with(&world.config("\toption revoke_flows '0'"));
    through.goes_on();
    alice.delete("TCP", 17000).unwrap();
    through.goes_on();
}
