//! Watches over the kernel's table: somebody may remove it, alone or with every other one, or change
//! what is in it.

use super::runtime::Io;
use super::Daemon;
use crate::netfilter::ruleset::TABLE;
use crate::netlink::nfnl;
use crate::netlink::socket::{Event, Socket};
use crate::netlink::wire::{text, Message, Messages};
use std::time::{Duration, Instant};

/// From a change to the look at what has become of the table, which is for all changes meanwhile;
/// and between two looks while others change theirs without end.
const PAUSE: Duration = Duration::from_millis(20);
/// Pause after an error that is not our doing.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// What has been announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct News {
    /// Anything.
    any: bool,
    /// A change of our table, or changes were lost.
    ours: bool,
    /// The queue could not be read.
    failed: bool,
}

/// Looks after every change of nf_tables that is not ours, for ever.
pub async fn watch(daemon: Daemon, socket: Io<Socket>) {
    let mut socket = socket;
    // Which changes the kernel leaves out. A question that fails may have our own socket made anew.
    let mut left_out = None;
    loop {
        // An announcement comes once: the kernel's queue must be empty before waiting for the next.
        socket.readable().await;
        let mut ours = false;
        loop {
            let own = daemon.state().gateway.backend().port();
            if left_out != Some(own) && socket.get_mut().leave_out(TABLE, own).is_ok() {
                left_out = Some(own);
            }
            let news = read(socket.get_mut(), own);
            if !news.any && !ours {
                break;
            }
            daemon.state().gateway.backend().rules_changed();
            let seen = if ours { daemon.reconcile_table() } else { daemon.keep_table() };
            ours = news.ours || !seen;
            let pause = if news.failed || !seen { ERROR_PAUSE } else { PAUSE };
            daemon.runtime().sleep_until(Instant::now() + pause).await;
        }
    }
}

/// Whether it tells of our table: all but the end of a change name a table first.
fn is_of_our_table(message: &Message<'_>) -> bool {
    let table = message.attributes(nfnl::HEADER_LEN).find(nfnl::attribute::TABLE_NAME);
    message.kind != nfnl::kind(nfnl::message::NEW_GENERATION)
        && nfnl::family(message) == Some(nfnl::INET)
        && table.and_then(text) == Some(TABLE)
}

/// What is announced but for the changes of the socket with the number `own`.
fn heard(bytes: &[u8], own: u32) -> News {
    let others = Messages(bytes).filter(|message| message.port != own);
    others.fold(News::default(), |news, message| News {
        any: true,
        ours: news.ours || is_of_our_table(&message),
        ..news
    })
}

/// Empties the queue.
fn read(socket: &mut Socket, own: u32) -> News {
    let mut news = News::default();
    loop {
        match socket.event() {
            Ok(Event::Empty) => return news,
            Ok(Event::Lost) => news = News { any: true, ours: true, ..news },
            Ok(Event::Bytes(length)) => {
                let more = heard(socket.received(length), own);
                news = News { any: news.any | more.any, ours: news.ours | more.ours, ..news };
            }
            Err(e) => {
                log::error!("nf_tables: {e}");
                return News { any: true, failed: true, ..news };
            }
        }
    }
}

impl Daemon {
    /// Makes the table anew if it is gone, with every mapping. `false`: the kernel does not say whether
    /// it is.
    pub(super) fn keep_table(&self) -> bool {
        let mut state = self.state();
        let state = &mut *state;
        match state.gateway.backend().exists() {
            Ok(false) => {}
            Ok(true) => return true,
            Err(e) => {
                log::error!("nf_tables: {e}");
                return false;
            }
        }
        log::warn!("the table inet postern has been removed: it is made anew");
        if let Err(e) = state.gateway.resync(Instant::now()) {
            log::error!("nf_tables: {e}");
            self.0.deadline.set();
        }
        self.mutated(state);
        true
    }

    /// Takes up or undoes what somebody else has changed in it. `false`: the kernel does not say what
    /// that is, and no resync is going to ask.
    fn reconcile_table(&self) -> bool {
        let mut state = self.state();
        let state = &mut *state;
        log::debug!("the table inet postern has been changed by somebody else");
        let result = state.gateway.reconcile(Instant::now());
        if let Err(e) = &result {
            log::error!("nf_tables: {e}");
            self.0.deadline.set();
        }
        self.mutated(state);
        result.is_ok() || state.gateway.needs_resync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::nfnl::{attribute as a, message as m};
    use crate::netlink::wire::Writer;

    #[test]
    fn what_names_our_table_is_ours_wherever_it_stands() {
        let mut writer = Writer::new(1);
        for (kind, family, table) in [
            (m::NEW_SET, nfnl::INET, "fw4"),
            (m::DEL_ELEMENT, nfnl::INET, "postern"),
            (m::NEW_TABLE, nfnl::IPV4, "postern"),
            (m::NEW_TABLE, nfnl::INET, "postern2"),
            (m::NEW_GENERATION, 0, "postern"),
        ] {
            nfnl::message_of(&mut writer, kind, 0, family);
            writer.text(a::TABLE_NAME, table);
        }
        let bytes = writer.finish();
        let ours: Vec<bool> = Messages(&bytes).map(|m| is_of_our_table(&m)).collect();
        assert_eq!(ours, [false, true, false, false, false]);
        let wanted = News { any: true, ours: true, failed: false };
        assert_eq!(heard(&bytes, 1), wanted);
        assert_eq!(heard(&bytes, 0), News::default(), "who made the changes hears nothing");
    }
}
