//! Which devices the logical networks of the configuration are: netifd says.
//!
//! `network.interface status {"interface": NAME}` tells the device of a network that is up
//! (`l3_device`). What was told stands until netifd tells another: a network that goes down keeps
//! its device, whose addresses rtnetlink follows anyhow. The networks of a firewall zone are in the
//! firewall's configuration, which rpcd reads (`uci get`).

use super::connect;
use super::link::Link;
use crate::config::options::{Config, Device, NAMES_MAX};
use crate::daemon::runtime::Runtime;
use crate::daemon::settings::Options;
use crate::daemon::Daemon;
use crate::proto::blobmsg::{Fields, Kind, Value, Writer};
use std::io;

/// The logical networks of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// `external_iface`.
    external: Option<String>,
    /// `external_iface6`.
    external6: Option<String>,
    /// `external_zone`, which counts without the former.
    zone: Option<String>,
    /// `internal_iface`.
    internal: Vec<String>,
}

impl Names {
    /// Those of this one.
    pub fn of(config: &Config) -> Names {
        Names {
            external: config.external_iface.clone(),
            external6: config.external_iface6.clone(),
            zone: config.external_zone.clone(),
            internal: config.internal_iface.clone(),
        }
    }
}

/// A network that netifd knows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    name: String,
    up: bool,
    /// Its device, if it has been up.
    device: Option<Device>,
}

/// What is known of the configured networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// Those that netifd knows.
    known: Vec<Known>,
    /// Those of the zone that is configured for the outside.
    zone: Vec<String>,
    /// Those that have been asked for.
    asked: Vec<String>,
}

impl Networks {
    /// The names that may be the outside's network, the first that is up first.
    fn external<'a>(&'a self, name: &'a Option<String>) -> &'a [String] {
        match name {
            Some(name) => std::slice::from_ref(name),
            None => &self.zone,
        }
    }

    /// The devices of these networks, or of those that are `up` alone.
    fn devices(&self, names: &[String], up: bool) -> Vec<Device> {
        let mut devices = Vec::new();
        for name in names {
            let known = self.find(name).filter(|known| known.up || !up);
            let device = known.and_then(|known| known.device.as_ref());
            if let Some(device) = device.filter(|device| !devices.contains(*device)) {
                devices.push(device.clone());
            }
        }
        devices
    }

    fn find(&self, name: &str) -> Option<&Known> {
        self.known.iter().find(|known| known.name == name)
    }

    fn know(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.find(name).is_some())
    }

    /// Whether netifd knows the outside's network, up or not.
    pub fn know_external(&self, config: &Config) -> bool {
        self.know(self.external(&config.external_iface))
    }

    /// Whether netifd knows one of the inside's.
    pub fn know_internal(&self, config: &Config) -> bool {
        self.know(&config.internal_iface)
    }

    /// Puts the devices that are known into a configuration, but none in the place of what the
    /// command line says.
    pub fn place(&self, config: &mut Config, options: &Options) {
        if options.external.is_none() {
            let names = self.external(&config.external_iface);
            let up = self.devices(names, true).into_iter().chain(self.devices(names, false)).next();
            config.external_device = up.or(config.external_device.take());
            let device6 = self.devices(config.external_iface6.as_slice(), false).into_iter().next();
            config.external_device6 = device6.or(config.external_device6.take());
        }
        if options.internal.is_empty() {
            let devices = self.devices(&config.internal_iface, false);
            if !devices.is_empty() {
                config.internal_device = devices;
            }
        }
    }

    /// Asks for all of them again.
    pub(super) async fn ask(&mut self, link: &mut Link, names: &Names) -> io::Result<()> {
        if let (None, Some(zone)) = (&names.external, &names.zone) {
            let mut networks = Vec::new();
            let fill = |request: &mut Writer| {
                request.text("config", "firewall");
                request.text("type", "zone");
                request.begin(Kind::Table, "match");
                request.text("name", zone);
                request.close();
            };
            link.ask("uci", "get", &fill, &mut |answer| {
                if let Some(Value::Table(sections)) = answer.get("values") {
                    networks = networks_in(sections);
                }
            })
            .await?;
            if !networks.is_empty() {
                self.zone = networks;
            }
        }
        let external6 = names.external6.as_slice();
        let asked = [self.external(&names.external), external6, &names.internal].concat();
        self.known.retain(|known| asked.contains(&known.name));
        let before = std::mem::replace(&mut self.asked, asked.clone());
        for name in asked {
            let mut device = None;
            let fill = |request: &mut Writer| request.text("interface", &name);
            let mut take = |told: Fields<'_>| {
                device = told.text("l3_device").and_then(Device::new);
            };
            match link.ask("network.interface", "status", &fill, &mut take).await? {
                (Some(netifd), Some(0)) => {
                    link.subscribe(netifd);
                    self.tell(name, device);
                }
                (Some(_), Some(_)) => {
                    // Said once: every event asks again.
                    if !before.contains(&name) {
                        log::warn!("ubus: netifd knows no network '{name}': mend its option");
                    }
                    self.known.retain(|known| known.name != name);
                }
                // There is no netifd, or it is too busy for the other names, too.
                _ => break,
            }
        }
        Ok(())
    }

    fn tell(&mut self, name: String, device: Option<Device>) {
        let up = device.is_some();
        match self.known.iter_mut().find(|known| known.name == name) {
            Some(known) => {
                known.up = up;
                known.device = device.or(known.device.take());
            }
            None => self.known.push(Known { name, up, device }),
        }
    }
}

