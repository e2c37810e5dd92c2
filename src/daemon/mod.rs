//! The driver: sockets, files, clocks and the one loop around the pure parts.
//!
//! What the loop runs, in the order of what must not wait: signals, the network's changes, the
//! one deadline of all leases, then the LAN's requests. A request is answered in one go from
//! bytes to kernel and back; nothing else runs in between, and nothing in between can wait.

pub mod confine;
pub mod ctl;
pub mod fields;
pub mod files;
pub mod flows;
pub mod http;
pub mod identity;
pub mod lan;
pub mod leases;
#[cfg(test)]
mod limits;
pub mod neighbours;
pub mod network;
pub mod notify;
pub mod owner;
pub mod pcp;
pub mod report;
pub mod runtime;
pub mod settings;
pub mod sockets;
pub mod ssdp;
pub mod system;
pub mod table;
pub mod ubus;

use crate::config::options::Config;
use crate::gateway::mapping::{External, Mapping};
use crate::gateway::pinhole::Hole;
use crate::gateway::{Event, Gateway, Reason};
use crate::igd::subscriptions::Subscriptions;
use crate::igd::{Identity, Link};
use crate::netfilter::nft::Nft;
use crate::netfilter::ruleset::TABLE;
use crate::netfilter::Backend as _;
use crate::netlink::route::Net;
use crate::netlink::socket::Socket;
use crate::netlink::watch::Watch;
use crate::proto::ssdp::Budget;
use crate::sys::{self, Interest};
use files::Files;
use network::NetworkView;
use runtime::{Io, Runtime};
use settings::{level, need, read, resolve};
use std::cell::{Ref, RefCell, RefMut};
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use ubus::interfaces::{self, Names, Networks};

pub use settings::{Failure, Options};

/// SERVER header everywhere. The system's version is nobody's business.
pub const SERVER: &str = concat!("Linux/1 UPnP/1.1 Postern/", env!("CARGO_PKG_VERSION"));

/// Between two tries to make the kernel hold what the table holds.
const RESYNC_PAUSE: Duration = Duration::from_secs(1);

/// Everything that is decided on.
pub struct State {
    options: Options,
    config: Config,
    gateway: Gateway<Nft>,
    identity: Identity,
    net: Net,
    networks: Networks,
    view: NetworkView,
    files: Files,
    budget: Budget,
    random: fastrand::Rng,
    started: Instant,
    /// Seconds the system had been up when the daemon started.
    started_uptime: u64,
    /// When the epoch of NAT-PMP and PCP began, in seconds since boot; wraps below 0 where it has
    /// outlived a boot.
    epoch_start: u64,
    /// Where mappings were reached last.
    external: Option<Ipv4Addr>,
    boot_id: u32,
    config_id: u32,
}

struct Inner {
    runtime: Runtime,
    state: RefCell<State>,
    lans: RefCell<lan::Lans>,
    connections: RefCell<http::Connections>,
    neighbours: RefCell<neighbours::Neighbours>,
    subscriptions: RefCell<Subscriptions<lan::Place>>,
    pcp: RefCell<pcp::Servers>,
    bus: ubus::Bus,
    /// Something that subscribers are told of may have changed.
    changed: runtime::Signal,
    /// NAT-PMP and PCP have something to announce.
    announce: runtime::Signal,
    /// Mappings are reached at another address.
    renumbered: runtime::Signal,
    /// Flows may have lost their leave.
    closed: runtime::Signal,
    /// The earliest end of a lease may be another one.
    deadline: runtime::Signal,
    /// The peer file is behind.
    leases: runtime::Signal,
    /// The state file is behind.
    unsaved: runtime::Signal,
    /// Addresses or links have changed.
    network: runtime::Signal,
    /// A LAN address could not be served, and is to be tried again.
    unserved: runtime::Signal,
    /// Counted by its clones: answers to searches that wait for their moment.
    waiting: Rc<()>,
}

/// The daemon, cheap to clone; tasks share it.
#[derive(Clone)]
pub struct Daemon(Rc<Inner>);

