//! Which ports the router's own programs listen on, kept for a moment.

use crate::gateway::mapping::Protocol;
use crate::netlink::diag;
use crate::netlink::socket::Socket;
use crate::netlink::wire::Writer;
use log::Level;
use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// How long what was read counts: a program that starts is found out soon, and many requests in a
/// row cost one look.
const FRESH: Duration = Duration::from_secs(2);
/// Most listeners kept; more are not known of.
const LISTENERS_MAX: usize = 1024;

/// The listeners as they were read last.
#[derive(Debug, Default)]
pub struct Listeners {
    list: Vec<(Protocol, u16, Ipv4Addr)>,
    read: Option<Instant>,
    /// The log has been told that they cannot be read.
    told: bool,
}

impl Listeners {
    /// Whether somebody listens on a port at one of these addresses. Where the kernel cannot be asked
    /// (it has no `inet_diag`), nobody does.
    pub fn has(
        &mut self,
        protocol: Protocol,
        port: u16,
        addresses: &[Ipv4Addr],
        now: Instant,
    ) -> bool {
        let age = self.read.map(|read| now.saturating_duration_since(read));
        if age.is_none_or(|age| age >= FRESH) {
            self.read = Some(now);
            self.list.clear();
            if let Err(e) = self.read() {
                log::log!(self.level(), "{}", trouble(&e));
            }
        }
        self.list.iter().any(|(of, at, address)| {
            (*of, *at) == (protocol, port)
                && (address.is_unspecified() || addresses.contains(address))
        })
    }

    /// How loud the log is told that they cannot be read: the owner must know, but not every time.
    fn level(&mut self) -> Level {
        match std::mem::replace(&mut self.told, true) {
            false => Level::Warn,
            true => Level::Debug,
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut socket = Socket::diag()?;
        let mut writer = Writer::new(1);
        for question in diag::QUESTIONS {
            diag::dump(&mut writer, question);
            socket.ask(&writer.finish(), &mut |message| {
                if self.list.len() < LISTENERS_MAX {
                    let found = diag::read(message);
                    self.list.extend(found.map(|(port, address)| (question.1, port, address)));
                }
            })?;
        }
        Ok(())
    }
}

fn trouble(e: &io::Error) -> String {
    format!(
        "ports that the router itself listens on may be given away: they cannot be read: {e} (is \
         kmod-inet-diag there?)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_does_not_tell_the_listeners_is_warned_of_once() {
        let mut listeners = Listeners::default();
        assert_eq!([listeners.level(), listeners.level()], [Level::Warn, Level::Debug]);
        let said = trouble(&io::Error::from_raw_os_error(libc::ENOENT));
        assert!(said.contains("kmod-inet-diag"), "{said}");
    }
}
