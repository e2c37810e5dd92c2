//! The connection to ubusd: messages out and in, and questions with their answers.

use super::methods::{self, OBJECTS};
use crate::daemon::runtime::{or, yield_now, Io, Runtime, Signal};
use crate::daemon::Daemon;
use crate::proto::blobmsg::{Fields, Writer};
use crate::proto::ubus::{self, Message, Type};
use crate::sys::Interest;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Time for ubusd to take what is sent.
const WRITE_TIME: Duration = Duration::from_secs(5);
/// Time for an answer, and for ubusd's first words.
const ASK_TIME: Duration = Duration::from_secs(3);
/// Longest message that is kept to be read, in bytes; longer ones are passed over. netifd's on one
/// network are of some thousands.
const RECEIVE_MAX: usize = 64 << 10;
/// Bytes taken at once.
const PIECE: usize = 1024;

/// LuCI's own object, and its own app's plugin of rpcd, which has the name wherever it is there:
/// rpcd frees memory that it goes on using when it finds the name taken.
const LUCI_NAME: &str = "luci.upnp";
const LUCI_PLUGIN: &str = "/usr/share/rpcd/ucode/luci.upnp";

/// The object that hears events.
const LISTENER: usize = OBJECTS.len() - 1;
/// What it hears: networks that go up or down, and netifd's coming back.
const PATTERNS: [&str; 2] = ["network.interface", "ubus.object.add"];

/// A connection to ubusd.
pub(super) struct Link {
    runtime: Runtime,
    stream: Io<UnixStream>,
    /// Ends a wait.
    wake: Signal,
    /// What has arrived and is not yet read.
    inbox: Vec<u8>,
    /// Of what arrives next, so many bytes are of a message that is passed over.
    skip: usize,
    /// What is sent before anything else is read: an answer, a question, the events that wait.
    outbox: Vec<u8>,
    sequence: u16,
    /// Who answers calls; `None` while the daemon does not run yet.
    daemon: Option<Daemon>,
    /// Which numbers ubusd has given to [`OBJECTS`].
    objects: [Option<u32>; OBJECTS.len()],
    /// Whose notifications the listener hears.
    target: Option<u32>,
    /// netifd may say something else by now.
    pub(super) refresh: bool,
}

impl Link {
    /// Hears ubusd's first words.
    pub(super) async fn join(
        runtime: &Runtime,
        socket: UnixStream,
        daemon: Option<Daemon>,
    ) -> io::Result<Link> {
        let mut link = Link {
            runtime: runtime.clone(),
            stream: runtime.watch(socket, Interest::Both)?,
            wake: daemon.as_ref().map(|daemon| daemon.0.bus.wake.clone()).unwrap_or_default(),
            inbox: Vec::new(),
            skip: 0,
            outbox: Vec::new(),
            sequence: 0,
            daemon,
            objects: [None; OBJECTS.len()],
            target: None,
            refresh: false,
        };
        link.answer(Type::Hello, 0, &mut |_| ()).await?.ok_or(ErrorKind::TimedOut)?;
        Ok(link)
    }

    /// Makes our objects known and registers for events.
    pub(super) async fn publish(&mut self) -> io::Result<()> {
        for (at, object) in OBJECTS.iter().enumerate() {
            let path = object.map(|(path, _)| path);
            if path == Some(LUCI_NAME) && Path::new(LUCI_PLUGIN).exists() {
                continue;
            }
            let request = ubus::add_object(self.next(), *object);
            self.send(&request);
            let mut id = None;
            let mut take = |message: &Message<'_>| id = message.object;
            self.answer(Type::Status, 0, &mut take).await?.ok_or(ErrorKind::TimedOut)?;
            self.objects[at] = id;
            if let (None, Some(path)) = (id, path) {
                log::info!(
                    "ubus: {path} is refused: another has it, or no ACL lets this user publish it"
                );
            }
        }
        for pattern in PATTERNS {
            let Some(listener) = self.objects[LISTENER] else { break };
            let mut register = ubus::invoke(self.next(), ubus::EVENTS, "register");
            register.number("object", listener.into());
            register.text("pattern", pattern);
            self.send(&register.finish());
        }
        Ok(())
    }

