//! The control socket: what `postern status`, `list` and `delete` talk to.
//!
//! One line in, an answer out, closed. The answer's first line is `ok` or `error: why`; what
//! follows is printed as it is. Only root can connect: the socket's mode is 0600.

use super::json::Json;
use super::runtime::{Io, Task};
use super::{system, Daemon};
use crate::gateway::mapping::{Id, Mapping};
use crate::gateway::{mapping_of, ExternalState};
use crate::netfilter::nft::{Nft, Signal};
use crate::netfilter::Backend as _;
use crate::sys::Interest;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Conversations at once.
const CLIENTS_MAX: usize = 4;
/// Longest question.
const QUESTION_MAX: usize = 128;
/// Time for a question to arrive, or a piece of the answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// Mappings written between two looks at the rest of the world.
const ROWS_PER_TURN: usize = 64;

/// The socket's file below the state directory.
pub fn path(state: &Path) -> PathBuf {
    state.join("control")
}

/// Opens the socket, taking the place of one that a dead daemon left.
///
/// # Errors
/// `AddrInUse` when a living daemon answers there.
pub fn open(state: &Path) -> io::Result<UnixListener> {
    let path = path(state);
    if UnixStream::connect(&path).is_ok() {
        return Err(ErrorKind::AddrInUse.into());
    }
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Asks the daemon of `state` one question; its answer without the first line.
///
/// # Errors
/// `Err(None)` when no daemon is there, `Err(Some(why))` when it says no.
pub fn ask(state: &Path, question: &str) -> Result<String, Option<String>> {
    let mut stream = UnixStream::connect(path(state)).map_err(|_| None)?;
    let why = |e: io::Error| Some(format!("the daemon does not answer: {e}"));
    // Longer than any answer takes, shorter than a person waits.
    stream.set_read_timeout(Some(PATIENCE * 4)).map_err(why)?;
    stream.write_all(format!("{question}\n").as_bytes()).map_err(why)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(why)?;
    match answer.split_once('\n') {
        Some(("ok", rest)) => Ok(rest.to_owned()),
        Some((error, _)) => Err(Some(error.trim_start_matches("error: ").to_owned())),
        None => Err(Some("the daemon has closed the connection".into())),
    }
}

/// Answers for ever.
pub async fn listen(daemon: Daemon, listener: Io<UnixListener>) {
    let mut clients: Vec<Task<()>> = Vec::new();
    loop {
        let Ok((stream, _)) = listener.read_with(|l| l.accept()).await else {
            daemon.runtime().sleep_until(Instant::now() + Duration::from_millis(100)).await;
            continue;
        };
        clients.retain(|task| !task.is_finished());
        if clients.len() >= CLIENTS_MAX {
            drop(clients.remove(0));
        }
        let watched = stream
            .set_nonblocking(true)
            .and_then(|()| daemon.runtime().watch(stream, Interest::Both));
        if let Ok(stream) = watched {
            let client = Client { daemon: daemon.clone(), stream };
            // A client that has gone away needs no answer.
            let serve = async move { drop(client.serve().await) };
            clients.push(daemon.runtime().spawn(serve));
        }
    }
}

struct Client {
    daemon: Daemon,
    stream: Io<UnixStream>,
}

impl Client {
    async fn serve(self) -> io::Result<()> {
        let question = self.question().await?;
        let mut words = question.split_whitespace();
        match (words.next(), words.next()) {
            (Some("status"), form) => {
                let status = Status::of(&self.daemon);
                let text = if form == Some("json") { status.json() } else { status.text() };
                self.say(&format!("ok\n{text}\n")).await
            }
            (Some("list"), form) => self.list(form == Some("json")).await,
            (Some("delete"), Some("all")) => {
                let deleted = {
                    let mut state = self.daemon.state();
                    let deleted = state.gateway.flush(Instant::now());
                    self.daemon.mutated(&mut state);
                    deleted
                };
                match deleted {
                    Ok(count) => self.say(&format!("ok\n{count} mappings closed\n")).await,
                    Err(refusal) => self.say(&format!("error: {refusal}\n")).await,
                }
            }
            (Some("delete"), Some(id)) => {
                let deleted = id.parse().map_err(|_| "not an id".to_owned()).and_then(|id| {
                    let mut state = self.daemon.state();
                    let deleted = state.gateway.delete_id(Id(id), Instant::now());
                    self.daemon.mutated(&mut state);
                    deleted.map_err(|refusal| refusal.to_string())
                });
                match deleted {
                    Ok(()) => self.say(&format!("ok\nmapping {id} closed\n")).await,
                    Err(why) => self.say(&format!("error: {id}: {why}\n")).await,
                }
            }
            _ => self.say("error: unknown question\n").await,
        }
    }

    async fn question(&self) -> io::Result<String> {
        let until = Instant::now() + PATIENCE;
        let mut question = Vec::new();
        let mut bytes = [0; QUESTION_MAX];
        while !question.contains(&b'\n') && question.len() < QUESTION_MAX {
            let read = self.stream.read_with(|mut stream| stream.read(&mut bytes));
            match self.daemon.runtime().until(until, read).await {
                Some(read) => match read? {
                    0 => break,
                    read => question.extend_from_slice(bytes.get(..read).unwrap_or_default()),
                },
                None => return Err(ErrorKind::TimedOut.into()),
            }
        }
        String::from_utf8(question).map_err(|_| ErrorKind::InvalidData.into())
    }

    async fn say(&self, text: &str) -> io::Result<()> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let until = Instant::now() + PATIENCE;
            let write = self.stream.write_with(|mut stream| stream.write(rest));
            match self.daemon.runtime().until(until, write).await {
                Some(written) => rest = rest.get(written?..).unwrap_or_default(),
                None => return Err(ErrorKind::TimedOut.into()),
            }
        }
        Ok(())
    }

    /// Writes the list in pieces, so that thousands of mappings neither block nor fill memory.
    async fn list(&self, json: bool) -> io::Result<()> {
        let mut after = None;
        let mut first = true;
        self.say(if json { "ok\n[" } else { "ok\n" }).await?;
        loop {
            let piece = {
                let mut state = self.daemon.state();
                let now = Instant::now();
                state.gateway.handle_timeout(now);
                let mut piece = String::new();
                for _ in 0..ROWS_PER_TURN {
                    let Some(mapping) = state.gateway.next_after(after).cloned() else { break };
                    after = Some(mapping.id);
                    let row = Row {
                        connections: state.gateway.connections(&mapping.external),
                        external: external_address(state.gateway.external()),
                        now,
                        mapping: &mapping,
                    };
                    if !std::mem::take(&mut first) && json {
                        piece.push_str(",\n");
                    }
                    if json {
                        row.json(&mut piece);
                    } else {
                        row.text(&mut piece);
                    }
                }
                self.daemon.mutated(&mut state);
                piece
            };
            if piece.is_empty() {
                return self.say(if json { "]\n" } else { "" }).await;
            }
            self.say(&piece).await?;
        }
    }
}

