//! What the documents say of the code is so.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

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

/// The name of every test there is.
fn tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    sources(&root().join("tests"), &mut files);
    let mut names = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let mut lines = text.lines().map(str::trim);
        // Between the attribute and the name there may be others, and proptest's macro begins each
        // of its tests in the same way.
        while lines.by_ref().any(|line| line == "#[test]") {
            let function = lines.by_ref().find_map(|line| line.strip_prefix("fn "));
            names.extend(function.map(|rest| rest.split('(').next().unwrap().to_owned()));
        }
    }
    names
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