/// Serves until SIGTERM or SIGINT.
pub fn run(options: Options) -> Result<(), Failure> {
    let mut config = read(&options)?;
    log::set_max_level(level(&options, &config));
    if !config.enabled {
        log::warn!("{}: option enabled is 0: nothing to do", options.config.display());
        return Ok(());
    }
    let runtime = need(Runtime::new(), "epoll")?;
    let networks = match config.is_resolved() {
        true => Networks::default(),
        false => interfaces::at_start(&runtime, &config),
    };
    resolve(&mut config, &options, &networks)?;
    let signals = need(sys::Signals::open(), "signals")?;
    let dir = options.state.display();
    need(std::fs::create_dir_all(&options.state), format_args!("cannot make {dir}"))?;
    let files = Files::new(&options.state, &config);
    confine::privileges(&options, &config, &files)?;
    // Held until the end. The table is the namespace's, so its only owner is found by a name that
    // is the namespace's too, whatever the state directory.
    let _owner = ctl::own_table().map_err(|e| match e.kind() {
        io::ErrorKind::AddrInUse => Failure::System("another postern runs here".to_owned()),
        _ => Failure::System(format!("cannot claim the table: {e}")),
    })?;
    let control = ctl::open(&options.state).map_err(|e| match e.kind() {
        io::ErrorKind::AddrInUse => {
            Failure::System(format!("another postern runs with --state {dir}"))
        }
        _ => Failure::System(format!("{}: {e}", ctl::path(&options.state).display())),
    })?;

    let mut net = Net::default();
    let watch = need(Watch::open(&mut net), "rtnetlink")?;
    let uptime = system::uptime();
    let nft = Nft::open(config.ct_mark, uptime).map_err(|e| {
        Failure::System(format!("nf_tables: {e} (is kmod-nft-nat there? is this root?)"))
    })?;
    let state = State::new(options, config, networks, files, nft, net, uptime);
    let daemon = Daemon(Rc::new(Inner {
        runtime: runtime.clone(),
        state: RefCell::new(state),
        lans: RefCell::default(),
        connections: RefCell::default(),
        neighbours: RefCell::default(),
        subscriptions: RefCell::default(),
        pcp: RefCell::default(),
        bus: ubus::Bus::default(),
        changed: runtime::Signal::default(),
        announce: runtime::Signal::default(),
        renumbered: runtime::Signal::default(),
        closed: runtime::Signal::default(),
        deadline: runtime::Signal::default(),
        leases: runtime::Signal::default(),
        unsaved: runtime::Signal::default(),
        network: runtime::Signal::default(),
        unserved: runtime::Signal::default(),
        waiting: Rc::default(),
    }));
    daemon.start()?;
    let signals = need(runtime.watch(signals, Interest::Read), "signals")?;
    let control = need(runtime.watch(control, Interest::Read), "control socket")?;
    let watch = need(runtime.watch(watch, Interest::Read), "rtnetlink")?;
    let own = daemon.state().gateway.backend().port();
    let changes = need(Socket::nf_tables_changes(TABLE, own), "nf_tables")?;
    let changes = need(runtime.watch(changes, Interest::Read), "nf_tables")?;
    let tasks = [
        runtime.spawn(network::watch(daemon.clone(), watch)),
        runtime.spawn(network::follow(daemon.clone())),
        runtime.spawn(table::watch(daemon.clone(), changes)),
        runtime.spawn(daemon.clone().keep_time()),
        runtime.spawn(pcp::announce(daemon.clone())),
        runtime.spawn(pcp::update(daemon.clone())),
        runtime.spawn(flows::end(daemon.clone())),
        runtime.spawn(notify::follow(daemon.clone())),
        runtime.spawn(daemon.clone().keep_peer_file()),
        runtime.spawn(daemon.clone().keep_state_file()),
        runtime.spawn(ctl::listen(daemon.clone(), control)),
        runtime.spawn(ubus::follow(daemon.clone())),
    ];
    confine::calls(&daemon.state().config);
    let ended = need(runtime.block_on(daemon.obey(signals)), "epoll")?;
    drop(tasks);
    daemon.stop();
    ended
}

