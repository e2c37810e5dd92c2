//! The HTTP server: connections counted, timed and answered; what is said is [`igd::respond`]'s.

use super::lan::Place;
use super::neighbours::RESOLVE_TRIES;
use super::runtime::{yield_now, Io, Task};
use super::{sockets, system, Daemon};
use crate::igd::{self, events};
use crate::proto::http::{self, BodyKind, Response};
use crate::sys::Interest;
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Connections at once, from all hosts.
pub const CONNECTIONS_MAX: usize = 64;
/// Connections at once over IPv6: a host has as many addresses as it likes.
pub const CONNECTIONS_V6_MAX: usize = 40;
/// Connections at once from one host.
pub const CONNECTIONS_PER_HOST: usize = 32;
/// Requests answered on one connection before it is closed.
pub const REQUESTS_PER_CONNECTION: usize = 100;
/// Time for a head to arrive, once the connection is there or the last answer is written.
pub const HEAD_TIME: Duration = Duration::from_secs(5);
/// Time for a head and its body to arrive.
pub const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Time for an answer to be taken.
pub const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Bytes that connections may hold at once, of requests and of answers. Beyond it the one that holds
/// most is closed, of the host that holds most; all hosts over IPv6 count as one there, as one host
/// has as many addresses as it likes.
pub const HELD_MAX: usize = 96 << 10;
/// Bytes read and thrown away after an error, so that the answer is not lost to a reset.
const DISCARD_MAX: usize = 64 << 10;
/// Time for that.
const DISCARD_TIME: Duration = Duration::from_secs(1);
/// Pause when the system has no descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Read at once.
const READ_SIZE: usize = 2048;

/// The connections there are, oldest first.
#[derive(Default)]
pub struct Connections(Vec<Served>);

struct Served {
    host: IpAddr,
    /// Bytes that it holds.
    held: Rc<Cell<usize>>,
    task: Task<()>,
}

impl Connections {
    /// Puts one more in: those that have ended are forgotten, and the oldest one (of that host if it
    /// has its full number) is closed if need be.
    fn put(&mut self, new: Served) {
        self.0.retain(|other| !other.task.is_finished());
        let host = new.host;
        let of_host = self.0.iter().filter(|other| other.host == host).count();
        let of_v6 = self.0.iter().filter(|other| other.host.is_ipv6()).count();
        let oldest = if of_host >= CONNECTIONS_PER_HOST {
            self.0.iter().position(|other| other.host == host)
        } else if host.is_ipv6() && of_v6 >= CONNECTIONS_V6_MAX {
            self.0.iter().position(|other| other.host.is_ipv6())
        } else {
            (self.0.len() >= CONNECTIONS_MAX).then_some(0)
        };
        if let Some(oldest) = oldest {
            drop(self.0.remove(oldest));
        }
        self.0.push(new);
    }

    /// Closes connections until all hold no more than [`HELD_MAX`]; `false` if `own` is among them.
    fn make_room(&mut self, own: &Rc<Cell<usize>>) -> bool {
        let as_one = |one: IpAddr, other: IpAddr| one == other || one.is_ipv6() && other.is_ipv6();
        let sum = |of: &[Served], host: Option<IpAddr>| -> usize {
            let of_host =
                of.iter().filter(|other| host.is_none_or(|host| as_one(host, other.host)));
            of_host.map(|other| other.held.get()).sum()
        };
        while sum(&self.0, None) > HELD_MAX {
            let most =
                |(_, other): &(usize, &Served)| (sum(&self.0, Some(other.host)), other.held.get());
            let Some((at, other)) = self.0.iter().enumerate().max_by_key(most) else { break };
            if Rc::ptr_eq(&other.held, own) {
                return false;
            }
            drop(self.0.remove(at));
        }
        true
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
            drop(stream);
            // However fast they come.
            yield_now().await;
            continue;
        }
        let stream = daemon.runtime().watch_later(stream, Interest::Both);
        let (host, held) = (peer.ip(), Rc::default());
        let connection = Connection {
            daemon: daemon.clone(),
            stream,
            local,
            place: place.clone(),
            client: host,
            buffer: Vec::new(),
            held: Rc::clone(&held),
            apart: 0,
        };
        let task = daemon.runtime().spawn(serve(connection));
        daemon.connections().put(Served { host, held, task });
        yield_now().await;
    }
}

/// A response, and what is left of it to be written.
type Answer = (Response, Option<igd::Listing>);

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
    /// Bytes that it holds, for [`Connections`].
    held: Rc<Cell<usize>>,
    /// Those of them that are not in the buffer.
    apart: usize,
}

