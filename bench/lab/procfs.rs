//! What the kernel says of a process: CPU time to the nanosecond, memory, whether it sleeps.

use rustix::process::{
    getpid, kill_process, set_child_subreaper, waitpid, Pid, Signal, WaitOptions,
};
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// CPU time, user and system, in nanoseconds. `stat` tells the same in hundredths of a second. Both
/// daemons have one thread.
pub fn cpu(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// Waits until the process has slept for so long, and returns its CPU time.
pub fn settled(pid: u32, quiet: Duration) -> u64 {
    let until = Instant::now() + Duration::from_secs(60);
    let mut before = cpu(pid);
    loop {
        sleep(quiet);
        let now = cpu(pid);
        if now == before && state(pid) == Some('S') {
            return now;
        }
        assert!(Instant::now() < until, "process {pid} does not come to rest");
        before = now;
    }
}

/// What `ps` shows as STAT: `S` asleep, `Z` dead; `None` when it is gone.
pub fn state(pid: u32) -> Option<char> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit(") ").next()?.chars().next()
}

/// Makes whoever leaves for the background this process's child, so that [`end`] sees it end.
pub fn adopt() {
    set_child_subreaper(Some(getpid())).unwrap();
}

/// Ends a process that has left for the background.
pub fn end(pid: u32) {
    let Some(process) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    for signal in [Signal::TERM, Signal::KILL] {
        let _ = kill_process(process, signal);
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            // Of another's child, one that a killed run has left, only that it is gone can be seen.
            match waitpid(Some(process), WaitOptions::NOHANG) {
                Ok(None) => {}
                Err(_) if state(pid).is_some_and(|state| state != 'Z') => {}
                Ok(Some(_)) | Err(_) => return,
            }
            sleep(Duration::from_millis(2));
        }
    }
}

/// KiB of memory.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// All that is resident.
    pub rss: f64,
    /// The same, what is shared divided by those who share it.
    pub pss: f64,
    /// What it has written: heap, stack, data.
    pub private_dirty: f64,
}

/// The memory of a process.
pub fn memory(pid: u32) -> Memory {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    Memory { rss: field("Rss:"), pss: field("Pss:"), private_dirty: field("Private_Dirty:") }
}
