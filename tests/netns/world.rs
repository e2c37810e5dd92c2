//! Namespaces, wires, addresses and the firewall.

use rustix::process::{kill_process, Pid, Signal};
use rustix::thread::{move_into_link_name_space, LinkNameSpaceType};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{panic, process, thread};

/// The router's LAN address.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
/// The first LAN host.
pub const ALICE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
/// The second LAN host.
pub const BOB: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);
/// The router's WAN address. Clients refuse documentation addresses, so it is one that looks
/// public; nothing of it leaves the namespaces.
pub const EXTERNAL: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 1);
/// A host of the Internet.
pub const PEER: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 2);
/// Another one.
pub const OTHER_PEER: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 3);

/// The router's LAN address.
pub const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
/// [`ALICE`], by IPv6.
pub const ALICE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
/// [`BOB`], by IPv6.
pub const BOB6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x20);
/// [`PEER`], by IPv6.
pub const PEER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 2);
/// [`OTHER_PEER`], by IPv6.
pub const OTHER_PEER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 3);

/// What the firewall has at every moment but a restart.
pub const FIREWALL: &str = include_str!("fw4.nft");

/// A namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// LAN host [`ALICE`].
    Alice,
    /// LAN host [`BOB`].
    Bob,
    /// Between `br-lan` and `wan`.
    Router,
    /// [`PEER`] and [`OTHER_PEER`] in one.
    Internet,
}

impl Host {
    const ALL: [Host; 4] = [Host::Router, Host::Alice, Host::Bob, Host::Internet];

    fn suffix(self) -> &'static str {
        match self {
            Host::Alice => "alice",
            Host::Bob => "bob",
            Host::Router => "router",
            Host::Internet => "internet",
        }
    }
}

/// Two LAN hosts behind a bridge, a router with a firewall, and the Internet.
pub struct World {
    tag: String,
    /// A folder of this world alone.
    pub dir: PathBuf,
}

impl World {
    /// Builds one with everything up and the firewall loaded.
    pub fn new() -> World {
        let world = World::without_wan();
        world.plug_wan();
        world.wan_address(EXTERNAL);
        world
    }

    /// Builds one whose router has no `wan` device yet.
    pub fn without_wan() -> World {
        assert!(rustix::process::geteuid().is_root(), "namespace tests need root");
        remove_leftovers();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let tag = format!("postern-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&tag);
        fs::create_dir_all(&dir).unwrap();
        let world = World { tag, dir };
        for host in Host::ALL {
            ip(&["netns", "add", &world.name(host)]);
            world.ip(host, "link set lo up");
            // IPv6 works at once, not a second or two after a link comes up. An address without
            // `nodad` is tentative all the same until the kernel comes to it.
            let dad = "/proc/sys/net/ipv6/conf/default/accept_dad";
            world.inside(host, || fs::write(dad, "0").unwrap());
        }
        world.inside(Host::Router, || {
            let set = |path: &str, value: &str| fs::write(format!("/proc/sys/net/{path}"), value);
            set("ipv4/ip_forward", "1").unwrap();
            set("ipv6/conf/all/forwarding", "1").unwrap();
            // Only there where br_netfilter is; OpenWrt has it off too.
            let _ = set("bridge/bridge-nf-call-iptables", "0");
            let _ = set("bridge/bridge-nf-call-ip6tables", "0");
        });
        world.ip(
            Host::Router,
            &format!(
                "link add br-lan type bridge\n\
                 addr add {ROUTER}/24 dev br-lan\n\
                 addr add {ROUTER6}/64 dev br-lan nodad\n\
                 link set br-lan up\n\
                 link add lan1 type veth peer name eth0 netns {}\n\
                 link add lan2 type veth peer name eth0 netns {}\n\
                 link set lan1 master br-lan up\n\
                 link set lan2 master br-lan up",
                world.name(Host::Alice),
                world.name(Host::Bob)
            ),
        );
        for (host, v4, v6) in [(Host::Alice, ALICE, ALICE6), (Host::Bob, BOB, BOB6)] {
            world.ip(
                host,
                &format!(
                    "addr add {v4}/24 dev eth0\n\
                     addr add {v6}/64 dev eth0 nodad\n\
                     link set eth0 up\n\
                     route add default via {ROUTER}\n\
                     route add default via {ROUTER6}"
                ),
            );
        }
        world.firewall_reload();
        world
    }

    /// Creates the router's `wan` device, up but without IPv4 address. Its index is a new one
    /// every time.
    pub fn plug_wan(&self) {
        self.ip(
            Host::Router,
            &format!(
                "link add wan type veth peer name eth0 netns {}\n\
                 addr add 2001:db8:ffff::1/64 dev wan nodad\n\
                 link set wan up",
                self.name(Host::Internet)
            ),
        );
        self.ip(
            Host::Internet,
            &format!(
                "addr add {PEER}/24 dev eth0\n\
                 addr add {OTHER_PEER}/24 dev eth0\n\
                 addr add {PEER6}/64 dev eth0 nodad\n\
                 addr add {OTHER_PEER6}/64 dev eth0 nodad\n\
                 link set eth0 up\n\
                 route add 192.168.0.0/16 via {EXTERNAL}\n\
                 route add default via 2001:db8:ffff::1"
            ),
        );
    }

    /// Takes the `wan` device away, as the end of a PPPoE session does.
    pub fn unplug_wan(&self) {
        self.ip(Host::Router, "link del wan");
    }

    /// Gives `wan` this address in place of any it has, and the default route.
    pub fn wan_address(&self, address: Ipv4Addr) {
        self.ip(
            Host::Router,
            &format!(
                "addr flush dev wan to 0.0.0.0/0\n\
                 addr add {address}/24 dev wan\n\
                 route replace default via {PEER} dev wan onlink"
            ),
        );
    }

    /// Runs `job` with its thread inside a namespace. Sockets made there stay there.
    pub fn inside<T: Send>(&self, host: Host, job: impl FnOnce() -> T + Send) -> T {
        let name = self.name(host);
        let work = || {
            enter(&name);
            job()
        };
        thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|e| panic::resume_unwind(e))
    }