impl State {
    fn new(
        options: Options,
        config: Config,
        networks: Networks,
        files: Files,
        nft: Nft,
        net: Net,
        uptime: u64,
    ) -> State {
        let uuid = identity::uuid(&config, files.uuid());
        files.keep_uuid(&uuid);
        let seed = u64::from_be_bytes(std::array::from_fn(|i| system::random()[i]));
        let mut state = State {
            identity: identity::identity(&config, uuid),
            gateway: Gateway::new(nft, config.policy(), seed),
            view: NetworkView::default(),
            budget: Budget::default(),
            random: fastrand::Rng::with_seed(seed.rotate_left(32)),
            started: Instant::now(),
            started_uptime: uptime,
            epoch_start: uptime,
            external: None,
            boot_id: 0,
            config_id: 0,
            options,
            config,
            net,
            networks,
            files,
        };
        state.describe();
        state
    }

    /// Writes the state file; `stopped` when it is the last time.
    fn save(&self, stopped: bool, clocks: &leases::Clocks) {
        let run = leases::Run {
            boot_id: self.boot_id,
            stopped,
            epoch: Some(self.epoch()),
            external: self.external,
        };
        let written = self.files.write_state(&self.gateway, &run, clocks);
        if let Err(e) = written {
            log::error!("{e}");
        }
    }

    /// Writes the peer file.
    fn publish(&self, clocks: &leases::Clocks) {
        if let Err(e) = self.files.write_peer(&self.gateway, clocks) {
            log::error!("{e}");
        }
    }

    /// CONFIGID follows what is described.
    fn describe(&mut self) {
        self.config_id = identity::config_id(crate::igd::described(&self.identity).as_bytes());
    }

    /// The WAN link as WANCommonInterfaceConfig and GetStatusInfo tell it.
    fn link(&self) -> Link {
        let seconds = |since: Option<Instant>| since.map_or(Duration::ZERO, |at| at.elapsed());
        let uptime = if self.config.system_uptime {
            Duration::from_secs(self.started_uptime) + self.started.elapsed()
        } else {
            seconds(self.view.wan_since)
        };
        let (upstream_bps, downstream_bps) = self.view.rates(&self.config);
        Link { up: self.view.wan_up, upstream_bps, downstream_bps, uptime }
    }
}

