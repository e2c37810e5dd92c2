//! Netlink sockets: questions with their answers, and announcements.
//!
//! The kernel has queued its answers by the time a request has been sent, so nothing here waits
//! for long: a read that finds nothing is given [`ANSWER_WAIT_MS`] once, then it is an error and
//! the socket is opened anew, so that a late answer cannot be taken for another's.

use crate::netlink::wire::{self, Message, Messages};
use crate::sys;
use neli::consts::socket::{Msg, NlFamily};
use neli::socket::NlSocket;
use neli::utils::Groups;
use socket2::{SockFilter, SockRef};
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// Bytes of the receive buffer: what the kernel fills with one piece of a dump.
pub const RECEIVE_BUFFER_LEN: usize = 32 * 1024;
/// Bytes that the kernel may queue for a socket, where it lets us choose.
const QUEUE_LEN: usize = 1 << 20;
/// Most bytes sent at once: 8192 mappings with the longest descriptions. The kernel may allow
/// less: twice `net.core.wmem_max`, by default enough for 1300 mappings in one batch.
pub const REQUEST_MAX: usize = 8 << 20;
/// Room that is left for a request without asking for more.
const SEND_BUFFER_LEN: usize = 128 * 1024;
/// Longest wait for an answer, in milliseconds.
const ANSWER_WAIT_MS: u16 = 1000;
/// Most pieces of one dump, each up to [`RECEIVE_BUFFER_LEN`] bytes.
const CHUNKS_MAX: usize = 2048;

/// `NFNLGRP_NFTABLES`.
const NF_TABLES_GROUP: u32 = 7;
/// `NFT_MSG_NEWGEN`: a change is whole, and who made it.
const NEW_GENERATION: u16 = 10 << 8 | 15;

/// The halves of a message's length that tell what fits one announcement, by the machine's order.
const LENGTH: [u32; 2] = if cfg!(target_endian = "little") { [0, 1] } else { [3, 2] };

/// Lets only those announcements through that are another process's, and of them only such as end
/// its change, such as are of our table, and such as hold several messages, whose first does not tell
/// of what the others are.
///
/// The offsets are those of the first message's kind, of the number of the socket that made the
/// change, of the process's number in a [`NEW_GENERATION`] (`NFTA_GEN_PROC_PID`, which follows the
/// generation's), of the first message's length, and of the value of the first attribute, which in all
/// others is the table's name.
fn others_changes(table: &str, own: u32) -> [SockFilter; 20] {
    const LOAD_8: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const LOAD_LENGTH: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_LEN) as u16;
    const SHIFT_LEFT: u16 = (libc::BPF_ALU | libc::BPF_LSH | libc::BPF_K) as u16;
    const OR_KEPT: u16 = (libc::BPF_ALU | libc::BPF_OR | libc::BPF_X) as u16;
    const KEEP: u16 = (libc::BPF_MISC | libc::BPF_TAX) as u16;
    const EQUAL_KEPT: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_X) as u16;
    const LOAD_16: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
    const LOAD_32: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    // What is loaded is taken for big endian; the kind and the socket are in the machine's order.
    let kind = u16::from_be_bytes(NEW_GENERATION.to_ne_bytes());
    let own = u32::from_be_bytes(own.to_ne_bytes());
    let mut name = [0; 8];
    name.iter_mut().zip(table.bytes()).for_each(|(to, byte)| *to = byte);
    let [a, b, c, d, e, f, g, h] = name;
    [
        SockFilter::new(LOAD_16, 0, 0, 4),
        SockFilter::new(EQUAL, 0, 2, kind.into()),
        SockFilter::new(LOAD_32, 0, 0, 32),
        SockFilter::new(EQUAL, 14, 15, std::process::id()),
        SockFilter::new(LOAD_32, 0, 0, 12),
        SockFilter::new(EQUAL, 12, 0, own),
        SockFilter::new(LOAD_8, 0, 0, LENGTH[1]),
        SockFilter::new(SHIFT_LEFT, 0, 0, 8),
        SockFilter::new(KEEP, 0, 0, 0),
        SockFilter::new(LOAD_8, 0, 0, LENGTH[0]),
        SockFilter::new(OR_KEPT, 0, 0, 0),
        SockFilter::new(KEEP, 0, 0, 0),
        SockFilter::new(LOAD_LENGTH, 0, 0, 0),
        SockFilter::new(EQUAL_KEPT, 0, 5, 0),
        SockFilter::new(LOAD_32, 0, 0, 24),
        SockFilter::new(EQUAL, 0, 2, u32::from_be_bytes([a, b, c, d])),
        SockFilter::new(LOAD_32, 0, 0, 28),
        SockFilter::new(EQUAL, 1, 0, u32::from_be_bytes([e, f, g, h])),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

/// A message of a batch that the kernel refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The message's number.
    pub sequence: u32,
    /// Why.
    pub errno: i32,
}

