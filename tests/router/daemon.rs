//! The daemon under test: started, asked, measured, stopped in every way.

use crate::announcements::header;
use crate::outcome::{ensure, same, wait_for, Because, Outcome, PATIENCE};
use crate::world::{World, LAN, WAN};
use rustix::process::{kill_process, Pid, Signal};
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

/// Seconds between announcements at most: the least that can be configured.
pub const NOTIFY_INTERVAL: u64 = 60;

/// A daemon's files: the program, its configuration, its state, its log.
pub struct Installation {
    program: PathBuf,
    dir: PathBuf,
}

impl Installation {
    /// This program, with a folder of its own for everything else.
    pub fn new(program: &Path, dir: PathBuf) -> Outcome<Installation> {
        fs::create_dir_all(&dir).because(dir.display())?;
        Ok(Installation { program: program.to_owned(), dir })
    }

    /// All that daemons have logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Starts the daemon, with `more` options, and waits until it answers.
    pub fn start<'a>(&'a self, world: &'a World, more: &str) -> Outcome<Daemon<'a>> {
        let config = self.dir.join("upnpd");
        let text = format!(
            "config upnpd 'config'\n\
             \toption external_device '{}'\n\
             \toption max_new_mappings '0'\n\
             \tlist internal_device '{}'\n\
             \toption notify_interval '{NOTIFY_INTERVAL}'\n\
             \toption upnp_lease_file '{}'\n\
             \toption log_output 'info'\n{more}",
            WAN.name,
            LAN.name,
            self.dir.join("upnp.leases").display()
        );
        fs::write(&config, text).because(config.display())?;
        let log = self.dir.join("log");
        let log = File::options().create(true).append(true).open(&log).because(log.display())?;
        let mut command = Command::new(&self.program);
        command.arg("run").arg("--config").arg(&config).arg("--state").arg(&self.dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child =
            world.router.inside(move || Ok(command.spawn()))?.because(self.program.display())?;
        let mut daemon = Daemon { home: self, world, child };
        wait_for("the daemon answers", PATIENCE, || {
            if let Some(status) = daemon.child.try_wait().because("the daemon")? {
                return Err(format!("the daemon ended at once: {status}"));
            }
            Ok(daemon.status().ok())
        })?;
        Ok(daemon)
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A running daemon; killed when dropped.
pub struct Daemon<'a> {
    home: &'a Installation,
    world: &'a World,
    child: Child,
}

impl Daemon<'_> {
    /// `postern status --json`.
    pub fn status(&self) -> Outcome<String> {
        let mut command = Command::new(&self.home.program);
        command.args(["status", "--json", "--state"]).arg(&self.home.dir).stdin(Stdio::null());
        let out = self.world.router.inside(move || command.output().because("postern status"))?;
        let error = || format!("postern status: {}", String::from_utf8_lossy(&out.stderr).trim());
        ensure(out.status.success(), error)?;
        String::from_utf8(out.stdout).because("postern status")
    }

    /// A text in the status, by its name.
    pub fn status_of(&self, name: &str) -> Outcome<String> {
        let status = self.status()?;
        let after = status.split_once(&format!("\"{name}\":\"")[..]);
        let value = after.and_then(|(_, rest)| rest.split_once('"'));
        value.map(|(v, _)| v.to_owned()).ok_or_else(|| format!("no {name} in the status: {status}"))
    }

    /// How many threads it has.
    pub fn threads(&self) -> Outcome<usize> {
        let tasks = format!("/proc/{}/task", self.child.id());
        Ok(fs::read_dir(&tasks).because(&tasks)?.count())
    }

    /// What it may do: `CapEff`, `NoNewPrivs` and `Seccomp` of `/proc/PID/status`, in one line.
    pub fn powers(&self) -> Outcome<String> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = fs::read_to_string(&path).because(&path)?;
        let value = |name| header(&text, name).unwrap_or_default().trim();
        Ok(["CapEff", "NoNewPrivs", "Seccomp"].map(value).join(" "))
    }

    /// The least that it has in memory within a moment: what it keeps. While it looks through the
    /// connections, as it does for a while after a mapping, it has another 36 KiB.
    pub fn memory_at_rest(&self) -> Outcome<Memory> {
        const READINGS: u32 = 20;
        const PAUSE: Duration = Duration::from_millis(100);
        let mut least = self.memory()?;
        for _ in 1..READINGS {
            thread::sleep(PAUSE);
            let now = self.memory()?;
            if now.resident < least.resident {
                least = now;
            }
        }
        Ok(least)
    }

    /// What it has in memory.
    fn memory(&self) -> Outcome<Memory> {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let text = fs::read_to_string(&path).because(&path)?;
        let kib = |name: &str| -> Outcome<u64> {
            let value = header(&text, name).and_then(|value| value.strip_suffix(" kB"));
            value.ok_or_else(|| format!("no {name} in {path}"))?.trim().parse().because(name)
        };
        Ok(Memory {
            resident: kib("Rss")?,
            proportional: kib("Pss")?,
            private: kib("Private_Dirty")?,
            anonymous: kib("Anonymous")?,
        })
    }

    /// Stops it where it is (SIGSTOP) and sees that it has.
    pub fn freeze(&self) -> Outcome {
        self.signal(Signal::STOP)?;
        self.wait_for_state("the daemon is stopped", |state| state == "T")
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) -> Outcome {
        self.signal(Signal::CONT)?;
        self.wait_for_state("the daemon goes on", |state| state != "T")
    }

    /// Ends it as a crash would (SIGKILL).
    pub fn crash(mut self) -> Outcome {
        self.child.kill().because("SIGKILL")?;
        let status = self.ended()?;
        ensure(status.code().is_none(), || format!("the daemon ended by itself: {status}"))
    }

    /// Ends it as an owner would (SIGTERM); it must end without error.
    pub fn stop(mut self) -> Outcome {
        self.signal(Signal::TERM)?;
        same("the daemon's end", self.ended()?.to_string(), "exit status: 0")
    }

    fn ended(&mut self) -> Outcome<ExitStatus> {
        wait_for("the daemon ends", PATIENCE, || self.child.try_wait().because("the daemon"))
    }

    fn signal(&self, signal: Signal) -> Outcome {
        kill_process(Pid::from_child(&self.child), signal).because("a signal to the daemon")
    }

    fn wait_for_state(&self, what: &str, is: impl Fn(&str) -> bool) -> Outcome {
        let path = format!("/proc/{}/stat", self.child.id());
        wait_for(what, PATIENCE, || {
            let text = fs::read_to_string(&path).because(&path)?;
            let state = text.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
            Ok(state.is_some_and(&is).then_some(()))
        })
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Memory in KiB.
pub struct Memory {
    /// In memory at all.
    pub resident: u64,
    /// The same, with pages of several processes shared out among them.
    pub proportional: u64,
    /// Nobody else's and to be kept: where files live in memory, as on a router's initramfs, that
    /// is the program's own text too.
    pub private: u64,
    /// Of no file: data, heap and stack.
    pub anonymous: u64,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Memory { resident, proportional, private, anonymous } = self;
        write!(
            f,
            "RSS {resident} KiB, PSS {proportional} KiB, private dirty {private} KiB, \
             anonymous {anonymous} KiB"
        )
    }
}