/// The address a mapping is reached at, if there is one.
fn external_address(state: ExternalState) -> Option<Ipv4Addr> {
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
    fn seconds_left(&self) -> Option<u64> {
        // Rounded up: what has not ended has at least a second left.
        self.mapping.remaining(self.now).map(|left| left.as_millis().div_ceil(1000) as u64)
    }

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
            o.key("expires_in").plain_or_null(self.seconds_left());
            o.key("connections").plain(self.connections);
        });
        out.push_str(&json.finish());
    }

    /// Appends a line of text.
    pub fn text(&self, out: &mut String) {
        let m = self.mapping;
        let end = self.seconds_left().map_or("no end".to_owned(), |left| format!("{left} s left"));
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
struct Status {
    uptime: u64,
    state: &'static str,
    reason: String,
    device: Option<String>,
    address: Option<Ipv4Addr>,
    internal: Vec<(String, Ipv4Addr)>,
    mappings: usize,
    limits: crate::gateway::policy::Limits,
    epoch: u64,
    signal: &'static str,
    hook: &'static str,
}

impl Status {
    fn of(daemon: &Daemon) -> Status {
        let mut state = daemon.state();
        let state = &mut *state;
        state.gateway.handle_timeout(Instant::now());
        daemon.mutated(state);
        let signal = match state.gateway.backend().signal() {
            Signal::CtLabel => "ct-label",
            Signal::CtMark(_) => "ct-mark",
        };
        let hook = match state.gateway.backend().forward_hook() {
            Ok(hook) => hook.name(),
            Err(e) => {
                log::warn!("cannot read the firewall's forward chains: {e}");
                "unknown"
            }
        };
        let (name, reason) = match state.gateway.external() {
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

    fn json(&self) -> String {
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

    fn text(&self) -> String {
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
pub fn from_kernel(mut nft: Nft, json: bool) -> io::Result<String> {
    let list = nft.list().map_err(|e| io::Error::other(e.to_string()))?;
    let now = Instant::now();
    let mut rows: Vec<(Mapping, u64)> = list
        .into_iter()
        .filter_map(|installed| {
            let connections = installed.connections;
            Some((mapping_of(installed, now)?, connections))
        })
        .collect();
    rows.sort_by_key(|(mapping, _)| mapping.id);
    let mut text = String::from(if json { "[" } else { "" });
    for (i, (mapping, connections)) in rows.iter().enumerate() {
        let row = Row { mapping, external: None, connections: *connections, now };
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
