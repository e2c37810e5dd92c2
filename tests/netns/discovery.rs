//! SSDP as a LAN host hears it.

use crate::clients::{header, msearch, GROUP, IGD1, IGD2};
use crate::daemon::UUID;
use crate::events::Ear;
use crate::traffic::{End, FROM_ALICE, FROM_BOB, FROM_PEER};
use crate::world::{Host, World, BOB, EXTERNAL, ROUTER};
use roxmltree::Document;
use rustix::process::Signal;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// `(NT or ST, USN, LOCATION)`.
type Said = (String, String, String);

/// Everything that the description at `location` must be announced by (conformance 10, 11):
/// three for the root, two for each embedded device, one for each service type of a device.
fn announced_by(world: &World, location: &str) -> BTreeSet<Said> {
    let description = world.get(FROM_ALICE, location).body;
    let tree = Document::parse(&description).unwrap();
    let named =
        |name: &'static str| tree.descendants().filter(move |n| n.tag_name().name() == name);
    let child = |node: roxmltree::Node<'_, '_>, name: &str| {
        let found = node.children().find(|n| n.tag_name().name() == name);
        found.and_then(|n| n.text()).unwrap().to_string()
    };
    let mut said = BTreeSet::new();
    for (place, device) in named("device").enumerate() {
        let udn = child(device, "UDN");
        let mut say = |target: &str, usn: String| {
            said.insert((target.to_string(), usn, location.to_string()));
        };
        if place == 0 {
            say("upnp:rootdevice", format!("{udn}::upnp:rootdevice"));
        }
        say(&udn, udn.clone());
        let kind = child(device, "deviceType");
        say(&kind, format!("{udn}::{kind}"));
        let list = device.children().find(|n| n.tag_name().name() == "serviceList");
        for service in list.iter().flat_map(|l| l.children()).filter(|n| n.is_element()) {
            let kind = child(service, "serviceType");
            say(&kind, format!("{udn}::{kind}"));
        }
    }
    said
}

fn said(messages: &[String], target: &str) -> BTreeSet<Said> {
    let parts = |m: &String| {
        (
            header(m, target).to_string(),
            header(m, "USN").to_string(),
            header(m, "LOCATION").to_string(),
        )
    };
    messages.iter().map(parts).collect()
}

/// A LAN host that hears what is announced.
struct Listener(JoinHandle<Vec<String>>);

fn listen(world: &World, time: Duration) -> Listener {
    listen_at(world, BOB, time)
}

/// Hears what is announced on the device of this address of Bob's alone.
fn listen_at(world: &World, address: Ipv4Addr, time: Duration) -> Listener {
    let mut socket = world.inside(Host::Bob, || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_multicast_all_v4(false).unwrap();
        socket.bind(&SockAddr::from(GROUP)).unwrap();
        socket.join_multicast_v4(GROUP.ip(), &address).unwrap();
        socket
    });
    Listener(thread::spawn(move || {
        let end = Instant::now() + time;
        let mut heard = Vec::new();
        let mut buffer = [0; 2048];
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|d| !d.is_zero()) {
            socket.set_read_timeout(Some(left)).unwrap();
            if let Ok(length) = socket.read(&mut buffer) {
                heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
        }
        heard
    }))
}

impl Listener {
    fn heard(self) -> Vec<String> {
        self.0.join().unwrap()
    }
}

#[test]
fn a_search_for_all_hears_the_whole_tree_of_the_undecided_face() {
    // Conformance 8, 10, 11, 12, 13, 14, 271.
    let world = World::new();
    let _daemon = world.start();
    let answers = world.ask_udp(FROM_ALICE, GROUP, &msearch("ssdp:all", "MX: 1\r\n"));
    assert!(
        answers.iter().all(|(from, _)| *from == SocketAddrV4::new(ROUTER, 1900)),
        "{answers:?}"
    );
    let answers: Vec<_> = answers.into_iter().map(|(_, text)| text).collect();
    let location = header(&answers[0], "LOCATION").to_string();
    assert!(location.starts_with("http://192.168.1.1:5000/igd1/"), "{location}");
    let expected = announced_by(&world, &location);
    // d = 2 embedded devices, k = 3 service types.
    assert_eq!(expected.len(), 3 + 2 * 2 + 3, "{expected:?}");
    assert_eq!(said(&answers, "ST"), expected);
    assert_eq!(answers.len(), expected.len(), "each once");
    for answer in &answers {
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let max_age: u32 =
            header(answer, "CACHE-CONTROL").trim_start_matches("max-age=").parse().unwrap();
        assert!(max_age >= 1800, "{answer}");
        assert!(answer.contains("\r\nEXT:"), "{answer}");
        assert_names_no_kernel(answer);
        assert!(header(answer, "BOOTID.UPNP.ORG").parse::<u32>().is_ok(), "{answer}");
    }
    assert_names_no_kernel(&world.get(FROM_ALICE, &location).head);
}

