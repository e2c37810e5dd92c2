//! The HTTP server: connections counted, timed and answered; what is said is [`igd::respond`]'s.

use super::lan::Place;
use super::neighbours::RESOLVE_TRIES;
use super::runtime::{yield_now, Io, Task};
use super::{sockets, system, Daemon};
use crate::igd::{self, events};
use crate::proto::http::{self, BodyKind, Response};
use crate::sys::Interest;
use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Connections at once, from all hosts. Each may hold a head and a body: some 24 KiB.
pub const CONNECTIONS_MAX: usize = 96;
/// Connections at once over IPv6: a host has as many addresses as it likes.
pub const CONNECTIONS_V6_MAX: usize = 48;
/// Connections at once from one host.
pub const CONNECTIONS_PER_HOST: usize = 40;
/// Requests answered on one connection before it is closed.
pub const REQUESTS_PER_CONNECTION: usize = 100;
/// Time for a head to arrive, once the connection is there or the last answer is written.
pub const HEAD_TIME: Duration = Duration::from_secs(5);
/// Time for a head and its body to arrive.
pub const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Time for an answer to be taken.
pub const ANSWER_TIME: Duration = Duration::from_secs(10);
/// An answer up to this length is always given; larger ones, which only a listing can be, share
/// [`LARGE_ANSWERS_PER_HOST`] and [`LARGE_ANSWERS_MAX`]. A client that takes no byte of its answer
/// holds it for [`ANSWER_TIME`].
pub const SMALL_ANSWER: usize = 16 << 10;
/// Bytes of large answers on their way to one host at once.
pub const LARGE_ANSWERS_PER_HOST: usize = 5 << 20;
/// Bytes of large answers on their way at once, to all hosts.
pub const LARGE_ANSWERS_MAX: usize = 5 << 20;
/// Seconds after which a large answer may be asked for again: [`ANSWER_TIME`].
const RETRY_AFTER: &str = "10";
/// Bytes read and thrown away after an error, so that the answer is not lost to a reset.
const DISCARD_MAX: usize = 64 << 10;
/// Time for that.
const DISCARD_TIME: Duration = Duration::from_secs(1);
/// Pause when the system has no descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Read at once.
const READ_SIZE: usize = 2048;

/// The connections there are.
#[derive(Default)]
pub struct Connections {
    /// Oldest first.
    tasks: Vec<(IpAddr, Task<()>)>,
    /// Large answers on their way.
    large: Rc<RefCell<Vec<(IpAddr, usize)>>>,
}

/// Room for one large answer; given back when dropped.
struct Room {
    large: Rc<RefCell<Vec<(IpAddr, usize)>>>,
    answer: (IpAddr, usize),
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut large = self.large.borrow_mut();
        if let Some(at) = large.iter().position(|answer| *answer == self.answer) {
            large.swap_remove(at);
        }
    }
}

impl Connections {
    /// Puts one more connection of `host` in: those that have ended are forgotten, and the oldest
    /// one (of that host if it has its full number) is closed if need be.
    fn put(&mut self, host: IpAddr, task: Task<()>) {
        self.tasks.retain(|(_, task)| !task.is_finished());
        let of_host = self.tasks.iter().filter(|(peer, _)| *peer == host).count();
        let of_v6 = self.tasks.iter().filter(|(peer, _)| peer.is_ipv6()).count();
        let oldest = if of_host >= CONNECTIONS_PER_HOST {
            self.tasks.iter().position(|(peer, _)| *peer == host)
        } else if host.is_ipv6() && of_v6 >= CONNECTIONS_V6_MAX {
            self.tasks.iter().position(|(peer, _)| peer.is_ipv6())
        } else {
            (self.tasks.len() >= CONNECTIONS_MAX).then_some(0)
        };
        if let Some(oldest) = oldest {
            drop(self.tasks.remove(oldest));
        }
        self.tasks.push((host, task));
    }

    /// Room for an answer of this length to `host`, if there is any.
    fn room(&self, host: IpAddr, length: usize) -> Option<Room> {
        let mut large = self.large.borrow_mut();
        let all: usize = large.iter().map(|(_, length)| length).sum();
        let own: usize = large.iter().filter(|(to, _)| *to == host).map(|(_, l)| l).sum();
        if own + length > LARGE_ANSWERS_PER_HOST || all + length > LARGE_ANSWERS_MAX {
            return None;
        }
        large.push((host, length));
        Some(Room { large: self.large.clone(), answer: (host, length) })
    }
}

