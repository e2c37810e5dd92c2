//! [`Config`]: what has been read, every field valid by itself, and every default.
//!
//! It follows OpenWrt's `upnpd` schema; the module `schema` has the names and how they are
//! read.

pub use super::{Device, Uuid};
use crate::gateway::mapping::Protocol;
use crate::gateway::policy::{
    Limits, PermRule, Policy, MAPPINGS_DEFAULT, MAPPINGS_PER_HOST_DEFAULT, NEW_PER_MINUTE_DEFAULT,
};
use crate::pcp::{self, MAX_LIFETIME_DEFAULT, MIN_LIFETIME_DEFAULT};
use std::net::{IpAddr, Ipv4Addr};

/// Where OpenWrt's ubusd is.
pub const UBUS_SOCKET: &str = "/var/run/ubus/ubus.sock";
/// Where it was until OpenWrt 21.02.
pub const UBUS_SOCKET_OLD: &str = "/var/run/ubus.sock";
/// The network served where neither networks nor devices are written.
pub const INTERNAL_IFACE: &str = "lan";
/// Most internal devices, internal networks or host names.
pub const NAMES_MAX: usize = 16;
/// Shortest `notify_interval` in seconds.
pub const NOTIFY_INTERVAL_MIN: u32 = 60;
/// Longest `notify_interval` in seconds.
pub const NOTIFY_INTERVAL_MAX: u32 = 43_200;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogOutput {
    /// What the owner should know of.
    Default,
    /// Also what is done for clients.
    Info,
    /// Everything.
    Debug,
}

/// A configuration that has been read: every field is valid by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `enabled`: run at all.
    pub enabled: bool,
    /// `enable_upnp`: serve UPnP IGD.
    pub enable_upnp: bool,
    /// `enable_natpmp`: serve NAT-PMP and PCP.
    pub enable_natpmp: bool,
    /// `secure_mode`: a host may map to itself only.
    pub secure_mode: bool,
    /// `log_output`.
    pub log_output: LogOutput,
    /// `external_iface`: logical network of the IPv4 WAN, resolved by netifd or outside of Postern.
    pub external_iface: Option<String>,
    /// `external_iface6`: logical network of the IPv6 WAN, resolved outside of Postern.
    pub external_iface6: Option<String>,
    /// `external_zone`: firewall zone of the WAN, resolved outside of Postern; counts without
    /// `external_iface`.
    pub external_zone: Option<String>,
    /// `external_device`: the WAN's device. `None` without logical names: the default route's.
    pub external_device: Option<Device>,
    /// `external_device6`: the WAN's device of IPv6, if that is another one.
    pub external_device6: Option<Device>,
    /// `internal_iface`: logical networks served, at most [`NAMES_MAX`]. None when not written: then
    /// [`INTERNAL_IFACE`], unless there are devices.
    pub internal_iface: Vec<String>,
    /// `internal_device`: devices served, at most [`NAMES_MAX`], none twice.
    pub internal_device: Vec<Device>,
    /// `external_ip`: the address to report instead of the WAN's.
    pub external_ip: Option<Ipv4Addr>,
    /// `port`: TCP port of the HTTP server, 1..=65535.
    pub port: u16,
    /// `download`: rate to report in kByte/s (8192 bit/s), not 0.
    pub download: Option<u32>,
    /// `upload`: likewise.
    pub upload: Option<u32>,
    /// `upnp_lease_file`: absolute path of the IPv4 leases.
    pub upnp_lease_file: Option<String>,
    /// `upnp_lease_file6`: absolute path of the IPv6 leases.
    pub upnp_lease_file6: Option<String>,
    /// `igdv1`: which face the undecided see; `None` when not written.
    pub igdv1: Option<bool>,
    /// `use_stun`: asked for, but not offered.
    pub use_stun: bool,
    /// `stun_host`.
    pub stun_host: Option<String>,
    /// `stun_port`, 1..=65535.
    pub stun_port: u16,
    /// `ext_allow_private_ipv4`: serve although the WAN's address is private.
    pub ext_allow_private_ipv4: bool,
    /// `ipv6_disable`.
    pub ipv6_disable: bool,
    /// `system_uptime`: report the system's uptime instead of the daemon's.
    pub system_uptime: bool,
    /// `presentation_url`.
    pub presentation_url: Option<String>,
    /// `serial_number`.
    pub serial_number: Option<String>,
    /// `model_number`.
    pub model_number: Option<String>,
    /// `friendly_name`.
    pub friendly_name: Option<String>,
    /// `notify_interval` in seconds, [`NOTIFY_INTERVAL_MIN`]..=[`NOTIFY_INTERVAL_MAX`].
    pub notify_interval: u32,
    /// `uuid`; `None` when not written or `nocli`.
    pub uuid: Option<Uuid>,
    /// `ct_mark`: signal to the main firewall by these bits of the connection mark, at least one,
    /// even where the kernel has labels.
    pub ct_mark: Option<u32>,
    /// `max_mappings`: mappings in all, 1..=65535.
    pub max_mappings: u16,
    /// `max_mappings_per_host`, 1..=65535. [`Config::policy`] holds it to `max_mappings`.
    pub max_mappings_per_host: u16,
    /// `max_new_mappings`: mappings and pinholes that a host makes anew in a minute; 0 is any number.
    pub max_new_mappings: u16,
    /// `min_lifetime`: shortest lease that PCP grants, in seconds.
    pub min_lifetime: u32,
    /// `max_lifetime`: longest lease that NAT-PMP and PCP grant, in seconds, not 0.
    pub max_lifetime: u32,
    /// `pcp_third_party`: hosts that may map for others by PCP, at most [`NAMES_MAX`].
    pub pcp_third_party: Vec<IpAddr>,
    /// `revoke_flows`: end connections through what is closed.
    pub revoke_flows: bool,
    /// `ubus_socket`: absolute path of ubusd's socket; `None` when written `none`: no ubus.
    pub ubus_socket: Option<String>,
    /// `user`: by name or number, who the daemon becomes once it has started as root.
    pub user: Option<String>,
    /// `seccomp`: let the kernel end the daemon at a system call that it has no use for.
    pub seccomp: bool,
    /// `http_names`: names accepted in HTTP's Host header besides addresses, at most
    /// [`NAMES_MAX`], in lower case.
    pub http_names: Vec<String>,
    /// `perm_rule` sections in their order; the first that matches decides.
    pub perm_rules: Vec<PermRule>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            enabled: true,
            enable_upnp: true,
            enable_natpmp: true,
            secure_mode: true,
            log_output: LogOutput::Default,
            external_iface: None,
            external_iface6: None,
            external_zone: None,
            external_device: None,
            external_device6: None,
            internal_iface: Vec::new(),
            internal_device: Vec::new(),
            external_ip: None,
            port: 5000,
            download: None,
            upload: None,
            upnp_lease_file: None,
            upnp_lease_file6: None,
            igdv1: None,
            use_stun: false,
            stun_host: None,
            stun_port: 3478,
            ext_allow_private_ipv4: false,
            ipv6_disable: false,
            system_uptime: true,
            presentation_url: None,
            serial_number: None,
            model_number: None,
            friendly_name: None,
            notify_interval: 900,
            uuid: None,
            ct_mark: None,
            max_mappings: MAPPINGS_DEFAULT,
            max_mappings_per_host: MAPPINGS_PER_HOST_DEFAULT,
            max_new_mappings: NEW_PER_MINUTE_DEFAULT,
            min_lifetime: MIN_LIFETIME_DEFAULT,
            max_lifetime: MAX_LIFETIME_DEFAULT,
            pcp_third_party: Vec::new(),
            revoke_flows: true,
            ubus_socket: Some(UBUS_SOCKET.into()),
            user: None,
            seccomp: true,
            http_names: Vec::new(),
            perm_rules: Vec::new(),
        }
    }
}

