//! The shipped configuration, the samples and the bad samples, through the library and through
//! `postern check`.
//!
//! A bad sample begins with what is to be said of it, `#! LINE: SEVERITY: TEXT` a line, in order.

#![allow(clippy::unwrap_used)]

use postern::config::{check, load, Config};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// sysexits.h's EX_CONFIG.
const CONFIG: i32 = 78;

/// The files of a folder of samples.
fn samples(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Checks a sample through the library and through the command, which must agree, and that the
/// outcome is `lines`.
fn assert_says(path: &Path, lines: &[String]) {
    let name = path.to_str().unwrap();
    let lines: Vec<String> = lines.iter().map(|line| format!("{name}:{line}")).collect();
    let good = !lines.iter().any(|line| line.contains(": error: "));
    assert_eq!(check(name, &fs::read(path).unwrap()), (lines.clone(), good), "{name}");

    let output =
        Command::new(env!("CARGO_BIN_EXE_postern")).args(["check", name]).output().unwrap();
    let said: Vec<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect();
    assert_eq!(said, lines, "{name}");
    assert_eq!(output.status.code(), Some(if good { 0 } else { CONFIG }), "{name}");
}

#[test]
fn the_shipped_configuration_and_good_samples_are_without_fault_302() {
    for path in samples("uci").into_iter().chain(samples("uci/good")) {
        assert_says(&path, &[]);
    }
}

#[test]
fn each_bad_sample_is_told_line_by_line_what_to_do() {
    for path in samples("uci/bad") {
        let text = fs::read(&path).unwrap();
        let expected: Vec<String> = text
            .split(|&byte| byte == b'\n')
            .map_while(|line| line.strip_prefix(b"#! "))
            .map(|line| String::from_utf8(line.to_vec()).unwrap())
            .collect();
        assert!(!expected.is_empty(), "{}", path.display());
        assert_says(&path, &expected);
    }
}

#[test]
fn a_file_that_is_not_there_is_a_failure_of_the_configuration() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_postern")).args(["check", "/nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(CONFIG));
}

/// The shipped file with the commented options that `choose` picks put into force.
fn shipped(choose: fn(&str) -> bool) -> Config {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("uci/upnpd")).unwrap();
    let mut uncommented = 0;
    let text: String = text
        .lines()
        .map(|line| match line.strip_prefix("#\t") {
            Some(option) if choose(option) => {
                uncommented += 1;
                format!("\t{option}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    assert!(uncommented > 10);
    let (config, problems) = load(text.as_bytes());
    assert_eq!(problems, []);
    config
}

#[test]
fn the_shipped_configuration_shows_the_defaults_as_they_are() {
    let (as_shipped, _) = load(include_bytes!("../uci/upnpd"));
    let defaults = Config {
        internal_device: as_shipped.internal_device.clone(),
        perm_rules: as_shipped.perm_rules.clone(),
        ..Config::default()
    };
    assert_eq!(as_shipped, defaults);
    assert_eq!(shipped(|option| !option.ends_with("# example")), defaults);
    assert!(as_shipped.is_resolved());
}

#[test]
fn the_examples_of_the_shipped_configuration_are_without_fault_and_none_is_a_default() {
    let config = shipped(|option| option.ends_with("# example"));
    let default = Config::default();
    for (same, name) in [
        (config.external_iface == default.external_iface, "external_iface"),
        (config.external_device == default.external_device, "external_device"),
        (config.uuid == default.uuid, "uuid"),
        (config.ct_mark == default.ct_mark, "ct_mark"),
        (config.igdv1 == default.igdv1, "igdv1"),
        (config.http_names == default.http_names, "http_names"),
    ] {
        assert!(!same, "{name}");
    }
}
