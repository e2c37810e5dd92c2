//! Whether two addresses are one host's: the kernel's neighbour table says so when both have the
//! same link-layer address on one device (conformance 89, 134, 158).

use super::lan::Place;
use super::Daemon;
use crate::netlink::neighbour;
use crate::netlink::socket::Socket;
use crate::netlink::wire::Writer;
use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// How often a request is answered anew while the kernel finds out about a neighbour, and how long
/// it gets each time.
pub const RESOLVE_TRIES: u32 = 5;
/// See [`RESOLVE_TRIES`].
pub const RESOLVE_WAIT: Duration = Duration::from_millis(50);

/// The neighbour table, read an entry at a time.
#[derive(Default)]
pub struct Neighbours {
    /// Opened when first needed.
    socket: Option<Socket>,
}

impl Neighbours {
    fn ask(&mut self, write: impl FnOnce(&mut Writer)) -> io::Result<Option<Vec<u8>>> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            closed => closed.insert(Socket::rtnetlink(&[])?),
        };
        let mut writer = Writer::new(1);
        write(&mut writer);
        let mut found = None;
        let asked = socket.ask(&writer.finish(), &mut |message| found = neighbour::read(message));
        match asked {
            Ok(_) => Ok(found),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(e) => {
                self.socket = None;
                Err(e)
            }
        }
    }

    fn link_address(&mut self, index: u32, address: IpAddr) -> Option<Vec<u8>> {
        let asked = self.ask(|writer| neighbour::get(writer, index, address));
        asked.inspect_err(|e| log::warn!("the neighbour table cannot be read: {e}")).ok()?
    }

    /// Has the kernel find out who has an address; it may take a moment.
    fn solicit(&mut self, index: u32, address: IpAddr) {
        if let Err(e) = self.ask(|writer| neighbour::solicit(writer, index, address)) {
            log::debug!("{address} cannot be asked for: {e}");
        }
    }
}

impl Daemon {
    /// Whether `client`, heard at `place`, and `other` are one host. If nothing is known of
    /// `other` yet, it is put into `unknown`: ask again after [`resolve`](Daemon::resolve).
    ///
    /// Only addresses inside a LAN prefix of that device are looked up.
    pub(super) fn same_host(
        &self,
        place: &Place,
        client: IpAddr,
        other: IpAddr,
        unknown: &Cell<Option<IpAddr>>,
    ) -> bool {
        let inside = |address: &super::lan::Address| {
            address.place.index == place.index && address.place.lan.contains(other)
        };
        if client == other || !self.lans().addresses().iter().any(inside) {
            return client == other;
        }
        let mut neighbours = self.0.neighbours.borrow_mut();
        let own = neighbours.link_address(place.index, client);
        let others = neighbours.link_address(place.index, other);
        if others.is_none() {
            unknown.set(Some(other));
        }
        own.is_some() && own == others
    }

    /// Has the kernel look for a neighbour, and waits a moment.
    pub(super) async fn resolve(&self, place: &Place, address: IpAddr) {
        self.0.neighbours.borrow_mut().solicit(place.index, address);
        self.runtime().sleep_until(std::time::Instant::now() + RESOLVE_WAIT).await;
    }
}
