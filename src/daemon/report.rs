//! What `postern status` and `postern list` show, as text and as JSON.

use super::json::Json;
use super::{system, Daemon};
use crate::gateway::mapping::Mapping;
use crate::gateway::policy::Limits;
use crate::gateway::{mapping_of, ExternalState};
use crate::netfilter::nft::Nft;
use crate::netfilter::Backend as _;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

/// The address a mapping is reached at, if there is one.
pub(super) fn external_address(state: ExternalState) -> Option<Ipv4Addr> {
    match state {
        ExternalState::Active(address) | ExternalState::Private(address) => Some(address),
        ExternalState::None => None,
    }
}

/// One mapping as `postern list` shows it.
pub struct Row<'a> {
    /// The mapping.
    pub mapping: &'a Mapping,
    /// Where it is reached, if that is known.
    pub external: Option<Ipv4Addr>,
    /// Connections the kernel has counted.
    pub connections: u64,
    /// When the row is written.
    pub now: Instant,
}

impl Row<'_> {
    /// Appends a JSON object.
    pub fn json(&self, out: &mut String) {
        let m = self.mapping;
        let mut json = Json::new();
        json.object(|o| {
            o.key("id").plain(m.id);
            o.key("family").string("ipv4");
            o.key("protocol").string(m.external.protocol.name());
            o.key("external_address").text_or_null(self.external);
            o.key("external_port").plain(m.external.port);
            o.key("internal_address").string(&m.internal.ip().to_string());
            o.key("internal_port").plain(m.internal.port());
            o.key("remote").text_or_null(m.external.remote);
            o.key("description").string(&m.description);
            o.key("origin").string(m.origin.name());
            o.key("enabled").plain(m.enabled);
            o.key("expires_in").plain_or_null(m.seconds_left(self.now));
            o.key("connections").plain(self.connections);
        });
        out.push_str(&json.finish());
    }

    /// Appends a line of text.
    pub fn text(&self, out: &mut String) {
        let m = self.mapping;
        let end =
            m.seconds_left(self.now).map_or("no end".to_owned(), |left| format!("{left} s left"));
        let from = m.external.remote.map(|r| format!(" from {r}")).unwrap_or_default();
        let off = if m.enabled { "" } else { " (disabled)" };
        let _ = writeln!(
            out,
            "{} {} {}{from} -> {}{off}, {end}, {} connections, {}, \"{}\"",
            m.id,
            m.external.protocol,
            m.external.port,
            m.internal,
            self.connections,
            m.origin.name(),
            m.description,
        );
    }
}

/// How the daemon is.
pub(super) struct Status {
    uptime: u64,
    state: &'static str,
    reason: String,
    device: Option<String>,
    address: Option<Ipv4Addr>,
    internal: Vec<(String, IpAddr)>,
    mappings: usize,
    limits: Limits,
    epoch: u64,
    signal: &'static str,
    hook: &'static str,
}

impl Status {
    /// As it is now.
    pub(super) fn of(daemon: &Daemon) -> Status {
        let mut state = daemon.state();
        let state = &mut *state;
        let now = Instant::now();
        state.gateway.handle_timeout(now);
        if matches!(state.gateway.backend().exists(), Ok(false)) {
            log::warn!("the table inet postern has been removed: it is made anew");
            if let Err(e) = state.gateway.resync(now) {
                log::error!("nf_tables: {e}");
            }
        }
        daemon.mutated(state);
        let signal = state.gateway.backend().signal().name();
        let hook = match state.gateway.backend().forward_hook() {
            Ok(hook) => hook.name(),
            Err(e) => {
                log::warn!("cannot read the firewall's forward chains: {e}");
                "unknown"
            }
        };
        let (name, reason) = match state.gateway.external() {
            _ if state.gateway.lans().is_empty() => (
                "no-internal-address",
                "no LAN device is up with an IPv4 address: look at list internal_device".to_owned(),
            ),
            ExternalState::Active(_) if hook == "missing" => (
                "active",
                "the firewall drops forwarded packets and has no line that lets Postern's through"
                    .to_owned(),
            ),
            ExternalState::Active(_) => ("active", "mappings are made and pass".to_owned()),
            ExternalState::Private(address) => (
                "private-external-address",
                format!(
                    "{address} is a private address: the provider or a router before this one \
                     translates it, so no mapping would be reached; set option external_ip if that \
                     router forwards everything here, or option ext_allow_private_ipv4 '1' to map \
                     all the same"
                ),
            ),
            ExternalState::None => (
                "no-external-address",
                match &state.gateway.wan().device {
                    Some(device) => format!("{device} has no IPv4 address or is down"),
                    None => "there is no default route and no option external_device".to_owned(),
                },
            ),
        };
        Status {
            uptime: state.started.elapsed().as_secs(),
            state: name,
            reason,
            device: state.gateway.wan().device.clone(),
            address: external_address(state.gateway.external()),
            internal: state
                .gateway
                .lans()
                .iter()
                .map(|lan| (lan.device.clone(), lan.address))
                .collect(),
            mappings: state.gateway.len(),
            limits: state.gateway.policy().limits,
            epoch: system::uptime().saturating_sub(state.epoch_start),
            signal,
            hook,
        }
    }

