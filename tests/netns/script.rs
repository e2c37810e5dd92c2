//! Programs of others that are led step by step.

use crate::world::{Host, World};
use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How long a step may take, on a busy machine and with a client's own waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program, mostly a script of `tests/clients`, that says what it has done, one line a step, and
/// goes on when told. It runs as [`Host::Alice`].
pub struct Script {
    child: Child,
    steps: Receiver<String>,
    go_on: ChildStdin,
}

/// Something that `tests/setup.sh` has installed.
pub fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(path);
    assert!(path.exists(), "run tests/setup.sh first: there is no {}", path.display());
    path
}

impl Script {
    /// Node with the clients from npm.
    pub fn node(world: &World, source: &str, args: &[&str]) -> Script {
        let mut command = world.command(Host::Alice, "node");
        command.current_dir(installed("clients/node_modules").parent().unwrap());
        command.args(["--input-type=module", "--eval", source, "--"]).args(args);
        Script::start(command)
    }

    /// Python with the clients from PyPI.
    pub fn python(world: &World, source: &str, args: &[&str]) -> Script {
        let python = installed("clients-python/bin/python");
        Script::program(world, python.to_str().unwrap(), &[&["-c", source], args].concat())
    }

    /// Any other program.
    pub fn program(world: &World, program: &str, args: &[&str]) -> Script {
        let mut command = world.command(Host::Alice, program);
        command.args(args);
        Script::start(command)
    }

    fn start(mut command: Command) -> Script {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (say, steps) = channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| say.send(line)));
        let go_on = child.stdin.take().unwrap();
        Script { child, steps, go_on }
    }

    /// The next line, or "" of one that has ended.
    #[track_caller]
    pub fn said(&mut self) -> String {
        match self.steps.recv_timeout(PATIENCE) {
            Ok(line) => line.trim_end().to_string(),
            Err(RecvTimeoutError::Disconnected) => String::new(),
            Err(RecvTimeoutError::Timeout) => panic!("it says nothing"),
        }
    }

    /// Asserts that it says these lines.
    #[track_caller]
    pub fn says<T: Display>(&mut self, lines: impl IntoIterator<Item = T>) {
        for line in lines {
            assert_eq!(self.said(), line.to_string());
        }
    }

    /// Tells it to, if it is still there.
    pub fn go_on(&mut self) {
        let _ = self.go_on.write_all(b"\n");
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
