//! NAT-PMP and PCP over the gateway and a kernel in memory: hosts send anything, time passes, the
//! kernel refuses or is changed behind the gateway's back, the WAN, the LAN and the rules come and
//! go. At each step the oracles of [`world`](super::world) hold.

use super::world::World;

pub fn run(mut bytes: &[u8]) {
    let mut world = World::new();
    while let [what, length, rest @ ..] = bytes {
        let step = what >> 2 & 15;
        let taken = match step {
            0..=5 => world.happen(step, *length, rest),
            _ => {
                let datagram = &rest[..rest.len().min((*length).into())];
                world.packet(*what, datagram);
                datagram.len()
            }
        };
        bytes = &rest[taken..];
        world.check();
    }
    world.end();
}
