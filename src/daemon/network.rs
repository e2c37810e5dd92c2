//! The network as it is now, and what follows from a change: the kernel's WAN elements, the LAN's
//! sockets, the LAN's knowledge of our address.

use super::lan::Place;
use super::runtime::{self, yield_now, Io};
use super::{system, Daemon, State};
use crate::config::options::Config;
use crate::gateway::{ExternalState, Lan, Wan};
use crate::netlink::route::kind;
use crate::netlink::watch::Watch;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

/// From the first sign of a change to looking at the whole: an address is replaced in several
/// messages, and only the end of them is true.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// From an address that could not be served to another try, doubled with each up to the longest:
/// what was there before may still be closing.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// See [`RETRY_FIRST`].
const RETRY_MAX: Duration = Duration::from_secs(64);
/// Told when neither the configuration nor the device knows a speed: what a client reads as
/// "connected" (conformance 102).
const RATE_UNKNOWN: u32 = 100_000_000;

/// What was last seen of the network.
#[derive(Default)]
pub struct NetworkView {
    /// The WAN device is up and connected.
    pub wan_up: bool,
    /// Since when it has the addresses that it has.
    pub wan_since: Option<Instant>,
    /// Its speed in Mbit/s.
    speed: Option<u32>,
}

impl NetworkView {
    /// Up- and downstream in bit/s.
    pub fn rates(&self, config: &Config) -> (u32, u32) {
        if let (Some(upload), Some(download)) = (config.upload, config.download) {
            let bits = |kbytes: u32| kbytes.saturating_mul(8 * 1024);
            return (bits(upload), bits(download));
        }
        let bps = self.speed.map_or(RATE_UNKNOWN, |mbit| mbit.saturating_mul(1_000_000));
        (bps, bps)
    }
}

/// Reads rtnetlink for ever.
pub async fn watch(daemon: Daemon, mut watch: Io<Watch>) {
    loop {
        let read = watch.get_mut().read(&mut daemon.state().net);
        match read {
            Ok(true) => daemon.0.network.set(),
            Ok(false) => {}
            Err(e) => {
                log::error!("rtnetlink: {e}");
                daemon.0.network.set();
                daemon.runtime().sleep_until(Instant::now() + Duration::from_secs(1)).await;
                continue;
            }
        }
        // A change comes once: the kernel's queue must be empty before waiting for the next.
        if watch.get().is_drained() {
            watch.readable().await;
        } else {
            yield_now().await;
        }
    }
}

/// Acts on changes, a moment after the first, and tries again what could not be served.
pub async fn follow(daemon: Daemon) {
    let mut pause = RETRY_FIRST;
    loop {
        let changed = async {
            daemon.0.network.wait().await;
            RETRY_FIRST
        };
        let again = async {
            daemon.0.unserved.wait().await;
            daemon.runtime().sleep_until(Instant::now() + pause).await;
            (pause * 2).min(RETRY_MAX)
        };
        pause = runtime::or(changed, again).await;
        daemon.runtime().sleep_until(Instant::now() + DEBOUNCE).await;
        daemon.take_network();
    }
}

impl State {
    /// Tells the gateway which addresses the WAN and the LANs have now.
    pub(super) fn update_gateway(&mut self) {
        let configured = self.config.external_device.as_ref().map(|device| device.as_str());
        // Where a network is configured that has no device yet, any other device is a wrong one.
        let device = match self.config.unresolved_external() {
            Some(_) => None,
            None => self.net.wan_device(configured),
        };
        let up = device.as_deref().filter(|device| self.net.is_up(device));
        let addresses = up.map(|device| self.net.addresses_v4(device)).unwrap_or_default();
        let addresses: Vec<_> = addresses.into_iter().map(|(address, _)| address).collect();
        self.view.speed = up.and_then(system::speed);
        self.view.wan_up = up.is_some();
        self.view.wan_since = match self.view.wan_since {
            _ if addresses.is_empty() => None,
            Some(since) if *self.gateway.wan().addresses == *addresses => Some(since),
            _ => Some(Instant::now()),
        };
        let device6 = self.device6().filter(|other| device.as_ref() != Some(other));
        if let Err(e) = self.gateway.set_wan(Wan { device, device6, addresses }) {
            log::error!("nf_tables: the WAN rules could not follow: {e}");
        }
        let lans = self.places().into_iter().map(|place| place.lan).collect();
        self.gateway.set_lans(lans, Instant::now());
    }

