//! What the router announces on the LAN, written down as it comes.

use crate::outcome::{Because, Outcome, PATIENCE};
use crate::traffic::next;
use crate::world::{World, HOST};
use postern::proto::ssdp;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What stands for a whole set: it is in each once.
const ROOT: &str = "upnp:rootdevice";

/// What an announcement says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is here.
    Alive,
    /// It goes.
    Byebye,
}

/// Sets of announcements, heard by a thread that lives as long as the program.
pub struct Announcements(Arc<Mutex<Vec<(Instant, Kind)>>>);

impl Announcements {
    /// Begins to listen on the LAN host.
    pub fn listen(world: &World) -> Outcome<Announcements> {
        let socket = world.lan.inside(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, ssdp::PORT)).because("SSDP")?;
            socket.join_multicast_v4(&ssdp::GROUP_V4, &HOST).because("the SSDP group")?;
            Ok(socket)
        })?;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let notes = heard.clone();
        thread::spawn(move || {
            // An error ends it; whoever waits for an announcement then says so.
            while let Ok(datagram) = next(&socket, PATIENCE) {
                if let Some(kind) = datagram.and_then(|(text, _)| set(&text)) {
                    lock(&notes).push((Instant::now(), kind));
                }
            }
        });
        Ok(Announcements(heard))
    }

    /// How many sets of a kind have come since then.
    pub fn count(&self, kind: Kind, since: Instant) -> usize {
        lock(&self.0).iter().filter(|(at, heard)| *heard == kind && *at >= since).count()
    }

    /// The first pause of at least `least` between two sets since then that both say "alive".
    pub fn pause(&self, since: Instant, least: Duration) -> Option<Duration> {
        let heard = lock(&self.0);
        let alive: Vec<Instant> = heard
            .iter()
            .filter(|(at, kind)| *kind == Kind::Alive && *at >= since)
            .map(|(at, _)| *at)
            .collect();
        alive.windows(2).map(|pair| pair[1] - pair[0]).find(|pause| *pause >= least)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a set says, told by its root device; searches and the rest of the set are `None`.
fn set(message: &str) -> Option<Kind> {
    let is_root = header(message, "NT") == Some(ROOT);
    match header(message, "NTS").filter(|_| is_root && message.starts_with("NOTIFY "))? {
        "ssdp:alive" => Some(Kind::Alive),
        "ssdp:byebye" => Some(Kind::Byebye),
        _ => None,
    }
}

/// A header of a message.
pub fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = message.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
