//! A small JSON writer for `status` and `list`.

use std::fmt::{self, Display, Write as _};

/// Text being written; values are placed in order, commas by themselves.
#[derive(Default)]
pub struct Json {
    text: String,
}

impl Json {
    /// Nothing written yet.
    pub fn new() -> Json {
        Json::default()
    }

    /// What has been written.
    pub fn finish(self) -> String {
        self.text
    }

    fn separate(&mut self) {
        if !matches!(self.text.chars().next_back(), None | Some('{' | '[' | ':' | '\n')) {
            self.text.push(',');
        }
    }

    /// `{ … }` with what `fill` puts inside.
    pub fn object(&mut self, fill: impl FnOnce(&mut Json)) -> &mut Json {
        self.separate();
        self.text.push('{');
        fill(self);
        self.text.push('}');
        self
    }

    /// `[ … ]` with what `fill` puts inside.
    pub fn array(&mut self, fill: impl FnOnce(&mut Json)) -> &mut Json {
        self.separate();
        self.text.push('[');
        fill(self);
        self.text.push(']');
        self
    }

    /// The name of the value that is written next.
    pub fn key(&mut self, name: &str) -> &mut Json {
        self.string(name);
        self.text.push(':');
        self
    }

    /// A string.
    pub fn string(&mut self, value: &str) -> &mut Json {
        self.separate();
        self.text.push('"');
        for c in value.chars() {
            match c {
                '"' | '\\' => self.text.extend(['\\', c]),
                c if c < ' ' => {
                    let _ = write!(self.text, "\\u{:04x}", c as u32);
                }
                c => self.text.push(c),
            }
        }
        self.text.push('"');
        self
    }

    /// A number, `true`, `false`: what displays as JSON by itself.
    pub fn plain(&mut self, value: impl Display) -> &mut Json {
        self.separate();
        let _ = write!(self.text, "{value}");
        self
    }

    /// A string made of something displayed, or `null`.
    pub fn text_or_null(&mut self, value: Option<impl Display>) -> &mut Json {
        match value {
            Some(value) => self.string(&value.to_string()),
            None => self.plain("null"),
        }
    }

    /// Something displayed as it is, or `null`.
    pub fn plain_or_null(&mut self, value: Option<impl Display>) -> &mut Json {
        match value {
            Some(value) => self.plain(value),
            None => self.plain("null"),
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_and_escapes_are_placed() {
        let mut json = Json::new();
        json.object(|o| {
            o.key("a\"b").string("c\\\n\u{1f600}");
            o.key("n").plain(7);
            o.key("l").array(|l| {
                l.plain(1).plain(true).text_or_null(None::<&str>);
                l.object(|_| ());
                l.array(|_| ());
            });
            o.key("e").plain_or_null(None::<u8>);
        });
        let want =
            "{\"a\\\"b\":\"c\\\\\\u000a\u{1f600}\",\"n\":7,\"l\":[1,true,null,{},[]],\"e\":null}";
        assert_eq!(json.finish(), want);
    }
}
