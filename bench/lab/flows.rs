//! The router's connection table.

use crate::world::{Host, World};
use postern::netlink::socket::Socket;
use postern::netlink::wire::{self, Writer};

/// The connection table of one world's router.
pub struct Flows(Socket);

impl Flows {
    /// That of this world.
    pub fn of(world: &World) -> Flows {
        Flows(world.inside(Host::Router, || Socket::nfnetlink().unwrap()))
    }

    /// Forgets every flow.
    pub fn flush(&mut self) {
        // IPCTNL_MSG_CT_DELETE of the subsystem NFNL_SUBSYS_CTNETLINK, of no flow in particular.
        const DELETE: u16 = 1 << 8 | 2;
        let mut writer = Writer::new(1);
        writer.message(DELETE, wire::REQUEST | wire::ACK);
        writer.raw(&[0; 4]);
        self.0.ask(&writer.finish(), &mut |_| ()).unwrap();
    }
}
