//! The LAN side: which sockets and tasks each LAN device and address has, following the network.

use super::runtime::{Io, Task};
use super::{http, sockets, ssdp, Daemon};
use crate::gateway::Lan;
use crate::sys::Interest;
use std::io;
use std::net::UdpSocket;
use std::rc::Rc;

/// LAN addresses served at once; more are logged and left out.
pub const LANS_MAX: usize = 16;

/// One LAN address at one moment: a device that is made again under its old name has another
/// index, and its sockets are made again too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Device, address and prefix.
    pub lan: Lan,
    /// The device's index.
    pub index: u32,
}

/// What serves one LAN address. Dropped, it is closed.
pub struct Address {
    /// Where it is.
    pub place: Place,
    /// HTTP port of LOCATION.
    pub port: u16,
    /// Everything SSDP says here is sent through this.
    pub ssdp: Rc<Io<UdpSocket>>,
    _tasks: [Task<()>; 2],
    announcing: Task<()>,
}

/// What hears the group on one LAN device.
struct Group {
    device: String,
    index: u32,
    _task: Task<()>,
}

/// Everything open on the LAN side.
#[derive(Default)]
pub struct Lans {
    addresses: Vec<Address>,
    groups: Vec<Group>,
    /// CONFIGID.UPNP.ORG as last announced; `None` before the first announcement.
    announced: Option<u32>,
    /// The addresses there were last time, whether they could be served or not.
    seen: Vec<Place>,
}

impl Lans {
    /// Opens what `places` need, closes what they do not; what stays is not touched. What cannot
    /// be opened is logged, and tried again at the next change.
    ///
    /// A new address is another start of the device for control points, and so is another
    /// description: BOOTID grows, and the addresses that stay are announced again (UDA 1.1 §1.2.2,
    /// §1.2.4).
    pub fn follow(&mut self, daemon: &Daemon, places: &[Place], port: u16) {
        if places.len() > LANS_MAX {
            log::warn!("{} LAN addresses are too many: {LANS_MAX} are served", places.len());
        }
        let places = places.get(..LANS_MAX).unwrap_or(places);
        let stays = |a: &Address| places.contains(&a.place) && a.port == port;
        let (stay, gone) = std::mem::take(&mut self.addresses).into_iter().partition(stays);
        self.addresses = stay;
        for address in &gone {
            log::info!("{} on {} is gone", address.place.lan.address, address.place.lan.device);
            ssdp::say_byebye(daemon, address);
        }
        drop::<Vec<Address>>(gone);
        let config_id = daemon.config_id();
        let same_words = self.announced.is_none_or(|announced| announced == config_id);
        let grown = places.iter().any(|place| !self.seen.contains(place));
        self.seen = places.to_vec();
        if self.announced.is_some() && (grown || !same_words) {
            let next = ssdp::next_boot_id(daemon);
            for address in &self.addresses {
                match same_words {
                    true => ssdp::say_update(daemon, address, next),
                    false => ssdp::say_byebye(daemon, address),
                }
            }
            ssdp::set_boot_id(daemon, next);
            for address in &mut self.addresses {
                address.announcing = daemon.runtime().spawn(ssdp::announce(
                    daemon.clone(),
                    ssdp::Voice::of(address),
                    ssdp::Opening::Alive,
                ));
            }
        }
        if !places.is_empty() {
            self.announced = Some(config_id);
        }
        self.groups
            .retain(|g| places.iter().any(|p| p.lan.device == g.device && p.index == g.index));
        for place in places {
            if !self.groups.iter().any(|g| g.device == place.lan.device) {
                match open_group(daemon, place) {
                    Ok(group) => self.groups.push(group),
                    Err(e) => log::error!("{}: cannot hear searches: {e}", place.lan.device),
                }
            }
            if !self.addresses.iter().any(|a| a.place == *place) {
                match open_address(daemon, place, port) {
                    Ok(address) => {
                        log::info!("serving {} on {}", place.lan.address, place.lan.device);
                        self.addresses.push(address);
                    }
                    Err(e) => log::error!(
                        "cannot serve {} on {}: {e}: is another UPnP daemon running?",
                        place.lan.address,
                        place.lan.device,
                    ),
                }
            }
        }
    }

    /// Every address served.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }
}

fn open_group(daemon: &Daemon, place: &Place) -> io::Result<Group> {
    let device = place.lan.device.clone();
    let socket = sockets::ssdp_group(&device, place.index)?;
    let socket = daemon.runtime().watch(socket, Interest::Read)?;
    let task = daemon.runtime().spawn(ssdp::hear_group(daemon.clone(), device.clone(), socket));
    Ok(Group { device, index: place.index, _task: task })
}

fn open_address(daemon: &Daemon, place: &Place, port: u16) -> io::Result<Address> {
    let runtime = daemon.runtime();
    let lan = &place.lan;
    let listener = runtime.watch(sockets::http(lan, port)?, Interest::Read)?;
    let socket = Rc::new(runtime.watch(sockets::ssdp_unicast(lan)?, Interest::Read)?);
    let voice = ssdp::Voice { lan: lan.clone(), port, socket: socket.clone() };
    let tasks = [
        runtime.spawn(http::listen(daemon.clone(), lan.clone(), listener)),
        runtime.spawn(ssdp::hear_unicast(daemon.clone(), voice.clone())),
    ];
    let announcing = runtime.spawn(ssdp::announce(daemon.clone(), voice, ssdp::Opening::Byebye));
    Ok(Address { place: place.clone(), port, ssdp: socket, _tasks: tasks, announcing })
}