    /// As a JSON object.
    pub(super) fn json(&self) -> String {
        let mut json = Json::new();
        json.object(|o| {
            o.key("version").string(env!("CARGO_PKG_VERSION"));
            o.key("uptime").plain(self.uptime);
            o.key("state").string(self.state);
            o.key("reason").string(&self.reason);
            o.key("external").object(|o| {
                o.key("device").text_or_null(self.device.as_ref());
                o.key("address").text_or_null(self.address);
                o.key("address6").plain("null");
            });
            o.key("internal").array(|list| {
                for (device, address) in &self.internal {
                    list.object(|o| {
                        o.key("device").string(device);
                        o.key("address").string(&address.to_string());
                    });
                }
            });
            o.key("mappings").plain(self.mappings);
            o.key("pinholes").plain(0);
            o.key("limits").object(|o| {
                o.key("mappings").plain(self.limits.mappings);
                o.key("mappings_per_host").plain(self.limits.mappings_per_host);
            });
            o.key("subscriptions").plain(0);
            o.key("epoch").plain(self.epoch);
            o.key("firewall").object(|o| {
                o.key("signal").string(self.signal);
                o.key("forward_hook").string(self.hook);
            });
        });
        json.finish()
    }

    /// As lines of text.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "postern {}, up {} s\nstate: {}: {}\n",
            env!("CARGO_PKG_VERSION"),
            self.uptime,
            self.state,
            self.reason
        );
        let device = self.device.as_deref().unwrap_or("none");
        let address = self.address.map_or("no address".to_owned(), |a| a.to_string());
        let _ = writeln!(text, "external: {device}, {address}");
        for (device, address) in &self.internal {
            let _ = writeln!(text, "internal: {device}, {address}");
        }
        let _ = writeln!(
            text,
            "mappings: {} of {} (of one host: {})",
            self.mappings, self.limits.mappings, self.limits.mappings_per_host
        );
        let _ = write!(text, "firewall: {}, forward hook {}", self.signal, self.hook);
        text
    }
}

/// The list as the kernel alone tells it, for when no daemon runs.
pub fn from_kernel(mut nft: Nft, json: bool) -> Result<String, String> {
    let list = nft.list().map_err(|e| e.to_string())?;
    // Of several, only the daemon knows which one it tells its clients.
    let external = match nft.external_addresses().map_err(|e| e.to_string())?[..] {
        [only] => Some(only),
        _ => None,
    };
    let now = Instant::now();
    let mut rows: Vec<(Mapping, u64)> = list
        .into_iter()
        .filter_map(|installed| {
            let connections = installed.connections;
            Some((mapping_of(installed, now)?, connections))
        })
        .collect();
    rows.sort_unstable_by_key(|(mapping, _)| mapping.id);
    let mut text = String::from(if json { "[" } else { "" });
    for (i, (mapping, connections)) in rows.iter().enumerate() {
        let row = Row { mapping, external, connections: *connections, now };
        if json {
            text.push_str(if i > 0 { ",\n" } else { "" });
            row.json(&mut text);
        } else {
            row.text(&mut text);
        }
    }
    text.push_str(if json { "]\n" } else { "" });
    Ok(text)
}