/// Ports that the router itself answers on, whatever is configured: ssh, SSDP, and NAT-PMP and PCP
/// with their announcements (conformance items 129 and 208; RFC 6887 §11.3).
const OWN_PORTS: [(Protocol, u16); 4] =
    [(Protocol::Tcp, 22), (Protocol::Udp, 1900), (Protocol::Udp, 5350), (Protocol::Udp, 5351)];

impl Config {
    /// The part of NAT-PMP and PCP.
    pub fn pcp(&self) -> pcp::Settings {
        pcp::Settings {
            min_lifetime: self.min_lifetime,
            max_lifetime: self.max_lifetime,
            third_party: self.pcp_third_party.clone(),
        }
    }

    /// The gateway's part of it.
    pub fn policy(&self) -> Policy {
        let mut reserved = OWN_PORTS.to_vec();
        reserved.push((Protocol::Tcp, self.port));
        reserved.sort_unstable();
        reserved.dedup();
        Policy {
            secure_mode: self.secure_mode,
            rules: self.perm_rules.clone(),
            reserved,
            limits: Limits {
                mappings: self.max_mappings,
                mappings_per_host: self.max_mappings_per_host.min(self.max_mappings),
                new_per_minute: self.max_new_mappings,
            },
            allow_private_external: self.ext_allow_private_ipv4,
            external_ip: self.external_ip,
        }
    }

    /// What keeps the daemon from knowing its devices, each with the option to set. Nothing is
    /// missing on the outside when no logical name is written either: the default route decides.
    #[cfg(test)]
    fn unresolved(&self) -> Vec<String> {
        self.unresolved_internal().into_iter().chain(self.unresolved_external()).collect()
    }

    /// Whether nothing is missing.
    pub fn is_resolved(&self) -> bool {
        self.unresolved_internal().is_none() && self.unresolved_external().is_none()
    }

    /// What keeps it from knowing those of the inside.
    pub fn unresolved_internal(&self) -> Option<String> {
        let names = match self.internal_iface.is_empty() {
            true => INTERNAL_IFACE.to_owned(),
            false => self.internal_iface.join(" "),
        };
        self.internal_device.is_empty().then(|| {
            format!(
                "internal_iface '{names}' is no device: set `list internal_device 'br-lan'` to the \
                 device of the LAN, or start with --internal"
            )
        })
    }

    /// What keeps it from knowing that of the outside.
    pub fn unresolved_external(&self) -> Option<String> {
        let (option, name) =
            [("external_iface", &self.external_iface), ("external_zone", &self.external_zone)]
                .into_iter()
                .find_map(|(option, name)| name.as_ref().map(|name| (option, name)))?;
        self.external_device.is_none().then(|| {
            format!(
                "{option} '{name}' is no device: set `option external_device 'wan0'` to the device \
                 of the WAN, or start with --external"
            )
        })
    }
}

#[cfg(test)]
mod tests;
