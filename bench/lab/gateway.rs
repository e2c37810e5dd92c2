//! The two daemons, each in a world of its own.

use super::clients::ControlPoint;
use super::{launch, procfs, rules};
use crate::world::{Host, World};
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Which daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Ours.
    Postern,
    /// The same with `option revoke_flows 0`: it does not look through the connection table for
    /// flows that have lost their leave. What that costs grows with the kernel's table, which is
    /// small on a router.
    Lookless,
    /// The same without lease file, so that it puts nothing off: each request costs the same.
    Bare,
    /// Static, with no other limits than it has by itself.
    #[allow(dead_code)] // The storm alone has it.
    Shipped,
    /// Ours as on a router: one static program. Only where [`static_program`] is.
    Static,
    /// The peer.
    Miniupnpd,
    /// The same, for whom no socket is open on the machine: what its search of `/proc/net` for
    /// ports in use costs grows with the kernel's socket tables, which are small on a router.
    Scanless,
}

impl Kind {
    /// Whether it is postern.
    pub fn is_ours(self) -> bool {
        !matches!(self, Kind::Miniupnpd | Kind::Scanless)
    }

    /// Its control point.
    pub fn control(self) -> ControlPoint {
        let path = if self.is_ours() { "/igd1/wanip/control" } else { "/ctl/IPConn" };
        ControlPoint { path, protocol: "TCP" }
    }
}

/// A running daemon and its world. Ended when dropped.
pub struct Gateway {
    pub kind: Kind,
    pub world: World,
    pub pid: u32,
    /// Unless it has left for the background.
    pub child: Option<Child>,
    /// Numbers 1 to this are mapped.
    pub mappings: u16,
}

impl Gateway {
    /// Starts one in a new world and waits until it is at rest.
    pub fn start(kind: Kind) -> Gateway {
        Gateway::start_with(kind, 0)
    }

    /// The same, with mappings 1 to `count`. miniupnpd makes them of a lease file at its start: by
    /// request it would take several times as long.
    pub fn start_with(kind: Kind, count: u16) -> Gateway {
        let world = World::new();
        if kind.is_ours() {
            let mut gateway = launch::postern(world, kind, &[]);
            gateway.wait();
            gateway.fill(count);
            return gateway;
        }
        launch::write_leases(&world, count);
        let mut gateway = launch::miniupnpd(world, kind);
        gateway.mappings = count;
        gateway.wait();
        gateway
    }

    /// Waits until it answers and is at rest.
    pub fn wait(&self) {
        let until = Instant::now() + launch::patience(self.mappings);
        let asked = || self.inside(|| self.kind.control().ask("GetExternalIPAddress", ""));
        while !asked().unwrap_or(false) {
            assert!(Instant::now() < until, "no answer: {}", launch::log(&self.world));
            sleep(Duration::from_millis(20));
        }
        sleep(Duration::from_millis(300));
        self.settled();
    }

    /// Runs `job` on the LAN host [`ALICE`](crate::world::ALICE).
    pub fn inside<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        self.world.inside(Host::Alice, job)
    }

    /// Makes mappings up to `count`: postern's by request, miniupnpd's by copying the rules of its
    /// last one.
    pub fn fill(&mut self, count: u16) {
        let control = ControlPoint { protocol: "UDP", ..self.kind.control() };
        let new = self.mappings + 1..=count;
        if new.is_empty() {
            return;
        }
        if self.kind.is_ours() {
            self.inside(|| new.for_each(|number| control.add(number)));
        } else {
            self.world.inside(Host::Router, || rules::copy(self.mappings, new));
        }
        self.mappings = count;
        self.settled();
    }

    /// Waits until it has nothing left to do, and returns its CPU time in nanoseconds. What it puts
    /// off for a moment is waited for, too.
    pub fn settled(&self) -> u64 {
        self.quiet_for(60)
    }

    /// The same after what has it look through the connection table. It puts a look off by up to
    /// 400 ms after the one before.
    pub fn rested(&self) -> u64 {
        self.quiet_for(450)
    }

    /// Waits until it has slept for so many milliseconds, if it is one that puts anything off.
    fn quiet_for(&self, milliseconds: u64) -> u64 {
        let puts_off = matches!(self.kind, Kind::Postern | Kind::Static);
        procfs::settled(self.pid, Duration::from_millis(if puts_off { milliseconds } else { 5 }))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        match &mut self.child {
            Some(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            None => procfs::end(self.pid),
        }
    }
}
