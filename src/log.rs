//! Where log lines go: standard error when somebody reads it, else syslog.
//!
//! A terminal, a file or a pipe is read by somebody. What procd or a plain `&` leave there
//! (`/dev/null`, a socket) is not, so the lines go to `/dev/log` then. Lines of one kind are written
//! at a bounded [pace], unless everything is wanted.

mod pace;

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, IsTerminal, Write as _};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixDatagram;
use std::sync::Mutex;
use std::time::Instant;

/// Longest line sent, in bytes; a client's words never make it longer.
const LINE_MAX: usize = 512;

/// syslog's facility `daemon`, shifted as its header wants it.
const FACILITY_DAEMON: u8 = 3 << 3;

struct Logger {
    syslog: Option<Syslog>,
    pace: Mutex<pace::Pace>,
}

/// Starts logging at `level`. Called once.
pub fn start(level: LevelFilter) {
    let syslog = if stderr_is_read() { None } else { Syslog::new("/dev/log") };
    let logger = Logger { syslog, pace: Mutex::new(pace::Pace::new()) };
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(level);
    }
}

fn stderr_is_read() -> bool {
    let kind = || Some(fs::metadata("/proc/self/fd/2").ok()?.file_type());
    io::stderr().is_terminal() || kind().is_some_and(|kind| kind.is_file() || kind.is_fifo())
}

/// syslogd's socket, which is another one after each of its starts.
struct Syslog {
    socket: UnixDatagram,
    path: &'static str,
}

impl Syslog {
    fn new(path: &'static str) -> Option<Syslog> {
        let socket = UnixDatagram::unbound().ok()?;
        // A stuck syslogd must not hold up the loop: its lines are lost instead.
        socket.set_nonblocking(true).ok()?;
        Some(Syslog { socket, path })
    }

    /// Sends a line to whoever listens there by now; `false` if nobody does.
    fn send(&self, line: &[u8]) -> bool {
        let sent = || match self.socket.send(line) {
            Err(e) => e.kind() == io::ErrorKind::WouldBlock,
            Ok(_) => true,
        };
        sent() || self.socket.connect(self.path).is_ok() && sent()
    }
}

fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let kind = (record.module_path_static(), record.line());
        let passed = match (log::max_level() >= LevelFilter::Debug, self.pace.lock()) {
            (false, Ok(mut pace)) => pace.pass(kind, Instant::now()),
            _ => Some(0),
        };
        let Some(dropped) = passed else { return };
        let mut line = String::new();
        match self.syslog {
            Some(_) => {
                let priority = FACILITY_DAEMON | severity(record.level());
                let _ = write!(line, "<{priority}>postern: {}", record.args());
            }
            None => {
                let _ = write!(line, "postern: {}: {}", record.level(), record.args());
            }
        }
        let mut end = line.len().min(LINE_MAX);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        if dropped > 0 {
            let _ = write!(line, " ({dropped} lines like it were left out)");
        }
        if self.syslog.as_ref().is_some_and(|syslog| syslog.send(line.as_bytes())) {
            return;
        }
        line.push('\n');
        // Nowhere is left to report a failed log line to.
        let _ = io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_reach_a_syslogd_that_starts_late_or_again() {
        let path = std::env::temp_dir().join(format!("postern-syslog-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        let name: &'static str = path.to_str().unwrap().to_owned().leak();
        let syslog = Syslog::new(name).unwrap();
        assert!(!syslog.send(b"nobody"));
        for start in 0..3 {
            let listener = UnixDatagram::bind(&path).unwrap();
            let line = format!("start {start}");
            assert!(syslog.send(line.as_bytes()));
            let mut bytes = [0; 32];
            let read = listener.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..read], line.as_bytes());
            drop(listener);
            fs::remove_file(&path).unwrap();
        }
        assert!(!syslog.send(b"nobody"));
    }
}
