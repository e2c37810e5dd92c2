//! The LAN sockets, each bound to its device: nothing that arrives on another device, a WAN
//! least of all, reaches them, whatever address it was sent to and whatever the firewall lets in.

use crate::gateway::Lan;
use crate::proto::ssdp;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, SockRef, Socket, Type};
use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

/// Connections the kernel may hold for us before we take them.
const BACKLOG: i32 = 32;

/// A socket bound to `device` and `address`, non-blocking.
fn bound(device: &str, kind: Type, protocol: Protocol, address: SocketAddr) -> io::Result<Socket> {
    let socket =
        Socket::new(Domain::for_address(address), kind.nonblocking().cloexec(), Some(protocol))?;
    socket.bind_device(Some(device.as_bytes()))?;
    // Other SSDP programs share port 1900; a restarted daemon shares port 5000 with its own past.
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// Where searches sent to the group arrive: one for each LAN device.
pub fn ssdp_group(device: &str, index: u32) -> io::Result<UdpSocket> {
    let address = SocketAddrV4::new(ssdp::GROUP_V4, ssdp::PORT);
    let socket = bound(device, Type::DGRAM, Protocol::UDP, address.into())?;
    // Only groups joined on this very socket, not those that other programs joined.
    socket.set_multicast_all_v4(false)?;
    socket.join_multicast_v4_n(&ssdp::GROUP_V4, &InterfaceIndexOrAddress::Index(index))?;
    Ok(socket.into())
}

/// Where searches sent to the router itself arrive, and where everything is sent from: one for
/// each LAN address, so that answers come from the address asked and from port 1900.
pub fn ssdp_unicast(lan: &Lan) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(lan.address, ssdp::PORT);
    let socket = bound(&lan.device, Type::DGRAM, Protocol::UDP, address)?;
    socket.set_multicast_ttl_v4(ssdp::TTL)?;
    socket.set_multicast_loop_v4(false)?;
    Ok(socket.into())
}

/// Where HTTP clients connect: one for each LAN address.
pub fn http(lan: &Lan, port: u16) -> io::Result<TcpListener> {
    let address = SocketAddr::new(lan.address, port);
    let socket = bound(&lan.device, Type::STREAM, Protocol::TCP, address)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Takes one connection, non-blocking, with its two ends.
pub fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept()?;
    stream.set_nonblocking(true)?;
    let socket = SockRef::from(&stream);
    // Answers are written whole, so nothing is gained by waiting for more.
    socket.set_tcp_nodelay(true)?;
    Ok((stream, peer))
}

/// Closes a connection at once instead of keeping its state for minutes: for those refused.
pub fn reset(stream: &TcpStream) {
    // A connection that is gone already needs no reset.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
