//! Does the cost of a request grow with the number of mappings?
//!
//! Counts what can be counted exactly, so that the machine's speed does not matter: system calls
//! and netlink bytes with `strace`, instructions with `valgrind --tool=callgrind`, on the
//! optimised binary in network namespaces. Fails when an AddPortMapping among 4,000 costs over 5 %
//! more than among 10, or an entry of a long list over 5 % more than one of a short list.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "../tests/netns/world.rs"]
#[allow(dead_code)]
mod world;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use world::{succeed, Host, World, ALICE, ROUTER};

/// Mappings there before the requests that are counted.
const FEW: u16 = 10;
/// The same, many.
const MANY: u16 = 4000;
/// Requests counted.
const COUNTED: u16 = 50;
/// What "flat" allows.
const TOLERANCE: f64 = 1.05;
/// For what the requests before have left to do.
const SETTLE: Duration = Duration::from_secs(1);

fn main() {
    let few = Costs::at(FEW);
    let many = Costs::at(MANY);
    println!("AddPortMapping (one connection each)  among {FEW:>4}  among {MANY}  ratio");
    let rows = [
        ("system calls", few.syscalls, many.syscalls),
        ("netlink bytes", few.netlink, many.netlink),
        ("instructions", few.add, many.add),
    ];
    let mut flat = true;
    for (what, few, many) in rows {
        let ratio = many / few;
        println!("  {what:<34}  {few:>10.1}  {many:>10.1}  {ratio:.3}");
        flat &= ratio <= TOLERANCE;
    }
    println!("enumeration by index, instructions an entry");
    for (size, each) in &many.walks {
        println!("  {size:>4} entries  {each:>10.1}");
    }
    let each: Vec<f64> = many.walks.iter().map(|(_, each)| *each).collect();
    let linear = each.last().unwrap() / each.first().unwrap();
    println!("  last over first: {linear:.3}");
    flat &= linear <= TOLERANCE;
    assert!(flat, "the cost grows with the number of mappings");
    println!("flat: every ratio is at most {TOLERANCE}");
}

/// What one AddPortMapping costs.
struct Costs {
    syscalls: f64,
    netlink: f64,
    add: f64,
    walks: Vec<(u16, f64)>,
}

impl Costs {
    fn at(existing: u16) -> Costs {
        let world = World::new();
        let daemon = Daemon::start(&world, &[]);
        world.inside(Host::Alice, || (1..=existing).for_each(|i| add(10_000 + i)));
        sleep(SETTLE);
        let trace = daemon.trace(|| {
            world.inside(Host::Alice, || (1..=COUNTED).for_each(|i| add(20_000 + i)));
        });
        drop(daemon);
        let syscalls = trace.lines().filter(|line| line.contains('(')).count();
        let netlink: u64 = trace.lines().filter_map(netlink_bytes).sum();

        let world = World::new();
        let daemon = Daemon::start(&world, &["valgrind", "--tool=callgrind", "-q"]);
        let mut walks = Vec::new();
        let mut made = 0;
        for size in [existing / 4, existing / 2, existing] {
            world.inside(Host::Alice, || (made + 1..=size).for_each(|i| add(10_000 + i)));
            made = size;
            sleep(SETTLE);
            if size >= MANY / 4 {
                let walk = daemon.instructions(|| {
                    world.inside(Host::Alice, || (0..size).for_each(entry));
                });
                walks.push((size, walk / f64::from(size)));
            }
        }
        let adds = daemon.instructions(|| {
            world.inside(Host::Alice, || (1..=COUNTED).for_each(|i| add(20_000 + i)));
        });
        let each = |total: f64| total / f64::from(COUNTED);
        Costs {
            syscalls: each(syscalls as f64),
            netlink: each(netlink as f64),
            add: each(adds),
            walks,
        }
    }
}

/// Bytes moved by a line of strace, if it is one about a netlink socket.
fn netlink_bytes(line: &str) -> Option<u64> {
    if !line.contains("<NETLINK:") {
        return None;
    }
    line.rsplit("= ").next()?.split_whitespace().next()?.parse().ok()
}

struct Daemon {
    child: Child,
    pid: u32,
    out: String,
}

