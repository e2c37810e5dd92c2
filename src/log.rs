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
    syslog: Option<UnixDatagram>,
    pace: Mutex<pace::Pace>,
}

/// Starts logging at `level`. Called once.
pub fn start(level: LevelFilter) {
    let syslog = if stderr_is_read() { None } else { connect() };
    let logger = Logger { syslog, pace: Mutex::new(pace::Pace::new()) };
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(level);
    }
}

fn stderr_is_read() -> bool {
    let kind = || Some(fs::metadata("/proc/self/fd/2").ok()?.file_type());
    io::stderr().is_terminal() || kind().is_some_and(|kind| kind.is_file() || kind.is_fifo())
}

fn connect() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect("/dev/log").ok()?;
    // A stuck syslogd must not hold up the loop: its lines are lost instead.
    socket.set_nonblocking(true).ok()?;
    Some(socket)
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
        // Nowhere is left to report a failed log line to.
        match &self.syslog {
            Some(socket) => {
                let _ = socket.send(line.as_bytes());
            }
            None => {
                line.push('\n');
                let _ = io::stderr().write_all(line.as_bytes());
            }
        }
    }

    fn flush(&self) {}
}
