//! What the documents say of the code is so.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The names of the tests in a file.
fn tests_of(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap();
    let mut names = BTreeSet::new();
    let mut lines = text.lines().map(str::trim);
    // Between the attribute and the name there may be others, and proptest's macro begins each
    // of its tests in the same way.
    while lines.by_ref().any(|line| line == "#[test]") {
        let function = lines.by_ref().find_map(|line| line.strip_prefix("fn "));
        names.extend(function.map(|rest| rest.split('(').next().unwrap().to_owned()));
    }
    names
}

/// The name of every test there is.
fn tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    sources(&root().join("tests"), &mut files);
    files.iter().flat_map(|file| tests_of(file)).collect()
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_table_of_conformance_names_tests_and_files_that_there_are() {
    let page = fs::read_to_string(root().join("docs/conformance.md")).unwrap();
    let (_, tables) = page.split_once("\n## ").unwrap();
    let tests = tests();
    let (mut named, mut wrong) = (0, Vec::new());
    for word in quoted(tables) {
        if let Some(beginning) = word.strip_suffix('…') {
            named += 1;
            if !tests.iter().any(|test| test.starts_with(beginning)) {
                wrong.push(word);
            }
        } else if word.ends_with(".rs") || word.ends_with('/') {
            let places = ["src", "."].map(|folder| root().join(folder).join(word));
            if !places.iter().any(|place| place.exists()) {
                wrong.push(word);
            }
        }
    }
    assert!(named > 200, "{named}");
    assert_eq!(wrong, [""; 0], "no such test or file");
}

#[test]
fn every_row_of_the_threat_model_names_tests_that_there_are() {
    let page = fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let is_there = |word: &str| {
        let (file, beginning) = word.trim_end_matches('…').split_once("::").unwrap();
        let places = ["tests", "src"].map(|folder| root().join(folder).join(file));
        let mut files = places.iter().map(|path| path.with_extension("rs"));
        let tests = files.find(|file| file.exists()).map(|file| tests_of(&file));
        tests.is_some_and(|tests| tests.iter().any(|test| test.starts_with(beginning)))
    };
    let (mut rows, mut wrong) = (0, Vec::new());
    for line in page.lines() {
        let named: Vec<&str> = quoted(line).filter(|word| word.contains("::")).collect();
        wrong.extend(named.iter().filter(|word| !is_there(word)).map(|word| (*word).to_owned()));
        if line.starts_with("| ") && !line.starts_with("| it wants |") {
            rows += 1;
            if named.is_empty() {
                wrong.push(line.to_owned());
            }
        }
    }
    assert!(rows > 20, "{rows}");
    assert_eq!(wrong, [""; 0], "no such test, or a row without any");
}

/// What `cargo tree` says of these kinds of dependencies, a crate a line.
fn tree(more: &[&str]) -> BTreeSet<String> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["tree", "--locked", "--offline", "--no-dedupe", "--prefix", "none"]).args(more);
    let out = command.current_dir(root()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().filter(|line| !line.starts_with("postern ")).map(str::to_owned).collect()
}

#[test]
fn every_crate_asked_for_has_its_reason_and_the_number_of_all_is_right() {
    let linked = tree(&["--edges", "normal,no-proc-macro", "--format", "{p}"]).len();
    let all = tree(&["--edges", "normal,build", "--format", "{p}"]).len();
    let page = fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let said = format!("{linked} crates are linked into the program, {all} with those");
    assert!(page.contains(&said), "{said}");
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains(&format!(" | {linked} ({all}) |")), "README: {linked} ({all})");
    let asked = tree(&["--edges", "normal", "--depth", "1", "--format", "{p}"]);
    let asked: BTreeSet<&str> = asked.iter().map(|line| line.split(' ').next().unwrap()).collect();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.collect::<BTreeSet<_>>(), asked);
    let (_, of_tests) = page.split_once("In the tests alone: ").unwrap();
    for line in tree(&["--edges", "dev", "--depth", "1", "--format", "{p}"]) {
        let name = line.split(' ').next().unwrap();
        assert!(of_tests.contains(&format!("`{name}`")), "{name}");
    }
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let name = cells.next().unwrap().trim_matches('`');
        let with = tree(&["--edges", "normal,no-proc-macro", "--format", "{p}", "--package", name]);
        assert_eq!(cells.next(), Some(&with.len().to_string()[..]), "{name}");
    }
}

#[test]
fn every_crate_has_a_licence_that_is_allowed_and_comes_from_a_registry() {
    let deny = fs::read_to_string(root().join("deny.toml")).unwrap();
    let (_, allowed) = deny.split_once("allow = [").unwrap();
    let allowed: Vec<&str> =
        allowed.split(']').next().unwrap().split('"').skip(1).step_by(2).collect();
    assert!(allowed.contains(&"MIT"), "{allowed:?}");
    // All of an `AND`, one of an `OR`; none that is linked in has parentheses but around an `OR`.
    let good = |licence: &str| {
        licence.replace('/', " OR ").split(" AND ").all(|part| {
            let mut choices = part.trim_matches(['(', ')']).split(" OR ");
            choices.any(|choice| allowed.contains(&choice.trim()))
        })
    };
    for line in tree(&["--edges", "normal,build", "--format", "{p}|{l}"]) {
        let (_, licence) = line.split_once('|').unwrap();
        assert!(good(licence), "{line}");
    }
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for line in lock.lines().filter(|line| line.starts_with("source = ")) {
        assert!(line.starts_with("source = \"registry+"), "{line}");
    }
}