/// How a dump came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// In how many pieces. One that came in a single piece is consistent.
    pub chunks: usize,
    /// The kernel says that things changed meanwhile.
    pub interrupted: bool,
}

/// What a read of announcements gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// So many bytes of messages are in the buffer.
    Bytes(usize),
    /// Announcements were lost: ask for everything again.
    Lost,
    /// There is nothing more for now.
    Empty,
}

/// Bytes moved since the socket was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// To the kernel.
    pub sent: u64,
    /// From the kernel.
    pub received: u64,
}

/// A netlink socket and its buffer.
pub struct Socket {
    socket: NlSocket,
    family: NlFamily,
    buffer: Vec<u8>,
    send_room: usize,
    traffic: Traffic,
}

impl Socket {
    /// For netfilter: nf_tables and conntrack.
    pub fn nfnetlink() -> io::Result<Socket> {
        Socket::open(NlFamily::Netfilter, &[])
    }

    /// For links, addresses and routes, with announcements of these groups (`RTNLGRP_*` numbers).
    pub fn rtnetlink(groups: &[u32]) -> io::Result<Socket> {
        Socket::open(NlFamily::Route, groups)
    }

    /// For questions about sockets.
    pub fn diag() -> io::Result<Socket> {
        Socket::open(NlFamily::SockOrInetDiag, &[])
    }

    /// For announcements of nf_tables: one for each change that another process makes, and what is
    /// changed in the table of this name, of at most seven bytes, and elsewhere where that comes
    /// together. What the socket with the number `own` changes is not announced.
    pub fn nf_tables_changes(table: &str, own: u32) -> io::Result<Socket> {
        let socket = Socket::open(NlFamily::Netfilter, &[NF_TABLES_GROUP])?;
        socket.leave_out(table, own)?;
        Ok(socket)
    }

    /// Has such a socket leave out what another one with the number `own` changes from here on.
    pub fn leave_out(&self, table: &str, own: u32) -> io::Result<()> {
        SockRef::from(&sys::borrow_fd(self)).attach_filter(&others_changes(table, own))
    }

    /// The socket's number, by which the kernel tells it from others.
    pub fn port(&self) -> u32 {
        self.socket.pid().unwrap_or(0)
    }

    fn open(family: NlFamily, groups: &[u32]) -> io::Result<Socket> {
        Ok(Socket {
            socket: connect(family, groups)?,
            family,
            buffer: vec![0; RECEIVE_BUFFER_LEN],
            send_room: SEND_BUFFER_LEN,
            traffic: Traffic::default(),
        })
    }

