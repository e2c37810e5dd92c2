//! What clients were told is open, against the daemon's list, the kernel's table and packets.

use crate::client::Client;
use crate::traffic::{FROM_PEER, FROM_PEER6};
use crate::world::{succeed, Host, World, BOB, BOB6};
use fastrand::Rng;
use serde_json::Value;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// How many open and how many closed ports are tried after a round.
const PROOFS: usize = 6;
/// What a lease may end early or late for those who hear of it.
const LEEWAY: Duration = Duration::from_millis(1500);
/// How soon the daemon takes up what others did.
const PATIENCE: Duration = Duration::from_secs(3);

/// A port that is open, whatever the external address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// `TCP` or `UDP`.
    pub protocol: &'static str,
    /// Of the router, or of a pinhole the same as the host's.
    pub external: u16,
    /// The host's.
    pub to: SocketAddr,
}

/// How it is closed.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// By DeletePortMapping.
    Upnp,
    /// By NAT-PMP.
    NatPmp,
    /// By PCP.
    Pcp,
    /// By DeletePinhole of this UniqueID.
    Hole(String),
}

/// One that is open until then, or for long.
#[derive(Clone, Debug)]
pub struct Held {
    /// How it was made.
    pub way: Way,
    /// When it closes by itself, if soon.
    pub end: Option<Instant>,
}

/// What a client was told that it has.
pub type Ledger = BTreeMap<Port, Held>;

fn protocol(name: &str) -> &'static str {
    match name.to_ascii_uppercase().as_str() {
        "TCP" => "TCP",
        "UDP" => "UDP",
        other => panic!("no protocol: {other}"),
    }
}

/// What the daemon lists.
pub fn listed(world: &World) -> BTreeSet<Port> {
    let list = world.list();
    let ports: BTreeSet<Port> = list
        .iter()
        .map(|entry| {
            let number = |key: &str| u16::try_from(entry[key].as_u64().unwrap()).unwrap();
            let address: IpAddr = entry["internal_address"].as_str().unwrap().parse().unwrap();
            Port {
                protocol: protocol(entry["protocol"].as_str().unwrap()),
                external: number("external_port"),
                to: SocketAddr::new(address, number("internal_port")),
            }
        })
        .collect();
    assert_eq!(ports.len(), list.len(), "one twice in {list:?}");
    ports
}

/// The parts of a key or a value, without the counter and the times around them.
fn parts(element: &Value) -> Vec<Value> {
    let bare = element.get("elem").map_or(element, |inner| &inner["val"]);
    bare.get("concat").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![bare.clone()])
}

/// What the kernel lets in: the targets of every map of the WAN, the keys of every set of pinholes.
fn in_kernel(world: &World) -> BTreeSet<Port> {
    let mut nft = world.command(Host::Router, "nft");
    let out = nft.args(["-j", "list", "table", "inet", "postern"]).output().unwrap();
    let table: Value = serde_json::from_str(&succeed("nft", out)).unwrap();
    let number = |value: &Value| u16::try_from(value.as_u64().unwrap()).unwrap();
    let address = |value: &Value| value.as_str().unwrap().parse::<IpAddr>().unwrap();
    let (mut ports, mut externals, mut keys) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for object in table["nftables"].as_array().unwrap() {
        let set = object.get("map").or(object.get("set"));
        let Some((set, elements)) = set.and_then(|set| Some((set, set["elem"].as_array()?))) else {
            continue;
        };
        let name = set["name"].as_str().unwrap();
        for element in elements {
            let (key, value) = match element.as_array().map(Vec::as_slice) {
                Some([key, value]) => (parts(key), Some(parts(value))),
                _ => (parts(element), None),
            };
            let at = key.iter().position(|part| part == "tcp" || part == "udp");
            let end = at.map(|at| (protocol(key[at].as_str().unwrap()), number(&key[at + 1])));
            match (name, end, value) {
                ("w0_any" | "w0_rh" | "w0_flt", Some((protocol, external)), Some(to)) => {
                    let to = SocketAddr::new(address(&to[0]), number(&to[1]));
                    ports.insert(Port { protocol, external, to });
                    keys.insert((protocol, external));
                }
                ("w0_ext", Some(end), _) => drop(externals.insert(end)),
                ("p6_any" | "p6_rh" | "p6_rp" | "p6_rhp" | "p6_flt", Some((protocol, port)), _) => {
                    let to = SocketAddr::new(address(&key[at.unwrap() - 1]), port);
                    ports.insert(Port { protocol, external: port, to });
                }
                _ => {}
            }
        }
    }
    assert_eq!(externals, keys, "w0_ext and the maps");
    ports
}

