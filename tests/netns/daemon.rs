//! The daemon under test and its command line.

use crate::world::{succeed, Host, World};
use rustix::process::{kill_process, Pid, Signal};
use serde_json::Value;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The seed of the device names in every test.
pub const UUID: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
/// How long a start, and anything the daemon does by itself, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The program under test: what `POSTERN` names, such as a static build, else the one built with the
/// tests.
pub fn program() -> PathBuf {
    env::var_os("POSTERN").map_or_else(|| env!("CARGO_BIN_EXE_postern").into(), PathBuf::from)
}

/// A running daemon. Killed when dropped; its log is shown when the test fails.
pub struct Postern<'w> {
    world: &'w World,
    child: Child,
    log: PathBuf,
}

impl World {
    /// A configuration of the usual kind, with `more` lines in its main section.
    pub fn config(&self, more: &str) -> String {
        format!(
            "config upnpd 'config'\n\
             \toption enabled '1'\n\
             \toption external_device 'wan'\n\
             \tlist internal_device 'br-lan'\n\
             \toption uuid '{UUID}'\n\
             \toption igdv1 '1'\n\
             \toption upnp_lease_file '{}'\n\
             \toption max_mappings '8192'\n\
             \toption max_mappings_per_host '6144'\n\
             \toption max_new_mappings '0'\n\
             {more}\n",
            self.dir.join("leases").display()
        )
    }

    /// Starts the daemon with the usual configuration and waits until it answers.
    pub fn start(&self) -> Postern<'_> {
        self.start_with(&self.config(""))
    }

    /// Starts the daemon with this configuration and waits until it answers.
    pub fn start_with(&self, config: &str) -> Postern<'_> {
        self.configure(config);
        self.launch().answering()
    }

    /// Starts the daemon with the configuration there is and does not wait.
    pub fn launch(&self) -> Postern<'_> {
        self.launch_by(&[])
    }

    /// The same by a program with arguments that runs the rest of its command line in its place.
    pub fn launch_by(&self, launcher: &[&str]) -> Postern<'_> {
        let log = self.dir.join("log");
        let postern = program();
        let mut words = launcher.iter().map(OsStr::new).chain([postern.as_os_str()]);
        let mut command = self.command(Host::Router, words.next().unwrap());
        command.args(words).arg("run").arg("--verbose").arg("--config").arg(self.config_path());
        command.arg("--state").arg(self.state());
        let file = File::options().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Postern { world: self, child: command.spawn().unwrap(), log }
    }

    /// Runs a daemon with the configuration there is until it ends by itself.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(Host::Router, program());
        command.args(["run", "--config"]).arg(self.config_path());
        command.args(arguments).output().unwrap()
    }

    /// Writes the configuration file.
    pub fn configure(&self, config: &str) {
        fs::write(self.config_path(), config).unwrap();
    }

    fn config_path(&self) -> PathBuf {
        self.dir.join("upnpd")
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Runs `postern` with these arguments and the state directory.
    pub fn cli(&self, args: &[&str]) -> Output {
        let mut command = self.command(Host::Router, program());
        command.args(args).arg("--state").arg(self.state()).output().unwrap()
    }

    /// `postern status --json`.
    pub fn status(&self) -> Value {
        let text = succeed("status", self.cli(&["status", "--json"]));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// `postern list --json`.
    pub fn list(&self) -> Vec<Value> {
        let text = succeed("list", self.cli(&["list", "--json"]));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// [`list`](World::list) in words: everything but what differs from run to run (`id`,
    /// `expires_in`, `connections`).
    pub fn rows(&self) -> Vec<String> {
        self.list().iter().map(row).collect()
    }

    /// Waits until `state` of `postern status` is this.
    pub fn wait_for_state(&self, state: &str) {
        self.wait_for(|world| world.status()["state"] == state);
    }

    /// Waits until something holds; two seconds are what a change of the WAN may take.
    pub fn wait_for(&self, mut holds: impl FnMut(&World) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(2);
        while !holds(self) {
            assert!(Instant::now() < deadline, "not so after two seconds: {}", self.status());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// One entry of `postern list --json`, for comparing.
pub fn row(entry: &Value) -> String {
    let text = |key: &str| match &entry[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!(
        "{} {} {}:{} -> {}:{} remote={} '{}' {} enabled={}",
        text("family"),
        text("protocol"),
        text("external_address"),
        text("external_port"),
        text("internal_address"),
        text("internal_port"),
        text("remote"),
        text("description"),
        text("origin"),
        text("enabled")
    )
}

/// Asserts that `expires_in` of an entry is `expected` seconds, two more or less.
pub fn assert_expires_in(entry: &Value, expected: u64) {
    let left = entry["expires_in"].as_u64().unwrap_or_else(|| panic!("no end: {entry}"));
    assert!(left.abs_diff(expected) <= 2, "{left} s left, not {expected}: {entry}");
}

impl Postern<'_> {
    /// Waits until it answers.
    pub fn answering(mut self) -> Self {
        let deadline = Instant::now() + PATIENCE;
        while !self.world.cli(&["status", "--json"]).status.success() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the daemon ended at once: {status}");
            }
            assert!(Instant::now() < deadline, "the daemon does not answer");
            thread::sleep(Duration::from_millis(20));
        }
        self
    }

    /// What the kernel says of it: `/proc/PID/status`.
    pub fn proc_status(&self) -> String {
        fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory it has ever had, in KiB.
    pub fn peak(&self) -> u64 {
        let status = self.proc_status();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it with SIGTERM; it must do so well and soon.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "SIGTERM does not end the daemon");
            thread::sleep(Duration::from_millis(10));
        };
        assert!(status.success(), "{status}");
    }

    /// Ends it with SIGKILL.
    pub fn crash(mut self) -> ExitStatus {
        self.child.kill().unwrap();
        self.child.wait().unwrap()
    }

    /// What it has logged in all its runs.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Postern<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let table = self.world.table().unwrap_or_default();
            eprintln!("--- log of the daemon\n{}--- ruleset\n{table}", self.log());
        }
    }
}
