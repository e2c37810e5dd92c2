//! What each takes in flash: the program and the libraries it brings along.

use crate::lab::launch::static_program;
use crate::lab::stats::{figure, times};
use crate::report::{Report, Table};
use crate::world::succeed;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What every program has: not counted.
const EVERYWHERE: [&str; 4] = ["libc.so", "libgcc_s.so", "ld-linux", "linux-vdso"];

/// Measures it.
pub fn measure(report: &mut Report) {
    let peer = installed("miniupnpd");
    let us = stripped(Path::new(env!("CARGO_BIN_EXE_postern")));
    let peer_bytes = fs::metadata(&peer).unwrap().len() as f64 / 1024.0;
    let (our_libraries, peers_libraries) =
        (libraries(env!("CARGO_BIN_EXE_postern")), libraries(&peer));
    let sum = |libraries: &[(String, f64)]| libraries.iter().map(|(_, kib)| kib).sum::<f64>();
    let names = |libraries: &[(String, f64)]| {
        let each = |(name, kib): &(String, f64)| format!("{name} {}", figure(Some(*kib)));
        match libraries {
            [] => "none".into(),
            some => some.iter().map(each).collect::<Vec<_>>().join(", "),
        }
    };
    let mut table = Table::new("Bytes: KiB", &["", "postern", "miniupnpd", "ratio"]);
    let mut row = |name: &str, us: f64, peer: f64| {
        table.row([name.into(), figure(Some(us)), figure(Some(peer)), times(Some(peer), Some(us))]);
    };
    row("program, stripped", us, peer_bytes);
    row("with its libraries", us + sum(&our_libraries), peer_bytes + sum(&peers_libraries));
    if let Some(path) = static_program() {
        row(
            "one static program, as for a router",
            stripped(&path),
            peer_bytes + sum(&peers_libraries),
        );
    }
    table.note(format!(
        "Libraries but the C library and libgcc: postern {}; miniupnpd {}. fw4's nft brings libnftnl \
         and libmnl to a router anyway; OpenWrt's miniupnpd needs libcap-ng and libuuid besides. The \
         static program has its C library in it. `make size` has those for routers.",
        names(&our_libraries),
        names(&peers_libraries)
    ));
    report.table(table);
}

/// Where a program is.
fn installed(name: &str) -> String {
    let out = Command::new("sh").args(["-c", "command -v \"$0\"", name]).output().unwrap();
    succeed(name, out).trim().to_owned()
}

/// KiB of a program without its symbols.
fn stripped(program: &Path) -> f64 {
    let copy = std::env::temp_dir().join(format!("postern-stripped-{}", std::process::id()));
    let out = Command::new("strip").arg("-o").arg(&copy).arg(program).output().unwrap();
    succeed("strip", out);
    let bytes = fs::metadata(&copy).unwrap().len();
    fs::remove_file(copy).unwrap();
    bytes as f64 / 1024.0
}

/// The libraries that a program needs and not every program has, with their KiB.
fn libraries(program: &str) -> Vec<(String, f64)> {
    let out = Command::new("ldd").arg(program).output().unwrap();
    let text = succeed("ldd", out);
    let paths = text.lines().filter_map(|line| line.split("=> ").nth(1)?.split(' ').next());
    let own = paths.filter(|path| !EVERYWHERE.iter().any(|name| path.contains(name)));
    own.map(|path| {
        let name = Path::new(path).file_name().unwrap().to_string_lossy().into_owned();
        (name, fs::metadata(path).unwrap().len() as f64 / 1024.0)
    })
    .collect()
}
