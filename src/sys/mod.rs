//! The one place that is `unsafe`: system calls that neither std nor socket2 offer safely.
//!
//! Why it exists: neli's `NlSocket` lends only a raw file descriptor; epoll and signalfd have no
//! safe form in libc; and the safe wrappers of other crates bring either a helper thread or a
//! timer that does not fire on 32-bit MIPS. Everything here is safe to call, holds what it opens
//! in an [`OwnedFd`], and takes times in whole milliseconds, so that no kernel time structure,
//! whose width differs between C libraries, is ever built by hand.
#![allow(unsafe_code)]

pub mod privileges;
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "mips"
))]
mod seccomp;

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Turns a system call's `-1` into the error it left.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Borrows the descriptor of something that only offers it raw, for as long as it is borrowed.
pub fn borrow_fd<T: AsRawFd>(owner: &T) -> BorrowedFd<'_> {
    // SAFETY: `owner` keeps its descriptor open while it is borrowed.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}

/// Waits until `socket` can be read or `milliseconds` have passed; `true` if it can be read.
pub fn wait_readable<T: AsRawFd>(socket: &T, milliseconds: u16) -> io::Result<bool> {
    let mut entry = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    loop {
        // SAFETY: one valid pollfd.
        match check(unsafe { libc::poll(&mut entry, 1, libc::c_int::from(milliseconds)) }) {
            Ok(ready) => return Ok(ready > 0),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Lets `bytes` wait to be sent, beyond `net.core.wmem_max` where we may (CAP_NET_ADMIN).
pub fn force_send_buffer<T: AsRawFd>(socket: &T, bytes: u32) -> io::Result<()> {
    let size = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: the option takes a C int, which the kernel copies.
    let set = |option| unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const size).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if set(libc::SO_SNDBUFFORCE) != 0 {
        check(set(libc::SO_SNDBUF))?;
    }
    Ok(())
}

/// Has the kernel end this process at every system call that the running daemon has no use for,
/// from here to its end.
///
/// # Errors
/// `EINVAL` where the kernel has no filters; `Unsupported` where the calls of the processor are
/// not known.
pub fn filter_calls() -> io::Result<()> {
    #[cfg(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "arm",
        target_arch = "mips"
    ))]
    return seccomp::install();
    #[allow(unreachable_code)]
    Err(io::ErrorKind::Unsupported.into())
}

/// What a descriptor is to be watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to read.
    Read,
    /// Something to read, or room to write.
    Both,
}

/// What has happened to a descriptor. An error or hang-up counts as both: the next call tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// It can be read.
    pub read: bool,
    /// It can be written.
    pub write: bool,
}

/// Most events taken from the kernel at once.
const EVENTS_MAX: usize = 32;

/// An epoll instance, edge-triggered: an event comes once, after which the descriptor is to be
/// read or written until it would block.
pub struct Epoll(OwnedFd);

impl Epoll {
    /// Opens one.
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers; the descriptor returned is ours.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: just opened, owned by nobody else.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Starts watching; events carry `token`. Closing the descriptor ends it.
    pub fn add(&self, fd: RawFd, token: u32, interest: Interest) -> io::Result<()> {
        let mut events = libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET;
        if interest == Interest::Both {
            events |= libc::EPOLLOUT;
        }
        let mut event = libc::epoll_event { events: events as u32, u64: u64::from(token) };
        // SAFETY: `event` is valid for the call, which copies it.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) })?;
        Ok(())
    }

    /// Waits for events, for `milliseconds` at most or without end when negative, and calls
    /// `found` for each. An interrupting signal ends the wait early.
    pub fn wait(&self, milliseconds: i32, mut found: impl FnMut(u32, Ready)) -> io::Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        // SAFETY: the array is valid for EVENTS_MAX events.
        let count = check(unsafe {
            libc::epoll_wait(
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                EVENTS_MAX as libc::c_int,
                milliseconds,
            )
        });
        let count = match count {
            Ok(count) => count as usize,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => 0,
            Err(e) => return Err(e),
        };
        for event in events.iter().take(count) {
            let bits = event.events as libc::c_int;
            let broken = bits & (libc::EPOLLERR | libc::EPOLLHUP) != 0;
            let read = broken || bits & (libc::EPOLLIN | libc::EPOLLRDHUP) != 0;
            let write = broken || bits & libc::EPOLLOUT != 0;
            found(event.u64 as u32, Ready { read, write });
        }
        Ok(())
    }
}

/// The signals the daemon lives by, read like a socket.
pub struct Signals(OwnedFd);

/// One of the signals the daemon lives by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: end.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

impl Signals {
    /// Blocks SIGTERM, SIGINT and SIGHUP and opens a descriptor that tells of them. SIGPIPE is
    /// ignored by Rust's start-up code already.
    pub fn open() -> io::Result<Signals> {
        // SAFETY: `set` is a plain C structure filled by sigemptyset; the calls copy it.
        unsafe {
            let mut set: libc::sigset_t = zeroed();
            libc::sigemptyset(&mut set);
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
                libc::sigaddset(&mut set, signal);
            }
            check(libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()))?;
            let fd = check(libc::signalfd(-1, &set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC))?;
            Ok(Signals(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// The next signal that has arrived, or `None`.
    pub fn read(&self) -> io::Result<Option<Signal>> {
        // SAFETY: signalfd_siginfo is plain data; the kernel writes at most its size.
        let (info, got) = unsafe {
            let mut info: libc::signalfd_siginfo = zeroed();
            let size = size_of::<libc::signalfd_siginfo>();
            let got = libc::read(self.0.as_raw_fd(), (&raw mut info).cast(), size);
            (info, got)
        };
        if got < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(error),
            };
        }
        Ok(match info.ssi_signo as libc::c_int {
            libc::SIGHUP => Some(Signal::Reload),
            _ => Some(Signal::Stop),
        })
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn epoll_tells_which_descriptor_can_be_read() {
        let epoll = Epoll::new().unwrap();
        let (mut a, b) = UnixStream::pair().unwrap();
        epoll.add(b.as_raw_fd(), 7, Interest::Read).unwrap();
        let mut seen = Vec::new();
        epoll.wait(0, |token, ready| seen.push((token, ready))).unwrap();
        assert_eq!(seen, []);
        a.write_all(b"x").unwrap();
        epoll.wait(1000, |token, ready| seen.push((token, ready))).unwrap();
        epoll.wait(0, |token, ready| seen.push((token, ready))).unwrap();
        assert_eq!(seen, [(7, Ready { read: true, write: false })]);
        assert!(wait_readable(&b, 0).unwrap());
        assert!(!wait_readable(&a, 0).unwrap());
    }
}
