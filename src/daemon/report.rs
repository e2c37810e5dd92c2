//! What `postern status` and `postern list` show, as text and as JSON.

use super::json::Json;
use super::{system, Daemon};
use crate::gateway::mapping::{Id, Mapping, Origin, Protocol};
use crate::gateway::pinhole::Pinhole;
use crate::gateway::policy::Limits;
use crate::gateway::{mapping_of, pinhole_of, ExternalState, PINHOLES_MAX};
use crate::netfilter::nft::Nft;
use crate::netfilter::{Backend as _, Rule};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

/// The address a mapping is reached at, if there is one.
pub(super) fn external_address(state: ExternalState) -> Option<Ipv4Addr> {
    match state {
        ExternalState::Active(address) | ExternalState::Private(address) => Some(address),
        ExternalState::None => None,
    }
}

/// One mapping or pinhole as `postern list` shows it.
pub struct Row<'a> {
    id: Id,
    protocol: Protocol,
    external: Option<IpAddr>,
    external_port: u16,
    internal: SocketAddr,
    remote: Option<String>,
    description: &'a str,
    origin: Origin,
    enabled: bool,
    left: Option<u64>,
    connections: u64,
}

impl<'a> Row<'a> {
    /// A mapping, where it is reached if that is known, and the connections counted.
    pub fn of(
        mapping: &'a Mapping,
        external: Option<Ipv4Addr>,
        connections: u64,
        now: Instant,
    ) -> Row<'a> {
        Row {
            id: mapping.id,
            protocol: mapping.external.protocol,
            external: external.map(IpAddr::V4),
            external_port: mapping.external.port,
            internal: mapping.internal.into(),
            remote: mapping.external.remote.map(|remote| remote.to_string()),
            description: &mapping.description,
            origin: mapping.origin,
            enabled: mapping.enabled,
            left: mapping.seconds_left(now),
            connections,
        }
    }

    /// A pinhole, and the packets counted.
    pub fn of_pinhole(pinhole: &'a Pinhole, packets: u64, now: Instant) -> Row<'a> {
        let hole = &pinhole.hole;
        let remote = match (hole.remote, hole.remote_port) {
            (None, None) => None,
            (Some(remote), None) => Some(remote.to_string()),
            (Some(remote), Some(port)) => Some(format!("[{remote}]:{port}")),
            (None, Some(port)) => Some(format!("*:{port}")),
        };
        Row {
            id: pinhole.id,
            protocol: hole.protocol,
            external: Some(hole.internal.into()),
            external_port: hole.internal_port,
            internal: (hole.internal, hole.internal_port).into(),
            remote,
            description: &pinhole.description,
            origin: pinhole.origin,
            enabled: true,
            left: Some(pinhole.seconds_left(now)),
            connections: packets,
        }
    }

    /// Appends a JSON object.
    pub fn json(&self, out: &mut String) {
        let mut json = Json::new();
        json.object(|o| {
            o.key("id").plain(self.id);
            o.key("family").string(if self.internal.is_ipv4() { "ipv4" } else { "ipv6" });
            o.key("protocol").string(self.protocol.name());
            o.key("external_address").text_or_null(self.external);
            o.key("external_port").plain(self.external_port);
            o.key("internal_address").string(&self.internal.ip().to_string());
            o.key("internal_port").plain(self.internal.port());
            o.key("remote").text_or_null(self.remote.as_deref());
            o.key("description").string(self.description);
            o.key("origin").string(self.origin.name());
            o.key("enabled").plain(self.enabled);
            o.key("expires_in").plain_or_null(self.left);
            o.key("connections").plain(self.connections);
        });
        out.push_str(&json.finish());
    }

    /// Appends a line of text.
    pub fn text(&self, out: &mut String) {
        let end = self.left.map_or("no end".to_owned(), |left| format!("{left} s left"));
        let from = self.remote.as_ref().map(|r| format!(" from {r}")).unwrap_or_default();
        let off = if self.enabled { "" } else { " (disabled)" };
        let counted = if self.internal.is_ipv4() { "connections" } else { "packets" };
        let _ = writeln!(
            out,
            "{} {} {}{from} -> {}{off}, {end}, {} {counted}, {}, \"{}\"",
            self.id,
            self.protocol,
            self.external_port,
            self.internal,
            self.connections,
            self.origin.name(),
            self.description,
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
    address6: Option<Ipv6Addr>,
    internal: Vec<(String, IpAddr)>,
    mappings: usize,
    pinholes: usize,
    subscriptions: usize,
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
            address6: state.external_address6(),
            internal: state
                .gateway
                .lans()
                .iter()
                .map(|lan| (lan.device.clone(), lan.address))
                .collect(),
            mappings: state.gateway.len(),
            pinholes: state.gateway.pinholes().count(),
            subscriptions: daemon.subscriptions().len(),
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
                o.key("address6").text_or_null(self.address6);
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
            o.key("pinholes").plain(self.pinholes);
            o.key("limits").object(|o| {
                o.key("mappings").plain(self.limits.mappings);
                o.key("mappings_per_host").plain(self.limits.mappings_per_host);
            });
            o.key("subscriptions").plain(self.subscriptions);
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
        if let Some(address) = self.address6 {
            let _ = writeln!(text, "external: {device}, {address}");
        }
        for (device, address) in &self.internal {
            let _ = writeln!(text, "internal: {device}, {address}");
        }
        let _ = writeln!(
            text,
            "mappings: {} of {} (of one host: {})",
            self.mappings, self.limits.mappings, self.limits.mappings_per_host
        );
        let _ = writeln!(text, "pinholes: {} of {PINHOLES_MAX}", self.pinholes);
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
    let (mut mappings, mut pinholes) = (Vec::new(), Vec::new());
    for installed in list {
        let counted = installed.connections;
        match installed.rule {
            Rule::Pinhole { .. } => {
                pinholes.extend(pinhole_of(installed, now).map(|pinhole| (pinhole, counted)));
            }
            _ => mappings.extend(mapping_of(installed, now).map(|mapping| (mapping, counted))),
        }
    }
    mappings.sort_unstable_by_key(|(mapping, _)| mapping.id);
    let mut text = String::from(if json { "[" } else { "" });
    let rows = mappings
        .iter()
        .map(|(mapping, counted)| Row::of(mapping, external, *counted, now))
        .chain(pinholes.iter().map(|(pinhole, counted)| Row::of_pinhole(pinhole, *counted, now)));
    for (i, row) in rows.enumerate() {
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