/// Asserts that SERVER has its three words and not the version of the system.
fn assert_names_no_kernel(head: &str) {
    let server = header(head, "SERVER");
    assert!(server.contains(" UPnP/1.1 Postern/"), "{head}");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let version = release.split(['-', '+', '\n']).next().unwrap();
    assert!(!server.contains(version), "{server}");
}

#[test]
fn each_target_is_answered_once_by_the_face_it_asks_for() {
    // Conformance 7, 8, 9, 24, 29, 276, 278.
    let world = World::new();
    let _daemon = world.start();
    for (target, folder) in [
        ("upnp:rootdevice", "igd1"),
        (&format!("uuid:{UUID}")[..], "igd1"),
        (IGD1, "igd1"),
        ("urn:schemas-upnp-org:service:WANIPConnection:1", "igd1"),
        ("urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1", "igd1"),
        (IGD2, "igd2"),
        ("urn:schemas-upnp-org:service:WANIPConnection:2", "igd2"),
    ] {
        let answers = world.search(FROM_ALICE, target);
        assert_eq!(answers.len(), 1, "{target}: {answers:?}");
        assert_eq!(header(&answers[0], "ST"), target);
        let location = header(&answers[0], "LOCATION");
        assert!(location.starts_with(&format!("http://192.168.1.1:5000/{folder}/")), "{location}");
        let whole = announced_by(&world, location);
        assert!(said(&answers, "ST").is_subset(&whole), "{target}: {answers:?}");
    }
    for target in [
        "urn:schemas-upnp-org:device:InternetGatewayDevice:3",
        "urn:schemas-upnp-org:service:WANIPConnection:3",
        "urn:dial-multiscreen-org:service:dial:1",
        "uuid:00000000-0000-0000-0000-000000000000",
        "",
    ] {
        assert_eq!(world.search(FROM_BOB, target), [""; 0], "{target:?}");
    }
}

#[test]
fn the_owner_decides_what_the_undecided_see_and_nobody_else() {
    // Design section 2: igdv1.
    let world = World::new();
    let _daemon = world.start_with(&world.config("").replace("igdv1 '1'", "igdv1 '0'"));
    for (target, folder, count) in [
        ("ssdp:all", "igd2", 11),
        ("upnp:rootdevice", "igd2", 1),
        (IGD1, "igd1", 1),
        (IGD2, "igd2", 1),
    ] {
        let answers = world.search(FROM_ALICE, target);
        assert_eq!(answers.len(), count, "{target}: {answers:?}");
        for answer in answers {
            let location = header(&answer, "LOCATION");
            assert_eq!(location, format!("http://192.168.1.1:5000/{folder}/desc.xml"));
        }
    }
}

#[test]
fn a_search_that_breaks_the_rules_is_met_with_silence_and_a_unicast_one_is_not() {
    // Conformance 2, 3, 6.
    let world = World::new();
    let _daemon = world.start();
    let ask = |to, text: &str| world.ask_udp(FROM_ALICE, to, text).len();
    let good = msearch(IGD1, "MX: 1\r\n");
    assert_eq!(ask(GROUP, &good), 1);
    assert_eq!(ask(SocketAddrV4::new(ROUTER, 1900), &msearch(IGD1, "")), 1);
    assert_eq!(ask(GROUP, &msearch(IGD1, "")), 0, "no MX");
    assert_eq!(ask(GROUP, &good.replace("\"ssdp:discover\"", "ssdp:discover")), 0, "no quotes");
    assert_eq!(ask(GROUP, &good.replace("M-SEARCH *", "M-SEARCH /")), 0, "no star");
    assert_eq!(ask(GROUP, &good.replace("M-SEARCH", "NOTIFY")), 0, "no search");
    assert_eq!(ask(GROUP, &good), 1, "and it lives on");
}

