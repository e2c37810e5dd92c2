//! Real packets from the Internet, and the program of the LAN host that they are meant for.
//!
//! Sockets wait by poll alone, so that no time structure of the C library is involved, whose width
//! differs between routers.

use crate::outcome::{ensure, same, Because, Outcome, PATIENCE};
use crate::world::{World, EXTERNAL, HOST, HOST6, PEER, PEER6};
use postern::sys::wait_readable;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Where the LAN program listens, by both protocols.
pub const PORT: u16 = 7000;
/// How long a packet that must not come is waited for.
const SILENCE: Duration = Duration::from_millis(300);
/// How long a TCP connection that must not come about is tried.
const TCP_SILENCE: Duration = Duration::from_millis(1500);

const QUESTION: &str = "is anybody there?";
const ANSWER: &str = "yes, here I am";

/// A program on the LAN host that listens.
pub struct Program {
    tcp: TcpListener,
    udp: UdpSocket,
    host: IpAddr,
    /// Where the Internet finds it: IPv6 is not translated.
    outside: IpAddr,
}

impl Program {
    /// Starts one that listens on the host's IPv4 address.
    pub fn start(world: &World) -> Outcome<Program> {
        Program::listen(world, HOST.into(), EXTERNAL.into())
    }

    /// Starts one that listens on the host's IPv6 address.
    pub fn start_v6(world: &World) -> Outcome<Program> {
        Program::listen(world, HOST6.into(), HOST6.into())
    }

    fn listen(world: &World, host: IpAddr, outside: IpAddr) -> Outcome<Program> {
        world.lan.inside(move || {
            let tcp = TcpListener::bind((host, PORT)).because("the LAN program's TCP port")?;
            let udp = UdpSocket::bind((host, PORT)).because("the LAN program's UDP port")?;
            Ok(Program { tcp, udp, host, outside })
        })
    }

    /// A TCP connection from the Internet reaches the program with its source as it was, and both
    /// hear each other.
    pub fn is_reached_by_tcp(&self, world: &World, port: u16) -> Outcome {
        let to = SocketAddr::from((self.outside, port));
        let what = format!("TCP from the Internet to {to}");
        let mut peer = world
            .wan
            .inside(move || Ok(TcpStream::connect_timeout(&to, PATIENCE)))?
            .because(&what)?;
        ensure(comes(&self.tcp, PATIENCE)?, || format!("{what}: no connection reaches the host"))?;
        let (mut host, from) = self.tcp.accept().because(&what)?;
        same(format!("{what}: the source"), from, peer.local_addr().because(&what)?)?;
        peer.write_all(QUESTION.as_bytes()).because(&what)?;
        same(&what, hear(&mut host, QUESTION.len())?, QUESTION)?;
        host.write_all(ANSWER.as_bytes()).because(&what)?;
        same(&what, hear(&mut peer, ANSWER.len())?, ANSWER)
    }

    /// A datagram from the Internet reaches the program with its source as it was, and the answer
    /// comes back from where the datagram went.
    pub fn is_reached_by_udp(&self, world: &World, port: u16) -> Outcome {
        self.is_reached_at(world, (self.outside, port).into())
    }

    /// The same for any address.
    pub fn is_reached_at(&self, world: &World, to: SocketAddr) -> Outcome {
        let what = format!("UDP from the Internet to {to}");
        let peer = caller(world, to)?;
        let (question, from) = next(&self.udp, PATIENCE)?
            .ok_or_else(|| format!("{what}: nothing reaches the host"))?;
        same(&what, question, QUESTION)?;
        same(format!("{what}: the source"), from, peer.local_addr().because(&what)?)?;
        self.udp.send_to(ANSWER.as_bytes(), from).because(&what)?;
        // The socket is connected: it hears nobody but whom it has sent to.
        let (answer, _) =
            next(&peer, PATIENCE)?.ok_or_else(|| format!("{what}: no answer comes back"))?;
        same(&what, answer, ANSWER)
    }

