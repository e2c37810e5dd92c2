//! NAT-PMP and PCP on the wire: UDP port 5351 of every LAN address, announcements, and updates to
//! clients whose external address is another one.

use super::lan::{Place, Troubles, LANS_MAX};
use super::runtime::{or, yield_now, Io, Task};
use super::sockets::{self, on_device};
use super::{system, Daemon, State};
use crate::gateway::mapping::Id;
use crate::pcp::{self, Packet};
use crate::proto::pcp::{GROUP_V6, MESSAGE_MAX};
use crate::proto::{natpmp, pcp as codec};
use crate::sys::Interest;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often an announcement is made (RFC 6886 §3.2.1, RFC 6887 §14.1.3).
pub const ANNOUNCE_TIMES: u32 = 10;
/// Between the first two; each later gap is twice the one before.
pub const ANNOUNCE_GAP: Duration = Duration::from_millis(250);
/// Before each Mapping Update (RFC 6887 §14.2).
const UPDATE_GAPS: [Duration; 3] =
    [Duration::ZERO, Duration::from_millis(250), Duration::from_millis(500)];
/// Most updates sent in one go; the next follow after [`UPDATE_PAUSE`].
const UPDATES_AT_ONCE: usize = 32;
const UPDATE_PAUSE: Duration = Duration::from_millis(20);
/// Longest datagram read: one byte more than a message may have tells that it is too long.
const DATAGRAM_MAX: usize = MESSAGE_MAX + 1;
/// Pause after a receive error that is not our doing, so that it cannot spin the loop.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// What serves one LAN address. Dropped, it is closed.
struct Server {
    place: Place,
    socket: Rc<Io<UdpSocket>>,
    _task: Task<()>,
}

/// All that is open.
#[derive(Default)]
pub struct Servers(Vec<Server>, Troubles);

/// What came of following the LAN's addresses.
pub(super) struct Followed {
    /// There is a new one.
    pub new: bool,
    /// None was left out because it could not be opened, which is to be tried again.
    pub whole: bool,
}

impl Servers {
    /// Opens what `places` need and closes what they do not.
    pub(super) fn follow(&mut self, daemon: &Daemon, places: &[Place]) -> Followed {
        let places = places.get(..LANS_MAX).unwrap_or(places);
        self.0.retain(|server| places.contains(&server.place));
        let (mut new, mut troubles) = (false, Vec::new());
        for place in places {
            if self.0.iter().any(|server| server.place == *place) {
                continue;
            }
            let opened = sockets::pcp(place)
                .and_then(|socket| daemon.runtime().watch(socket, Interest::Read));
            match opened {
                Ok(socket) => {
                    let socket = Rc::new(socket);
                    let task = hear(daemon.clone(), place.clone(), socket.clone());
                    let task = daemon.runtime().spawn(task);
                    self.0.push(Server { place: place.clone(), socket, _task: task });
                    new = true;
                }
                Err(e) => troubles.push(format!(
                    "no NAT-PMP and PCP on {}, port {}: {e}: does another program serve them?",
                    place.lan.address,
                    natpmp::PORT,
                )),
            }
        }
        Followed { new, whole: self.1.tell(troubles) }
    }
}

/// Hears and answers what hosts send to one address, for ever. A flood must not keep the loop to
/// itself, so everything else has its turn before each.
async fn hear(daemon: Daemon, place: Place, socket: Rc<Io<UdpSocket>>) {
    let mut bytes = [0; DATAGRAM_MAX];
    loop {
        yield_now().await;
        let (length, from) = match socket.read_with(|s| s.recv_from(&mut bytes)).await {
            Ok(heard) => heard,
            Err(e) => {
                log::debug!("{}: NAT-PMP and PCP: {e}", place.lan.address);
                daemon.runtime().sleep_until(Instant::now() + ERROR_PAUSE).await;
                continue;
            }
        };
        let heard = bytes.get(..length).unwrap_or_default();
        if let Some(answer) = daemon.answer_pcp(&place, heard, from) {
            send(&socket, &answer, from);
        }
    }
}

fn send(socket: &Io<UdpSocket>, bytes: &[u8], to: SocketAddr) {
    // A datagram that cannot be sent now is lost like any other on the way: clients ask again.
    if let Err(e) = socket.get().send_to(bytes, to) {
        log::debug!("NAT-PMP and PCP to {to}: {e}");
    }
}