#[test]
fn a_start_says_byebye_then_alive_and_a_stop_says_byebye_to_all_of_it() {
    // Conformance 16, 17, 18, 20, 21.
    let world = World::new();
    let starting = listen(&world, Duration::from_millis(2500));
    let daemon = world.start();
    let heard = starting.heard();
    let of = |messages: &[String], nts: &str| -> Vec<String> {
        messages.iter().filter(|m| header(m, "NTS") == nts).cloned().collect()
    };
    let alive = of(&heard, "ssdp:alive");
    assert!(heard.iter().all(|m| m.starts_with("NOTIFY * HTTP/1.1\r\n")), "{heard:?}");
    let first_alive = heard.iter().position(|m| header(m, "NTS") == "ssdp:alive").unwrap();
    let first_byebye = heard.iter().position(|m| header(m, "NTS") == "ssdp:byebye");
    assert!(first_byebye.is_some_and(|at| at < first_alive), "{heard:?}");
    // One root device is announced: that of the face that the undecided see.
    let answers = world.search(FROM_ALICE, "upnp:rootdevice");
    let expected = announced_by(&world, header(&answers[0], "LOCATION"));
    assert_eq!(said(&alive, "NT"), expected);
    assert!(alive.len() >= 2 * expected.len(), "each more than once: {}", alive.len());
    let boot_ids: BTreeSet<_> = alive.iter().map(|m| header(m, "BOOTID.UPNP.ORG")).collect();
    assert_eq!(boot_ids.len(), 1);

    let stopping = listen(&world, Duration::from_millis(700));
    daemon.stop();
    let byebye = of(&stopping.heard(), "ssdp:byebye");
    let names =
        |set: BTreeSet<Said>| -> BTreeSet<_> { set.into_iter().map(|s| (s.0, s.1)).collect() };
    assert_eq!(names(said(&byebye, "NT")), names(expected));

    let restarting = listen(&world, Duration::from_millis(1000));
    let _daemon = world.start();
    let alive = of(&restarting.heard(), "ssdp:alive");
    let old: u32 = boot_ids.first().unwrap().parse().unwrap();
    let new: u32 = header(&alive[0], "BOOTID.UPNP.ORG").parse().unwrap();
    assert!(new > old, "{new} after {old}");
}

#[test]
fn a_new_address_and_a_new_description_are_announced_under_a_new_boot_id() {
    // Conformance 20, 21, 22.
    let world = World::new();
    let daemon = world.start();
    thread::sleep(Duration::from_millis(600));
    let of = |messages: &[String], nts: &str, name: &str| -> BTreeSet<String> {
        let kind = messages.iter().filter(|m| header(m, "NTS") == nts);
        kind.map(|m| header(m, name).to_string()).collect()
    };
    let one = |set: BTreeSet<String>| -> u32 {
        assert_eq!(set.len(), 1, "{set:?}");
        set.first().unwrap().parse().unwrap()
    };
    const BOOT: &str = "BOOTID.UPNP.ORG";
    const CONFIG: &str = "CONFIGID.UPNP.ORG";
    const LOCATION: &str = "LOCATION";
    let at = |address: &str| format!("http://{address}:5000/igd1/desc.xml");

    let hearing = listen(&world, Duration::from_millis(1200));
    world.ip(Host::Router, "addr add 192.168.5.1/24 dev br-lan");
    let heard = hearing.heard();
    let old = one(of(&heard, "ssdp:update", BOOT));
    let new = one(of(&heard, "ssdp:update", "NEXTBOOTID.UPNP.ORG"));
    assert_eq!(new, old + 1);
    assert_eq!(of(&heard, "ssdp:update", LOCATION), BTreeSet::from([at("192.168.1.1")]));
    assert_eq!(one(of(&heard, "ssdp:alive", BOOT)), new);
    let both = BTreeSet::from([at("192.168.1.1"), at("192.168.5.1")]);
    assert_eq!(of(&heard, "ssdp:alive", LOCATION), both);

    let hearing = listen(&world, Duration::from_millis(1200));
    world.ip(Host::Router, "addr del 192.168.5.1/24 dev br-lan");
    assert_eq!(of(&hearing.heard(), "ssdp:alive", LOCATION), BTreeSet::new());

    let config_id = one(of(&heard, "ssdp:alive", CONFIG));
    let hearing = listen(&world, Duration::from_millis(1200));
    world.configure(&world.config("\toption friendly_name 'Another name'"));
    daemon.signal(Signal::HUP);
    let heard = hearing.heard();
    assert!(!of(&heard, "ssdp:byebye", "USN").is_empty(), "{heard:?}");
    assert_eq!(of(&heard, "ssdp:byebye", "USN"), of(&heard, "ssdp:alive", "USN"));
    assert_eq!(one(of(&heard, "ssdp:alive", BOOT)), new + 1);
    assert_ne!(one(of(&heard, "ssdp:alive", CONFIG)), config_id);
    let answer = world.search(FROM_ALICE, IGD1).swap_remove(0);
    assert_eq!(header(&answer, BOOT), (new + 1).to_string());
}