    /// A command that will run inside a namespace, with the `/sys` that belongs to it.
    pub fn command(&self, host: Host, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(host)]).arg(program);
        command
    }

    /// Runs `ip` commands, one a line, in a namespace.
    pub fn ip(&self, host: Host, lines: &str) {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name(host), "-batch", "-"]);
        feed(command, lines);
    }

    /// Feeds `nft -f -` in the router.
    pub fn nft(&self, text: &str) {
        let mut command = self.command(Host::Router, "nft");
        command.args(["-f", "-"]);
        feed(command, text);
    }

    /// `nft list table inet postern` in the router, or `None` when there is no such table.
    pub fn table(&self) -> Option<String> {
        let mut command = self.command(Host::Router, "nft");
        let out = command.args(["list", "table", "inet", "postern"]).output().unwrap();
        out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
    }

    /// What `fw4 reload` does.
    pub fn firewall_reload(&self) {
        self.nft(FIREWALL);
    }

    /// What `fw4 restart` does.
    pub fn firewall_restart(&self) {
        self.firewall_stop();
        self.firewall_reload();
    }

    /// What `fw4 stop` does: nothing is filtered any more.
    pub fn firewall_stop(&self) {
        self.nft("delete table inet fw4");
    }

    /// The name of a namespace.
    pub fn name(&self, host: Host) -> String {
        format!("{}-{}", self.tag, host.suffix())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for host in Host::ALL {
            let _ = Command::new("ip").args(["netns", "del", &self.name(host)]).output();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Moves this thread into the namespace of this [name](World::name).
pub fn enter(name: &str) {
    let namespace = File::open(Path::new("/run/netns").join(name)).unwrap();
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

/// Removes the namespaces and folders of test runs that were killed before they could, and ends what
/// still runs there.
fn remove_leftovers() {
    for name in leftovers(Path::new("/run/netns")) {
        let _ = Command::new("ip").args(["netns", "del", &name]).output();
    }
    let place = std::env::temp_dir();
    for name in leftovers(&place) {
        let dir = place.join(name);
        end_all_of(&dir);
        let _ = fs::remove_dir_all(dir);
    }
}

/// Ends the programs of a world with this folder: those whose command line names it, but for who reads
/// in it from this namespace.
fn end_all_of(dir: &Path) {
    let within = format!("{}/", dir.display());
    let namespace = |process: &Path| fs::read_link(process.join("ns/net")).ok();
    let here = namespace(Path::new("/proc/self"));
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let pid = process.file_name().to_str().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        let Some(pid) = pid.filter(|_| String::from_utf8_lossy(&command).contains(&within)) else {
            continue;
        };
        if namespace(&process.path()) != here {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// What is there by the name of a run that is no more.
fn leftovers(place: &Path) -> Vec<String> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_left = |name: &String| {
        let numbers = name.strip_prefix("postern-").unwrap_or_default();
        let mut numbers = numbers.split('-').map(str::parse::<u32>);
        let (Some(Ok(pid)), Some(Ok(_))) = (numbers.next(), numbers.next()) else { return false };
        !Path::new("/proc").join(pid.to_string()).exists()
    };
    names.filter(is_left).collect()
}

fn ip(args: &[&str]) {
    succeed("ip", Command::new("ip").args(args).output().unwrap());
}

fn feed(mut command: Command, text: &str) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    succeed(text, child.wait_with_output().unwrap());
}

/// What a command printed, which must have succeeded.
pub fn succeed(what: &str, out: Output) -> String {
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{what}\n{}: {stderr}", out.status);
    String::from_utf8(out.stdout).unwrap()
}
