//! The control socket: what `postern status`, `list` and `delete` talk to.
//!
//! One line in, an answer out, closed. The answer's first line is `ok` or `error: why`; what
//! follows is printed as it is. Only root can connect: the socket's mode is 0600.

use super::report::{external_address, Row, Status};
use super::runtime::{Io, Task};
use super::Daemon;
use crate::gateway::mapping::Id;
use crate::sys::Interest;
use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Conversations at once.
const CLIENTS_MAX: usize = 4;
/// Longest question.
const QUESTION_MAX: usize = 128;
/// Time for a question to arrive, or a piece of the answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two pieces of a list.
const PAUSE: Duration = Duration::from_millis(1);
/// Mappings written between two looks at the rest of the world.
const ROWS_PER_TURN: usize = 64;

/// The socket's file below the state directory.
pub fn path(state: &Path) -> PathBuf {
    state.join("control")
}

/// Opens the socket, taking the place of one that a dead daemon left.
///
/// # Errors
/// `AddrInUse` when a living daemon answers there.
pub fn open(state: &Path) -> io::Result<UnixListener> {
    let path = path(state);
    if UnixStream::connect(&path).is_ok() {
        return Err(ErrorKind::AddrInUse.into());
    }
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Claims the kernel table for this process, as long as what is returned lives.
///
/// # Errors
/// `AddrInUse` when another daemon of this network namespace has it.
pub fn own_table() -> io::Result<UnixListener> {
    let name = SocketAddr::from_abstract_name("postern/inet/postern")?;
    UnixListener::bind_addr(&name)
}

/// Asks the daemon of `state` one question; its answer without the first line.
///
/// # Errors
/// `Err(None)` when no daemon is there, `Err(Some(why))` when it says no.
pub fn ask(state: &Path, question: &str) -> Result<String, Option<String>> {
    let mut stream = UnixStream::connect(path(state)).map_err(|_| None)?;
    let why = |e: io::Error| Some(format!("the daemon does not answer: {e}"));
    // Longer than any answer takes, shorter than a person waits.
    stream.set_read_timeout(Some(PATIENCE * 4)).map_err(why)?;
    stream.write_all(format!("{question}\n").as_bytes()).map_err(why)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(why)?;
    match answer.split_once('\n') {
        Some(("ok", rest)) => Ok(rest.to_owned()),
        Some((error, _)) => Err(Some(error.strip_prefix("error: ").unwrap_or(error).to_owned())),
        None => Err(Some("the daemon has closed the connection".into())),
    }
}

/// Answers for ever.
pub async fn listen(daemon: Daemon, listener: Io<UnixListener>) {
    let mut clients: Vec<Task<()>> = Vec::new();
    loop {
        let Ok((stream, _)) = listener.read_with(|l| l.accept()).await else {
            daemon.runtime().sleep_until(Instant::now() + Duration::from_millis(100)).await;
            continue;
        };
        clients.retain(|task| !task.is_finished());
        if clients.len() >= CLIENTS_MAX {
            drop(clients.remove(0));
        }
        let watched = stream
            .set_nonblocking(true)
            .and_then(|()| daemon.runtime().watch(stream, Interest::Both));
        if let Ok(stream) = watched {
            let client = Client { daemon: daemon.clone(), stream };
            // A client that has gone away needs no answer.
            let serve = async move { drop(client.serve().await) };
            clients.push(daemon.runtime().spawn(serve));
        }
    }
}

struct Client {
    daemon: Daemon,
    stream: Io<UnixStream>,
}

impl Client {
    async fn serve(self) -> io::Result<()> {
        let question = self.question().await?;
        let mut words = question.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("status"), form) => {
                let status = Status::of(&self.daemon);
                let text = if form == Some("json") { status.json() } else { status.text() };
                self.say(&format!("ok\n{text}\n")).await
            }
            (Some("list"), form) => self.list(form == Some("json")).await,
            (Some("delete"), Some("all")) => self.flush(None).await,
            (Some("delete"), Some("host")) => match words.next().map(str::parse) {
                Some(Ok(host)) => self.flush(Some(host)).await,
                _ => self.say("error: not an address\n").await,
            },
            (Some("delete"), Some(id)) => {
                let deleted = id.parse().map_err(|_| "not an id".to_owned()).and_then(|id| {
                    self.daemon.delete(Id(id)).map_err(|refusal| refusal.to_string())
                });
                match deleted {
                    Ok(()) => self.say(&format!("ok\nmapping {id} closed\n")).await,
                    Err(why) => self.say(&format!("error: {id}: {why}\n")).await,
                }
            }
            _ => self.say("error: unknown question\n").await,
        }
    }

    async fn flush(&self, host: Option<IpAddr>) -> io::Result<()> {
        match self.daemon.flush(host) {
            Ok(count) => self.say(&format!("ok\n{count} mappings closed\n")).await,
            Err(refusal) => self.say(&format!("error: {refusal}\n")).await,
        }
    }

    async fn question(&self) -> io::Result<String> {
        let until = Instant::now() + PATIENCE;
        let mut question = Vec::new();
        let mut bytes = [0; QUESTION_MAX];
        while !question.contains(&b'\n') && question.len() < QUESTION_MAX {
            let read = self.stream.read_with(|mut stream| stream.read(&mut bytes));
            match self.daemon.runtime().until(until, read).await {
                Some(read) => match read? {
                    0 => break,
                    read => question.extend_from_slice(bytes.get(..read).unwrap_or_default()),
                },
                None => return Err(ErrorKind::TimedOut.into()),
            }
        }
        String::from_utf8(question).map_err(|_| ErrorKind::InvalidData.into())
    }

    async fn say(&self, text: &str) -> io::Result<()> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let until = Instant::now() + PATIENCE;
            let write = self.stream.write_with(|mut stream| stream.write(rest));
            match self.daemon.runtime().until(until, write).await {
                Some(written) => rest = rest.get(written?..).unwrap_or_default(),
                None => return Err(ErrorKind::TimedOut.into()),
            }
        }
        Ok(())
    }

    /// Writes the list in pieces, so that thousands of mappings neither block nor fill memory.
    async fn list(&self, json: bool) -> io::Result<()> {
        let (mut after, mut after_hole) = (None, None);
        let mut first = true;
        self.say(if json { "ok\n[" } else { "ok\n" }).await?;
        loop {
            let piece = {
                let mut state = self.daemon.state();
                let now = Instant::now();
                state.gateway.handle_timeout(now);
                let mut piece = String::new();
                for _ in 0..ROWS_PER_TURN {
                    let (mapping, pinhole);
                    let row = if let Some(next) = state.gateway.next_after(after).cloned() {
                        after = Some(next.id);
                        mapping = next;
                        let external = external_address(state.gateway.external());
                        let connections = state.gateway.connections(&mapping.external);
                        Row::of(&mapping, external, Some(connections), now)
                    } else {
                        let mut rest = state.gateway.pinholes();
                        let Some(next) = rest.find(|p| Some(p.hole) > after_hole).cloned() else {
                            break;
                        };
                        drop(rest);
                        after_hole = Some(next.hole);
                        pinhole = next;
                        let packets = state.gateway.pinhole_packets(pinhole.unique_id);
                        Row::of_pinhole(&pinhole, Some(packets), now)
                    };
                    if !std::mem::take(&mut first) && json {
                        piece.push_str(",\n");
                    }
                    if json {
                        row.json(&mut piece);
                    } else {
                        row.text(&mut piece);
                    }
                }
                self.daemon.mutated(&mut state);
                piece
            };
            if piece.is_empty() {
                return self.say(if json { "]\n" } else { "" }).await;
            }
            self.say(&piece).await?;
            // Longer than any one turn of the loop: everybody else is heard first.
            self.daemon.runtime().sleep_until(Instant::now() + PAUSE).await;
        }
    }
}
