//! Which ports the router's own programs listen on, kept for a moment.

use crate::gateway::mapping::Protocol;
use crate::gateway::network::Wan;
use crate::netlink::diag::{self, Listener};
use crate::netlink::route::{self, Net, Part};
use crate::netlink::socket::Socket;
use crate::netlink::wire::Writer;
use log::Level;
use std::io;
use std::time::{Duration, Instant};

/// How long what was read counts: a program that starts is found out soon, and many requests in a
/// row cost one look.
const FRESH: Duration = Duration::from_secs(2);
/// Most listeners kept; more are not known of.
const LISTENERS_MAX: usize = 1024;

/// The listeners as they were read last.
#[derive(Debug, Default)]
pub struct Listeners {
    list: Vec<(Protocol, Listener)>,
    read: Option<Instant>,
    /// The log has been told that they cannot be read.
    told: bool,
}

impl Listeners {
    /// Whether somebody listens on a port for what comes to the WAN's addresses by IPv4. Where the
    /// kernel cannot be asked (it has no `inet_diag`), nobody does.
    pub fn has(&mut self, protocol: Protocol, port: u16, wan: &Wan, now: Instant) -> bool {
        let age = self.read.map(|read| now.saturating_duration_since(read));
        if age.is_none_or(|age| age >= FRESH) {
            self.read = Some(now);
            self.list.clear();
            let read = Socket::diag().and_then(|mut socket| {
                self.read(|question, each| ask(&mut socket, question, each))
            });
            if let Err(e) = read {
                log::log!(self.level(), "{}", trouble(&e));
            }
        }
        self.hears(protocol, port, wan, || match index(wan.device.as_deref()?) {
            Ok(index) => index,
            Err(e) => {
                log::debug!("rtnetlink: {e}");
                None
            }
        })
    }

    /// Whether one of the list does; `wan_index` gives the number of the WAN's device, if that matters.
    fn hears(
        &self,
        protocol: Protocol,
        port: u16,
        wan: &Wan,
        wan_index: impl FnOnce() -> Option<u32>,
    ) -> bool {
        let here = |(of, listener): &&(Protocol, Listener)| {
            let address = listener.address;
            (*of, listener.port) == (protocol, port)
                && (address.is_unspecified() || wan.addresses.contains(&address))
        };
        let devices: Vec<u32> =
            self.list.iter().filter(here).map(|(_, listener)| listener.device).collect();
        devices.contains(&0)
            || !devices.is_empty() && wan_index().is_some_and(|index| devices.contains(&index))
    }

    /// How loud the log is told that they cannot be read: the owner must know, but not every time.
    fn level(&mut self) -> Level {
        match std::mem::replace(&mut self.told, true) {
            false => Level::Warn,
            true => Level::Debug,
        }
    }

    /// Asks every question, whatever becomes of the others: a kernel may know one protocol only.
    ///
    /// # Errors
    /// Of the first question that was not answered.
    fn read(
        &mut self,
        mut ask: impl FnMut(Question, &mut dyn FnMut(Listener)) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut done = Ok(());
        for question in diag::QUESTIONS {
            let asked = ask(question, &mut |listener| {
                if self.list.len() < LISTENERS_MAX {
                    self.list.push((question.1, listener));
                }
            });
            done = done.and(asked);
        }
        done
    }
}

/// One of [`diag::QUESTIONS`].
type Question = (bool, Protocol);

fn ask(socket: &mut Socket, question: Question, each: &mut dyn FnMut(Listener)) -> io::Result<()> {
    let mut writer = Writer::new(1);
    diag::dump(&mut writer, question);
    socket.ask(&writer.finish(), &mut |message| {
        diag::read(message).into_iter().for_each(&mut *each)
    })?;
    Ok(())
}

/// The number of the device with this name, if there is one.
fn index(device: &str) -> io::Result<Option<u32>> {
    let (mut net, mut writer) = (Net::new(), Writer::new(1));
    route::request(&mut writer, Part::Links);
    Socket::rtnetlink(&[])?.ask(&writer.finish(), &mut |message| {
        net.apply(message);
    })?;
    Ok(net.index(device))
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
    use std::net::Ipv4Addr;

    const WAN_INDEX: u32 = 7;

    /// Whether a listener of UDP takes the port, and whether the WAN's number was asked for.
    fn heard(address: Ipv4Addr, device: u32) -> (bool, bool) {
        let listener = Listener { port: 53, address, device };
        let listeners = Listeners { list: vec![(Protocol::Udp, listener)], ..Listeners::default() };
        let wan = Wan {
            device: Some("wan".into()),
            device6: None,
            addresses: vec![Ipv4Addr::new(203, 0, 113, 1)],
        };
        let mut asked = false;
        assert!(!listeners.hears(Protocol::Tcp, 53, &wan, || unreachable!("another protocol")));
        assert!(!listeners.hears(Protocol::Udp, 54, &wan, || unreachable!("another port")));
        let hears = listeners.hears(Protocol::Udp, 53, &wan, || {
            asked = true;
            Some(WAN_INDEX)
        });
        (hears, asked)
    }

    #[test]
    fn what_is_bound_to_the_wans_device_takes_the_port_as_what_is_bound_to_none() {
        let (any, own) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(203, 0, 113, 1));
        let lan = Ipv4Addr::new(192, 168, 1, 1);
        assert_eq!([heard(any, 0), heard(own, 0), heard(lan, 0)].map(|h| h.0), [true, true, false]);
        assert_eq!(heard(any, 0), (true, false), "which device the WAN is does not matter");
        assert_eq!(heard(any, WAN_INDEX), (true, true));
        assert_eq!(heard(any, 8), (false, true));
        assert_eq!(heard(lan, WAN_INDEX), (false, false));
    }

    #[test]
    fn a_kernel_that_knows_one_protocol_only_is_asked_for_both() {
        let mut listeners = Listeners::default();
        let listener = Listener { port: 80, address: Ipv4Addr::UNSPECIFIED, device: 0 };
        let read = listeners.read(|(_, protocol), each| match protocol {
            Protocol::Udp => Err(io::Error::from_raw_os_error(libc::ENOENT)),
            Protocol::Tcp => {
                each(listener);
                Ok(())
            }
        });
        assert_eq!(read.err().and_then(|e| e.raw_os_error()), Some(libc::ENOENT));
        assert_eq!(listeners.list, [(Protocol::Tcp, listener); 2]);
    }

    #[test]
    fn a_kernel_that_does_not_tell_the_listeners_is_warned_of_once() {
        let mut listeners = Listeners::default();
        assert_eq!([listeners.level(), listeners.level()], [Level::Warn, Level::Debug]);
        let said = trouble(&io::Error::from_raw_os_error(libc::ENOENT));
        assert!(said.contains("kmod-inet-diag"), "{said}");
    }
}
