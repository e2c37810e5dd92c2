//! What `postern status` and `postern list` show, as text, as JSON and over ubus.

use super::fields::{Fields, Json};
use super::Daemon;
use crate::gateway::guard::{self, Filter};
use crate::gateway::mapping::{Id, Mapping, Origin, Protocol};
use crate::gateway::pinhole::Pinhole;
use crate::gateway::policy::Limits;
use crate::gateway::{ExternalState, Found, PINHOLES_MAX};
use crate::netfilter::nft::Nft;
use crate::netfilter::Backend as _;
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
    connections: Option<u64>,
}

impl<'a> Row<'a> {
    /// A mapping, where it is reached and how many connections are counted, if that is known.
    pub fn of(
        mapping: &'a Mapping,
        external: Option<Ipv4Addr>,
        connections: Option<u64>,
        now: Instant,
    ) -> Row<'a> {
        Row {
            id: mapping.id,
            protocol: mapping.external.protocol,
            external: external.map(IpAddr::V4),
            external_port: mapping.external.port,
            internal: mapping.internal.into(),
            remote: match guard::filters(&mapping.guard) {
                [] => mapping.external.remote.map(|remote| remote.to_string()),
                filters => Some(peers(filters)),
            },
            description: &mapping.description,
            origin: mapping.origin,
            enabled: mapping.enabled,
            left: mapping.seconds_left(now),
            connections,
        }
    }

    /// A pinhole, and the packets counted, if that is known.
    pub fn of_pinhole(pinhole: &'a Pinhole, packets: Option<u64>, now: Instant) -> Row<'a> {
        let hole = &pinhole.hole;
        let remote = match (hole.remote, hole.remote_port) {
            (None, None) => {
                Some(guard::filters(&pinhole.guard)).filter(|f| !f.is_empty()).map(peers)
            }
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

    /// Every value by its name.
    pub fn fill(&self, out: &mut dyn Fields) {
        out.number("id", self.id.0);
        out.text("family", if self.internal.is_ipv4() { "ipv4" } else { "ipv6" });
        out.text("protocol", self.protocol.name());
        out.shown("external_address", self.external.as_ref().map(|a| a as _));
        out.number("external_port", self.external_port.into());
        out.text("internal_address", &self.internal.ip().to_string());
        out.number("internal_port", self.internal.port().into());
        out.shown("remote", self.remote.as_ref().map(|r| r as _));
        out.text("description", self.description);
        out.text("origin", self.origin.name());
        out.flag("enabled", self.enabled);
        out.number_or_null("expires_in", self.left);
        out.number_or_null("connections", self.connections);
    }

    /// What OpenWrt's `luci.upnp` tells of a mapping.
    pub(super) fn fill_rule(&self, out: &mut dyn Fields) {
        out.text("num", &self.id.to_string());
        out.text("proto", self.protocol.name());
        out.number("extport", self.external_port.into());
        out.text("intaddr", &self.internal.ip().to_string());
        out.number("intport", self.internal.port().into());
        out.text("descr", self.description);
        if let Some(left) = self.left {
            out.number("expires", left);
        }
        out.null("host_hint");
    }

    /// Appends a JSON object.
    pub fn json(&self, out: &mut String) {
        let mut json = Json::new();
        json.table("");
        self.fill(&mut json);
        json.close();
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
            self.connections.unwrap_or(0),
            self.origin.name(),
            self.description,
        );
    }
}

/// Whom filters let in: `host`, `prefix/length`, or either with a port, `host:port`.
fn peers(filters: &[Filter]) -> String {
    let shown = filters.iter().map(|filter| {
        let (address, len) = (filter.address(), filter.prefix_len());
        let hosts = match address {
            IpAddr::V4(_) if len < 32 => format!("{address}/{len}"),
            IpAddr::V6(_) if len < 128 => format!("{address}/{len}"),
            _ => address.to_string(),
        };
        match filter.port() {
            None => hosts,
            Some(port) if address.is_ipv6() => format!("[{hosts}]:{port}"),
            Some(port) => format!("{hosts}:{port}"),
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// How the daemon is.
pub(super) struct Status {
    uptime: u64,
    state: &'static str,
    reason: String,
    device: Option<String>,
    address: Option<Ipv4Addr>,
    device6: Option<String>,
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
        daemon.keep_table();
        let mut state = daemon.state();
        let state = &mut *state;
        let now = Instant::now();
        state.gateway.handle_timeout(now);
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
            _ if !state.gateway.lans().iter().any(|lan| lan.address.is_ipv4()) => (
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
                    None if state.config.unresolved_external().is_some() => {
                        "the network of external_iface is down".to_owned()
                    }
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
            device6: state.gateway.wan().device6.clone(),
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
            epoch: state.epoch().into(),
            signal,
            hook,
        }
    }

    /// Every value by its name.
    pub(super) fn fill(&self, out: &mut dyn Fields) {
        out.text("version", env!("CARGO_PKG_VERSION"));
        out.number("uptime", self.uptime);
        out.text("state", self.state);
        out.text("reason", &self.reason);
        out.table("external");
        out.shown("device", self.device.as_ref().map(|d| d as _));
        out.shown("address", self.address.as_ref().map(|a| a as _));
        // Only where IPv6 comes in by a device of its own.
        out.shown("device6", self.device6.as_ref().map(|d| d as _));
        out.shown("address6", self.address6.as_ref().map(|a| a as _));
        out.close();
        out.array("internal");
        for (device, address) in &self.internal {
            out.table("");
            out.text("device", device);
            out.text("address", &address.to_string());
            out.close();
        }
        out.close();
        out.number("mappings", self.mappings as u64);
        out.number("pinholes", self.pinholes as u64);
        out.table("limits");
        out.number("mappings", self.limits.mappings.into());
        out.number("mappings_per_host", self.limits.mappings_per_host.into());
        out.close();
        out.number("subscriptions", self.subscriptions as u64);
        out.number("epoch", self.epoch);
        out.table("firewall");
        out.text("signal", self.signal);
        out.text("forward_hook", self.hook);
        out.close();
    }

    /// As a JSON object.
    pub(super) fn json(&self) -> String {
        let mut json = Json::new();
        json.table("");
        self.fill(&mut json);
        json.close();
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
            let device = self.device6.as_deref().unwrap_or(device);
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
    let Found { mut mappings, pinholes } = Found::of(list, now);
    mappings.sort_unstable_by_key(|(mapping, _)| mapping.id);
    let mut text = String::from(if json { "[" } else { "" });
    let rows = mappings
        .iter()
        .map(|(mapping, counted)| Row::of(mapping, external, Some(*counted), now))
        .chain(
            pinholes.iter().map(|(pinhole, counted)| Row::of_pinhole(pinhole, Some(*counted), now)),
        );
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
