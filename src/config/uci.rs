//! The UCI file grammar of OpenWrt's libuci: bytes → sections.
//!
//! One statement a line: `package NAME`, `config TYPE [NAME]`, `option NAME [VALUE]`,
//! `list NAME [VALUE]`, or their first letters alone. Words are bare, `'…'` (no escapes) or `"…"`
//! (backslash), adjacent pieces join, quotes may span lines, a backslash at the end of a line joins
//! it with the next, `#` starts a comment even within a bare word, `;` ends a statement. For a file
//! that libuci accepts the sections are exactly libuci's, and what libuci refuses is an
//! [`Severity::Error`](crate::config::Severity::Error) here (both held by a differential test
//! against libuci itself).
//!
//! Unlike libuci, which drops the whole file for one bad line, a bad line alone is left out. Its
//! section is then [`damaged`](Section::damaged), so that a reader can fail safe. No bytes panic.

mod lexer;
#[cfg(test)]
mod tests;

use crate::config::{Problem, Report};
use lexer::{is_space, Cursor};

/// Most bytes of a file that are read.
pub const TEXT_MAX: usize = 64 * 1024;
/// Most sections of a file. One more, damaged, stands for those left out.
pub const SECTIONS_MAX: usize = 512;
/// Most options of one section.
pub const OPTIONS_MAX: usize = 128;
/// Most values of one list.
pub const ITEMS_MAX: usize = 128;
/// Longest type, name or value in bytes.
pub const WORD_MAX: usize = 1024;

/// One `config` section, merged from all that have its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Line of its first `config` statement, from 1.
    pub line: u32,
    /// Type: printable ASCII. Empty when it could not be read; such a section is damaged.
    pub kind: String,
    /// Name: ASCII letters, digits and `_`.
    pub name: Option<String>,
    /// Something in it could not be read: it may not be what its owner meant.
    pub damaged: bool,
    /// Its options, in the order of their first appearance, no name twice.
    pub options: Vec<Entry>,
}

/// One option or list of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name: ASCII letters, digits and `_`.
    pub name: String,
    /// Written with `list`.
    pub list: bool,
    /// Values: exactly one, not empty, unless it is a list. Never none.
    pub items: Vec<Item>,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Line its statement begins at, from 1.
    pub line: u32,
    /// Any bytes but NUL.
    pub text: Vec<u8>,
}

/// Why a statement was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    BadName,
    BadType,
    Missing,
    Nul,
    OtherType,
    Orphan,
    Semicolon,
    TooManyItems,
    TooManyOptions,
    TooManySections,
    TooManyWords,
    TextTooLong,
    Unknown,
    UnknownOption,
    Unterminated,
    WordTooLong,
}

impl Fault {
    /// What is wrong and what to do.
    const fn advice(self) -> &'static str {
        match self {
            Fault::BadName => "a name has letters, digits and _ only: rename it",
            Fault::BadType => "a section type is printable ASCII without spaces: mend it",
            Fault::Missing => "a type or name is missing after the keyword: add it",
            Fault::Nul => "a NUL byte is no text, and what follows is not read: restore the file",
            Fault::OtherType => {
                "another section of a different type has this name: rename one of them"
            }
            Fault::Orphan => "this line stands before the first section: put a config line above",
            Fault::Semicolon => "uci refuses a line that ends in ';': remove the ';'",
            Fault::TooManyItems => "this list has more than 128 values: remove some",
            Fault::TooManyOptions => "this section has more than 128 options: remove some",
            Fault::TooManySections => {
                "there are more than 512 sections, and from here on none is read: remove some"
            }
            Fault::TooManyWords => "there are words after the value: put quotes around all of it",
            Fault::TextTooLong => {
                "the file is longer than 65536 bytes, and from here on nothing is read: shorten it"
            }
            Fault::Unknown | Fault::UnknownOption => {
                "a line begins with config, option or list: mend it or put # before it"
            }
            Fault::Unterminated => "a quote opens and never closes: close it, or write \\' or \\\"",
            Fault::WordTooLong => "a word is longer than 1024 bytes: shorten it",
        }
    }
}