    /// The number of the next message.
    fn next(&mut self) -> u16 {
        // 0 is the events'.
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    /// Has our listener hear what an object notifies. Once: ubusd does not count who asks again.
    pub(super) fn subscribe(&mut self, target: u32) {
        let before = self.target.replace(target);
        if let Some(listener) = self.objects[LISTENER].filter(|_| before != Some(target)) {
            let request = ubus::subscribe(self.next(), listener, target);
            self.send(&request);
        }
    }

    /// Calls a method of the object at a path and takes its data. Returns the object and how the
    /// call ended; `None` where there is no such object, or no end in time.
    pub(super) async fn ask(
        &mut self,
        path: &str,
        method: &str,
        fill: &dyn Fn(&mut Writer),
        take: &mut dyn FnMut(Fields<'_>),
    ) -> io::Result<(Option<u32>, Option<u32>)> {
        let request = ubus::lookup(self.next(), path);
        self.send(&request);
        let mut id = None;
        self.answer(Type::Status, 0, &mut |message| id = message.object).await?;
        let Some(object) = id else { return Ok((None, None)) };
        let mut request = ubus::invoke(self.next(), object, method);
        fill(&mut request);
        self.send(&request.finish());
        let mut data = |message: &Message<'_>| {
            take(Fields::new(message.data.unwrap_or_default()));
        };
        Ok((id, self.answer(Type::Status, object, &mut data).await?))
    }

    /// Waits for the end of the answer that whoever `peer` is gives to what was sent last, and
    /// takes its parts; whatever else arrives meanwhile is handled. Returns the status; `None` when
    /// it did not come in time.
    async fn answer(
        &mut self,
        end: Type,
        peer: u32,
        take: &mut dyn FnMut(&Message<'_>),
    ) -> io::Result<Option<u32>> {
        let until = Instant::now() + ASK_TIME;
        while Instant::now() < until {
            let bytes = self.turn(until).await?;
            let Some(message) = ubus::read(&bytes) else { continue };
            let is_ours = message.sequence == self.sequence && message.peer == peer;
            if message.kind == end as u8 && (is_ours || end == Type::Hello) {
                return Ok(Some(message.status.unwrap_or(0)));
            }
            match is_ours && message.kind == Type::Data as u8 {
                true => take(&message),
                false => self.handle(&bytes),
            }
        }
        Ok(None)
    }

    /// Does what a message wants that is no answer to a question of ours.
    pub(super) fn handle(&mut self, bytes: &[u8]) {
        let call = ubus::read(bytes).filter(|message| message.kind == Type::Invoke as u8);
        let (Some(daemon), Some(message)) = (&self.daemon, call) else { return };
        let Some(id) = message.object else { return };
        let at = self.objects.iter().position(|known| *known == Some(id));
        if at == Some(LISTENER) {
            self.refresh |= methods::is_of_networks(&message);
        } else if !message.no_reply {
            let answer = methods::answer(daemon, at, &message, id);
            self.send(&answer);
        }
    }

    /// Sends a message at the next [`turn`](Link::turn).
    pub(super) fn send(&mut self, message: &[u8]) {
        self.outbox.extend_from_slice(message);
    }

    /// Sends what is to be sent and waits for the next message; there is none when it does not come
    /// in time, or the daemon has something to be done.
    ///
    /// # Errors
    /// The connection has ended, or what arrives makes no sense.
    pub(super) async fn turn(&mut self, until: Instant) -> io::Result<Vec<u8>> {
        let out = std::mem::take(&mut self.outbox);
        let mut rest = &out[..];
        while !rest.is_empty() {
            let until = Instant::now() + WRITE_TIME;
            let written = self.stream.write_with(|mut stream| stream.write(rest));
            let written = self.runtime.until(until, written).await.ok_or(ErrorKind::TimedOut)??;
            rest = rest.get(written..).unwrap_or_default();
        }
        loop {
            // However much there is to read: everybody else is heard in between.
            yield_now().await;
            let gone = self.skip.min(self.inbox.len());
            self.skip -= gone;
            self.inbox.drain(..gone);
            match ubus::length(&self.inbox).map_err(|_| ErrorKind::InvalidData)? {
                Some(length) if length > RECEIVE_MAX => {
                    self.skip = length;
                    continue;
                }
                Some(length) if length <= self.inbox.len() => {
                    let rest = self.inbox.split_off(length);
                    return Ok(std::mem::replace(&mut self.inbox, rest));
                }
                _ => {}
            }
            let mut bytes = [0; PIECE];
            let read = self.stream.read_with(|mut stream| stream.read(&mut bytes));
            let read = self.runtime.until(
                until,
                or(async { Some(read.await) }, async {
                    self.wake.wait().await;
                    None
                }),
            );
            match read.await.flatten().transpose()? {
                Some(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Some(read) => self.inbox.extend_from_slice(bytes.get(..read).unwrap_or_default()),
                None => return Ok(Vec::new()),
            }
        }
    }
}
