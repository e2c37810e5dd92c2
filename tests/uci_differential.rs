//! Our reader of the UCI grammar against OpenWrt's own `uci`: the same files are accepted, and say
//! the same.
//!
//! The files are the samples and some two thousand made from fixed seeds. `uci` is built on the
//! first run (`tests/uci-differential/build.sh`: registry, C compiler, a second).

#![allow(clippy::unwrap_used)]

use postern::config::uci::{parse, Entry, Item, Section};
use postern::config::Severity;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Type, name, and options by their names: whether it is a list, and its values.
type Told = Vec<(String, Option<String>, Vec<(String, bool, Vec<Vec<u8>>)>)>;

/// The reference.
struct Uci {
    command: PathBuf,
    folder: PathBuf,
}

impl Uci {
    /// Builds it if need be. `test` names a folder for its files.
    fn new(test: &str) -> Uci {
        static ONCE: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _one = ONCE.lock();
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/uci-differential/build.sh");
        assert!(Command::new(script).arg(target.join("uci")).status().unwrap().success());
        let folder = target.join(test);
        fs::create_dir_all(&folder).unwrap();
        Uci { command: target.join("uci/bin/uci"), folder }
    }

    /// What it says of a file, or `None` when it refuses it. `lenient`: it leaves bad lines out.
    fn read(&self, text: &[u8], lenient: bool) -> Option<Told> {
        fs::write(self.folder.join("file"), text).unwrap();
        let mode = if lenient { "-S" } else { "-s" };
        let output = Command::new(&self.command)
            .args([mode, "-q", "-N", "-c"])
            .arg(&self.folder)
            .arg("-P")
            .arg(self.folder.join("none"))
            .args(["export", "file"])
            .output()
            .unwrap();
        output.status.success().then(|| exported(&output.stdout))
    }
}

/// Reads what `uci export` writes, which is but a part of the grammar.
fn exported(text: &[u8]) -> Told {
    let mut sections = Vec::new();
    let mut rest = text.strip_prefix(b"package file\n").unwrap();
    while !rest.is_empty() {
        let line = rest.split(|&byte| byte == b'\n').next().unwrap();
        let (keyword, words) = match line.iter().position(|&byte| byte == b' ') {
            Some(space) => (&line[..space], &rest[space + 1..]),
            None => (line, &rest[line.len()..]),
        };
        match keyword {
            b"" => rest = &words[1..],
            b"config" => {
                let (kind, after) = bare(words);
                let (name, after) = match after.strip_prefix(b" ") {
                    Some(quoted) => value(quoted),
                    None => (Vec::new(), after),
                };
                let name = (!name.is_empty()).then(|| String::from_utf8(name).unwrap());
                let kind = String::from_utf8(kind).unwrap().replace(r"'\''", "'");
                sections.push(Section { line: 0, kind, name, damaged: false, options: vec![] });
                rest = &after[1..];
            }
            _ => {
                let (name, after) = bare(words);
                let (text, after) = value(&after[1..]);
                let name = String::from_utf8(name).unwrap();
                let options = &mut sections.last_mut().unwrap().options;
                match options.iter_mut().find(|entry| entry.name == name) {
                    Some(entry) => entry.items.push(Item { line: 0, text }),
                    None => {
                        let items = vec![Item { line: 0, text }];
                        options.push(Entry { name, list: keyword == b"\tlist", items });
                    }
                }
                rest = &after[1..];
            }
        }
    }
    told(&sections)
}

/// A word up to a space or line end, and what follows.
fn bare(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let end = text.iter().position(|byte| b" \n".contains(byte)).unwrap();
    (text[..end].to_vec(), &text[end..])
}

/// A value in single quotes, and what follows.
fn value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut value = Vec::new();
    let mut rest = text.strip_prefix(b"'").unwrap();
    loop {
        let end = rest.iter().position(|&byte| byte == b'\'').unwrap();
        value.extend_from_slice(&rest[..end]);
        match rest[end..].strip_prefix(br"'\''") {
            Some(more) => {
                value.push(b'\'');
                rest = more;
            }
            None => return (value, &rest[end + 1..]),
        }
    }
}

/// What matters of sections. Of the order of options within one, versions of `uci` differ.
fn told(sections: &[Section]) -> Told {
    let options = |section: &Section| {
        let texts = |entry: &Entry| entry.items.iter().map(|item| item.text.clone()).collect();
        let mut options: Vec<_> = section
            .options
            .iter()
            .map(|entry| (entry.name.clone(), entry.list, texts(entry)))
            .collect();
        options.sort();
        options
    };
    let known = sections.iter().filter(|section| !section.kind.is_empty());
    known.map(|section| (section.kind.clone(), section.name.clone(), options(section))).collect()
}

/// What we say of a file, and whether we find an error.
fn ours(text: &[u8]) -> (Told, bool) {
    let (sections, problems) = parse(text);
    (told(&sections), problems.iter().any(|problem| problem.severity == Severity::Error))
}