    /// Where IPv6 comes in, as far as that is known: where it is configured, else where it goes out.
    fn device6(&self) -> Option<String> {
        let config = &self.config;
        if let Some(device) = &config.external_device6 {
            return Some(device.to_string());
        }
        // The network that is configured has no device yet, or the command line has the last word.
        if config.external_iface6.is_some() || self.options.external.is_some() {
            return None;
        }
        self.net.wan_device6(|name| config.internal_device.iter().all(|lan| lan.as_str() != name))
    }

    /// The WAN's IPv6 address, if it has one that the Internet reaches.
    pub(super) fn external_address6(&self) -> Option<Ipv6Addr> {
        let wan = self.gateway.wan();
        let device = wan.device6.as_deref().or(wan.device.as_deref())?;
        let first = self.net.addresses_v6(device).into_iter().next();
        first.map(|(address, _)| address).filter(|address| kind(*address) == 0)
    }

    /// Every LAN address there is now, those of IPv4 first, so that none of IPv6 takes their room.
    /// A device that is the WAN's, too, is not served, whatever the configuration says.
    pub(super) fn places(&self) -> Vec<Place> {
        let (mut places, mut later) = (Vec::new(), Vec::new());
        let wan = self.gateway.wan();
        let is_wan = |device: &str| {
            [&wan.device, &wan.device6].iter().any(|wan| wan.as_deref() == Some(device))
        };
        let devices = self.config.internal_device.iter().map(|device| device.as_str());
        for device in devices.filter(|device| !is_wan(device)) {
            let Some(index) = self.net.index(device).filter(|_| self.net.is_up(device)) else {
                continue;
            };
            for (address, prefix_len) in self.net.addresses_v4(device) {
                let lan = Lan { device: device.to_owned(), address: address.into(), prefix_len };
                places.push(Place { lan, index });
            }
            let ipv6 = match self.config.ipv6_disable {
                true => Vec::new(),
                false => self.net.addresses_v6(device),
            };
            for (address, prefix_len) in ipv6 {
                let lan = Lan { device: device.to_owned(), address: address.into(), prefix_len };
                later.push(Place { lan, index });
            }
        }
        places.extend(later);
        places
    }
}

impl Daemon {
    /// Makes the gateway, the kernel and the LAN's sockets follow the network as it is now.
    pub(super) fn take_network(&self) {
        let mut state = self.state();
        state.update_gateway();
        self.mutated(&mut state);
        if state.gateway.needs_resync() {
            self.0.deadline.set();
        }
        drop(state);
        self.update_lans();
        self.0.changed.set();
    }

    /// Opens and closes LAN sockets as the LAN addresses are now.
    pub(super) fn update_lans(&self) {
        let (places, upnp, pcp, port) = {
            let state = self.state();
            let Config { enable_upnp, enable_natpmp, port, .. } = state.config;
            (state.places(), enable_upnp, enable_natpmp, port)
        };
        let of = |enabled: bool| if enabled { &places[..] } else { &[] };
        let upnp = self.0.lans.borrow_mut().follow(self, of(upnp), port);
        let pcp = self.0.pcp.borrow_mut().follow(self, of(pcp));
        if pcp.new {
            self.0.announce.set();
        }
        if !(upnp && pcp.whole) {
            self.0.unserved.set();
        }
    }

    /// Says once at start what is served.
    pub(super) fn say_state(&self) {
        let state = self.state();
        if !state.places().iter().any(|place| place.lan.address.is_ipv4()) {
            for device in &state.config.internal_device {
                log::warn!("{}: no IPv4 address yet: not served until it has one", device.as_str());
            }
        }
        if system::filters_bridges() {
            log::warn!(
                "packets within a bridge pass the firewall, so a LAN host does not reach its own \
                 mapped port by the external address: set net.bridge.bridge-nf-call-iptables to 0"
            );
        }
        if state.gateway.external() == ExternalState::None {
            say(ExternalState::None);
        }
    }
}

/// One log line about the external address.
pub(super) fn say(state: ExternalState) {
    match state {
        ExternalState::Active(address) => log::info!("external address {address}"),
        ExternalState::Private(address) => log::warn!(
            "external address {address} is private: no mapping is made; set option external_ip, \
             or option ext_allow_private_ipv4 '1'"
        ),
        ExternalState::None => log::warn!("no external address: new mappings wait for one"),
    }
}