#[test]
fn another_identity_takes_the_old_one_back_and_ends_its_subscriptions_20_22_84() {
    let world = World::new();
    let daemon = world.start();
    thread::sleep(Duration::from_millis(600));
    let of = |messages: &[String], nts: &str| -> BTreeSet<String> {
        let kind = messages.iter().filter(|m| header(m, "NTS") == nts);
        kind.map(|m| header(m, "USN").to_string()).collect()
    };
    let control = world.control_point(FROM_ALICE, IGD1);
    let ear = Ear::open(&world, FROM_ALICE);
    let sid = control.subscribe(&ear);
    ear.hear_with("HTTP/1.1 200 OK\r\n\r\n");
    let renew = |sid: &str| control.event_request("SUBSCRIBE", &format!("SID: {sid}\r\n")).status;
    assert_eq!(renew(&sid), 200);

    let answers = world.search(FROM_ALICE, "ssdp:all");
    let mut before: BTreeSet<String> = answers.iter().map(|a| header(a, "USN").into()).collect();
    let other = UUID.replace("7c9e", "7c9f");
    for (old, new) in [("igdv1 '1'", "igdv1 '0'"), (UUID, other.as_str())] {
        let hearing = listen(&world, Duration::from_millis(1200));
        let config = world.config("").replace("igdv1 '1'", "igdv1 '0'");
        world.configure(&config.replace(old, new));
        daemon.signal(Signal::HUP);
        let heard = hearing.heard();
        assert_eq!(of(&heard, "ssdp:byebye"), before);
        let now = of(&heard, "ssdp:alive");
        assert!(!now.is_empty() && now.is_disjoint(&before), "{now:?}");
        before = now;
    }
    assert_eq!(renew(&sid), 412);
}

#[test]
fn an_address_whose_prefix_becomes_another_is_served_on_300() {
    let world = World::new();
    let daemon = world.start();
    world.ip(Host::Router, "addr add 192.168.1.1/16 dev br-lan");
    world.wait_for(|_| daemon.log().contains("cannot serve 192.168.1.1"));
    world.ip(
        Host::Router,
        "addr del 192.168.1.1/24 dev br-lan\naddr replace 192.168.1.1/16 dev br-lan",
    );
    world.wait_for(|world| world.ask_pmp(FROM_ALICE, &[0, 0]).is_some());
    world.wait_for(|_| daemon.log().matches("serving 192.168.1.1").count() == 2);
    assert_eq!(world.get(FROM_ALICE, "/igd1/desc.xml").status, 200);
}

/// Bob's address on the guest LAN.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 20);

/// Builds a second LAN, `guest`, with the router at 192.168.2.1 and Bob at [`GUEST`].
pub fn plug_guest(world: &World) {
    world.ip(
        Host::Router,
        &format!(
            "link add guest type veth peer name eth1 netns {}\n\
             addr add 192.168.2.1/24 dev guest\n\
             link set guest up",
            world.name(Host::Bob)
        ),
    );
    world.ip(Host::Bob, &format!("addr add {GUEST}/24 dev eth1\nlink set eth1 up"));
    world.nft("insert rule inet fw4 input iifname guest accept");
}

