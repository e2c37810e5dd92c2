//! Real packets: servers that tell whom they saw, and streams of new flows.

use crate::world::{Host, World, ALICE, ALICE6, BOB, BOB6, OTHER_PEER, OTHER_PEER6, PEER, PEER6};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long an answer may take. Only a packet that is dropped without a word costs this.
const PATIENCE: Duration = Duration::from_millis(1000);
/// How often a server looks whether it shall stop.
const TICK: Duration = Duration::from_millis(20);

/// Whom the server saw, or why there was no answer.
pub type Reply = Result<SocketAddr, ErrorKind>;
/// Nobody listens there, or a firewall says so. Any other error can be that of a server which has taken
/// the connection and says nothing.
pub const REFUSED: Reply = Err(ErrorKind::ConnectionRefused);

/// Where packets come from.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Namespace.
    pub host: Host,
    /// Source address; port 0 is any.
    pub source: SocketAddr,
}

/// [`ALICE`].
pub const FROM_ALICE: End = End::v4(Host::Alice, ALICE, 0);
/// [`BOB`].
pub const FROM_BOB: End = End::v4(Host::Bob, BOB, 0);
/// [`PEER`].
pub const FROM_PEER: End = End::v4(Host::Internet, PEER, 0);
/// [`OTHER_PEER`].
pub const FROM_OTHER_PEER: End = End::v4(Host::Internet, OTHER_PEER, 0);

/// [`ALICE6`].
pub const FROM_ALICE6: End = End::v6(Host::Alice, ALICE6);
/// [`BOB6`].
pub const FROM_BOB6: End = End::v6(Host::Bob, BOB6);
/// [`PEER6`].
pub const FROM_PEER6: End = End::v6(Host::Internet, PEER6);
/// [`OTHER_PEER6`].
pub const FROM_OTHER_PEER6: End = End::v6(Host::Internet, OTHER_PEER6);

impl End {
    /// An IPv6 endpoint of any port.
    pub const fn v6(host: Host, address: Ipv6Addr) -> End {
        End { host, source: SocketAddr::new(IpAddr::V6(address), 0) }
    }

    /// An IPv4 endpoint.
    pub const fn v4(host: Host, address: Ipv4Addr, port: u16) -> End {
        End { host, source: SocketAddr::new(IpAddr::V4(address), port) }
    }

    /// The same with a fixed source port.
    pub fn port(self, port: u16) -> End {
        End { source: SocketAddr::new(self.source.ip(), port), ..self }
    }
}

/// A server; gone when dropped.
pub struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut turn: impl FnMut() + Send + 'static) -> Server {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let thread = thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            turn();
        }
    });
    Server { stop, thread: Some(thread) }
}

impl World {
    /// A TCP server that answers everyone with the address it sees them at.
    pub fn tcp_server(&self, host: Host, at: impl Into<SocketAddr>) -> Server {
        let at = at.into();
        let listener = self.inside(host, || TcpListener::bind(at).unwrap());
        listener.set_nonblocking(true).unwrap();
        serve(move || match listener.accept() {
            Ok((mut stream, peer)) => {
                let _ = stream.set_nonblocking(false);
                let _ = stream.write_all(peer.to_string().as_bytes());
            }
            Err(_) => thread::sleep(TICK),
        })
    }

    /// A UDP server that answers every datagram with the address it came from.
    pub fn udp_server(&self, host: Host, at: impl Into<SocketAddr>) -> Server {
        let at = at.into();
        let socket = self.inside(host, || UdpSocket::bind(at).unwrap());
        socket.set_read_timeout(Some(TICK)).unwrap();
        serve(move || {
            let mut buffer = [0; 64];
            if let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(peer.to_string().as_bytes(), peer);
            }
        })
    }

    /// One TCP connection; whom the server saw.
    pub fn tcp(&self, from: End, to: impl Into<SocketAddr>) -> Reply {
        let to = to.into();
        self.inside(from.host, || {
            let socket = bound(Type::STREAM, Protocol::TCP, from.source)?;
            socket.connect_timeout(&SockAddr::from(to), PATIENCE)?;
            let mut seen = String::new();
            (&socket).read_to_string(&mut seen)?;
            parse_seen(&seen)
        })
        .map_err(|e| e.kind())
    }

    /// One UDP datagram and its answer, which must come from where the datagram went; whom the
    /// server saw.
    pub fn udp(&self, from: End, to: impl Into<SocketAddr>) -> Reply {
        let to = to.into();
        self.inside(from.host, || {
            let socket = bound(Type::DGRAM, Protocol::UDP, from.source)?;
            socket.connect(&SockAddr::from(to))?;
            socket.send(b"who am I?")?;
            let mut buffer = [0; 64];
            let length = (&socket).read(&mut buffer)?;
            parse_seen(&String::from_utf8_lossy(&buffer[..length]))
        })
        .map_err(|e| e.kind())
    }
}

fn bound(kind: Type, protocol: Protocol, source: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(source), kind, Some(protocol))?;
    socket.set_reuse_address(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.bind(&SockAddr::from(source))?;
    Ok(socket)
}

fn parse_seen(seen: &str) -> io::Result<SocketAddr> {
    seen.parse().map_err(|_| io::Error::new(ErrorKind::InvalidData, seen.to_string()))
}

/// UDP datagrams from the Internet, each from another port and so a flow of its own.
pub struct Stream {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<u32>,
    receiver: JoinHandle<BTreeSet<u32>>,
}

impl World {
    /// Starts a stream to `to`, which [`ALICE`] receives on `port`.
    pub fn stream(&self, to: SocketAddrV4, port: u16) -> Stream {
        /// More than a thousand flows a second.
        const PAUSE: Duration = Duration::from_micros(700);
        const FIRST_PORT: u16 = 10_000;
        let stop = Arc::new(AtomicBool::new(false));
        let server = self.inside(Host::Alice, || UdpSocket::bind((ALICE, port)).unwrap());
        let stopped = stop.clone();
        let name = self.name(Host::Internet);
        let sender = thread::spawn(move || {
            crate::world::enter(&name);
            let mut count = 0;
            for source in FIRST_PORT.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let socket = UdpSocket::bind((PEER, source)).unwrap();
                // An ICMP error for an earlier datagram cannot reach this socket.
                if socket.send_to(&u32::to_be_bytes(count), to).is_ok() {
                    count += 1;
                }
                thread::sleep(PAUSE);
            }
            count
        });
        let stopped = stop.clone();
        let receiver = thread::spawn(move || {
            server.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            let mut seen = BTreeSet::new();
            let mut buffer = [0; 4];
            loop {
                match server.recv_from(&mut buffer) {
                    Ok(_) => drop(seen.insert(u32::from_be_bytes(buffer))),
                    Err(_) if stopped.load(Ordering::Relaxed) => break seen,
                    Err(_) => {}
                }
            }
        });
        Stream { stop, sender, receiver }
    }
}

impl Stream {
    /// Ends it; how many flows were sent and which of them never arrived.
    pub fn finish(self) -> (u32, Vec<u32>) {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().unwrap();
        let seen = self.receiver.join().unwrap();
        (sent, (0..sent).filter(|n| !seen.contains(n)).collect())
    }
}
