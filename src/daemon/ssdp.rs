//! SSDP on the wire: searches heard and answered, the device announced and taken back.

use super::lan::{Address, Place};
use super::runtime::{yield_now, Io};
use super::sockets::on_device;
use super::{system, Daemon, State};
use crate::igd::{tree, Identity};
use crate::netlink::route::kind;
use crate::proto::http;
use crate::proto::ssdp::{self, Advert, Common, Target};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Searches whose answer waits for its moment, at once; more are answered without waiting.
pub const ANSWERS_WAITING_MAX: usize = 64;
/// How often the whole set is announced at start (UDA 1.1 §1.2.2: two or three times).
const ALIVE_TIMES: u32 = 3;
/// Between those, and at most before the first.
const ALIVE_GAP: Duration = Duration::from_millis(100);
/// Longest datagram read; a longer one is no search of ours.
const DATAGRAM_MAX: usize = 2048;
/// BOOTID is below 2^31 (UDA 1.1 §1.2.2).
pub(super) const BOOT_ID_MAX: u32 = 0x7fff_ffff;
/// Pause after a receive error that is not our doing, so that it cannot spin the loop.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Where SSDP speaks from: one LAN address.
#[derive(Clone)]
pub struct Voice {
    /// Where it is.
    pub place: Place,
    /// HTTP port of LOCATION.
    pub port: u16,
    /// Bound to port 1900 of that address.
    pub socket: Rc<Io<UdpSocket>>,
}

impl Voice {
    fn base(&self) -> String {
        // Without the index of the device: that is nobody else's number.
        format!("http://{}", SocketAddr::new(self.place.lan.address, self.port))
    }

    fn send(&self, bytes: &[u8], to: SocketAddr) {
        // A datagram that cannot be sent now is lost like any other on the way.
        if let Err(e) = self.socket.get().send_to(bytes, to) {
            log::debug!("{}: SSDP to {to}: {e}", self.place.lan.address);
        }
    }
}

/// Reads one datagram; errors are logged and survived. A flood must not keep the loop to itself,
/// so everything else has its turn before each.
async fn hear(daemon: &Daemon, socket: &Io<UdpSocket>, bytes: &mut [u8]) -> (usize, SocketAddr) {
    loop {
        yield_now().await;
        match socket.read_with(|socket| socket.recv_from(bytes)).await {
            Ok(heard) => return heard,
            Err(e) => {
                log::debug!("SSDP: {e}");
                daemon.runtime().sleep_until(Instant::now() + ERROR_PAUSE).await;
            }
        }
    }
}

/// Hears searches sent to a group on one device, for ever. Who asks decides which of the device's
/// addresses answers.
pub async fn hear_group(daemon: Daemon, device: String, socket: Io<UdpSocket>) {
    let mut bytes = [0; DATAGRAM_MAX];
    loop {
        let (length, from) = hear(&daemon, &socket, &mut bytes).await;
        let voice = daemon.lans().to(&device, from.ip()).map(Voice::of);
        if let Some(voice) = voice {
            search(&daemon, voice, bytes.get(..length).unwrap_or_default(), from, true);
        }
    }
}

/// Hears searches sent to one address of the router, for ever.
pub async fn hear_unicast(daemon: Daemon, voice: Voice) {
    let mut bytes = [0; DATAGRAM_MAX];
    loop {
        let (length, from) = hear(&daemon, &voice.socket, &mut bytes).await;
        if voice.place.lan.hears(from.ip()) {
            search(&daemon, voice.clone(), bytes.get(..length).unwrap_or_default(), from, false);
        }
    }
}

impl Voice {
    /// That of one LAN address.
    pub fn of(address: &Address) -> Voice {
        Voice { place: address.place.clone(), port: address.port, socket: address.ssdp.clone() }
    }
}

/// Answers one search, at its moment, as far as the budget goes.
fn search(daemon: &Daemon, voice: Voice, bytes: &[u8], from: SocketAddr, multicast: bool) {
    let Some(search) = ssdp::parse_search(bytes, multicast) else { return };
    let now = Instant::now();
    let (answers, delay) = {
        let mut state = daemon.state();
        // What a flood is not answered is not made, either.
        if state.budget.left(from.ip(), now) == 0 {
            return;
        }
        let mut answers = tree::answers(&search.target, &state.identity, &voice.base());
        if answers.is_empty() {
            return;
        }
        let granted = state.budget.take(from.ip(), answers.len() as u32, now);
        answers.truncate(granted as usize);
        (answers, ssdp::delay(search.mx, state.random.u32(..)))
    };
    log::debug!("{from} searches: {} answers", answers.len());
    let waiting = if delay.is_zero() { None } else { daemon.wait_for_answer() };
    let Some(waiting) = waiting else { return respond(daemon, &voice, &answers, from) };
    // The answers themselves are many times as long.
    let (target, granted) = (search.target.text().to_owned(), answers.len());
    let task_daemon = daemon.clone();
    let answer = async move {
        let daemon = task_daemon;
        daemon.runtime().sleep_until(now + delay).await;
        let Some(target) = Target::of(&target) else { return };
        let mut answers = tree::answers(&target, &daemon.state().identity, &voice.base());
        answers.truncate(granted);
        respond(&daemon, &voice, &answers, from);
        drop(waiting);
    };
    daemon.runtime().spawn(answer).detach();
}

