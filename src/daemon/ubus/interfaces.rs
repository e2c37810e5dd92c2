//! Which devices the logical networks of the configuration are: netifd says.
//!
//! `network.interface status {"interface": NAME}` tells the device of a network that is up
//! (`l3_device`). What was told stands until netifd tells another: a network that goes down keeps
//! its device, whose addresses rtnetlink follows anyhow. A firewall zone is left to OpenWrt's init
//! script, which knows the firewall's configuration and follows it.

use super::connect;
use super::link::Link;
use crate::config::options::{Config, Device};
use crate::daemon::runtime::Runtime;
use crate::daemon::settings::Options;
use crate::daemon::Daemon;
use crate::proto::blobmsg::{Fields, Writer};
use std::io;

/// The logical networks of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// `external_iface`.
    external: Option<String>,
    /// `external_iface6`.
    external6: Option<String>,
    /// `internal_iface`.
    internal: Vec<String>,
}

impl Names {
    /// Those of this one.
    pub fn of(config: &Config) -> Names {
        Names {
            external: config.external_iface.clone(),
            external6: config.external_iface6.clone(),
            internal: config.internal_iface.clone(),
        }
    }
}

/// A network that netifd knows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    name: String,
    /// Its device, if it has been up.
    device: Option<Device>,
}

/// What is known of the configured networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// Those that netifd knows.
    known: Vec<Known>,
    /// Those that have been asked for.
    asked: Vec<String>,
    /// netifd was too busy to tell of the rest of them.
    partial: bool,
}

impl Networks {
    /// The devices of these networks.
    fn devices(&self, names: &[String]) -> Vec<Device> {
        let mut devices = Vec::new();
        for name in names {
            let device = self.find(name).and_then(|known| known.device.as_ref());
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
        self.know(config.external_iface.as_slice())
    }

    /// Whether netifd knows one of the inside's.
    pub fn know_internal(&self, config: &Config) -> bool {
        self.know(&config.internal_iface)
    }

    /// Puts the devices that are known into a configuration, but none in the place of what the
    /// command line says.
    pub fn place(&self, config: &mut Config, options: &Options) {
        if options.external.is_none() {
            let first = |name: &Option<String>| self.devices(name.as_slice()).into_iter().next();
            config.external_device =
                first(&config.external_iface).or(config.external_device.take());
            config.external_device6 =
                first(&config.external_iface6).or(config.external_device6.take());
        }
        if options.internal.is_empty() {
            let devices = self.devices(&config.internal_iface);
            // Some may be better than none, but not than all that the configuration names.
            if !devices.is_empty() && (!self.partial || config.internal_device.is_empty()) {
                config.internal_device = devices;
            }
        }
    }

    /// Whether there is something to be asked again after a while.
    pub(super) fn is_partial(&self) -> bool {
        self.partial
    }

    /// Asks for all of them again.
    pub(super) async fn ask(&mut self, link: &mut Link, names: &Names) -> io::Result<()> {
        let (external, external6) = (names.external.as_slice(), names.external6.as_slice());
        let asked = [external, external6, &names.internal].concat();
        self.known.retain(|known| asked.contains(&known.name));
        let before = std::mem::replace(&mut self.asked, asked.clone());
        self.partial = false;
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
                // Too busy for the other names, too.
                (Some(_), None) => {
                    self.partial = true;
                    break;
                }
                // There is no netifd.
                (None, _) => break,
            }
        }
        Ok(())
    }

    fn tell(&mut self, name: String, device: Option<Device>) {
        match self.known.iter_mut().find(|known| known.name == name) {
            Some(known) => known.device = device.or(known.device.take()),
            None => self.known.push(Known { name, device }),
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
        let devices = |config: &Config| {
            let Config { external_device, external_device6, internal_device, .. } = config;
            (external_device.clone(), external_device6.clone(), internal_device.clone())
        };
        let before = devices(&state.config);
        state.networks.place(&mut state.config, &state.options);
        if before != devices(&state.config) {
            log::info!("ubus: the networks are on other devices");
            self.0.network.set();
        }
    }
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

    fn told(networks: &[(&str, &str)]) -> Networks {
        let mut told = Networks::default();
        for (name, device) in networks {
            told.tell((*name).into(), Device::new(device));
        }
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
        let networks = told(&[("wan", "pppoe-wan"), ("lan", "br-lan"), ("guest", "br-guest")]);
        let both = devices("pppoe-wan", &["br-lan", "br-guest"]);
        assert_eq!(placed(&networks, &options(None, &[]), WRITTEN), both);
        assert_eq!(
            placed(&networks, &options(Some("x"), &["y"]), WRITTEN),
            devices("eth0", &["br0"])
        );
    }

    #[test]
    fn a_network_that_is_down_or_unknown_leaves_what_was_there() {
        let mut networks = told(&[("wan", ""), ("lan", "br-lan"), ("other", "eth9")]);
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
    fn where_netifd_has_told_of_some_only_all_that_are_written_stay() {
        let mut networks = told(&[("lan", "br-lan")]);
        assert_eq!(placed(&networks, &options(None, &[]), WRITTEN), devices("eth0", &["br-lan"]));
        networks.partial = true;
        assert_eq!(placed(&networks, &options(None, &[]), WRITTEN), devices("eth0", &["br0"]));
        let none = "o external_device eth0\nl internal_iface lan\nl internal_iface guest";
        assert_eq!(placed(&networks, &options(None, &[]), none), devices("eth0", &["br-lan"]));
    }
}