    /// Bytes moved so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Sends a batch and collects what the kernel refuses of it. Empty: all is done.
    ///
    /// The last message before the end of the batch must ask for an acknowledgement. What the
    /// kernel [echoes](wire::ECHO) is handed to `echoed`.
    ///
    /// # Errors
    /// No answer, or the kernel does not take the bytes at all.
    pub fn batch(
        &mut self,
        batch: &[u8],
        echoed: &mut dyn FnMut(&Message<'_>),
    ) -> io::Result<Vec<Fault>> {
        let last = Messages(batch).filter(|m| m.flags & wire::ACK != 0).last();
        let last = last.map(|message| message.sequence);
        self.send(batch)?;
        let mut faults = Vec::new();
        let (mut answered, mut lost) = (false, false);
        // Its answer comes after all others; if the kernel did not get as far, it answers less.
        let mut whole = false;
        while !whole {
            let length = match self.receive() {
                Ok(length) => length,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if answered || lost {
                        break;
                    }
                    self.wait()?;
                    continue;
                }
                // More answers than there is room for: the first are still queued.
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                    lost = true;
                    continue;
                }
                Err(e) => return Err(e),
            };
            for message in Messages(&self.buffer[..length]) {
                if message.kind != wire::ERROR {
                    echoed(&message);
                    continue;
                }
                answered = true;
                whole |= Some(message.sequence) == last;
                let errno = message.errno();
                if errno != 0 {
                    faults.push(Fault { sequence: message.sequence, errno });
                }
            }
        }
        if faults.is_empty() && !answered {
            return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
        }
        Ok(faults)
    }

    /// Sends one request and hands each message of the answer to `each`.
    ///
    /// The request must be a dump or ask for an acknowledgement: that is how the end is known.
    ///
    /// # Errors
    /// What the kernel answers (by number), no answer, or an answer without end.
    pub fn ask(&mut self, request: &[u8], each: &mut dyn FnMut(&Message<'_>)) -> io::Result<Dump> {
        let Some(sequence) = Messages(request).next().map(|m| m.sequence) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        self.send(request)?;
        let mut dump = Dump::default();
        while dump.chunks < CHUNKS_MAX {
            let length = match self.receive() {
                Ok(length) => length,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.wait()?;
                    continue;
                }
                Err(e) => {
                    self.reopen()?;
                    return Err(e);
                }
            };
            let mut any = false;
            for message in Messages(&self.buffer[..length]).filter(|m| m.sequence == sequence) {
                dump.interrupted |= message.flags & wire::DUMP_INTERRUPTED != 0;
                match message.kind {
                    wire::ERROR | wire::DONE => {
                        dump.chunks += usize::from(any);
                        return match message.errno() {
                            0 => Ok(dump),
                            errno => Err(io::Error::from_raw_os_error(errno)),
                        };
                    }
                    _ => {
                        any = true;
                        each(&message);
                    }
                }
            }
            dump.chunks += usize::from(any);
        }
        self.reopen()?;
        Err(io::ErrorKind::FileTooLarge.into())
    }

    /// Reads announcements, without waiting.
    pub fn event(&mut self) -> io::Result<Event> {
        match self.receive() {
            Ok(length) => Ok(Event::Bytes(length)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Event::Empty),
            Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => Ok(Event::Lost),
            Err(e) => Err(e),
        }
    }

    /// The first `length` bytes of the buffer, as [`event`](Socket::event) filled it.
    pub fn received(&self, length: usize) -> &[u8] {
        self.buffer.get(..length).unwrap_or_default()
    }

    /// Sends a request without looking for its answer.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > REQUEST_MAX {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        if bytes.len() > self.send_room {
            // The kernel counts its own bookkeeping too, and doubles what it is asked for.
            sys::force_send_buffer(&self.socket, u32::try_from(bytes.len()).unwrap_or(u32::MAX))?;
            self.send_room = bytes.len();
        }
        loop {
            match self.socket.send(bytes, Msg::empty()) {
                Ok(sent) => {
                    self.traffic.sent = self.traffic.sent.wrapping_add(sent as u64);
                    return Ok(());
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn receive(&mut self) -> io::Result<usize> {
        loop {
            match self.socket.recv(&mut self.buffer[..], Msg::empty()) {
                Ok((length, _)) => {
                    self.traffic.received = self.traffic.received.wrapping_add(length as u64);
                    return Ok(length.min(self.buffer.len()));
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        if sys::wait_readable(&self.socket, ANSWER_WAIT_MS)? {
            return Ok(());
        }
        self.reopen()?;
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Opens the socket anew, so that what is still under way for the old one is forgotten.
    fn reopen(&mut self) -> io::Result<()> {
        self.socket = connect(self.family, &[])?;
        self.send_room = SEND_BUFFER_LEN;
        Ok(())
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn connect(family: NlFamily, groups: &[u32]) -> io::Result<NlSocket> {
    let socket = NlSocket::connect(family, None, Groups::new_groups(groups))?;
    socket.nonblock()?;
    socket.set_recv_buffer_size(QUEUE_LEN)?;
    Ok(socket)
}
