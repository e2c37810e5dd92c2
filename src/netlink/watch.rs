//! Keeps a [`Net`] up to date from the kernel's announcements.
//!
//! One socket carries announcements and the answers to our own questions. Only one question can
//! be under way at a time, so they wait in line; each starts when the one before has ended.

use crate::netlink::route::{self, Net, Part, GROUPS};
use crate::netlink::socket::{Event, Socket};
use crate::netlink::wire::{self, Messages, Writer};
use crate::sys;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// Most pieces read in one call, more than fit the queue at once: a storm of announcements cannot
/// hold up the loop.
const READS_MAX: usize = 4096;
/// Most rounds of the first reading, and how long each may wait, in milliseconds.
const FIRST_ROUNDS_MAX: usize = 64;
const FIRST_WAIT_MS: u16 = 1000;

/// A socket with announcements of links, addresses and routes.
pub struct Watch {
    socket: Socket,
    writer: Writer,
    waiting: Vec<Part>,
    asked: Option<(Part, u32)>,
    drained: bool,
}

impl Watch {
    /// Opens the socket and reads all there is into `net`, waiting for it: a second at most where
    /// the kernel is slow.
    ///
    /// # Errors
    /// The socket cannot be had, or the kernel does not answer.
    pub fn open(net: &mut Net) -> io::Result<Watch> {
        let mut watch = Watch {
            socket: Socket::rtnetlink(&GROUPS)?,
            writer: Writer::new(1),
            waiting: Part::ALL.to_vec(),
            asked: None,
            drained: true,
        };
        watch.ask_next(net)?;
        for _ in 0..FIRST_ROUNDS_MAX {
            watch.read(net)?;
            if watch.asked.is_none() {
                return Ok(watch);
            }
            if !sys::wait_readable(&watch.socket, FIRST_WAIT_MS)? {
                break;
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Takes what has been announced, without waiting. `true` if `net` may give another answer
    /// now. Lost announcements and links that changed are made up for by asking anew.
    ///
    /// Reads until the socket is empty, or [`READS_MAX`] times; then there is more to come at
    /// once, and an edge-triggered caller must call again: see [`is_drained`](Watch::is_drained).
    pub fn read(&mut self, net: &mut Net) -> io::Result<bool> {
        let mut changed = false;
        self.drained = false;
        for _ in 0..READS_MAX {
            match self.socket.event()? {
                Event::Bytes(length) => changed |= self.take(length, net)?,
                Event::Lost => {
                    self.want(Part::ALL);
                    self.ask_next(net)?;
                }
                Event::Empty => {
                    self.drained = true;
                    break;
                }
            }
        }
        Ok(changed)
    }

    /// Whether the last [`read`](Watch::read) left nothing behind.
    pub fn is_drained(&self) -> bool {
        self.drained
    }

    fn take(&mut self, length: usize, net: &mut Net) -> io::Result<bool> {
        let mut changed = false;
        let (mut ended, mut again) = (None, false);
        for message in Messages(self.socket.received(length)) {
            let asked = self.asked.filter(|(_, sequence)| *sequence == message.sequence);
            again |= asked.is_some() && message.flags & wire::DUMP_INTERRUPTED != 0;
            match (message.kind, asked) {
                (wire::DONE, Some((part, _))) if message.errno() == 0 => {
                    changed |= net.finish(part);
                    ended = Some(part);
                }
                (wire::DONE | wire::ERROR, Some((part, _))) => ended = Some(part),
                _ => changed |= net.apply(&message),
            }
        }
        if again {
            self.want(self.asked.map(|(part, _)| part));
        }
        if net.take_stale() {
            self.want([Part::Routes]);
        }
        if ended.is_some() {
            self.asked = None;
        }
        self.ask_next(net)?;
        Ok(changed)
    }

    fn want(&mut self, parts: impl IntoIterator<Item = Part>) {
        for part in parts {
            if !self.waiting.contains(&part) {
                self.waiting.push(part);
            }
        }
    }

    fn ask_next(&mut self, net: &mut Net) -> io::Result<()> {
        if self.asked.is_none() && !self.waiting.is_empty() {
            let part = self.waiting[0];
            let sequence = route::request(&mut self.writer, part);
            self.socket.send(&self.writer.finish())?;
            net.begin(part);
            self.waiting.remove(0);
            self.asked = Some((part, sequence));
        }
        Ok(())
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
