//! What the daemon can do once it runs: little, and all of its work.

use crate::clients::{ask, header, Ask, IGD1, IGD2};
use crate::daemon::{Postern, UUID};
use crate::traffic::{FROM_ALICE, FROM_PEER};
use crate::world::{Host, World, ALICE, EXTERNAL};
use rustix::process::Signal;
use std::fs::{self, Permissions};
use std::net::SocketAddrV4;
use std::os::unix::fs::{chown, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{self, Command};
use std::thread;
use std::time::Duration;

/// CAP_NET_ADMIN alone, as the kernel writes it.
const NET_ADMIN: &str = "0000000000001000";
/// With CAP_NET_BIND_SERVICE.
const AND_BIND: &str = "0000000000001400";
const NOTHING: &str = "0000000000000000";

/// A user that nobody on the machine is, nor any other test or run.
fn user_of_test(number: u32) -> u32 {
    30_000 + process::id() % 7000 * 4 + number
}

/// The lines of `/proc/PID/status` that say what a process may do.
fn powers(daemon: &Postern<'_>) -> Vec<String> {
    let status = daemon.proc_status();
    let names = [
        "Uid",
        "Gid",
        "Groups",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
    ];
    names.map(|name| header(&status, name).split_whitespace().collect::<Vec<_>>().join(" ")).into()
}

/// What they are of a daemon of `user`.
fn confined(user: u32, capabilities: &str, seccomp: u8) -> Vec<String> {
    let who = [user; 4].map(|user| user.to_string()).join(" ");
    let (kept, filter) = (capabilities, &seccomp.to_string());
    [&who, &who, "", NOTHING, kept, kept, kept, NOTHING, "1", filter].map(String::from).into()
}

/// Maps a port, through which a packet comes in, and has that told in the lease file.
fn assert_serves(world: &World, port: u16) {
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    let alice = world.control_point(FROM_ALICE, IGD1);
    alice.add(&ask("UDP", port, 7000)).unwrap();
    assert!(world.udp(FROM_PEER, SocketAddrV4::new(EXTERNAL, port)).is_ok());
    let line = format!("UDP:{port}:");
    for _ in 0..40 {
        if fs::read_to_string(world.dir.join("leases")).is_ok_and(|text| text.contains(&line)) {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("the lease file has no {line}");
}

/// Makes another LAN, with `device`, and a configuration that serves it too.
fn another_lan(world: &World, device: &str, config: &str) -> String {
    world.ip(
        Host::Router,
        &format!("link add {device} type bridge\naddr add 192.168.7.1/24 dev {device}\nlink set {device} up"),
    );
    let lan = "\tlist internal_device 'br-lan'\n";
    config.replace(lan, &format!("{lan}\tlist internal_device '{device}'\n"))
}

fn serves(world: &World, device: &str) -> bool {
    let status = world.status();
    let internal = status["internal"].as_array().unwrap();
    internal.iter().any(|row| row["device"] == device)
}

#[test]
fn of_root_only_net_admin_is_left_and_no_work_suffers_270() {
    let world = World::new();
    let config = world.config("");
    let daemon = world.start_with(&config);
    // Where the kernel is older than Linux 5.7, CAP_NET_RAW is there too.
    assert_eq!(powers(&daemon), confined(0, NET_ADMIN, 2));
    assert!(!daemon.log().contains("not filtered"), "{}", daemon.log());
    assert_serves(&world, 17000);
    world.configure(&another_lan(&world, "guest", &config));
    daemon.signal(Signal::HUP);
    world.wait_for(|world| serves(world, "guest"));
    // A device made anew, and another WAN.
    world.ip(Host::Router, "link del guest");
    world.wait_for(|world| !serves(world, "guest"));
    another_lan(&world, "guest", "");
    world.wait_for(|world| serves(world, "guest"));
    world.unplug_wan();
    world.wait_for_state("no-external-address");
    world.plug_wan();
    world.wan_address(EXTERNAL);
    world.wait_for_state("active");
    assert_serves(&world, 17001);
    daemon.stop();
    assert_eq!(world.table(), None);
    let daemon = world.start_with(&world.config("\toption port '80'\n\toption seccomp '0'"));
    assert_eq!(powers(&daemon), confined(0, AND_BIND, 0));
    assert_serves(&world, 17002);
}

#[test]
fn a_daemon_of_another_user_does_all_its_work_270() {
    let world = World::new();
    let ubusd = world.ubusd();
    fs::set_permissions(world.ubus_socket(), Permissions::from_mode(0o666)).unwrap();
    // The run of root before has left files.
    let daemon = world.start();
    world.control_point(FROM_ALICE, IGD2).add(&ask("TCP", 17000, 7000)).unwrap();
    let before = world.rows();
    daemon.stop();
    let user = user_of_test(0);
    let config = world.ubus_config(&format!("\toption user '{user}'\n"));
    let daemon = world.start_with(&config);
    assert_eq!(powers(&daemon), confined(user, NET_ADMIN, 2));
    assert_eq!(world.rows(), before);
    ubusd.wait_for_daemon();
    assert_serves(&world, 17001);
    assert_owned_files_are(
        &world,
        user,
        &["leases", "state", "state/control", "state/leases", "state/uuid"],
    );

    // Only for root to read: said, and what was in force stays.
    let more = another_lan(&world, "guest", &config);
    world.configure(&more);
    let file = world.dir.join("upnpd");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    daemon.signal(Signal::HUP);
    world.wait_for(|_| daemon.log().contains("cannot be read: Permission denied"));
    assert!(!serves(&world, "guest"));
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    daemon.signal(Signal::HUP);
    world.wait_for(|world| serves(world, "guest"));

    // The kernel's table is taken over after a crash, ubus is joined again, and the end is orderly.
    daemon.crash();
    let daemon = world.start_with(&more);
    ubusd.wait_for_daemon();
    assert_eq!(powers(&daemon), confined(user, NET_ADMIN, 2));
    assert_eq!(world.list().len(), 2);
    let alice = world.control_point(FROM_ALICE, IGD2);
    alice.add(&Ask { lease: 900, ..ask("TCP", 17002, 7000) }).unwrap();
    let rows = world.rows();
    daemon.stop();
    assert_eq!(world.table(), None);
    assert_owned_files_are(&world, user, &["leases", "state", "state/leases", "state/uuid"]);
    assert!(!fs::read_to_string(world.dir.join("log")).unwrap().contains("cannot be written"));

    // Root takes it all back.
    let daemon = world.start();
    assert_eq!(world.rows(), rows);
    assert_eq!(powers(&daemon), confined(0, NET_ADMIN, 2));
    assert_serves(&world, 17003);
    assert_eq!(fs::metadata(world.state()).unwrap().uid(), 0);
}

/// Asserts that the user has these files and no others, here or where everybody may write.
fn assert_owned_files_are(world: &World, user: u32, names: &[&str]) {
    let mut find = Command::new("find");
    find.args(["/tmp", "/var", "/run", "/dev", "/etc", "-uid", &user.to_string()]);
    let found = String::from_utf8(find.output().unwrap().stdout).unwrap();
    let mut found: Vec<&str> = found.lines().collect();
    found.sort_unstable();
    found.dedup();
    let names = names.iter().map(|name| world.dir.join(name).display().to_string());
    assert_eq!(found, names.collect::<Vec<_>>());
}

#[test]
fn nothing_is_given_away_that_is_not_the_daemon_s_270() {
    let world = World::new();
    let own = user_of_test(1).to_string();
    let refused = |user: &str, state: &Path| {
        world.configure(&world.config(&format!("\toption user '{user}'")));
        let out = world.run(&["--state", state.to_str().unwrap()]);
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    let (code, words) = refused("no-such-user", &world.state());
    assert_eq!(code, Some(78), "{words}");
    assert!(words.contains("option user: 'no-such-user' is not in /etc/passwd"), "{words}");
    // A folder of everybody's.
    let shared = world.dir.join("shared");
    fs::create_dir_all(shared.join("another")).unwrap();
    let (code, words) = refused(&own, &shared);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("shared: cannot be made the user's"), "{words}");
    assert_eq!(fs::metadata(&shared).unwrap().uid(), 0);
    // Links in the place of files.
    let victim = world.dir.join("victim");
    fs::write(&victim, "").unwrap();
    std::os::unix::fs::symlink(&victim, world.state().join("uuid")).unwrap();
    fs::hard_link(&victim, world.dir.join("leases")).unwrap();
    let daemon = world.start_with(&world.config(&format!("\toption user '{own}'")));
    assert!(daemon.log().contains("leases: cannot be made the user's"), "{}", daemon.log());
    assert_eq!(fs::metadata(&victim).unwrap().uid(), 0);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "");
    assert!(fs::read_to_string(world.state().join("uuid")).unwrap().contains(UUID));
}

#[test]
fn a_start_without_root_needs_one_capability_alone_270() {
    // As procd's jail starts it.
    let world = World::new();
    fs::create_dir(world.state()).unwrap();
    let user = user_of_test(2);
    chown(world.state(), Some(user), Some(user)).unwrap();
    let number = &user.to_string();
    let start = ["setpriv", "--reuid", number, "--regid", number, "--clear-groups"];
    let with = ["--inh-caps", "-all,+net_admin", "--ambient-caps", "+net_admin"];
    world.configure(&world.config("\toption user 'root'").replace("leases'", "state/peer'"));
    let daemon = world.launch_by(&[&start[..], &with].concat()).answering();
    let mut expected = confined(user, NET_ADMIN, 2);
    let bounding = std::mem::take(&mut expected[6]);
    let mut powers = powers(&daemon);
    // It was not this one's to narrow.
    assert_ne!(std::mem::take(&mut powers[6]), bounding);
    assert_eq!(powers, expected);
    let _server = world.udp_server(Host::Alice, (ALICE, 7000));
    world.control_point(FROM_ALICE, IGD1).add(&ask("UDP", 17000, 7000)).unwrap();
    assert!(world.udp(FROM_PEER, SocketAddrV4::new(EXTERNAL, 17000)).is_ok());
    daemon.stop();
    // Root that may change neither user nor files stays what it is.
    chown(world.state(), Some(0), Some(0)).unwrap();
    for file in fs::read_dir(world.state()).unwrap() {
        chown(file.unwrap().path(), Some(0), Some(0)).unwrap();
    }
    world.configure(&world.config(""));
    let daemon = world.launch_by(&["setpriv", "--bounding-set", "-all,+net_admin"]).answering();
    assert_eq!(header(&daemon.proc_status(), "CapEff"), NET_ADMIN);
    assert!(world.udp(FROM_PEER, SocketAddrV4::new(EXTERNAL, 17000)).is_ok());
}

#[test]
fn no_file_is_written_but_those_of_the_state_directory_and_the_lease_file_270() {
    let world = World::new();
    let config = world.config("");
    world.configure(&config);
    let calls = world.dir.join("calls");
    let trace = ["strace", "-D", "-qq", "-e", "trace=%file", "-o", calls.to_str().unwrap()];
    let daemon = world.launch_by(&trace).answering();
    assert_serves(&world, 17000);
    daemon.signal(Signal::HUP);
    world.wait_for(|_| daemon.log().contains("configuration read again"));
    daemon.stop();
    let text = fs::read_to_string(&calls).unwrap();
    let dir = world.dir.to_str().unwrap();
    let mut written: Vec<&str> = Vec::new();
    for line in text.lines().filter(|line| !line.contains("O_RDONLY") && !line.contains(") = -1 "))
    {
        let call = line.split('(').next().unwrap();
        if ["execve", "access", "statx", "newfstatat", "readlink", "stat"].contains(&call) {
            continue;
        }
        let paths = line.split('"').skip(1).step_by(2);
        written.extend(paths.map(|path| path.strip_prefix(dir).unwrap_or(path)));
    }
    written.sort_unstable();
    written.dedup();
    assert_eq!(
        written,
        [
            "/leases",
            "/leases.new",
            "/state",
            "/state/control",
            "/state/leases",
            "/state/leases.new",
            "/state/uuid",
            "/state/uuid.new",
        ]
    );
}
