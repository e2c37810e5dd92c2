//! ubus: the objects `postern` and `luci.upnp`, the event `postern.mapping`, and netifd's word on
//! which devices the logical networks are.
//!
//! One task, which joins ubusd whenever it is there. No ubusd is no error; one that goes away, is
//! silent or makes no sense is left and joined again after a pause. Nothing waits for ubusd but
//! this task.

pub(crate) mod events;
pub mod interfaces;
mod link;
mod methods;

use super::runtime::{self, Signal};
use super::{Daemon, State};
use crate::config::options::{UBUS_SOCKET, UBUS_SOCKET_OLD};
use crate::gateway::Event;
use events::Events;
use interfaces::Names;
use link::Link;
use socket2::{Domain, SockAddr, Socket, Type};
use std::cell::RefCell;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Pause before ubusd is tried again.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Whoever was joined for so long is tried again after the shortest pause.
const STEADY: Duration = Duration::from_secs(10);
/// The pause doubles up to this.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What the rest of the daemon tells the task that talks to ubusd.
#[derive(Default)]
pub(super) struct Bus {
    events: RefCell<Events>,
    wake: Signal,
}

impl Bus {
    /// Something has happened that is to be told to who listens.
    pub(super) fn push(&self, state: &State, event: &Event) {
        let is_news = !matches!(event, Event::External(_));
        let mut fill = |out: &mut _| events::fill(state, event, out);
        if is_news && self.events.borrow_mut().push(&mut fill) {
            self.wake.set();
        }
    }

    /// The configuration is another one.
    pub(super) fn reloaded(&self) {
        self.events.borrow_mut().reloaded = true;
        self.wake.set();
    }

    /// Asks netifd, if it can be asked, which devices the networks are of a configuration that is
    /// to be read again then.
    pub(super) fn ask_for(&self, names: Names) {
        let mut events = self.events.borrow_mut();
        if events.open {
            events.wanted = Some(names);
            self.wake.set();
        }
    }

    /// Whether it is being asked.
    pub(super) fn is_asking(&self) -> bool {
        self.events.borrow().wanted.is_some()
    }

    fn is_joined(&self) -> bool {
        self.events.borrow().open
    }
}

/// Joins ubusd and stays, for ever.
pub async fn follow(daemon: Daemon) {
    let mut pause = PAUSE_MIN;
    loop {
        let socket = daemon.state().config.ubus_socket.clone();
        let start = Instant::now();
        let ended = match &socket {
            Some(socket) => session(&daemon, socket).await,
            None => Ok(()),
        };
        let was_joined = daemon.0.bus.is_joined();
        let left = std::mem::take(&mut *daemon.0.bus.events.borrow_mut());
        if left.wanted.is_some() {
            daemon.reload(false);
        }
        if let (Err(e), Some(socket)) = (&ended, &socket) {
            match was_joined {
                true => log::warn!("ubus: {e}: joining again soon"),
                false => log::debug!("ubus: {socket}: {e}"),
            }
        }
        if was_joined && start.elapsed() > STEADY {
            pause = PAUSE_MIN;
        }
        let wake = daemon.0.bus.wake.wait();
        match (ended, socket) {
            // The configuration names another socket, or none.
            (Ok(()), Some(_)) => {}
            (_, None) => wake.await,
            (Err(_), Some(_)) => {
                runtime::or(daemon.runtime().sleep_until(Instant::now() + pause), wake).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// Joins ubusd; returns when the configuration names another.
async fn session(daemon: &Daemon, socket: &str) -> io::Result<()> {
    let stream = connect(socket)?;
    let mut link = Link::join(daemon.runtime(), stream, Some(daemon.clone())).await?;
    link.publish().await?;
    daemon.0.bus.events.borrow_mut().open = true;
    log::info!("ubus: joined");
    link.refresh = true;
    loop {
        let wanted = daemon.0.bus.events.borrow_mut().wanted.take();
        let names = match &wanted {
            None if std::mem::take(&mut link.refresh) => Some(Names::of(&daemon.state().config)),
            _ => wanted.clone(),
        };
        if let Some(names) = names {
            let mut networks = daemon.state().networks.clone();
            let asked = networks.ask(&mut link, &names).await;
            daemon.follow_networks(networks, wanted.is_some());
            asked?;
        }
        let events = daemon.0.bus.events.borrow_mut().take();
        link.send(&events);
        // What netifd has notified while it was asked is not in what it told.
        if link.refresh {
            continue;
        }
        if daemon.state().config.ubus_socket.as_deref() != Some(socket) {
            return Ok(());
        }
        let message = link.turn(Instant::now() + PAUSE_MAX).await?;
        link.handle(&message);
        link.refresh |= std::mem::take(&mut daemon.0.bus.events.borrow_mut().reloaded);
        // Where it was too busy, after whatever arrives next, or a while.
        link.refresh |= daemon.state().networks.is_partial();
    }
}

/// Connects to the socket; for the usual one also where it used to be.
fn connect(path: &str) -> io::Result<UnixStream> {
    let old = if path == UBUS_SOCKET { UBUS_SOCKET_OLD } else { path };
    let mut socket = SockAddr::unix(path)?;
    if !Path::new(path).exists() {
        socket = SockAddr::unix(old)?;
    }
    let stream = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    stream.set_nonblocking(true)?;
    // At once, or not at all: a full queue is an error too.
    stream.connect(&socket)?;
    Ok(stream.into())
}