impl Daemon {
    fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    fn state(&self) -> RefMut<'_, State> {
        self.0.state.borrow_mut()
    }

    fn lans(&self) -> Ref<'_, lan::Lans> {
        self.0.lans.borrow()
    }

    fn connections(&self) -> RefMut<'_, http::Connections> {
        self.0.connections.borrow_mut()
    }

    fn subscriptions(&self) -> RefMut<'_, Subscriptions<lan::Place>> {
        self.0.subscriptions.borrow_mut()
    }

    /// A place among the answers that wait, while there is one.
    fn wait_for_answer(&self) -> Option<Rc<()>> {
        (Rc::strong_count(&self.0.waiting) <= ssdp::ANSWERS_WAITING_MAX)
            .then(|| self.0.waiting.clone())
    }

    /// Takes up the leases of the run before, then the network as it is.
    fn start(&self) -> Result<(), Failure> {
        let mut state = self.state();
        let clocks = system::clocks();
        let saved = state.files.read(&clocks);
        let next = ssdp::boot_id_after(saved.run.boot_id);
        state.boot_id = (clocks.unix as u32 & ssdp::BOOT_ID_MAX).max(next);
        let crashed = state.gateway.backend().adopted();
        state.external = saved.run.external;
        // Of the leases of a copy that was made before the end some may be lost.
        let kept = match (crashed, saved.run.stopped) {
            (true, _) => {
                let created = state.gateway.backend().created();
                let age = state.started_uptime.wrapping_sub(created) as u32;
                Some(saved.run.epoch.map_or(age, |epoch| epoch.min(age)))
            }
            (false, true) => saved.run.epoch,
            (false, false) => None,
        };
        state.epoch_start = state.started_uptime.wrapping_sub(kept.unwrap_or(0).into());
        let epoch_start = state.epoch_start;
        state.gateway.backend().set_created(epoch_start);
        state.update_gateway();
        let failed = |e| Failure::System(format!("nf_tables: {e}"));
        let mut back = 0;
        if crashed {
            back += state.gateway.adopt(clocks.now).map_err(failed)?;
        }
        if saved.run.stopped || !crashed {
            back += state
                .gateway
                .restore(saved.mappings, saved.pinholes, clocks.now)
                .map_err(failed)?;
        } else {
            state.gateway.note_ended(&saved.mappings, &saved.pinholes, clocks.now);
        }
        if back > 0 {
            log::info!("{back} mappings and pinholes of the run before are open");
        }
        self.mutated(&mut state);
        // From now on the kernel knows better than what the run before left.
        state.save(false, &clocks);
        self.0.leases.set();
        drop(state);
        self.0.announce.set();
        self.update_lans();
        self.say_state();
        Ok(())
    }

    /// Waits for signals; returns when told to stop.
    async fn obey(&self, signals: Io<sys::Signals>) -> Result<(), Failure> {
        loop {
            let signal = signals.read_with(|s| s.read()?.ok_or(io::ErrorKind::WouldBlock.into()));
            match need(signal.await, "signals")? {
                sys::Signal::Stop => return Ok(()),
                sys::Signal::Reload => self.reload(true),
            }
        }
    }

    /// Reads the configuration again. One that cannot be served changes nothing. `may_ask`: first
    /// netifd is asked which devices its networks are, if that is not known; then this is called
    /// again.
    fn reload(&self, may_ask: bool) {
        let mut state = self.state();
        let resolved = read(&state.options).and_then(|mut config| {
            let resolved = resolve(&mut config, &state.options, &state.networks);
            if resolved.is_err() && may_ask && !config.is_resolved() {
                self.0.bus.ask_for(Names::of(&config));
            }
            resolved.map(|()| config)
        });
        let config = match resolved {
            Ok(config) => config,
            Err(_) if self.0.bus.is_asking() => return,
            Err(failure) => {
                log::error!("{failure}; the old configuration stays in force");
                return;
            }
        };
        if let Err(e) = self.lans().try_port(&config) {
            let port = config.port;
            log::error!(
                "port {port}: {e}: free it or name another; the old configuration stays in force"
            );
            return;
        }
        let old = &state.config;
        let same =
            (config.ct_mark, &config.user, config.seccomp) == (old.ct_mark, &old.user, old.seccomp);
        if !same || !config.enabled {
            log::warn!("options ct_mark, user, seccomp and enabled take effect at the next start");
        }
        if let Err(e) = state.gateway.set_policy(config.policy(), Instant::now()) {
            log::error!("nf_tables: {e}; the old configuration stays in force");
            self.0.deadline.set();
            return;
        }
        log::set_max_level(level(&state.options, &config));
        let uuid = identity::uuid(&config, Some(state.identity.uuid));
        state.identity = identity::identity(&config, uuid);
        state.describe();
        state.files = Files::new(&state.options.state, &config);
        state.config = config;
        self.0.leases.set();
        drop(state);
        self.0.bus.reloaded();
        self.take_network();
        log::info!("configuration read again, {} mappings stay open", self.state().gateway.len());
    }

    /// Closes everything: the LAN is told, leases are kept for the next run, the table goes.
    fn stop(&self) {
        let lans = self.lans();
        for address in lans.addresses() {
            lans.say_byebye(self, address);
        }
        drop(lans);
        let mut state = self.state();
        let state = &mut *state;
        let clocks = system::clocks();
        state.gateway.handle_timeout(clocks.now);
        state.save(true, &clocks);
        state.publish(&clocks);
        if let Err(e) = state.gateway.backend().remove() {
            log::error!("nf_tables: the table stays: {e}");
        }
        let _ = std::fs::remove_file(ctl::path(&state.options.state));
        log::info!("stopped; {} leases kept", state.gateway.len());
    }

    /// Follows every mutation of the gateway: what happened is logged, the deadline and the files
    /// follow.
    fn mutated(&self, state: &mut State) {
        self.follow_mutation(state);
        if state.gateway.needs_resync() {
            self.0.deadline.set();
        }
    }

    /// The same but for another try where the kernel is behind, which [`keep_time`](Daemon::keep_time)
    /// sees by itself.
    fn follow_mutation(&self, state: &mut State) {
        let mut any = false;
        while let Some(event) = state.gateway.next_event() {
            any = true;
            say(&event);
            self.0.bus.push(state, &event);
            if matches!(event, Event::External(_)) {
                self.note_external(state);
            }
        }
        if state.gateway.has_closed() {
            self.0.closed.set();
        }
        if any {
            self.0.deadline.set();
            self.0.leases.set();
            self.0.unsaved.set();
            self.0.changed.set();
        }
    }

    /// The one deadline: waits for the earliest end of a lease, or, after the kernel has refused
    /// what could not wait, for another try.
    async fn keep_time(self) {
        let mut retry: Option<Instant> = None;
        loop {
            let (end, behind) = {
                let gateway = &self.state().gateway;
                (gateway.poll_timeout(), gateway.needs_resync())
            };
            // However often the deadline changes meanwhile.
            retry = behind.then(|| retry.unwrap_or_else(|| Instant::now() + RESYNC_PAUSE));
            let at = end.into_iter().chain(retry).min();
            let changed = self.0.deadline.wait();
            match at {
                Some(at) => runtime::or(self.runtime().sleep_until(at), changed).await,
                None => changed.await,
            }
            let mut state = self.state();
            let now = Instant::now();
            state.gateway.handle_timeout(now);
            if retry.is_some_and(|at| at <= now) {
                retry = None;
                if let Err(e) = state.gateway.resync(now) {
                    log::warn!("nf_tables: {e}; trying again");
                }
            }
            self.follow_mutation(&mut state);
        }
    }

    /// Writes the peer file a while after the first change, never for each.
    async fn keep_peer_file(self) {
        loop {
            self.0.leases.wait().await;
            let delay = files::peer_delay(self.state().gateway.len());
            self.runtime().sleep_until(Instant::now() + delay).await;
            self.state().publish(&system::clocks());
        }
    }

    /// Writes the state file now and then, if there is anything new.
    async fn keep_state_file(self) {
        loop {
            self.0.unsaved.wait().await;
            self.runtime().sleep_until(Instant::now() + files::STATE_DELAY).await;
            self.state().save(false, &system::clocks());
        }
    }
}