async fn serve(mut connection: Connection) {
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
        self.apart = head.capacity();
        let (request, _) = http::parse_head(&head)?.ok_or(End::Quiet)?;
        let kind = request.body()?;
        if request.wants_continue() && kind != BodyKind::None && self.buffer.is_empty() {
            self.write(http::CONTINUE, start + REQUEST_TIME, false).await?;
        }
        let body = self.body(kind, start + REQUEST_TIME).await?;
        self.apart = head.capacity() + body.capacity();
        let (mut response, mut listing) = self.response(&request, &body).await;
        let close = last || !request.keep_alive() || listing.is_some();
        let head_only = request.method == http::Method::Head;
        log::debug!(
            "{}: {} {} -> {}",
            self.client,
            method(&request),
            request.path,
            response.status
        );
        // All of it goes out in one piece: some clients read no more.
        let mut out = Vec::new();
        response.write(&mut out, super::SERVER, &date(), head_only, close);
        response.body = Vec::new();
        let until = Instant::now() + ANSWER_TIME;
        let mut written = self.send(out, until, close).await;
        while let (Ok(()), Some(rest)) = (&written, &mut listing) {
            let piece = rest.next(&self.daemon.state().gateway, Instant::now());
            let Some(piece) = piece else { break };
            written = self.send(piece, until, true).await;
            yield_now().await;
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
        self.apart = 0;
        self.hold(0)?;
        Ok(!close)
    }

    /// The answer; if it is a refusal that a neighbour's link-layer address may change, the kernel
    /// is given time to find that out. A refusal has changed nothing.
    async fn response(&self, request: &http::Request<'_>, body: &[u8]) -> Answer {
        let mut tries = 0;
        loop {
            let unknown = Cell::new(None);
            let answer =
                self.daemon.answer(request, body, self.local, &self.place, self.client, &unknown);
            match unknown.get() {
                Some(neighbour) if answer.0.status >= 400 && tries < RESOLVE_TRIES => {
                    tries += 1;
                    self.daemon.resolve(&self.place, neighbour).await;
                }
                _ => return answer,
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
                let (head, mut body) = (self.apart, Vec::new());
                loop {
                    let progress = decoder.decode(&self.buffer, &mut body)?;
                    self.buffer.drain(..progress.consumed);
                    self.apart = head + body.capacity();
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
        let buffer = &mut self.buffer;
        let read = self.stream.read_with(|mut stream| {
            // On the stack for the moment: every connection that waits would have one.
            let mut bytes = [0; READ_SIZE];
            let read = stream.read(&mut bytes)?;
            buffer.extend_from_slice(bytes.get(..read).unwrap_or_default());
            Ok(read)
        });
        let Some(read) = self.daemon.runtime().until(until, read).await else { return Ok(None) };
        let read = read?;
        self.hold(self.apart + self.buffer.capacity())?;
        Ok(Some(read))
    }

    /// Notes how much is held.
    ///
    /// # Errors
    /// There is no room for it.
    fn hold(&self, bytes: usize) -> io::Result<()> {
        self.held.set(bytes);
        match self.daemon.connections().make_room(&self.held) {
            true => Ok(()),
            false => Err(io::ErrorKind::OutOfMemory.into()),
        }
    }

    /// [Writes](Connection::write) a part of an answer, which is held meanwhile.
    async fn send(&self, bytes: Vec<u8>, until: Instant, more: bool) -> io::Result<()> {
        self.hold(self.apart + bytes.capacity())?;
        self.write(&bytes, until, more).await
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
    ) -> Answer {
        let mut state = self.state();
        let names: Vec<&str> = state.config.http_names.iter().map(String::as_str).collect();
        // HTTP/1.0 knows no Host header, and no browser speaks it.
        let allowed = match request.host() {
            None => !request.http11,
            host => http::host_allowed(host, local, &names),
        };
        if !allowed {
            return (Response::new(403), None);
        }
        if let Some(at) = events::subject(request, &state.identity) {
            drop(state);
            return (self.subscribe(at, request, place, client, unknown), None);
        }
        let state = &mut *state;
        let link = state.link();
        let device = state.gateway.wan().device.clone();
        let mut context = igd::Context {
            gateway: &mut state.gateway,
            identity: &state.identity,
            link,
            counters: &|| system::counters(device.as_deref()),
            client,
            same_host: &|other| self.same_host(place, client, other, unknown),
            timeouts: &system::timeout,
            now: Instant::now(),
            listing: None,
        };
        let response = igd::respond(&mut context, request, body);
        let listing = context.listing.take();
        self.mutated(state);
        (response, listing)
    }
}

fn date() -> String {
    http::date(system::unix_time())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::runtime::Runtime;
    use std::future::pending;

    /// Connections that hold so many bytes each.
    fn held(runtime: &Runtime, of: &[(IpAddr, usize)]) -> Connections {
        let served = |&(host, bytes)| Served {
            host,
            held: Rc::new(Cell::new(bytes)),
            task: runtime.spawn(pending()),
        };
        Connections(of.iter().map(served).collect())
    }

    #[test]
    fn many_addresses_of_ipv6_take_no_other_host_s_room_263() {
        let runtime = Runtime::new().unwrap();
        let many = (0..40u16).map(|n| (IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, n]), 2400));
        let mut of: Vec<(IpAddr, usize)> = many.collect();
        of.push((IpAddr::from([192, 168, 1, 10]), 8192));
        let mut connections = held(&runtime, &of);
        let own = connections.0[40].held.clone();
        assert!(connections.make_room(&own));
        assert!(connections.0.len() < 41 && Rc::ptr_eq(&connections.0.last().unwrap().held, &own));
        let sum: usize = connections.0.iter().map(|other| other.held.get()).sum();
        assert!(sum <= HELD_MAX);
    }

    #[test]
    fn who_holds_most_gives_way_and_may_be_who_asks_263() {
        let runtime = Runtime::new().unwrap();
        let hosts = [10, 11].map(|host| IpAddr::from([192, 168, 1, host]));
        let mut connections =
            held(&runtime, &[(hosts[0], 40 << 10), (hosts[0], 41 << 10), (hosts[1], 16 << 10)]);
        let held: Vec<_> = connections.0.iter().map(|other| other.held.clone()).collect();
        assert!(!connections.make_room(&held[1]));
        assert!(connections.make_room(&held[2]));
        assert!(connections.0.iter().all(|other| !Rc::ptr_eq(&other.held, &held[1])));
        assert_eq!(connections.0.len(), 2);
    }
}