    /// A datagram from the Internet is dropped without a word. That it is not only late is shown
    /// by one that the router itself sends after it.
    pub fn is_not_reached_at(&self, world: &World, to: SocketAddr) -> Outcome {
        const MARKER: &str = "the router was here";
        let what = format!("UDP from the Internet to {to}, which must be dropped");
        let peer = caller(world, to)?;
        let host = SocketAddr::from((self.host, PORT));
        world.router.inside(move || {
            let socket = any(host).because("the router's UDP port")?;
            socket.send_to(MARKER.as_bytes(), host).because("the router sends").map(drop)
        })?;
        let (heard, _) = next(&self.udp, PATIENCE)?
            .ok_or_else(|| format!("{what}: the router cannot reach the host"))?;
        same(&what, heard, MARKER)?;
        let late = next(&self.udp, SILENCE)?.is_some();
        ensure(!late, || format!("{what}: it reaches the host"))?;
        ensure(!comes(&peer, SILENCE)?, || format!("{what}: somebody answers"))
    }

    /// UDP to a port of the router's external address is dropped without a word.
    pub fn is_not_reached_by_udp(&self, world: &World, port: u16) -> Outcome {
        self.is_not_reached_at(world, (self.outside, port).into())
    }

    /// A TCP connection from the Internet does not come about, and nobody refuses it either.
    pub fn is_not_reached_by_tcp(&self, world: &World, port: u16) -> Outcome {
        let to = SocketAddr::from((self.outside, port));
        let what = format!("TCP from the Internet to {to}, which must be dropped");
        let tried = world.wan.inside(move || Ok(TcpStream::connect_timeout(&to, TCP_SILENCE)))?;
        match tried {
            Ok(_) => Err(format!("{what}: somebody takes it")),
            Err(e) if e.kind() == ErrorKind::TimedOut => {
                ensure(!comes(&self.tcp, SILENCE)?, || format!("{what}: it reaches the host"))
            }
            Err(e) => Err(format!("{what}: {e}")),
        }
    }
}

/// Whether there is something to read before the time is up.
pub fn comes<T: AsRawFd>(socket: &T, limit: Duration) -> Outcome<bool> {
    let limit = u16::try_from(limit.as_millis()).unwrap_or(u16::MAX);
    wait_readable(socket, limit).because("waiting for a socket")
}

/// The next datagram that comes before the time is up, as text, and its source.
pub fn next(socket: &UdpSocket, limit: Duration) -> Outcome<Option<(String, SocketAddr)>> {
    if !comes(socket, limit)? {
        return Ok(None);
    }
    let mut bytes = [0; 2048];
    let (length, from) = socket.recv_from(&mut bytes).because("receiving a datagram")?;
    Ok(Some((String::from_utf8_lossy(&bytes[..length]).into_owned(), from)))
}

/// A socket of the Internet host that has sent a datagram there from a port of its own, so that
/// no connection the kernel knows already lets it through.
fn caller(world: &World, to: SocketAddr) -> Outcome<UdpSocket> {
    world.wan.inside(move || {
        let from = if to.is_ipv4() { IpAddr::from(PEER) } else { PEER6.into() };
        let socket = UdpSocket::bind((from, 0)).because("the peer's UDP port")?;
        socket.connect(to).because(to)?;
        socket.send(QUESTION.as_bytes()).because(to)?;
        Ok(socket)
    })
}

/// A socket of this family, on any address and port.
fn any(family: SocketAddr) -> io::Result<UdpSocket> {
    let unspecified = match family {
        SocketAddr::V4(_) => IpAddr::from([0; 4]),
        SocketAddr::V6(_) => IpAddr::from([0; 16]),
    };
    UdpSocket::bind((unspecified, 0))
}

/// Reads text up to and with its last words.
pub fn hear_all(stream: &mut TcpStream, last_words: &str) -> Outcome<String> {
    let (mut text, mut piece) = (Vec::new(), [0; 4096]);
    while !text.windows(last_words.len()).any(|words| words == last_words.as_bytes()) {
        ensure(comes(stream, PATIENCE)?, || "TCP: nothing more comes".into())?;
        match stream.read(&mut piece).because("TCP")? {
            0 => return Err("TCP: the other side has hung up".into()),
            count => text.extend_from_slice(&piece[..count]),
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Reads so many bytes of text.
fn hear(stream: &mut TcpStream, length: usize) -> Outcome<String> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        ensure(comes(stream, PATIENCE)?, || "TCP: nothing more comes".into())?;
        match stream.read(&mut bytes[filled..]).because("TCP")? {
            0 => return Err("TCP: the other side has hung up".into()),
            count => filled += count,
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
