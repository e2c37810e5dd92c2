//! Words of a UCI line: quotes, escapes, comments, lines joined.
//!
//! libuci fetches one line at a time, and only a quote or an escaped line end makes it fetch the
//! next; whether a `;` or a `#` hides what follows is decided within that line. The cursor keeps
//! the same view.

use super::{Fault, WORD_MAX};

/// A place in the text, and the line it is on.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    /// Next byte, at most `end`.
    pos: usize,
    /// Just behind the line's `\n`, or the end of the text.
    end: usize,
    /// Line, from 1; 0 before the first.
    pub(super) line: u32,
    /// Line the statement being read begins at.
    pub(super) statement: u32,
    /// Set when a `;` hid something on its line.
    pub(super) cut: bool,
}

/// C's `isspace` in the C locale.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Cursor { text, pos: 0, end: 0, line: 0, statement: 0, cut: false }
    }

    /// Goes to the next line. `false`: there is none, and the cursor is at the end.
    pub(super) fn next_line(&mut self) -> bool {
        self.pos = self.end;
        let rest = &self.text[self.end..];
        if rest.is_empty() {
            return false;
        }
        self.end += rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
        self.line = self.line.saturating_add(1);
        true
    }

    /// Goes to the end of this line.
    pub(super) fn skip_line(&mut self) {
        self.pos = self.end;
    }

    pub(super) fn skip(&mut self, class: fn(u8) -> bool) {
        while self.peek().is_some_and(class) {
            self.pos += 1;
        }
    }

    /// The next byte of this line.
    fn peek(&self) -> Option<u8> {
        self.text[self.pos..self.end].first().copied()
    }

    /// What a statement begins with: up to a space or tab, or the end of the line and with it.
    pub(super) fn keyword(&mut self) -> &'a [u8] {
        self.skip(is_blank);
        let start = self.pos;
        self.skip(|byte| !is_blank(byte));
        &self.text[start..self.pos]
    }

    /// The next word, which must be there.
    pub(super) fn required(&mut self) -> Result<Vec<u8>, Fault> {
        let word = self.word()?;
        if word.is_empty() {
            return Err(Fault::Missing);
        }
        Ok(word)
    }

    /// The next word, or an empty one: nothing is left, or `''`, or `;`.
    pub(super) fn word(&mut self) -> Result<Vec<u8>, Fault> {
        let mut word = Vec::new();
        // Whether its bytes in the text are the word itself: no quote, no escape.
        let mut bare = true;
        self.skip(is_space);
        if self.peek() == Some(b';') {
            self.pos += 1;
            return Ok(word);
        }
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => {
                    self.skip_line();
                    break;
                }
                b';' => {
                    if bare {
                        // libuci ends the word by overwriting the `;`, and the line ends there.
                        self.cut = self.text[self.pos + 1..self.end]
                            .iter()
                            .find(|&&byte| !is_space(byte))
                            .is_some_and(|&byte| byte != b'#');
                        self.skip_line();
                    }
                    break;
                }
                b'\'' | b'"' => self.quoted(byte, &mut word)?,
                b'\\' => word.extend(self.escaped()),
                _ => {
                    word.push(byte);
                    self.pos += 1;
                }
            }
            bare &= !matches!(byte, b'\'' | b'"' | b'\\');
            if self.peek().is_some_and(is_space) {
                self.pos += 1;
                break;
            }
        }
        if word.len() > WORD_MAX {
            return Err(Fault::WordTooLong);
        }
        Ok(word)
    }

    /// Appends what is between two `quote`s.
    fn quoted(&mut self, quote: u8, word: &mut Vec<u8>) -> Result<(), Fault> {
        self.pos += 1;
        loop {
            match self.peek() {
                None if !self.next_line() => return Err(Fault::Unterminated),
                None => {}
                Some(byte) if byte == quote => {
                    self.pos += 1;
                    return Ok(());
                }
                Some(b'\\') if quote == b'"' => word.extend(self.escaped()),
                Some(byte) => {
                    word.push(byte);
                    self.pos += 1;
                }
            }
        }
    }

    /// Reads a backslash and what it stands for: the byte behind it, or nothing for a line end.
    fn escaped(&mut self) -> Option<u8> {
        self.pos += 1;
        match &self.text[self.pos..self.end] {
            [] | [b'\n'] | [b'\r', b'\n'] => {
                self.next_line();
                None
            }
            [byte, ..] => {
                self.pos += 1;
                Some(*byte)
            }
        }
    }
}