/// Takes connections on one LAN address for ever.
pub async fn listen(daemon: Daemon, place: Place, listener: Io<TcpListener>) {
    let Ok(local) = listener.get().local_addr() else { return };
    loop {
        let (stream, peer) = match listener.read_with(sockets::accept).await {
            Ok(taken) => taken,
            Err(e) => {
                log::debug!("no connection taken on {}: {e}", place.lan.address);
                daemon.runtime().sleep_until(Instant::now() + ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !place.lan.hears(peer.ip()) {
            sockets::reset(&stream);
            continue;
        }
        let stream = daemon.runtime().watch_later(stream, Interest::Both);
        let serve = serve(daemon.clone(), stream, local, place.clone(), peer.ip());
        daemon.connections().put(peer.ip(), daemon.runtime().spawn(serve));
        yield_now().await;
    }
}

/// Why a connection ends.
enum End {
    /// The client is gone, or silent for too long.
    Quiet,
    /// The request cannot be served; this is said first.
    Refused(u16),
}

impl From<http::Error> for End {
    fn from(error: http::Error) -> End {
        End::Refused(error.status())
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Quiet
    }
}

/// One connection.
struct Connection {
    daemon: Daemon,
    stream: Io<TcpStream>,
    local: SocketAddr,
    place: Place,
    client: IpAddr,
    /// What has arrived and is not used yet.
    buffer: Vec<u8>,
}

async fn serve(
    daemon: Daemon,
    stream: Io<TcpStream>,
    local: SocketAddr,
    place: Place,
    client: IpAddr,
) {
    let mut connection = Connection { daemon, stream, local, place, client, buffer: Vec::new() };
    for left in (0..REQUESTS_PER_CONNECTION).rev() {
        match connection.request(left == 0).await {
            // Requests that wait in one piece must not hold up the others.
            Ok(true) => yield_now().await,
            Ok(false) | Err(End::Quiet) => return,
            Err(End::Refused(status)) => return connection.refuse(status).await,
        }
    }
}

impl Connection {
    /// Answers one request; `false` when it was the last.
    async fn request(&mut self, last: bool) -> Result<bool, End> {
        let start = Instant::now();
        let end = self.head(start + HEAD_TIME).await?;
        let rest = self.buffer.split_off(end);
        let head = std::mem::replace(&mut self.buffer, rest);
        let (request, _) = http::parse_head(&head)?.ok_or(End::Quiet)?;
        let kind = request.body()?;
        if request.wants_continue() && kind != BodyKind::None && self.buffer.is_empty() {
            self.write(http::CONTINUE, start + REQUEST_TIME, false).await?;
        }
        let body = self.body(kind, start + REQUEST_TIME).await?;
        let mut response = self.response(&request, &body).await;
        let length = response.body.len();
        let large = length > SMALL_ANSWER;
        let room = large.then(|| self.daemon.connections().room(self.client, length));
        // Nothing is lost by it: what changes something has a small answer.
        if matches!(room, Some(None)) {
            response = Response::new(503).header("Retry-After", RETRY_AFTER);
        }
        let close = last || !request.keep_alive();
        let head_only = request.method == http::Method::Head;
        log::debug!(
            "{}: {} {} -> {}",
            self.client,
            method(&request),
            request.path,
            response.status
        );
        // What fits goes out in one piece: some clients read no more. A large body is not copied.
        let apart = response.body.len() > SMALL_ANSWER;
        let mut out = Vec::new();
        response.write(&mut out, super::SERVER, &date(), head_only || apart, close);
        let until = Instant::now() + ANSWER_TIME;
        let body = if apart && !head_only { &response.body[..] } else { &[] };
        let mut written = self.write(&out, until, close || !body.is_empty()).await;
        if written.is_ok() && !body.is_empty() {
            written = self.write(body, until, close).await;
        }
        if close {
            // Its end goes with the answer.
            let _ = self.stream.get().shutdown(Shutdown::Write);
        }
        let renewal = request.header("sid").is_some();
        if request.method == http::Method::Subscribe && response.status == 200 && !renewal {
            // The first event follows the answer (UDA 1.1 §4.1.2).
            let sid = response.headers.iter().find(|(name, _)| *name == "SID");
            sid.into_iter().for_each(|(_, sid)| self.daemon.subscribed(sid, written.is_ok()));
        }
        written?;
        drop(room);
        Ok(!close)
    }

    /// The answer; if it is a refusal that a neighbour's link-layer address may change, the kernel
    /// is given time to find that out. A refusal has changed nothing.
    async fn response(&self, request: &http::Request<'_>, body: &[u8]) -> Response {
        let mut tries = 0;
        loop {
            let unknown = Cell::new(None);
            let response =
                self.daemon.answer(request, body, self.local, &self.place, self.client, &unknown);
            match unknown.get() {
                Some(neighbour) if response.status >= 400 && tries < RESOLVE_TRIES => {
                    tries += 1;
                    self.daemon.resolve(&self.place, neighbour).await;
                }
                _ => return response,
            }
        }
    }

    /// Reads until a whole head is there, or more than any head may have; its length.
    async fn head(&mut self, until: Instant) -> Result<usize, End> {
        let mut searched = 0;
        loop {
            if let Some(end) = http::find_head_end(&self.buffer, searched) {
                return Ok(end);
            }
            if self.buffer.len() > http::HEAD_MAX {
                return Ok(self.buffer.len());
            }
            searched = self.buffer.len();
            match self.read_more(until).await? {
                Some(0) => return Err(End::Quiet),
                Some(_) => {}
                // Silence is nothing to answer, nor is the line end that some clients send after
                // a body: an answer nobody asked for would be taken for that to the next request.
                None if self.buffer.trim_ascii().is_empty() => return Err(End::Quiet),
                None => return Err(End::Refused(408)),
            }
        }
    }

    /// Reads the body that the head announced.
    async fn body(&mut self, kind: BodyKind, until: Instant) -> Result<Vec<u8>, End> {
        match kind {
            BodyKind::None => Ok(Vec::new()),
            BodyKind::Length(length) => {
                while self.buffer.len() < length {
                    self.must_read_more(until).await?;
                }
                let rest = self.buffer.split_off(length);
                Ok(std::mem::replace(&mut self.buffer, rest))
            }
            BodyKind::Chunked => {
                let mut decoder = http::Chunked::new();
                let mut body = Vec::new();
                loop {
                    let progress = decoder.decode(&self.buffer, &mut body)?;
                    self.buffer.drain(..progress.consumed);
                    if progress.done {
                        return Ok(body);
                    }
                    self.must_read_more(until).await?;
                }
            }
        }
    }

    async fn must_read_more(&mut self, until: Instant) -> Result<(), End> {
        match self.read_more(until).await? {
            Some(0) => Err(End::Quiet),
            Some(_) => Ok(()),
            None => Err(End::Refused(408)),
        }
    }

    /// Reads what is there; the number of bytes, 0 at the end, `None` when the time is up.
    async fn read_more(&mut self, until: Instant) -> io::Result<Option<usize>> {
        let mut bytes = [0; READ_SIZE];
        let read = self.stream.read_with(|mut stream| stream.read(&mut bytes));
        let Some(read) = self.daemon.runtime().until(until, read).await else { return Ok(None) };
        let read = read?;
        self.buffer.extend_from_slice(bytes.get(..read).unwrap_or_default());
        Ok(Some(read))
    }

    /// Writes all of it; `more` says that more will follow at once, or the connection's end.
    async fn write(&self, bytes: &[u8], until: Instant, more: bool) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let write = self.stream.write_with(|mut stream| match more {
                true => sockets::write_more(stream, rest),
                false => stream.write(rest),
            });
            match self.daemon.runtime().until(until, write).await {
                Some(written) => rest = rest.get(written?..).unwrap_or_default(),
                None => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        Ok(())
    }

    /// Says why, and reads on a little: closing with unread bytes would reset the connection and
    /// take the answer with it.
    async fn refuse(&mut self, status: u16) {
        log::debug!("{}: refused with {status}", self.client);
        let mut out = Vec::new();

        Response::new(status).write(&mut out, super::SERVER, &date(), false, true);
        if self.write(&out, Instant::now() + ANSWER_TIME, true).await.is_err() {
            return;
        }
        let _ = self.stream.get().shutdown(Shutdown::Write);
        let until = Instant::now() + DISCARD_TIME;
        let mut discarded = 0;
        while discarded < DISCARD_MAX {
            self.buffer.clear();
            match self.read_more(until).await {
                Ok(Some(read)) if read > 0 => discarded += read,
                _ => return,
            }
        }
    }
}

fn method(request: &http::Request<'_>) -> &'static str {
    match request.method {
        http::Method::Get => "GET",
        http::Method::Head => "HEAD",
        http::Method::Post => "POST",
        http::Method::MPost => "M-POST",
        http::Method::Subscribe => "SUBSCRIBE",
        http::Method::Unsubscribe => "UNSUBSCRIBE",
        http::Method::Other => "?",
    }
}

impl Daemon {
    /// Answers one whole request and does what follows from it.
    fn answer(
        &self,
        request: &http::Request<'_>,
        body: &[u8],
        local: SocketAddr,
        place: &Place,
        client: IpAddr,
        unknown: &Cell<Option<IpAddr>>,
    ) -> Response {
        let mut state = self.state();
        let names: Vec<&str> = state.config.http_names.iter().map(String::as_str).collect();
        // HTTP/1.0 knows no Host header, and no browser speaks it.
        let allowed = match request.host() {
            None => !request.http11,
            host => http::host_allowed(host, local, &names),
        };
        if !allowed {
            return Response::new(403);
        }
        if let Some(at) = events::subject(request, &state.identity) {
            drop(state);
            return self.subscribe(at, request, place, client, unknown);
        }
        let state = &mut *state;
        let link = state.link();
        let device = state.gateway.wan().device.clone();
        let response = igd::respond(
            &mut igd::Context {
                gateway: &mut state.gateway,
                identity: &state.identity,
                link,
                counters: &|| system::counters(device.as_deref()),
                client,
                same_host: &|other| self.same_host(place, client, other, unknown),
                timeouts: &system::timeout,
                now: Instant::now(),
            },
            request,
            body,
        );
        self.mutated(state);
        response
    }
}

fn date() -> String {
    http::date(system::unix_time())
}
