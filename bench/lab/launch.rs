//! How each daemon is configured and run: as OpenWrt does it.

use super::clients::{external, internal};
use super::firewall;
use super::gateway::{Gateway, Kind};
use super::procfs;
use crate::world::{succeed, Host, World, ALICE};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

const UUID: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
/// In the world's folder: the daemon's process.
const PID_FILE: &str = "pid";

/// How long a start may take: under valgrind it takes long, and with leases to restore.
pub fn patience(mappings: u16) -> Duration {
    Duration::from_secs(20) + Duration::from_millis(40) * u32::from(mappings)
}

/// What `make cross` has built for this machine, if it has.
pub fn static_program() -> Option<PathBuf> {
    let target = format!("target/cross/{}-unknown-linux-musl/postern", std::env::consts::ARCH);
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join(target)).filter(|path| path.exists())
}

/// The file that either daemon restores leases from, with those of mappings 1 to `count`.
pub fn write_leases(world: &World, count: u16) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let end = now.as_secs() + 36_000;
    let mut text = String::new();
    for number in 1..=count {
        let (outside, inside) = (external(number), internal(number));
        let _ = writeln!(text, "UDP:{outside}:{ALICE}:{inside}:{end}:a program");
    }
    fs::write(world.dir.join("leases"), text).unwrap();
}

/// Runs postern, if there is one inside another program.
pub fn postern(world: World, kind: Kind, wrapper: &[&str]) -> Gateway {
    firewall::postern(&world);
    let file = |name: &str| world.dir.join(name).display().to_string();
    let looks = !matches!(kind, Kind::Lookless | Kind::Bare);
    let lease_file = match kind {
        Kind::Bare => String::new(),
        _ => format!("\toption upnp_lease_file {}\n", file("leases")),
    };
    let limits = match kind {
        Kind::Shipped => "",
        _ => {
            "\toption max_mappings 20000\n\toption max_mappings_per_host 20000\n\
             \toption max_new_mappings 0\n"
        }
    };
    // What runs it makes system calls of its own.
    let filter = if wrapper.is_empty() { "" } else { "\toption seccomp 0\n" };
    let config = format!(
        "config upnpd config\n\toption external_device wan\n\tlist internal_device br-lan\n\
         \toption igdv1 1\n\toption uuid {UUID}\n{lease_file}\toption revoke_flows {}\n\
         {limits}{filter}\
         config perm_rule\n\toption action allow\n\toption ext_ports 1024-65535\n\
         \toption int_addr 0.0.0.0/0\n\toption int_ports 1024-65535\n\
         config perm_rule\n\toption action deny\n\toption ext_ports 0-65535\n\
         \toption int_addr 0.0.0.0/0\n\toption int_ports 0-65535\n",
        u8::from(looks)
    );
    fs::write(file("upnpd"), config).unwrap();
    let ours = PathBuf::from(env!("CARGO_BIN_EXE_postern"));
    let binary = match kind {
        Kind::Static | Kind::Shipped => static_program().unwrap(),
        _ => ours,
    };
    let binary = binary.to_str().unwrap();
    let mut command = match wrapper {
        [] => world.command(Host::Router, binary),
        [program, flags @ ..] => {
            let mut command = world.command(Host::Router, program);
            command.args(flags).arg(binary);
            command
        }
    };
    command.args(["run", "--config", &file("upnpd"), "--state", &file("state")]);
    let log = fs::File::create(file("log")).unwrap();
    let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    fs::write(file(PID_FILE), child.id().to_string()).unwrap();
    Gateway { kind, pid: child.id(), world, child: Some(child), mappings: 0 }
}

/// Runs miniupnpd, which leaves for the background. Not with `-d`, whose log multiplies what it
/// costs.
pub fn miniupnpd(world: World, kind: Kind) -> Gateway {
    firewall::miniupnpd(&world);
    let config = format!(
        "ext_ifname=wan\nlistening_ip=br-lan\nport=5000\nenable_upnp=yes\nenable_natpmp=yes\n\
         secure_mode=yes\nsystem_uptime=yes\nforce_igd_desc_v1=yes\nlease_file={}\n\
         notify_interval=900\nuuid={UUID}\nupnp_table_name=fw4\nupnp_nat_table_name=fw4\n\
         upnp_forward_chain=upnp_forward\nupnp_nat_chain=upnp_prerouting\n\
         upnp_nat_postrouting_chain=upnp_postrouting\n\
         allow 1024-65535 0.0.0.0/0 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n",
        world.dir.join("leases").display()
    );
    fs::write(world.dir.join("conf"), config).unwrap();
    let mut script = format!("exec miniupnpd -f \"$1/conf\" -P \"$1/{PID_FILE}\"");
    if kind == Kind::Scanless {
        world.inside(Host::Router, || quiet_proc(&world.dir.join("proc")));
        // The mounts that a command in a namespace sees are its own.
        script = format!("mount --bind \"$1/proc\" /proc && {script}");
    }
    let dir = world.dir.display().to_string();
    let mut command = world.command(Host::Router, "sh");
    succeed("miniupnpd", command.args(["-c", &script, "sh", &dir]).output().unwrap());
    let until = Instant::now() + Duration::from_secs(10);
    let pid = loop {
        if let Some(pid) = process(&world.dir) {
            break pid;
        }
        assert!(Instant::now() < until, "miniupnpd has not started");
        sleep(Duration::from_micros(500));
    };
    Gateway { kind, world, pid, child: None, mappings: 0 }
}

/// The daemon of a world with this folder.
fn process(dir: &Path) -> Option<u32> {
    fs::read_to_string(dir.join(PID_FILE)).ok()?.trim().parse().ok()
}

/// A folder to stand in for `/proc`, with what miniupnpd reads there and no sockets.
fn quiet_proc(dir: &Path) {
    let proc = Path::new("/proc/thread-self");
    fs::create_dir_all(dir.join("net")).unwrap();
    fs::copy("/proc/uptime", dir.join("uptime")).unwrap();
    fs::copy(proc.join("net/dev"), dir.join("net/dev")).unwrap();
    for name in ["net/tcp", "net/udp"] {
        let text = fs::read_to_string(proc.join(name)).unwrap();
        let head = text.split_inclusive('\n').next().unwrap_or_default();
        fs::write(dir.join(name), head).unwrap();
    }
}

/// What postern has logged.
pub fn log(world: &World) -> String {
    fs::read_to_string(world.dir.join("log")).unwrap_or_default()
}

/// Ends the daemons that a run has left which was killed, and removes its folders.
pub fn end_leftovers() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let owner = name.strip_prefix("postern-").and_then(|rest| rest.split('-').next());
        let Some(owner) = owner.and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        let dir = entry.path();
        if procfs::state(owner).is_some() || !dir.join(PID_FILE).exists() {
            continue;
        }
        if let Some(pid) = process(&dir) {
            // The number may be another's by now: its command line names the folder.
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&command).contains(&*dir.to_string_lossy()) {
                procfs::end(pid);
            }
        }
        let _ = fs::remove_dir_all(dir);
    }
}

/// What of both daemons and of what measures them is not installed.
pub fn missing_programs() -> Vec<&'static str> {
    let has =
        |program: &str| Command::new("sh").args(["-c", "command -v \"$0\"", program]).output();
    ["miniupnpd", "nft", "ip", "strace", "valgrind", "callgrind_control", "strip", "ldd"]
        .into_iter()
        .filter(|program| !has(program).is_ok_and(|out| out.status.success()))
        .collect()
}