/// Asserts that everybody agrees, after what ends within moments has ended.
pub fn compare(world: &World, clients: &mut [Client<'_>], address: Ipv4Addr, random: &mut Rng) {
    let near = |end: &Instant| *end < Instant::now() + Duration::from_secs(10);
    let ends = clients.iter().flat_map(|c| c.held.values()).filter_map(|held| held.end);
    if let Some(last) = ends.filter(near).max() {
        thread::sleep((last + LEEWAY).saturating_duration_since(Instant::now()));
    }
    let now = Instant::now();
    let mut told = BTreeSet::new();
    for client in clients.iter_mut() {
        client.held.retain(|_, held| held.end.is_none_or(|end| end > now));
        told.extend(client.held.keys().copied());
    }
    let until = Instant::now() + PATIENCE;
    loop {
        let (listed, kernel) = (listed(world), in_kernel(world));
        if listed == told && kernel == told {
            break;
        }
        let off = |of: &BTreeSet<Port>| {
            let lost: Vec<_> = told.difference(of).copied().collect();
            let extra: Vec<_> = of.difference(&told).copied().collect();
            format!("lacks {lost:?}, has beyond them {extra:?}")
        };
        let late = Instant::now() >= until;
        assert!(
            !late,
            "clients were told of {}; the daemon {}; the kernel {}",
            told.len(),
            off(&listed),
            off(&kernel)
        );
        thread::sleep(Duration::from_millis(100));
    }
    let status = world.status();
    let counted = status["mappings"].as_u64().unwrap() + status["pinholes"].as_u64().unwrap_or(0);
    assert_eq!(counted, told.len() as u64, "{status}");
    let ports: Vec<Port> = told.iter().copied().collect();
    for _ in 0..PROOFS.min(ports.len()) {
        let port = ports[random.usize(..ports.len())];
        assert!(comes_in(world, port, address, Duration::from_secs(2)), "{port:?} is closed");
    }
    for _ in 0..PROOFS {
        let number = random.u16(20_000..26_000);
        let to = match random.bool() {
            true => SocketAddr::from((BOB, number + 1000)),
            false => SocketAddr::from((BOB6, number)),
        };
        let protocol = if random.bool() { "TCP" } else { "UDP" };
        let port = Port { protocol, external: number, to };
        if told.iter().all(|held| (held.protocol, held.external) != (protocol, number)) {
            let open = comes_in(world, port, address, Duration::from_millis(100));
            assert!(!open, "{port:?} is open");
        }
    }
}

/// Whether a packet from the Internet to this port arrives at the host.
fn comes_in(world: &World, port: Port, address: Ipv4Addr, patience: Duration) -> bool {
    let host = if [IpAddr::from(BOB), BOB6.into()].contains(&port.to.ip()) {
        Host::Bob
    } else {
        Host::Alice
    };
    let (at, source) = match port.to {
        SocketAddr::V4(_) => (SocketAddr::from((address, port.external)), FROM_PEER.source),
        SocketAddr::V6(to) => (to.into(), FROM_PEER6.source),
    };
    if port.protocol == "UDP" {
        let server = world.inside(host, || UdpSocket::bind(port.to).unwrap());
        server.set_read_timeout(Some(patience)).unwrap();
        let sender = world.inside(Host::Internet, || UdpSocket::bind(source).unwrap());
        let _ = sender.send_to(b"proof", at);
        let mut word = [0; 16];
        return server.recv(&mut word).is_ok_and(|length| word[..length] == *b"proof");
    }
    let server = world.inside(host, || TcpListener::bind(port.to).unwrap());
    let Ok(stream) = world.inside(Host::Internet, || {
        let socket = Socket::new(Domain::for_address(source), Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&SockAddr::from(source))?;
        socket.connect_timeout(&SockAddr::from(at), patience).map(|()| TcpStream::from(socket))
    }) else {
        return false;
    };
    // The connection may be another's.
    SockRef::from(&server).set_read_timeout(Some(patience)).unwrap();
    let Ok((mut accepted, _)) = server.accept() else { return false };
    let mut word = [0; 5];
    accepted.set_read_timeout(Some(patience)).unwrap();
    (&stream).write_all(b"proof").is_ok()
        && accepted.read_exact(&mut word).is_ok()
        && word == *b"proof"
}