/// Announces, for ever, each time that there is something to announce.
pub async fn announce(daemon: Daemon) {
    loop {
        daemon.0.announce.wait().await;
        let mut left = ANNOUNCE_TIMES;
        let mut gap = ANNOUNCE_GAP;
        while left > 0 {
            daemon.say_pcp();
            left -= 1;
            let until = Instant::now() + gap;
            gap *= 2;
            let slept = async {
                daemon.runtime().sleep_until(until).await;
                false
            };
            let again = async {
                daemon.0.announce.wait().await;
                true
            };
            if or(slept, again).await {
                left = ANNOUNCE_TIMES;
                gap = ANNOUNCE_GAP;
            }
        }
    }
}

/// Tells PCP's clients where their mappings are reached, for ever, each time that it is elsewhere.
pub async fn update(daemon: Daemon) {
    loop {
        daemon.0.renumbered.wait().await;
        for gap in UPDATE_GAPS {
            daemon.runtime().sleep_until(Instant::now() + gap).await;
            let mut last = None;
            while let Some(next) = daemon.say_updates(last) {
                last = Some(next);
                daemon.runtime().sleep_until(Instant::now() + UPDATE_PAUSE).await;
            }
        }
    }
}

impl State {
    /// Seconds since mappings were lost last, or the external address was another one.
    pub(super) fn epoch(&self) -> u32 {
        system::uptime().wrapping_sub(self.epoch_start) as u32
    }

    /// From now on clients must believe that their mappings are lost (RFC 6887 §8.5).
    pub(super) fn reset_epoch(&mut self) {
        self.epoch_start = system::uptime();
    }
}

impl Daemon {
    /// What a host is answered, if it is one of this device's: it may ask an address of another
    /// prefix, above all the router's of the link.
    fn answer_pcp(&self, place: &Place, bytes: &[u8], source: SocketAddr) -> Option<Vec<u8>> {
        let mut state = self.state();
        let state = &mut *state;
        let mut lans = state.gateway.lans().iter();
        if !lans.any(|lan| lan.device == place.lan.device && lan.hears(source.ip())) {
            return None;
        }
        let packet = Packet { bytes, source, epoch: state.epoch(), now: Instant::now() };
        let answer = pcp::answer(&mut state.gateway, &state.config.pcp(), &packet);
        self.mutated(state);
        answer
    }

    /// Notes where mappings are reached now. If that was another address before, all that clients
    /// know is wrong: the epoch begins anew, and they are told.
    pub(super) fn note_external(&self, state: &mut State) {
        let Some(address) = pcp::external(&state.gateway) else { return };
        match state.external.replace(address) {
            Some(before) if before == address => return,
            Some(_) => {
                state.reset_epoch();
                state.save(false, &system::clocks());
                self.0.renumbered.set();
            }
            None => {}
        }
        self.0.announce.set();
    }

    /// One announcement from each address.
    fn say_pcp(&self) {
        let (epoch, address) = {
            let state = self.state();
            (state.epoch(), pcp::external(&state.gateway))
        };
        for server in &self.0.pcp.borrow().0 {
            let group = match server.place.lan.address {
                IpAddr::V4(_) => IpAddr::V4(natpmp::GROUP),
                IpAddr::V6(_) => IpAddr::V6(GROUP_V6),
            };
            let to = on_device(group, natpmp::CLIENT_PORT, server.place.index);
            if group.is_ipv4() && address.is_some() {
                send(&server.socket, &natpmp::write_address(epoch, address), to);
            }
            send(&server.socket, &codec::write_announce(epoch), to);
        }
    }

    /// Some Mapping Updates, of the mappings after `last`; returns which was looked at last if there
    /// may be more.
    fn say_updates(&self, mut last: Option<Id>) -> Option<Id> {
        let state = self.state();
        let (epoch, now) = (state.epoch(), Instant::now());
        for _ in 0..UPDATES_AT_ONCE {
            let mapping = state.gateway.next_after(last)?;
            last = Some(mapping.id);
            let Some((to, bytes)) = pcp::update(&state.gateway, mapping, epoch, now) else {
                continue;
            };
            let servers = self.0.pcp.borrow();
            if let Some(server) = servers.0.iter().find(|s| s.place.lan.contains(to.ip())) {
                send(&server.socket, &bytes, to);
            }
        }
        last
    }
}