/// What netifd says at a start that depends on it. Nothing is served yet, so nothing waits.
pub fn at_start(runtime: &Runtime, config: &Config) -> Networks {
    let mut networks = Networks::default();
    let Some(socket) = &config.ubus_socket else { return networks };
    let asked = async {
        let mut link = Link::join(runtime, connect(socket)?, None).await?;
        networks.ask(&mut link, &Names::of(config)).await
    };
    if let Err(e) = runtime.block_on(asked).and_then(|asked| asked) {
        log::debug!("ubus: {socket}: {e}");
    }
    networks
}

impl Daemon {
    /// Serves the devices that the networks are by now; where a configuration has waited for them,
    /// reads that one instead.
    pub(super) fn follow_networks(&self, networks: Networks, reload: bool) {
        self.state().networks = networks;
        if reload {
            return self.reload(false);
        }
        let mut state = self.state();
        let state = &mut *state;
        let external = state.config.external_device.clone();
        let internal = state.config.internal_device.clone();
        state.networks.place(&mut state.config, &state.options);
        if external != state.config.external_device || internal != state.config.internal_device {
            log::info!("ubus: the networks are on other devices");
            self.0.network.set();
        }
    }
}

/// The networks that these sections of a firewall's configuration list, as a list or in one text.
fn networks_in(sections: Fields<'_>) -> Vec<String> {
    let mut networks: Vec<String> = Vec::new();
    let mut add = |text: &str| {
        for name in text.split_ascii_whitespace() {
            if networks.len() < NAMES_MAX {
                networks.push(name.to_owned());
            }
        }
    };
    for (_, section) in sections {
        let Value::Table(section) = section else { continue };
        match section.get("network") {
            Some(Value::Text(text)) => add(text),
            Some(Value::Array(list)) => list.for_each(|(_, name)| {
                if let Value::Text(name) = name {
                    add(name);
                }
            }),
            _ => {}
        }
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use std::path::PathBuf;

    fn options(external: Option<&str>, internal: &[&str]) -> Options {
        Options {
            config: PathBuf::new(),
            external: external.map(str::to_owned),
            internal: internal.iter().map(|name| (*name).to_owned()).collect(),
            state: PathBuf::new(),
            verbose: false,
        }
    }

    /// The devices after `networks` has had its say.
    fn placed(networks: &Networks, options: &Options, text: &str) -> (Option<String>, Vec<String>) {
        let (mut config, _) = config::load(format!("config upnpd config\n{text}").as_bytes());
        networks.place(&mut config, options);
        let name = |device: &Device| device.to_string();
        (
            config.external_device.as_ref().map(name),
            config.internal_device.iter().map(name).collect(),
        )
    }

    fn told(networks: &[(&str, &str)], zone: &[&str]) -> Networks {
        let mut told = Networks::default();
        for (name, device) in networks {
            told.tell((*name).into(), Device::new(device));
        }
        told.zone = zone.iter().map(|name| (*name).to_owned()).collect();
        told
    }

    const WRITTEN: &str = "o external_iface wan\no external_device eth0\n\
                           l internal_iface lan\nl internal_iface guest\nl internal_device br0";

    fn devices(external: &str, internal: &[&str]) -> (Option<String>, Vec<String>) {
        let internal = internal.iter().map(|name| (*name).to_owned()).collect();
        (Some(external.to_owned()).filter(|name| !name.is_empty()), internal)
    }

    #[test]
    fn what_netifd_tells_takes_the_place_of_the_devices_written_but_not_of_the_command_line() {
        let networks = told(&[("wan", "pppoe-wan"), ("lan", "br-lan"), ("guest", "br-guest")], &[]);
        let both = devices("pppoe-wan", &["br-lan", "br-guest"]);
        assert_eq!(placed(&networks, &options(None, &[]), WRITTEN), both);
        assert_eq!(
            placed(&networks, &options(Some("x"), &["y"]), WRITTEN),
            devices("eth0", &["br0"])
        );
    }

    #[test]
    fn a_network_that_is_down_or_unknown_leaves_what_was_there() {
        let mut networks = told(&[("wan", ""), ("lan", "br-lan"), ("other", "eth9")], &[]);
        assert_eq!(placed(&networks, &options(None, &[]), WRITTEN), devices("eth0", &["br-lan"]));
        networks.tell("lan".into(), None);
        networks.tell("wan".into(), Device::new("wwan0"));
        assert_eq!(placed(&networks, &options(None, &[]), WRITTEN), devices("wwan0", &["br-lan"]));
        let nothing = Networks::default();
        assert_eq!(placed(&nothing, &options(None, &[]), WRITTEN), devices("eth0", &["br0"]));
        let config = config::load(b"config upnpd config\no external_iface wan").0;
        assert!(networks.know_external(&config) && !nothing.know_external(&config));
    }

    #[test]
    fn of_a_zone_the_first_network_that_is_up_is_the_outside() {
        let mut networks =
            told(&[("wan", ""), ("wan6", "eth1"), ("wwan", "wwan0")], &["wan", "wan6"]);
        let zone = "o external_zone wan\nl internal_device br-lan";
        assert_eq!(placed(&networks, &options(None, &[]), zone), devices("eth1", &["br-lan"]));
        networks.tell("wan".into(), Device::new("eth0"));
        assert_eq!(placed(&networks, &options(None, &[]), zone), devices("eth0", &["br-lan"]));
        networks.tell("wan".into(), None);
        assert_eq!(placed(&networks, &options(None, &[]), zone), devices("eth1", &["br-lan"]));
        networks.tell("wan6".into(), None);
        assert_eq!(placed(&networks, &options(None, &[]), zone), devices("eth0", &["br-lan"]));
        let network = "o external_zone wan\no external_iface wwan";
        assert_eq!(placed(&networks, &options(None, &[]), network), devices("wwan0", &[]));
    }

    #[test]
    fn the_networks_of_a_zone_are_a_list_or_a_text() {
        let mut out = Writer::new();
        out.begin(Kind::Table, "cfg01");
        out.text("name", "wan");
        out.begin(Kind::Array, "network");
        out.text("", "wan");
        out.text("", "wan6");
        out.close();
        out.close();
        out.begin(Kind::Table, "cfg02");
        out.text("network", "voip  tv");
        out.close();
        out.begin(Kind::Table, "cfg03");
        out.close();
        let written = out.finish();
        assert_eq!(networks_in(Fields::new(&written)), ["wan", "wan6", "voip", "tv"]);
    }
}
