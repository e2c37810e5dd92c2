//! The filter of system calls in the real kernel: this program runs itself again, puts the filter in
//! force there and does one thing. Conformance 270.

#![allow(clippy::unwrap_used)]

use postern::sys::filter_calls;
use rustix::mount::{unmount, UnmountFlags};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{exit, Command};
use std::time::{Duration, Instant};
use std::{env, thread};

/// Says in the program that is run again what it is to do.
const WHAT: &str = "POSTERN_TEST_CALL";
/// What that ends with if it was not ended.
const DONE: i32 = 77;

/// What is done, and its name.
type Deed = (&'static str, fn(&Path));

/// Each thing that the daemon never does.
const FORBIDDEN: &[Deed] = &[
    ("a program", |_| drop(Command::new("true").spawn())),
    ("a thread", |_| drop(thread::Builder::new().spawn(|| ()))),
    ("a packet socket", |_| {
        drop(rustix::net::socket(AddressFamily::PACKET, SocketType::RAW, None))
    }),
    ("another user", |_| rustix::thread::set_thread_res_uid(ROOT, ROOT, ROOT).unwrap_or_default()),
    ("a signal", |_| {
        rustix::process::test_kill_process(rustix::process::getpid()).unwrap_or_default()
    }),
    ("a folder", |dir| drop(fs::create_dir(dir.join("made")))),
    ("a link", |dir| drop(symlink("x", dir.join("made")))),
    ("a reading of folders", |dir| drop(fs::read_dir(dir).map(Iterator::count))),
    ("another root", |dir| drop(std::os::unix::fs::chroot(dir))),
    ("a mount", |dir| unmount(dir, UnmountFlags::empty()).unwrap_or_default()),
    ("another folder", |dir| drop(env::set_current_dir(dir))),
    ("a terminal's state", |_| drop(rustix::termios::tcgetattr(std::io::stdin()))),
];
const ROOT: rustix::process::Uid = rustix::process::Uid::ROOT;

/// What the daemon does all day.
fn work(dir: &Path) {
    let file = dir.join("file");
    File::create(&file).unwrap().write_all(b"text").unwrap();
    fs::rename(&file, dir.join("other")).unwrap();
    assert_eq!(fs::read_to_string(dir.join("other")).unwrap(), "text");
    fs::remove_file(dir.join("other")).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    client.write_all(b"x").unwrap();
    server.set_nonblocking(false).unwrap();
    assert_eq!(server.read(&mut [0; 4]).unwrap(), 1);
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    UnixListener::bind(dir.join("socket")).unwrap();
    drop(rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None).unwrap());
    let large = vec![1_u8; 8 << 20];
    assert_eq!(large.iter().map(|byte| usize::from(*byte)).sum::<usize>(), large.len());
    let until = Instant::now() + Duration::from_millis(2);
    thread::sleep(Duration::from_millis(2));
    assert!(Instant::now() >= until);
}

/// Runs this test program's only test again to do `what`.
fn run_again(what: &str, dir: &Path) -> std::process::ExitStatus {
    let mut again = Command::new(env::current_exe().unwrap());
    again.args(["--exact", TEST, "--test-threads=1"]).env(WHAT, what).current_dir(dir);
    again.output().unwrap().status
}

const TEST: &str = "what_the_daemon_never_does_ends_it_and_what_it_does_goes_on_270";

#[test]
fn what_the_daemon_never_does_ends_it_and_what_it_does_goes_on_270() {
    if let Ok(what) = env::var(WHAT) {
        let dir = env::current_dir().unwrap();
        let (free, what) = match what.strip_prefix("free: ") {
            Some(what) => (true, what),
            None => (false, &what[..]),
        };
        let (_, job) = FORBIDDEN.iter().find(|(name, _)| *name == what).unwrap_or(&("", work));
        if !free {
            assert!(postern::sys::privileges::keep(None, 0).is_ok());
            filter_calls().unwrap();
        }
        job(&dir);
        exit(DONE);
    }
    let dir = env::temp_dir().join(format!("postern-calls-{}", std::process::id()));
    let fresh = || {
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
    };
    fresh();
    assert_eq!(run_again("work", &dir).code(), Some(DONE), "work");
    for (what, _) in FORBIDDEN {
        fresh();
        let ended = run_again(what, &dir);
        assert_eq!(ended.signal(), Some(Signal::SYS.as_raw()), "{what}: {ended}");
        assert!(!dir.join("made").exists());
        // It is the filter that ends it, nothing else.
        fresh();
        let free = run_again(&format!("free: {what}"), &dir);
        assert_eq!(free.code(), Some(DONE), "{what}: {free}");
    }
    fs::remove_dir_all(&dir).unwrap();
}