#[test]
fn a_lan_comes_is_renumbered_and_goes_while_the_others_stay_20_21_300() {
    let world = World::new();
    let daemon = world.start_with(&world.config("\tlist internal_device 'guest'"));
    let guest = End::v4(Host::Bob, GUEST, 0);
    let internal = |world: &World, address: &str| {
        world.status()["internal"].to_string().contains(&format!("{address}\""))
    };
    let located = |from: End| -> Vec<String> {
        let answers = world.search(from, IGD1);
        answers.iter().map(|answer| header(answer, "LOCATION").to_string()).collect()
    };
    let at = |address: &str| vec![format!("http://{address}:5000/igd1/desc.xml")];
    assert_eq!(located(FROM_ALICE), at("192.168.1.1"), "a LAN that is not there hinders nothing");
    plug_guest(&world);
    world.wait_for(|world| internal(world, "192.168.2.1"));
    assert_eq!(located(guest), at("192.168.2.1"));

    // Renumbered: the old address is silent, the new one is found and served.
    let guest2 = End::v4(Host::Bob, Ipv4Addr::new(192, 168, 3, 20), 0);
    world.ip(Host::Bob, "addr add 192.168.3.20/24 dev eth1");
    let hearing = listen_at(&world, GUEST, Duration::from_millis(1500));
    world.ip(Host::Router, "addr del 192.168.2.1/24 dev guest\naddr add 192.168.3.1/24 dev guest");
    let heard = hearing.heard();
    let alive = heard.iter().filter(|m| header(m, "NTS") == "ssdp:alive");
    let told: BTreeSet<_> = alive.map(|m| header(m, "LOCATION").to_string()).collect();
    assert_eq!(told, BTreeSet::from([at("192.168.3.1").swap_remove(0)]));
    assert_eq!(located(guest2), at("192.168.3.1"));
    assert_eq!(located(guest), [""; 0]);
    assert_eq!(world.get(FROM_ALICE, "/igd1/desc.xml").status, 200);

    // Taken out of the configuration: it says so there, and nothing to the others.
    let hearing = [GUEST, BOB].map(|at| listen_at(&world, at, Duration::from_millis(800)));
    world.configure(&world.config(""));
    daemon.signal(Signal::HUP);
    let [guests, others] = hearing.map(Listener::heard);
    assert!(!guests.is_empty() && guests.iter().all(|m| header(m, "NTS") == "ssdp:byebye"));
    assert_eq!(others, [""; 0]);
    assert_eq!(located(guest2), [""; 0]);
    assert_eq!(located(FROM_ALICE), at("192.168.1.1"));
}

#[test]
fn every_lan_is_served_at_its_own_address_and_none_maps_to_another() {
    // Conformance 14, 133, 256, 300.
    let world = World::new();
    plug_guest(&world);
    let _daemon = world.start_with(&world.config("\tlist internal_device 'guest'"));
    let _server = world.tcp_server(Host::Bob, (GUEST, 7000));
    let guest = End::v4(Host::Bob, GUEST, 0);
    for (from, lan) in
        [(FROM_ALICE, "192.168.1.1"), (FROM_BOB, "192.168.1.1"), (guest, "192.168.2.1")]
    {
        let answers = world.search(from, IGD1);
        let locations: Vec<_> = answers.iter().map(|a| header(a, "LOCATION")).collect();
        assert_eq!(locations, [format!("http://{lan}:5000/igd1/desc.xml")], "{from:?}");
    }

    let at = GUEST.to_string();
    world.upnpc(Host::Bob, &["-m", &at, "-a", &at, "7000", "17000", "tcp"]);
    let foreign =
        world.upnpc(Host::Bob, &["-m", &at, "-a", "192.168.1.10", "7000", "17001", "tcp"]);
    assert!(foreign.contains("failed with code 606"), "{foreign}");
    assert_eq!(
        world.rows(),
        [format!(
            "ipv4 TCP 11.22.33.1:17000 -> {GUEST}:7000 remote=null 'libminiupnpc' upnp enabled=true"
        )]
    );
    let peer = FROM_PEER.port(40000);
    assert_eq!(world.tcp(peer, SocketAddrV4::new(EXTERNAL, 17000)), Ok(peer.source));

    // A LAN that goes takes its service with it, and leaves the other's alone.
    world.ip(Host::Router, "link del guest");
    world.wait_for(|world| !world.status()["internal"].to_string().contains("guest"));
    assert_eq!(world.search(FROM_ALICE, IGD1).len(), 1);
}
