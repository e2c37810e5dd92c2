//! What is measured of the daemon, and what it may log.

use crate::daemon::Postern;
use crate::world::World;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::thread;
use std::time::{Duration, Instant};

/// How many pages of its own the static daemon may have more at the end than after the warm-up: musl's
/// heap keeps a page for as long as one small thing lives in it, which in the measurements of an hour made
/// 22 to 49 more, in the third minute as in the last. Three hundred bytes lost by every request of the two
/// minutes, or five by every one of the hour, are more.
pub const PAGE_BUDGET: u64 = 64;
/// How long the daemon may take to let go of connections whose other end is gone.
const PATIENCE: Duration = Duration::from_secs(12);
const KIB_PER_PAGE: u64 = 4;

/// Words of warnings and errors that the disturbances are meant to bring about.
const EXPECTED: [&str; 4] = [
    "no external address: new mappings wait for one",
    "the table inet postern has been removed: it is made anew",
    "the old configuration stays in force",
    // A bad value, with file and line.
    "/upnpd:",
];

/// The daemon's process, and what it has logged.
pub struct Gauge {
    pid: u32,
    baseline: Option<usize>,
    expected: BTreeMap<&'static str, u32>,
}

/// The daemon at rest, with nothing mapped.
#[derive(Clone, Copy, Debug)]
pub struct Measurement {
    /// Memory of its own, in KiB: heap, stack, data.
    anonymous: u64,
    /// All that is resident, in KiB.
    resident: u64,
    descriptors: usize,
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measurement { anonymous, resident, descriptors } = self;
        write!(f, "{anonymous} KiB of its own, {resident} KiB resident, {descriptors} descriptors")
    }
}

impl Measurement {
    /// This one with the memory of the other, if that was more.
    pub fn largest(self, other: Option<Measurement>) -> Measurement {
        let more =
            |mine: u64, its: fn(&Measurement) -> u64| mine.max(other.as_ref().map_or(0, its));
        Measurement {
            anonymous: more(self.anonymous, |other| other.anonymous),
            resident: more(self.resident, |other| other.resident),
            ..self
        }
    }

    /// Asserts that a later one is the same, within [`PAGE_BUDGET`].
    pub fn assert_same(&self, later: &Measurement) {
        assert_eq!(later.descriptors, self.descriptors, "descriptors: {self}, then {later}");
        let most = self.anonymous + PAGE_BUDGET * KIB_PER_PAGE;
        assert!(later.anonymous <= most, "memory grows: {self}, then {later}");
    }
}

fn kib(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

impl Gauge {
    /// One for the daemon that has just started.
    pub fn of(daemon: &Postern<'_>) -> Gauge {
        Gauge { pid: daemon.pid(), baseline: None, expected: BTreeMap::new() }
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap().count()
    }

    /// Waits until nothing is under way any more, and measures. The daemon must be the process
    /// that was started.
    pub fn measure(&mut self, world: &World, daemon: &Postern<'_>) -> Measurement {
        self.read_log(world, daemon);
        // The first time nothing is known of how many there must be.
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && self.baseline != Some(self.descriptors()) {
            thread::sleep(Duration::from_millis(100));
        }
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let descriptors = self.descriptors();
        self.baseline.get_or_insert(descriptors);
        Measurement {
            anonymous: kib(&status, "RssAnon:"),
            resident: kib(&status, "VmRSS:"),
            descriptors,
        }
    }

    /// Asserts that the daemon runs and has logged nothing bad that was not meant; empties the log.
    pub fn read_log(&mut self, world: &World, daemon: &Postern<'_>) {
        let log = daemon.log();
        for line in log.lines() {
            assert!(!line.contains("panicked"), "{line}");
            if line.contains("postern: ERROR: ") || line.contains("postern: WARN: ") {
                let words = EXPECTED.iter().find(|words| line.contains(**words));
                let words = words.unwrap_or_else(|| panic!("not expected in the log: {line}"));
                *self.expected.entry(words).or_default() += 1;
            }
        }
        let exe = fs::read_link(format!("/proc/{}/exe", self.pid));
        assert!(exe.is_ok_and(|exe| exe.ends_with("postern")), "the daemon is gone");
        // It appends, so that it goes on from the start.
        File::options().write(true).open(world.dir.join("log")).unwrap().set_len(0).unwrap();
    }

    /// How many warnings and errors came that were meant to.
    pub fn expected(&self) -> String {
        format!("warnings and errors that were meant: {:?}", self.expected)
    }
}
