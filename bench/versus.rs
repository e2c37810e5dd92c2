//! Postern against miniupnpd: one run, on this machine, in network namespaces.
//!
//! The peer is Debian's package, run as OpenWrt runs it. `BENCH_SHORT=1` makes a run of less than a
//! minute, which shows that everything works and whose figures mean little; `BENCH_PARTS="requests
//! memory"` measures only these and writes no file. Fails when a cost of postern's own grows with
//! the number of mappings; how it compares is printed and judged only.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod lab;
mod parts;
mod report;
#[path = "../tests/netns/world.rs"]
#[allow(dead_code)]
mod world;

use lab::launch;
use lab::procfs;
use lab::stats::{by_form, short};
use parts::start::Idle;
use report::Report;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// A part and what measures it.
type Part<'a> = (&'a str, &'a dyn Fn(&mut Report));

fn main() {
    let missing = launch::missing_programs();
    assert!(missing.is_empty(), "not installed: {}; run tests/setup.sh bench", missing.join(", "));
    launch::end_leftovers();
    procfs::adopt();
    let wanted = std::env::var("BENCH_PARTS").unwrap_or_default();
    let wants = |part: &str| wanted.is_empty() || wanted.split(' ').any(|word| word == part);
    let begin = Instant::now();
    let mut report = Report::default();
    report.say(&head());
    let idle = wants("start").then(Idle::start);
    let start = |report: &mut Report| parts::start::measure(report, idle.as_ref().unwrap());
    let parts: [Part<'_>; 7] = [
        ("packets", &parts::data_path::measure),
        ("requests", &parts::requests::measure),
        ("load", &parts::load::measure),
        ("memory", &parts::memory::measure),
        ("start", &start),
        ("bytes", &parts::bytes::measure),
        ("flatness", &parts::flatness::measure),
    ];
    for (name, measure) in parts {
        if wants(name) {
            eprintln!("{:>4} s: {name}", begin.elapsed().as_secs());
            measure(&mut report);
        }
    }
    report.judge();
    report.say(&format!("The run took {} s.\n", begin.elapsed().as_secs()));
    if wanted.is_empty() {
        let dir = results();
        report.write(&dir).unwrap();
        println!("written to {}", dir.display());
    }
    let failures = report.failures();
    assert!(failures.is_empty(), "it grows with the number of mappings: {failures:?}");
}

/// The short form must not take the place of real results.
fn results() -> PathBuf {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/results");
    by_form(Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-short"), whole)
}

/// What was compared, on what.
fn head() -> String {
    let version = Command::new("miniupnpd").arg("--version").output().unwrap();
    let version = String::from_utf8_lossy(&version.stdout);
    let version = version.lines().next().unwrap_or_default().split(' ').nth(1).unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let kernel = kernel.split('-').next().unwrap_or_default().trim().to_owned();
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("unknown");
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "# Postern {} and miniupnpd {version}\n\n{}\
         One run of `make bench` on Linux {kernel}, {processors} × {model}. postern is built as \
         for a release; miniupnpd is Debian's miniupnpd-nftables, run as OpenWrt runs it: in the \
         background, without debug log, with a lease file, its chains in fw4's table. Each daemon \
         has a router of its own, in network namespaces, behind the same firewall. A ratio above 1 \
         is in postern's favour, but where it is said otherwise.\n\n\
         ![Costs by the number of mappings](results.svg)\n\n",
        env!("CARGO_PKG_VERSION"),
        if short() { "**The short form: the figures mean little.**\n\n" } else { "" },
    )
}