impl Daemon {
    fn start(world: &World, wrapper: &[&str]) -> Daemon {
        // Its limit on new connections is for floods, which this looks like.
        world.firewall_stop();
        let file = |name: &str| world.dir.join(name).display().to_string();
        let config =
            "config upnpd config\n\toption external_device wan\n\tlist internal_device br-lan\n";
        fs::write(file("upnpd"), config).unwrap();
        let out = file("callgrind.out");
        let binary = env!("CARGO_BIN_EXE_postern");
        let mut command = match wrapper {
            [] => world.command(Host::Router, binary),
            [program, flags @ ..] => {
                let mut command = world.command(Host::Router, program);
                command.args(flags).arg(format!("--callgrind-out-file={out}")).arg(binary);
                command
            }
        };
        command.args(["run", "--config", &file("upnpd"), "--state", &file("state")]);
        let log = fs::File::create(file("log")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let pid = child.id();
        let until = Instant::now() + Duration::from_secs(20);
        let answers = || world.inside(Host::Alice, || TcpStream::connect((ROUTER, 5000)).is_ok());
        while !answers() {
            assert!(Instant::now() < until, "{}", fs::read_to_string(file("log")).unwrap());
            sleep(Duration::from_millis(50));
        }
        sleep(Duration::from_secs(1));
        Daemon { child, pid, out }
    }

    /// What strace sees while `work` runs.
    fn trace(&self, work: impl FnOnce()) -> String {
        let out = format!("{}.strace", self.out);
        let pid = self.pid.to_string();
        let mut strace = Command::new("strace")
            .args(["-f", "-yy", "-s", "0", "-o", &out, "-p", &pid])
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
        work();
        sleep(Duration::from_millis(200));
        let id = rustix::process::Pid::from_child(&strace);
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        strace.wait().unwrap();
        fs::read_to_string(&out).unwrap()
    }

    /// Instructions executed while `work` runs.
    fn instructions(&self, work: impl FnOnce()) -> f64 {
        let dumps =
            || fs::read_dir(std::path::Path::new(&self.out).parent().unwrap()).unwrap().count();
        self.control("--zero");
        work();
        let before = dumps();
        self.control("--dump");
        let until = Instant::now() + Duration::from_secs(10);
        while dumps() == before && Instant::now() < until {
            sleep(Duration::from_millis(20));
        }
        sleep(Duration::from_millis(200));
        let newest =
            (1..).map(|n| format!("{}.{n}", self.out)).take_while(|f| fs::exists(f).unwrap());
        let text = fs::read_to_string(newest.last().unwrap()).unwrap();
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        total.unwrap().trim().parse().unwrap()
    }

    fn control(&self, what: &str) {
        let pid = self.pid.to_string();
        let out = Command::new("callgrind_control").args([what, &pid]).output().unwrap();
        succeed("callgrind_control", out);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request on a connection of its own, as real clients make it; its answer must be good.
fn request(action: &str, arguments: &str) {
    let service = "urn:schemas-upnp-org:service:WANIPConnection:1";
    let body = format!(
        "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
         <u:{action} xmlns:u=\"{service}\">{arguments}</u:{action}></s:Body></s:Envelope>"
    );
    let mut stream = TcpStream::connect((ROUTER, 5000)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "POST /igd1/wanip/control HTTP/1.1\r\nHost: {ROUTER}:5000\r\n\
         Content-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\
         SOAPAction: \"{service}#{action}\"\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{action}: {answer}");
}

fn add(port: u16) {
    let arguments = format!(
        "<NewRemoteHost></NewRemoteHost><NewExternalPort>{port}</NewExternalPort>\
         <NewProtocol>UDP</NewProtocol><NewInternalPort>{port}</NewInternalPort>\
         <NewInternalClient>{ALICE}</NewInternalClient><NewEnabled>1</NewEnabled>\
         <NewPortMappingDescription>bench</NewPortMappingDescription>\
         <NewLeaseDuration>3600</NewLeaseDuration>"
    );
    request("AddPortMapping", &arguments);
}

fn entry(index: u16) {
    let argument = format!("<NewPortMappingIndex>{index}</NewPortMappingIndex>");
    request("GetGenericPortMappingEntry", &argument);
}