/// What a line can begin with.
#[derive(Clone, Copy)]
enum Keyword {
    Package,
    Config,
    Option,
    List,
}

impl Keyword {
    fn from_word(word: &[u8]) -> Result<Keyword, Fault> {
        match word {
            b"p" | b"package" => Ok(Keyword::Package),
            b"c" | b"config" => Ok(Keyword::Config),
            b"o" | b"option" => Ok(Keyword::Option),
            b"l" | b"list" => Ok(Keyword::List),
            // Only what follows a `;` can be blank here.
            _ if word.iter().copied().all(is_space) => Err(Fault::Semicolon),
            // It may have begun a section, unless it looks like what stands in one.
            [b'o' | b'O' | b'l' | b'L', ..] => Err(Fault::UnknownOption),
            _ => Err(Fault::Unknown),
        }
    }
}

/// Reads a whole file. The problems are in the order of their lines.
pub fn parse(text: &[u8]) -> (Vec<Section>, Vec<Problem>) {
    let (whole, rest) = readable(text);
    let mut parser = Parser {
        cursor: Cursor::new(whole),
        sections: Vec::new(),
        current: None,
        report: Report::default(),
    };
    let mut full = false;
    while !full && parser.cursor.next_line() {
        full = parser.line() == Err(Fault::TooManySections);
    }
    if let (false, Some(fault)) = (full, rest) {
        let line = parser.cursor.line.saturating_add(1);
        parser.report.error(line, fault.advice());
        // The rest may be more of this section, or others.
        parser.damage();
        parser.sections.push(Section::lost(line));
    }
    (parser.sections, parser.report.problems)
}

/// The whole lines at the beginning of `text` that can be read, and why the rest cannot.
fn readable(text: &[u8]) -> (&[u8], Option<Fault>) {
    let within = &text[..text.len().min(TEXT_MAX)];
    let (cut, fault) = match within.iter().position(|&byte| byte == 0) {
        Some(nul) => (nul, Fault::Nul),
        None if text.len() > TEXT_MAX => (TEXT_MAX, Fault::TextTooLong),
        None => return (text, None),
    };
    let whole = text[..cut].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    (&text[..whole], Some(fault))
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    sections: Vec<Section>,
    /// Index of the section that options go to.
    current: Option<usize>,
    report: Report,
}

