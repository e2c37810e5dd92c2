//! The LAN side: which sockets and tasks each LAN device and address has, following the network.

use super::runtime::{Io, Task};
use super::{http, sockets, ssdp, Daemon};
use crate::config::options::Config;
use crate::gateway::Lan;
use crate::igd::Identity;
use crate::netlink::route::kind;
use crate::proto::ssdp::{GROUP_V4, GROUP_V6_LINK, GROUP_V6_SITE};
use crate::sys::Interest;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::rc::Rc;

/// LAN addresses served at once; more are logged and left out.
pub const LANS_MAX: usize = 32;

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
    /// `None`: another address of the device is announced.
    announcing: Option<Task<()>>,
}

/// What could not be done at the last try, in words: it is tried again and again, and said once.
#[derive(Default)]
pub struct Troubles(Vec<String>);

impl Troubles {
    /// Says what was none before; `true` if there is none.
    pub fn tell(&mut self, now: Vec<String>) -> bool {
        for trouble in &now {
            let level = match self.0.contains(trouble) {
                true => log::Level::Debug,
                false => log::Level::Error,
            };
            log::log!(level, "{trouble}");
        }
        self.0 = now;
        self.0.is_empty()
    }
}

/// What hears the groups of one family on one LAN device.
struct Group {
    device: String,
    index: u32,
    ipv6: bool,
    _tasks: Vec<Task<()>>,
}

/// Everything open on the LAN side.
#[derive(Default)]
pub struct Lans {
    addresses: Vec<Address>,
    groups: Vec<Group>,
    /// What was announced last; `None` before the first announcement.
    announced: Option<Identity>,
    /// The addresses there were last time, whether they could be served or not.
    seen: Vec<Place>,
    troubles: Troubles,
}

impl Lans {
    /// Opens what `places` need, closes what they do not; what stays is not touched. `false`: some
    /// could not be opened, which is logged, and is to be tried again.
    ///
    /// A new address is another start of the device for control points, and so is another
    /// description: BOOTID grows, and the addresses that stay are announced again (UDA 1.1 §1.2.2,
    /// §1.2.4). What was announced under other words is taken back first, and its subscriptions end
    /// with it (§4.1).
    pub fn follow(&mut self, daemon: &Daemon, places: &[Place], port: u16) -> bool {
        let all = places.len();
        let places = places.get(..LANS_MAX).unwrap_or(places);
        if all > LANS_MAX && self.seen != places {
            log::warn!("{all} LAN addresses are too many: {LANS_MAX} are served");
        }
        let stays = |a: &Address| places.contains(&a.place) && a.port == port;
        let (stay, gone) = std::mem::take(&mut self.addresses).into_iter().partition(stays);
        self.addresses = stay;
        for address in &gone {
            log::info!("{} on {} is gone", address.place.lan.address, address.place.lan.device);
            self.say_byebye(daemon, address);
        }
        drop::<Vec<Address>>(gone);
        let identity = daemon.identity();
        let same_words = self.announced.as_ref().is_none_or(|announced| *announced == identity);
        // One of the link alone comes with every device, a while after it.
        let counts = |place: &&Place| reach(place) < 2;
        let grown = places.iter().filter(counts).any(|place| !self.seen.contains(place));
        self.seen = places.to_vec();
        if self.announced.is_some() && (grown || !same_words) {
            let next = ssdp::next_boot_id(daemon);
            for address in self.addresses.iter().filter(|address| address.is_announced()) {
                match same_words {
                    true => ssdp::say_update(daemon, address, next),
                    false => self.say_byebye(daemon, address),
                }
            }
            if !same_words {
                daemon.forget_subscribers();
            }
            ssdp::set_boot_id(daemon, next);
            for address in self.addresses.iter_mut().filter(|address| address.is_announced()) {
                address.announce(daemon, ssdp::Opening::Alive);
            }
        }
        if !places.is_empty() {
            self.announced = Some(identity);
        }
        let mut troubles = Vec::new();
        self.groups
            .retain(|g| places.iter().any(|p| p.lan.device == g.device && p.index == g.index));
        for place in places {
            let (device, ipv6) = (&place.lan.device, place.lan.address.is_ipv6());
            if !self.groups.iter().any(|g| g.device == *device && g.ipv6 == ipv6) {
                match open_group(daemon, place) {
                    Ok(group) => self.groups.push(group),
                    Err(e) => troubles.push(format!("{device}: cannot hear searches: {e}")),
                }
            }
            if !self.addresses.iter().any(|a| a.place == *place) {
                match open_address(daemon, place, port) {
                    Ok(address) => {
                        log::info!("serving {} on {}", place.lan.address, place.lan.device);
                        self.addresses.push(address);
                    }
                    Err(e) => troubles.push(format!(
                        "cannot serve {} on {}: {e}: is another UPnP daemon running?",
                        place.lan.address, place.lan.device,
                    )),
                }
            }
        }
        for at in 0..self.addresses.len() {
            let place = &self.addresses[at].place;
            let first = match place.lan.address {
                IpAddr::V4(_) => true,
                IpAddr::V6(_) => {
                    self.first_v6(&place.lan.device).is_some_and(|a| a.place == *place)
                }
            };
            let address = &mut self.addresses[at];
            match (first, address.is_announced()) {
                (true, false) => address.announce(daemon, ssdp::Opening::Byebye),
                (false, true) => address.announcing = None,
                _ => {}
            }
        }
        self.troubles.tell(troubles)
    }

