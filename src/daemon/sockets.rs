//! The LAN sockets, each bound to its device: nothing that arrives on another device, a WAN
//! least of all, reaches them, whatever address it was sent to and whatever the firewall lets in.

use super::lan::Place;
use crate::proto::{natpmp, ssdp};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, SockRef, Socket, Type};
use std::io;
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, TcpStream,
    UdpSocket,
};
use std::time::Duration;

/// Connections the kernel may hold for us before we take them.
const BACKLOG: i32 = 32;

/// A socket bound to `device` and `address`, non-blocking.
fn bound(device: &str, kind: Type, protocol: Protocol, address: SocketAddr) -> io::Result<Socket> {
    let socket = on(device, kind, protocol, address)?;
    // Other SSDP programs share port 1900; a restarted daemon shares port 5000 with its own past.
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// A socket for `device` and the family of `address`, non-blocking.
fn on(device: &str, kind: Type, protocol: Protocol, address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, kind.nonblocking().cloexec(), Some(protocol))?;
    socket.bind_device(Some(device.as_bytes()))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// An address and port on the device with this index, which IPv6 addresses of a link need.
pub fn on_device(address: IpAddr, port: u16, index: u32) -> SocketAddr {
    match address {
        IpAddr::V4(address) => SocketAddrV4::new(address, port).into(),
        IpAddr::V6(address) => SocketAddrV6::new(address, port, 0, index).into(),
    }
}

/// Where searches sent to a group arrive: one for each LAN device and group.
pub fn ssdp_group(device: &str, index: u32, group: IpAddr) -> io::Result<UdpSocket> {
    // Bound to the group's own address: what is sent to others is not heard.
    let address = on_device(group, ssdp::PORT, index);
    let socket = bound(device, Type::DGRAM, Protocol::UDP, address)?;
    match group {
        IpAddr::V4(group) => {
            // Only groups joined on this very socket, not those that other programs joined.
            socket.set_multicast_all_v4(false)?;
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))?;
        }
        IpAddr::V6(group) => socket.join_multicast_v6(&group, index)?,
    }
    Ok(socket.into())
}

/// Where searches sent to the router itself arrive, and where everything is sent from: one for
/// each LAN address, so that answers come from the address asked and from port 1900.
pub fn ssdp_unicast(place: &Place) -> io::Result<UdpSocket> {
    let address = on_device(place.lan.address, ssdp::PORT, place.index);
    let socket = bound(&place.lan.device, Type::DGRAM, Protocol::UDP, address)?;
    if address.is_ipv4() {
        socket.set_multicast_ttl_v4(ssdp::TTL)?;
        socket.set_multicast_loop_v4(false)?;
    } else {
        socket.set_multicast_hops_v6(ssdp::TTL)?;
        socket.set_multicast_loop_v6(false)?;
        socket.set_multicast_if_v6(place.index)?;
    }
    Ok(socket.into())
}

/// Where NAT-PMP and PCP are heard and sent from: one for each LAN address, shared with nobody.
pub fn pcp(place: &Place) -> io::Result<UdpSocket> {
    let address = on_device(place.lan.address, natpmp::PORT, place.index);
    let socket = on(&place.lan.device, Type::DGRAM, Protocol::UDP, address)?;
    socket.bind(&SockAddr::from(address))?;
    if address.is_ipv4() {
        socket.set_multicast_loop_v4(false)?;
    } else {
        socket.set_multicast_loop_v6(false)?;
        socket.set_multicast_if_v6(place.index)?;
    }
    Ok(socket.into())
}

/// Where HTTP clients connect: one for each LAN address.
pub fn http(place: &Place, port: u16) -> io::Result<TcpListener> {
    let address = on_device(place.lan.address, port, place.index);
    let socket = bound(&place.lan.device, Type::STREAM, Protocol::TCP, address)?;
    // Answers are written whole, so nothing is gained by waiting for more. Connections inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A connection to a host on the device of `place`, and by no other. It is under way when this
/// returns.
pub fn connect(place: &Place, to: SocketAddr) -> io::Result<TcpStream> {
    let from = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = bound(&place.lan.device, Type::STREAM, Protocol::TCP, from)?;
    match socket.connect(&SockAddr::from(to)) {
        Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e),
        _ => Ok(socket.into()),
    }
}

/// Takes one connection, non-blocking, with its two ends.
pub fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept()?;
    stream.set_nonblocking(true)?;
    Ok((stream, peer))
}

/// Writes what more will follow soon: [`Shutdown::Write`](std::net::Shutdown) at the latest, with
/// which the rest of it then goes in one packet.
pub fn write_more(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    SockRef::from(stream).send_with_flags(bytes, libc::MSG_MORE | libc::MSG_NOSIGNAL)
}

/// Closes a connection at once instead of keeping its state for minutes: for those refused.
pub fn reset(stream: &TcpStream) {
    // A connection that is gone already needs no reset.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
