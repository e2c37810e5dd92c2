//! The first process of an emulated router: makes the machine usable, has the checks run, switches
//! the machine off.
//!
//! The checks run in a child, so that whatever becomes of them the machine says so and goes off.

use crate::outcome::{wait_for, Because, Outcome};
use crate::rtnetlink::{Rtnetlink, LOOPBACK};
use rustix::io::Errno;
use rustix::mount::{mount, MountFlags};
use rustix::system::{finit_module, reboot, RebootCommand};
use std::fs::{self, File};
use std::io::{stdout, ErrorKind};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

/// What is mounted: where, and which file system.
const MOUNTS: [(&str, &str); 5] = [
    ("/proc", "proc"),
    ("/sys", "sysfs"),
    ("/dev", "devtmpfs"),
    ("/tmp", "tmpfs"),
    ("/run", "tmpfs"),
];
/// Kernel modules, loaded in the order of their names.
const MODULES: &str = "/modules";
/// How long the checks may take in all: less than whoever watches the machine waits.
const LIMIT: Duration = Duration::from_secs(540);

/// Does it all and does not return. The checks are this program again, with this argument.
pub fn run(argument: &str) -> ! {
    if let Err(why) = prepare().and_then(|()| have_checked(argument)) {
        println!("router: FAIL: {why}");
    }
    // The last line must be out before the power is off.
    let _ = rustix::termios::tcdrain(stdout());
    let _ = reboot(RebootCommand::PowerOff);
    // A machine without a power switch: whoever watches has seen the last line.
    loop {
        sleep(LIMIT);
    }
}

fn prepare() -> Outcome {
    for (place, kind) in MOUNTS {
        make_folder(place)?;
        match mount(kind, place, kind, MountFlags::empty(), None) {
            // Some kernels mount /dev by themselves.
            Ok(()) | Err(Errno::BUSY) => {}
            Err(e) => return Err(format!("mounting {place}: {e}")),
        }
    }
    let version = fs::read_to_string("/proc/sys/kernel/osrelease").because("the kernel")?;
    let count = load_modules()?;
    Rtnetlink::open()?.up(LOOPBACK)?;
    let memory = fs::read_to_string("/proc/meminfo").because("/proc/meminfo")?;
    let memory = memory.lines().next().unwrap_or_default().trim_start_matches("MemTotal:").trim();
    println!("router: up: kernel {}, {count} modules, {memory} of memory", version.trim());
    Ok(())
}

fn make_folder(place: &str) -> Outcome {
    match fs::create_dir(place) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(format!("making {place}: {e}")),
        _ => Ok(()),
    }
}

/// Loads what there is; how many that were.
fn load_modules() -> Outcome<usize> {
    let mut paths = Vec::new();
    match fs::read_dir(MODULES) {
        Ok(entries) => {
            for entry in entries {
                paths.push(entry.because(MODULES)?.path());
            }
        }
        // A kernel with everything built in.
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(format!("{MODULES}: {e}")),
    }
    paths.sort();
    for path in &paths {
        let name = path.display();
        let file = File::open(path).because(&name)?;
        match finit_module(file, c"", 0) {
            // There already, or a faster way of something for a processor that this one is not:
            // were it needed, a later module would not load.
            Ok(()) | Err(Errno::EXIST | Errno::NODEV) => {}
            Err(e) => return Err(format!("loading {name}: {e}")),
        }
    }
    Ok(paths.len())
}

/// Runs the checks, which say themselves what they found unless they die.
fn have_checked(argument: &str) -> Outcome {
    let mut checks =
        Command::new("/proc/self/exe").arg(argument).spawn().because("starting the checks")?;
    let ended = wait_for("the checks end", LIMIT, || checks.try_wait().because("the checks"));
    let status = ended.inspect_err(|_| drop(checks.kill()))?;
    match status.code() {
        Some(0 | 1) => Ok(()),
        _ => Err(format!("the checks died: {status}")),
    }
}
