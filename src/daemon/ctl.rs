//! The control socket: what `postern status`, `list` and `delete` talk to.
//!
//! One line in, an answer out, closed. The answer's first line is `ok` or `error: why`; what
//! follows is printed as it is, up to a NUL, without which it is not the whole. Only root can connect:
//! the socket's mode is 0600.

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
/// Ends an answer.
const END: char = '\0';
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
    read(&answer).map_err(Some)
}

/// What an answer says without its first line and its end; as an error what it refuses, or that it is
/// not whole.
fn read(answer: &str) -> Result<String, String> {
    match answer.strip_suffix(END).and_then(|whole| whole.split_once('\n')) {
        Some(("ok", rest)) => Ok(rest.to_owned()),
        Some((error, _)) => Err(error.strip_prefix("error: ").unwrap_or(error).to_owned()),
        None => Err("the daemon has ended its answer in the middle: ask again".into()),
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
            let serve = async move {
                if client.serve().await.is_ok() {
                    let _ = client.say(END.encode_utf8(&mut [0])).await;
                }
            };
            clients.push(daemon.runtime().spawn(serve));
        }
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// `status [json]`
    Status {
        /// As JSON.
        json: bool,
    },
    /// `list [json]`
    List {
        /// As JSON.
        json: bool,
    },
    /// `delete all`
    DeleteAll,
    /// `delete host ADDRESS`: everything of this host.
    DeleteOf(IpAddr),
    /// `delete ID`: one mapping or pinhole.
    Delete(Id),
}

impl Question {
    /// Reads a question's line. More words than a question has do not matter.
    ///
    /// # Errors
    /// What is wrong with it, for the one who asks.
    pub fn read(line: &str) -> Result<Question, String> {
        let mut words = line.split_ascii_whitespace();
        let (question, form) = (words.next(), words.next());
        let json = form == Some("json");
        match (question, form) {
            (Some("status"), _) => Ok(Question::Status { json }),
            (Some("list"), _) => Ok(Question::List { json }),
            (Some("delete"), Some("all")) => Ok(Question::DeleteAll),
            (Some("delete"), Some("host")) => {
                let host = words.next().and_then(|word| word.parse().ok());
                host.map(Question::DeleteOf).ok_or_else(|| "not an address".into())
            }
            (Some("delete"), Some(id)) => {
                let number = id.parse().map_err(|_| [id, ": not an id"].concat())?;
                Ok(Question::Delete(Id(number)))
            }
            _ => Err("unknown question".into()),
        }
    }
}

struct Client {
    daemon: Daemon,
    stream: Io<UnixStream>,
}

impl Client {
    async fn serve(&self) -> io::Result<()> {
        match Question::read(&self.question().await?) {
            Ok(Question::Status { json }) => {
                let status = Status::of(&self.daemon);
                let text = if json { status.json() } else { status.text() };
                self.say(&format!("ok\n{text}\n")).await
            }
            Ok(Question::List { json }) => self.list(json).await,
            Ok(Question::DeleteAll) => self.flush(None).await,
            Ok(Question::DeleteOf(host)) => self.flush(Some(host)).await,
            Ok(Question::Delete(id)) => match self.daemon.delete(id) {
                Ok(()) => self.say(&format!("ok\nmapping {id} closed\n")).await,
                Err(refusal) => self.say(&format!("error: {id}: {refusal}\n")).await,
            },
            Err(why) => self.say(&format!("error: {why}\n")).await,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_its_words_and_says_what_is_wrong_with_them() {
        let host = "2001:db8::10".parse().unwrap();
        for (line, want) in [
            ("status\n", Ok(Question::Status { json: false })),
            (" list  json more", Ok(Question::List { json: true })),
            ("delete all", Ok(Question::DeleteAll)),
            ("delete host 2001:db8::10", Ok(Question::DeleteOf(host))),
            ("delete 7", Ok(Question::Delete(Id(7)))),
            ("delete x", Err("x: not an id".to_owned())),
            ("delete host", Err("not an address".to_owned())),
            ("delete", Err("unknown question".to_owned())),
            ("", Err("unknown question".to_owned())),
        ] {
            assert_eq!(Question::read(line), want, "{line}");
        }
    }

    #[test]
    fn an_answer_without_its_end_is_not_the_whole() {
        assert_eq!(read("ok\n[1,\n2]\n\0"), Ok("[1,\n2]\n".to_owned()));
        assert_eq!(read("ok\n\0"), Ok(String::new()));
        assert_eq!(read("error: 7: no such mapping\n\0"), Err("7: no such mapping".to_owned()));
        for part in ["", "ok", "ok\n", "ok\n[1,\n", "\0", "error: 7: no such mapping\n"] {
            let why = read(part).unwrap_err();
            assert!(why.contains("in the middle"), "{part}: {why}");
        }
    }
}