/// What a pinhole lets through, for the log.
fn shown(hole: &Hole) -> String {
    let Hole { protocol, internal, internal_port, .. } = hole;
    let mut text = format!("{protocol} to [{internal}]:{internal_port}");
    if let Some(remote) = hole.remote {
        text += &format!(" from {remote}");
    }
    if let Some(port) = hole.remote_port {
        text += &format!(" from port {port}");
    }
    text
}

const fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::Deleted => "deleted",
        Reason::Expired => "its time is up",
        Reason::Policy => "the rules do not allow it any more",
        Reason::Withdrawn => "its prefix is gone",
    }
}

/// Which remote host alone is let in, for the log.
fn from(mapping: &Mapping) -> String {
    mapping.external.remote.map(|remote| format!(" from {remote}")).unwrap_or_default()
}

/// One line for the log.
fn say(event: &Event) {
    match event {
        Event::Added { mapping: m, new } => {
            let verb = if *new { "opened" } else { "refreshed" };
            let remote = from(m);
            let lease = match m.expires {
                Some(at) => {
                    format!("{} s", at.saturating_duration_since(Instant::now()).as_secs() + 1)
                }
                None => "ever".to_owned(),
            };
            let off = if m.enabled { "" } else { ", disabled" };
            let (protocol, port, internal) = (m.external.protocol, m.external.port, m.internal);
            let by = m.origin.name();
            let words = if m.description.is_empty() { "" } else { ": " };
            log::info!(
                "{verb} {protocol} {port}{remote} -> {internal} for {lease}{off}, by {by}{words}{}",
                m.description
            );
        }
        Event::PinholeAdded { pinhole, new } => {
            let verb = if *new { "opened" } else { "refreshed" };
            let (id, left) = (pinhole.unique_id, pinhole.seconds_left(Instant::now()));
            log::info!("{verb} pinhole {id}, {} for {left} s", shown(&pinhole.hole));
        }
        Event::PinholeRemoved { pinhole, reason } => {
            let (id, hole) = (pinhole.unique_id, shown(&pinhole.hole));
            log::info!("closed pinhole {id}, {hole}: {}", why(*reason));
        }
        Event::Removed { mapping: m, reason } => {
            let External { protocol, port, .. } = m.external;
            let internal = m.internal;
            log::info!("closed {protocol} {port}{} -> {internal}: {}", from(m), why(*reason));
        }
        Event::External(state) => network::say(*state),
    }
}
