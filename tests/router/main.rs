//! The main job on a router, shown by one static program that needs no other in the machine.
//!
//! LAN host, router and Internet are network namespaces, packets are real, the main firewall drops
//! what lacks Postern's signal. [`checks`] is the story. It is run in two ways:
//!
//! - by `cargo test`, as root, with the daemon just built;
//! - as `/init` of an emulated router that has nothing but this program, the daemon `/postern` and
//!   kernel modules in `/modules` (see [`init`]). There memory has limits too.
//!
//! Every step is one line; the last line is `router: PASS (N steps)` or `router: FAIL: why`.

// All of this is test code, though nothing of it is marked `#[test]`.
#![allow(clippy::print_stdout)]

mod announcements;
mod checks;
mod control_point;
mod daemon;
mod firewall;
mod init;
mod namespace;
mod outcome;
mod rtnetlink;
mod traffic;
mod world;

use checks::Machine;
use outcome::{ensure, Outcome};
use std::process::ExitCode;
use std::{env, panic, process};

/// The argument that the first process gives the one that runs the checks.
const ON_ROUTER: &str = "--on-router";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if process::id() == 1 {
        init::run(ON_ROUTER);
    }
    if arguments.iter().any(|a| a == "--list") {
        println!("router: test");
        return ExitCode::SUCCESS;
    }
    if !is_wanted(&arguments) {
        println!("router: not asked for");
        return ExitCode::SUCCESS;
    }
    panic::set_hook(Box::new(|panic| println!("router: FAIL: {panic}")));
    let machine = match arguments.iter().any(|a| a == ON_ROUTER) {
        true => Machine::router(),
        false => Machine::host(),
    };
    match may_run().and_then(|()| checks::run(&machine)) {
        Ok(steps) => {
            println!("router: PASS ({steps} steps)");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("router: FAIL: {why}");
            ExitCode::FAILURE
        }
    }
}

/// `cargo test WORDS` hands the words to every test program: one of them must be in its name.
fn is_wanted(arguments: &[String]) -> bool {
    const WITH_A_VALUE: [&str; 6] =
        ["--test-threads", "--skip", "--format", "--color", "--logfile", "--shuffle-seed"];
    let mut words = Vec::new();
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        if WITH_A_VALUE.contains(&argument) {
            rest.next();
        } else if !argument.starts_with('-') {
            words.push(argument);
        }
    }
    words.is_empty() || words.iter().any(|word| "router".contains(word))
}

fn may_run() -> Outcome {
    ensure(rustix::process::geteuid().is_root(), || {
        "network namespaces need root: run the tests as root".into()
    })
}
