//! What a daemon asks of the kernel: system calls and netlink bytes, counted by `strace`.

use rustix::process::{kill_process, Pid, Signal};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// A trace that is being written.
pub struct Trace {
    strace: Child,
    out: PathBuf,
}

impl Trace {
    /// Begins to watch a process, all calls or those named.
    pub fn of(pid: u32, calls: &str) -> Trace {
        let out = std::env::temp_dir().join(format!("postern-strace-{}-{pid}", std::process::id()));
        let pid = pid.to_string();
        let strace = Command::new("strace")
            .args(["-f", "-yy", "-s", "0", "-e", &format!("trace={calls}"), "-p", &pid, "-o"])
            .arg(&out)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let traced = || {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            !status.contains("TracerPid:\t0\n")
        };
        while !traced() {
            sleep(Duration::from_millis(10));
        }
        sleep(Duration::from_millis(20));
        Trace { strace, out }
    }

    /// Ends it: the text.
    pub fn end(mut self) -> String {
        kill_process(Pid::from_child(&self.strace), Signal::INT).unwrap();
        self.strace.wait().unwrap();
        let text = fs::read_to_string(&self.out).unwrap();
        let _ = fs::remove_file(&self.out);
        text
    }
}

/// Kernel work of a number of requests.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub syscalls: f64,
    pub netlink: f64,
}

/// Counts while `work` makes `requests` requests: what each costs.
pub fn count(pid: u32, requests: u16, work: impl FnOnce()) -> Asked {
    let trace = Trace::of(pid, "all");
    work();
    sleep(Duration::from_millis(200));
    let text = trace.end();
    let syscalls = text.lines().filter(|line| line.contains('(')).count();
    let netlink: u64 = text.lines().filter_map(netlink_bytes).sum();
    let each = |total: f64| total / f64::from(requests);
    Asked { syscalls: each(syscalls as f64), netlink: each(netlink as f64) }
}

/// Bytes moved by a line of strace, if it is one about a netlink socket.
fn netlink_bytes(line: &str) -> Option<u64> {
    if !line.contains("<NETLINK:") {
        return None;
    }
    line.rsplit(" = ").next()?.split_whitespace().next()?.parse().ok()
}