/// A sequence that is the same on every run.
struct Random(u32);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        // Marsaglia's xorshift, 32 bits.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % end
    }

    fn of<'a>(&mut self, choice: &[&'a str]) -> &'a str {
        choice[self.below(choice.len())]
    }

    /// Something that can be written as part of a word.
    fn piece(&mut self) -> String {
        match self.below(8) {
            0..4 => self.of(&["a", "bc", "1", "lan", "x_y", "192.168.1.0/24", "-", "é"]).into(),
            4 => format!("'{}'", self.of(&["", "q", "a b", "#", ";", "\\", "\"", "x\ny", "\r\n"])),
            5 => format!("\"{}\"", self.of(&["", "q", "a b", "\\\"", "\\\\", "'", "\n", "a\\\nb"])),
            6 => format!("\\{}", self.of(&["n", "'", "\"", "#", ";", " ", "\\", "\n", "\r\n"])),
            _ => self.of(&["#c", ";", "'", "\"", "$", "\u{b}", "\r"]).into(),
        }
    }

    fn word(&mut self) -> String {
        (0..1 + self.below(3)).map(|_| self.piece()).collect()
    }

    /// A name, and now and then what is none.
    fn name(&mut self) -> String {
        match self.below(12) {
            0 => self.word(),
            1 => "'n'".into(),
            _ => self.of(&["n", "m", "o1", "p_"]).into(),
        }
    }

    fn statement(&mut self) -> String {
        let keyword =
            self.of(&["config", "option", "option", "list", "list", "c", "o", "l", "package", "p"]);
        let mut line =
            format!("{}{keyword}{}", self.of(&["", "\t", "  "]), self.of(&[" ", "\t", "  "]));
        line += &match keyword {
            "config" | "c" => self.of(&["t", "u", "t.-'x'", "'t'"]).into(),
            _ => self.name(),
        };
        for _ in 0..[0, 1, 1, 1, 1, 1, 1, 2][self.below(8)] {
            line += self.of(&[" ", "\t", " "]);
            line += &match keyword {
                "config" | "c" => self.name(),
                "package" | "p" => self.of(&["''", "#", " "]).into(),
                _ => self.word(),
            };
        }
        line + self.of(&["", "", "", "", " ", " # c", " ;", "; ", "\r"])
    }

    /// A file of statements, most of them good.
    fn file(&mut self) -> Vec<u8> {
        let mut file =
            String::from(self.of(&["config t\n", "config t n\n", "# c\nconfig 't' 'n'\n"]));
        for _ in 0..1 + self.below(5) {
            file += &self.statement();
            file += self.of(&["\n", "\n", "\n", "\r\n", "\n\n", "\n#c\n", " ; "]);
        }
        file.into_bytes()
    }

    /// A file with a few bytes put in, taken out or put elsewhere.
    fn mutated(&mut self) -> Vec<u8> {
        let mut file = self.file();
        for _ in 0..1 + self.below(3) {
            let at = self.below(file.len());
            match self.below(3) {
                0 => drop(file.remove(at)),
                1 => file.insert(at, b"'\"\\;# \n\t\rol1"[self.below(12)]),
                _ => file.truncate(at),
            }
            if file.is_empty() {
                break;
            }
        }
        file
    }

    /// Words of the grammar in no order.
    fn soup(&mut self) -> Vec<u8> {
        let mut soup = String::from("config t\n");
        for _ in 0..2 + self.below(14) {
            soup += self.of(&[
                "option",
                "list",
                "config",
                "o",
                "l",
                "n",
                "v",
                " ",
                " ",
                " ",
                "\n",
                "\n",
                "\t",
                "'",
                "\"",
                "\\",
                ";",
                "#",
                "\r\n",
                "'v'",
                "''",
                "\\\n",
                " n v\n",
                "option n ",
            ]);
        }
        soup.into_bytes()
    }
}

/// Files of a kind, and how many of them `uci` must accept at least, lest they say little.
fn compare(test: &str, seed: u32, files: usize, accepted: usize, make: fn(&mut Random) -> Vec<u8>) {
    let uci = Uci::new(test);
    let mut random = Random(seed);
    let mut good = 0;
    for _ in 0..files {
        let text = make(&mut random);
        let shown = String::from_utf8_lossy(&text).into_owned();
        let (told, error) = ours(&text);
        let theirs = uci.read(&text, false);
        assert_eq!(!error, theirs.is_some(), "one accepts it, the other does not: {shown:?}");
        if let Some(theirs) = theirs {
            good += 1;
            assert_eq!(told, theirs, "ours, then theirs: {shown:?}");
        }
    }
    assert!((accepted..files).contains(&good), "{good} of {files} are accepted");
}

#[test]
fn files_of_statements_are_accepted_and_read_as_by_uci() {
    compare("statements", 1, 600, 150, Random::file);
}

#[test]
fn files_with_bytes_out_of_place_are_accepted_and_read_as_by_uci() {
    compare("mutated", 2, 600, 100, Random::mutated);
}

#[test]
fn words_of_the_grammar_in_no_order_are_accepted_and_read_as_by_uci() {
    compare("soup", 3, 1000, 40, Random::soup);
}

#[test]
fn bad_lines_are_left_out_as_by_uci_when_it_is_lenient() {
    let uci = Uci::new("lenient");
    let mut random = Random(4);
    for _ in 0..100 {
        let mut text = String::from("config t n\n");
        for _ in 0..8 {
            text += random.of(&[
                "option a 1\n",
                "option b 2\n",
                "list a 3\n",
                "config u\n",
                "opton a 4\n",
                "option\n",
                "option a-b 5\n",
                "list ''\n",
                "# c\n",
                "'option' a 6\n",
                "x\n",
                "package a.b\n",
            ]);
        }
        let theirs = uci.read(text.as_bytes(), true).unwrap();
        assert_eq!(ours(text.as_bytes()).0, theirs, "ours, then theirs: {text:?}");
    }
}

#[test]
fn the_samples_are_accepted_and_read_as_by_uci() {
    let uci = Uci::new("samples");
    let mut read = 0;
    for folder in ["uci", "uci/good", "uci/bad"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            // Of NUL bytes, libuci sees only that a line ends.
            if !path.is_file() || path.ends_with("torn") {
                continue;
            }
            read += 1;
            let text = fs::read(&path).unwrap();
            let (told, error) = ours(&text);
            assert_eq!((!error).then_some(told), uci.read(&text, false), "{}", path.display());
        }
    }
    assert!(read > 10);
}
