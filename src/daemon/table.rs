//! Watches over the kernel's table: somebody may remove it, alone or with every other one.

use super::runtime::Io;
use super::Daemon;
use crate::netlink::socket::{Event, Socket};
use std::time::{Duration, Instant};

/// Between two looks at the table while others change theirs without end.
const PAUSE: Duration = Duration::from_millis(20);
/// Pause after an error that is not our doing.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// Looks after every change of nf_tables that is not ours, for ever.
pub async fn watch(daemon: Daemon, socket: Io<Socket>) {
    let mut socket = socket;
    loop {
        // An announcement comes once: the kernel's queue must be empty before waiting for the next.
        socket.readable().await;
        while let Some(pause) = drain(socket.get_mut()) {
            daemon.keep_table();
            daemon.runtime().sleep_until(Instant::now() + pause).await;
        }
    }
}

/// Empties the queue; how long to wait before the next look if there was anything in it. What
/// exactly has happened does not matter.
fn drain(socket: &mut Socket) -> Option<Duration> {
    let mut pause = None;
    loop {
        match socket.event() {
            Ok(Event::Empty) => return pause,
            Ok(Event::Bytes(_) | Event::Lost) => pause = Some(PAUSE),
            Err(e) => {
                log::error!("nf_tables: {e}");
                return Some(ERROR_PAUSE);
            }
        }
    }
}

impl Daemon {
    /// Makes the table anew if it is gone, with every mapping.
    pub(super) fn keep_table(&self) {
        let mut state = self.state();
        let state = &mut *state;
        if !matches!(state.gateway.backend().exists(), Ok(false)) {
            return;
        }
        log::warn!("the table inet postern has been removed: it is made anew");
        if let Err(e) = state.gateway.resync(Instant::now()) {
            log::error!("nf_tables: {e}");
            self.0.deadline.set();
        }
        self.mutated(state);
    }
}
