//! The `postern` command.

mod args;
mod log;

use argh::FromArgs;
use args::{Args, Command};
use postern::config;
use postern::daemon::{self, ctl, report, Failure};
use postern::netfilter::nft::Nft;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// sysexits.h's EX_CONFIG: the configuration must be mended.
const CONFIG: u8 = 78;
/// sysexits.h's EX_USAGE: the command line must be mended.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let args = match parse() {
        Ok(args) => args,
        Err(code) => return code,
    };
    if args.version {
        return print(concat!("postern ", env!("CARGO_PKG_VERSION"), "\n"));
    }
    match args.command {
        Some(Command::Run(run)) => serve(run),
        Some(Command::Check(args)) => check(&args.config),
        Some(Command::Status(status)) => {
            let question = if status.json { "status json" } else { "status" };
            answer(ctl::ask(Path::new(&status.state), question), &status.state)
        }
        Some(Command::List(list)) => {
            let question = if list.json { "list json" } else { "list" };
            match ctl::ask(Path::new(&list.state), question) {
                Err(None) => list_from_kernel(list.json, &list.state),
                answered => answer(answered, &list.state),
            }
        }
        Some(Command::Delete(delete)) => {
            let question = match (delete.id, delete.host, delete.all) {
                (Some(id), None, false) => format!("delete {id}"),
                (None, Some(host), false) => format!("delete host {host}"),
                (None, None, true) => "delete all".to_owned(),
                _ => {
                    let wanted = "delete wants one of the id that list shows, --host and --all";
                    return fail(USAGE, wanted);
                }
            };
            answer(ctl::ask(Path::new(&delete.state), &question), &delete.state)
        }
        None => {
            fail(USAGE, "say what to do: run, check, status, list or delete; --help tells more")
        }
    }
}

/// The command line, or the exit code where there is nothing more to do.
fn parse() -> Result<Args, ExitCode> {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Args::from_args(&["postern"], &words).map_err(|exit| match exit.status {
        Ok(()) => print(&exit.output),
        Err(()) => fail(USAGE, exit.output.trim_end()),
    })
}

fn print(text: &str) -> ExitCode {
    // A reader that has gone away (`postern list | head`) is no failure of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn fail(code: u8, why: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "postern: {why}");
    ExitCode::from(code)
}

fn answer(answered: Result<String, Option<String>>, state: &str) -> ExitCode {
    match answered {
        Ok(text) => print(&text),
        Err(Some(why)) => fail(1, &why),
        Err(None) => fail(1, &format!("no daemon answers in {state}: is it running?")),
    }
}

fn serve(run: args::Run) -> ExitCode {
    let level = if run.verbose { ::log::LevelFilter::Debug } else { ::log::LevelFilter::Info };
    log::start(level);
    let options = daemon::Options {
        config: PathBuf::from(run.config),
        external: run.external,
        internal: run.internal,
        state: PathBuf::from(run.state),
        verbose: run.verbose,
    };
    match daemon::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            ::log::error!("{failure}");
            ExitCode::from(match failure {
                Failure::Config(_) => CONFIG,
                Failure::System(_) => 1,
            })
        }
    }
}

fn check(name: &str) -> ExitCode {
    let text = match std::fs::read(name) {
        Ok(text) => text,
        Err(e) => return fail(CONFIG, &format!("{name}: cannot be read: {e}")),
    };
    let (lines, good) = config::check(name, &text);
    for line in lines {
        print(&format!("{line}\n"));
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(CONFIG)
    }
}

/// Without the daemon, the kernel still knows every mapping.
fn list_from_kernel(json: bool, state: &str) -> ExitCode {
    let _ = writeln!(
        std::io::stderr(),
        "postern: no daemon answers in {state}: this is what the kernel holds"
    );
    let told = match Nft::open_existing() {
        Ok(nft) => report::from_kernel(nft, json),
        // A stopped daemon takes its table with it: then nothing is open.
        Err(e) if e.kind() == ErrorKind::NotFound => {
            Ok((if json { "[]\n" } else { "" }).to_owned())
        }
        Err(e) => Err(e.to_string()),
    };
    match told {
        Ok(text) => print(&text),
        Err(why) => fail(1, &why),
    }
}