    /// Takes back what was announced on one address, if it was.
    pub fn say_byebye(&self, daemon: &Daemon, address: &Address) {
        if let Some(identity) = self.announced.as_ref().filter(|_| address.is_announced()) {
            ssdp::say_byebye(daemon, identity, address);
        }
    }

    /// Whether HTTP could be served on the port of a configuration that is to come, where it is served
    /// and is to be.
    ///
    /// # Errors
    /// It could not be on one of the addresses.
    pub fn try_port(&self, config: &Config) -> io::Result<()> {
        let stays = |address: &&Address| {
            let mut devices = config.internal_device.iter();
            address.port != config.port
                && config.enable_upnp
                && devices.any(|device| device.as_str() == address.place.lan.device)
        };
        for address in self.addresses.iter().filter(stays) {
            match sockets::http(&address.place, config.port) {
                // It is about to be taken out.
                Err(e) if e.kind() != io::ErrorKind::AddrNotAvailable => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// Every address served.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The address of a device that answers this host: of its own prefix, or, if it asks from an
    /// address of the link, the one that reaches farthest. Many clients take an answer only from
    /// the host that LOCATION names, and cannot connect to an address of the link.
    pub fn to(&self, device: &str, host: IpAddr) -> Option<&Address> {
        match host {
            IpAddr::V6(host) if kind(host) == 2 => self.first_v6(device),
            _ => self
                .addresses
                .iter()
                .find(|a| a.place.lan.device == device && a.place.lan.contains(host)),
        }
    }

    /// The IPv6 address of a device that reaches farthest.
    fn first_v6(&self, device: &str) -> Option<&Address> {
        let here = |a: &&Address| a.place.lan.device == device && a.place.lan.address.is_ipv6();
        self.addresses.iter().filter(here).min_by_key(|a| (reach(&a.place), a.place.lan.address))
    }
}

/// How far what is said of this address may go: 0 and 1 beyond the link, 2 not.
fn reach(place: &Place) -> u8 {
    match place.lan.address {
        IpAddr::V4(_) => 0,
        IpAddr::V6(address) => kind(address),
    }
}

impl Address {
    /// Whether SSDP announces it. Of the IPv6 addresses of a device one is.
    pub fn is_announced(&self) -> bool {
        self.announcing.is_some()
    }

    fn announce(&mut self, daemon: &Daemon, opening: ssdp::Opening) {
        let voice = ssdp::Voice::of(self);
        let announcing = ssdp::announce(daemon.clone(), voice, opening);
        self.announcing = Some(daemon.runtime().spawn(announcing));
    }
}

fn open_group(daemon: &Daemon, place: &Place) -> io::Result<Group> {
    let device = &place.lan.device;
    let ipv6 = place.lan.address.is_ipv6();
    let groups: &[IpAddr] = match ipv6 {
        true => &[IpAddr::V6(GROUP_V6_LINK), IpAddr::V6(GROUP_V6_SITE)],
        false => &[IpAddr::V4(GROUP_V4)],
    };
    let mut tasks = Vec::new();
    for group in groups {
        let socket = sockets::ssdp_group(device, place.index, *group)?;
        let socket = daemon.runtime().watch(socket, Interest::Read)?;
        let hear = ssdp::hear_group(daemon.clone(), device.clone(), socket);
        tasks.push(daemon.runtime().spawn(hear));
    }
    Ok(Group { device: device.clone(), index: place.index, ipv6, _tasks: tasks })
}

fn open_address(daemon: &Daemon, place: &Place, port: u16) -> io::Result<Address> {
    let runtime = daemon.runtime();
    let listener = runtime.watch(sockets::http(place, port)?, Interest::Read)?;
    let socket = Rc::new(runtime.watch(sockets::ssdp_unicast(place)?, Interest::Read)?);
    let voice = ssdp::Voice { place: place.clone(), port, socket: socket.clone() };
    let tasks = [
        runtime.spawn(http::listen(daemon.clone(), place.clone(), listener)),
        runtime.spawn(ssdp::hear_unicast(daemon.clone(), voice)),
    ];
    Ok(Address { place: place.clone(), port, ssdp: socket, _tasks: tasks, announcing: None })
}