impl Parser<'_> {
    /// Reads the statements of the line the cursor is on, and on over the lines they span.
    ///
    /// # Errors
    /// The fault that ended it. It has been reported and its section marked.
    fn line(&mut self) -> Result<(), Fault> {
        let begin = self.cursor;
        self.cursor.skip(is_space);
        let fault = loop {
            let line = self.cursor.line;
            let outcome = self.statement();
            if std::mem::take(&mut self.cursor.cut) {
                let text = "uci does not read what follows ';' here: put it on a line of its own";
                self.report.warning(line, text);
            }
            match outcome {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(fault) => break fault,
            }
        };
        let line = match fault {
            Fault::Unterminated => begin.line,
            _ => self.cursor.statement,
        };
        self.report.error(line, fault.advice());
        self.damage();
        // A `config` line may be what is missing or unreadable. What follows is read on, as uci does.
        let orphan =
            self.current.is_none() && matches!(fault, Fault::Orphan | Fault::UnknownOption);
        let noted = self.sections.last().is_some_and(|last| last.kind.is_empty());
        if orphan || (fault == Fault::Unknown && !noted) {
            self.current.get_or_insert(self.sections.len());
            self.sections.push(Section::lost(line));
            if self.sections.len() > SECTIONS_MAX {
                self.report.error(line, Fault::TooManySections.advice());
                return Err(Fault::TooManySections);
            }
        }
        if fault == Fault::Unterminated {
            // The rest of the file was taken for text. Most of it is not: read on below.
            self.cursor = begin;
        }
        self.cursor.skip_line();
        Err(fault)
    }

    /// Marks the section that is open.
    fn damage(&mut self) {
        if let Some(section) = self.current.and_then(|at| self.sections.get_mut(at)) {
            section.damaged = true;
        }
    }

    /// Reads one statement. `false`: there is none left on this line.
    fn statement(&mut self) -> Result<bool, Fault> {
        self.cursor.statement = self.cursor.line;
        let word = self.cursor.keyword();
        if word.is_empty() || word.starts_with(b"#") {
            return Ok(false);
        }
        match Keyword::from_word(word)? {
            Keyword::Package => self.package()?,
            Keyword::Config => self.config()?,
            Keyword::Option => self.option(false)?,
            Keyword::List => self.option(true)?,
        }
        Ok(true)
    }

    /// `package NAME`: checked, without effect when a file is read by its own name.
    fn package(&mut self) -> Result<(), Fault> {
        let name = self.cursor.required()?;
        if !name.iter().all(|&byte| is_name_byte(byte) || byte == b'-') {
            return Err(Fault::BadName);
        }
        self.end()
    }

    /// `config TYPE [NAME]`: a new section, or more of the one with that name.
    fn config(&mut self) -> Result<(), Fault> {
        // Until it is understood it is a section of its own, lest its options go to another.
        let at = self.sections.len();
        self.current = Some(at);
        self.sections.push(Section::lost(self.cursor.statement));
        if at >= SECTIONS_MAX {
            return Err(Fault::TooManySections);
        }
        let kind = self.cursor.required()?;
        if !kind.iter().all(u8::is_ascii_graphic) {
            return Err(Fault::BadType);
        }
        let kind = ascii(&kind);
        self.sections[at].kind.clone_from(&kind);
        let name = self.cursor.word()?;
        if !name.iter().copied().all(is_name_byte) {
            return Err(Fault::BadName);
        }
        if !name.is_empty() {
            let name = Some(ascii(&name));
            match self.sections.iter().position(|section| section.name == name) {
                Some(earlier) if self.sections[earlier].kind != kind => {
                    return Err(Fault::OtherType);
                }
                Some(earlier) => {
                    self.sections.pop();
                    self.current = Some(earlier);
                    return self.end();
                }
                None => self.sections[at].name = name,
            }
        }
        self.sections[at].damaged = false;
        self.end()
    }

    /// `option NAME [VALUE]` or `list NAME [VALUE]`.
    fn option(&mut self, list: bool) -> Result<(), Fault> {
        let Some(section) = self.current.and_then(|at| self.sections.get_mut(at)) else {
            return Err(Fault::Orphan);
        };
        let name = self.cursor.required()?;
        if !name.iter().copied().all(is_name_byte) {
            return Err(Fault::BadName);
        }
        let item = Item { line: self.cursor.statement, text: self.cursor.word()? };
        if !self.cursor.word()?.is_empty() {
            return Err(Fault::TooManyWords);
        }
        section.set(ascii(&name), list, item)
    }

    /// Nothing may follow in this statement.
    fn end(&mut self) -> Result<(), Fault> {
        match self.cursor.word()?.is_empty() {
            true => Ok(()),
            false => Err(Fault::TooManyWords),
        }
    }
}

impl Section {
    /// A section of which nothing is known.
    fn lost(line: u32) -> Section {
        Section { line, kind: String::new(), name: None, damaged: true, options: Vec::new() }
    }

    /// The last `option` wins; `list` appends, to an option's value too. An `option` without a
    /// value changes nothing.
    fn set(&mut self, name: String, list: bool, item: Item) -> Result<(), Fault> {
        if !list && item.text.is_empty() {
            return Ok(());
        }
        let full = self.options.len() >= OPTIONS_MAX;
        match self.options.iter_mut().find(|entry| entry.name == name) {
            Some(entry) if list && entry.items.len() >= ITEMS_MAX => Err(Fault::TooManyItems),
            Some(entry) => {
                entry.list = list;
                if !list {
                    entry.items.clear();
                }
                entry.items.push(item);
                Ok(())
            }
            None if full => Err(Fault::TooManyOptions),
            None => {
                self.options.push(Entry { name, list, items: vec![item] });
                Ok(())
            }
        }
    }
}

/// What the names of sections and options are made of.
const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Bytes that were found to be ASCII.
fn ascii(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