fn respond(daemon: &Daemon, voice: &Voice, answers: &[Advert], to: SocketAddr) {
    let date = http::date(system::unix_time());
    let mut out = Vec::new();
    for advert in answers {
        out.clear();
        // No answer has a HOST.
        daemon
            .with_common("", Some(&date), |common| ssdp::write_response(&mut out, advert, common));
        voice.send(&out, to);
    }
}

/// What an announcement begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// That what was here before is gone (WANIPConnection:2 §2.3.23).
    Byebye,
    /// That it is here.
    Alive,
}

/// Announces one LAN address: three times at first, and again for ever at random intervals below
/// half of max-age (UDA 1.1 §1.2.2).
pub async fn announce(daemon: Daemon, voice: Voice, opening: Opening) {
    let runtime = daemon.runtime().clone();
    if opening == Opening::Byebye {
        say(&daemon, &voice, &daemon.identity(), ssdp::write_byebye);
    }
    for _ in 0..ALIVE_TIMES {
        let jitter = daemon.state().random.u32(0..ALIVE_GAP.as_millis() as u32);
        let pause = ALIVE_GAP / 2 + Duration::from_millis(u64::from(jitter));
        runtime.sleep_until(Instant::now() + pause).await;
        say(&daemon, &voice, &daemon.identity(), ssdp::write_alive);
    }
    loop {
        let pause = {
            let mut state = daemon.state();
            ssdp::next_alive(max_age(&state), state.random.u32(..))
        };
        runtime.sleep_until(Instant::now() + pause).await;
        say(&daemon, &voice, &daemon.identity(), ssdp::write_alive);
    }
}

/// Takes back everything announced on one address under this identity.
pub fn say_byebye(daemon: &Daemon, identity: &Identity, address: &Address) {
    say(daemon, &Voice::of(address), identity, ssdp::write_byebye);
}

/// Tells on one address that everything stays but BOOTID.
pub fn say_update(daemon: &Daemon, address: &Address, next_boot_id: u32) {
    say(daemon, &Voice::of(address), &daemon.identity(), |out, advert, common| {
        ssdp::write_update(out, advert, common, next_boot_id);
    });
}

/// BOOTID of the announcements after the next change.
pub fn next_boot_id(daemon: &Daemon) -> u32 {
    boot_id_after(daemon.state().boot_id)
}

/// The BOOTID that follows another.
pub(super) fn boot_id_after(boot_id: u32) -> u32 {
    boot_id.wrapping_add(1) & BOOT_ID_MAX
}

/// Makes this BOOTID that of everything said from now on.
pub fn set_boot_id(daemon: &Daemon, boot_id: u32) {
    daemon.state().boot_id = boot_id;
}

/// Sends the whole set of an identity once, to each group.
fn say(
    daemon: &Daemon,
    voice: &Voice,
    identity: &Identity,
    write: impl Fn(&mut Vec<u8>, &Advert, &Common<'_>),
) {
    let adverts = tree::adverts(identity.undecided, identity, &voice.base());
    let mut out = Vec::new();
    for (group, host) in groups(voice.place.lan.address) {
        let to = on_device(group, ssdp::PORT, voice.place.index);
        for advert in &adverts {
            out.clear();
            daemon.with_common(host, None, |common| write(&mut out, advert, common));
            voice.send(&out, to);
        }
    }
}

/// The groups that something at this address is announced to, and how each is written (UDA 1.1
/// annex A): an address of the link says nothing to others.
fn groups(address: IpAddr) -> impl Iterator<Item = (IpAddr, &'static str)> {
    let site = match address {
        IpAddr::V6(address) => kind(address) < 2,
        IpAddr::V4(_) => false,
    };
    let first = match address {
        IpAddr::V4(_) => (ssdp::GROUP_V4.into(), ssdp::HOST_V4),
        IpAddr::V6(_) => (ssdp::GROUP_V6_LINK.into(), ssdp::HOST_V6_LINK),
    };
    let second = site.then_some((ssdp::GROUP_V6_SITE.into(), ssdp::HOST_V6_SITE));
    [first].into_iter().chain(second)
}

/// What is said holds for twice as long as it is at most not said again.
fn max_age(state: &State) -> u32 {
    state.config.notify_interval.saturating_mul(2)
}

impl Daemon {
    /// What the router says it is.
    pub(super) fn identity(&self) -> Identity {
        self.state().identity.clone()
    }

    /// The headers all SSDP messages share.
    fn with_common(&self, host: &'static str, date: Option<&str>, write: impl FnOnce(&Common<'_>)) {
        let state = self.state();
        write(&Common {
            server: super::SERVER,
            max_age: max_age(&state),
            boot_id: state.boot_id,
            config_id: state.config_id,
            date,
            host,
        });
    }
}
