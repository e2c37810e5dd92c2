//! The story: what an owner expects of a gateway, in the order in which a day brings it.

mod events;
mod leases;
mod life;
mod mapping;
mod pinholes;

use crate::announcements::Announcements;
use crate::control_point::Ask;
use crate::daemon::{Daemon, Installation};
use crate::outcome::{ensure, Outcome};
use crate::traffic::{Program, PORT};
use crate::world::{World, EXTERNAL, HOST, PEER, ROUTER};
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, process};

/// External ports of the mappings that are there most of the time.
const TCP: u16 = 17000;
const UDP: u16 = 17001;
/// A lease as programs ask for it, in seconds.
const LEASE: u32 = 3600;
/// What two clocks, the kernel's and ours, may differ by.
const SLACK: Duration = Duration::from_secs(1);
/// So much of the daemon's log is shown when something fails.
const LOG_LINES: usize = 20;

/// Where the checks run.
pub struct Machine {
    program: PathBuf,
    dir: PathBuf,
    /// The daemon is built as for a router, so its memory has limits.
    strict: bool,
}

impl Machine {
    /// An emulated router.
    pub fn router() -> Machine {
        Machine { program: "/postern".into(), dir: "/tmp/postern".into(), strict: true }
    }

    /// The machine that the daemon has been built on.
    pub fn host() -> Machine {
        let dir = env::temp_dir().join(format!("postern-router-{}", process::id()));
        Machine { program: env!("CARGO_BIN_EXE_postern").into(), dir, strict: false }
    }
}

/// Runs all; how many steps there were.
pub fn run(machine: &Machine) -> Outcome<u32> {
    let home = Installation::new(&machine.program, machine.dir.clone())?;
    let story = Story::begin(&home, machine.strict)?;
    let steps = story.tell().inspect_err(|_| {
        let log = home.log();
        let lines: Vec<&str> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
            println!("router: log: {line}");
        }
    })?;
    story.too_large.take().map_or(Ok(steps), Err)
}

/// Who plays in it.
struct Story<'h> {
    home: &'h Installation,
    world: World,
    program: Program,
    announcements: Announcements,
    strict: bool,
    steps: Cell<u32>,
    /// What is over a limit of memory. Judged last, so that a program that has grown still shows
    /// all the rest.
    too_large: RefCell<Option<String>>,
}

impl<'h> Story<'h> {
    fn begin(home: &'h Installation, strict: bool) -> Outcome<Story<'h>> {
        let world = World::new()?;
        let program = Program::start(&world)?;
        let announcements = Announcements::listen(&world)?;
        Ok(Story {
            home,
            world,
            program,
            announcements,
            strict,
            steps: Cell::new(0),
            too_large: RefCell::default(),
        })
    }

    fn tell(&self) -> Outcome<u32> {
        self.done(format!(
            "three namespaces: host {HOST}, router {ROUTER} and {EXTERNAL}, Internet {PEER}"
        ));

        let daemon = self.start("")?;
        self.is_small_when_idle(&daemon)?;
        let signal = self.firewall_drops_what_has_no_signal(&daemon)?;
        let gateway = self.is_discovered()?;
        self.is_discovered_over_ipv6()?;
        self.maps_ports(&gateway)?;
        self.tells_what_changes(&gateway)?;
        let pinholes = self.opens_pinholes(&gateway)?;
        self.refreshes_a_lease(&gateway)?;
        self.kernel_ends_a_lease_by_itself(&daemon, &gateway)?;
        let (daemon, started) = self.survives_a_crash(daemon, &gateway)?;
        self.keeps_pinholes(&pinholes)?;
        self.ends_a_lease_by_its_own_clock(&gateway)?;
        self.holds_many_mappings(&daemon, &gateway)?;
        self.announces_itself_again(started)?;
        self.closes_everything_at_its_end(daemon)?;
        self.opens_everything_at_its_next_start(signal)?;
        Ok(self.steps.get())
    }

    fn start(&self, more: &str) -> Outcome<Daemon<'_>> {
        self.home.start(&self.world, more)
    }

    fn both_pass(&self) -> Outcome {
        self.program.is_reached_by_tcp(&self.world, TCP)?;
        self.program.is_reached_by_udp(&self.world, UDP)
    }

    /// A step is done.
    fn done(&self, text: impl AsRef<str>) {
        self.steps.set(self.steps.get() + 1);
        println!("router: {:>2} {}", self.steps.get(), text.as_ref());
    }
}

/// A mapping to the LAN program for a usual time.
fn ask<'a>(protocol: &'a str, external: u16, description: &'a str) -> Ask<'a> {
    Ask { protocol, external, internal: PORT, description, lease: LEASE }
}

/// That much of a lease is left, but for what may have passed.
fn is_left(left: u64, lease: u32, passed: Duration) -> Outcome {
    let lease = u64::from(lease);
    let least = lease - passed.as_secs();
    ensure((least..=lease).contains(&left), || format!("{left} s left of a lease of {lease} s"))
}

fn sleep_until(at: Instant) {
    sleep(at.saturating_duration_since(Instant::now()));
}
