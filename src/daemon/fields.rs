//! What `status` and `list` tell, said once: named values in order, for JSON and for ubus.

use crate::proto::blobmsg::{Kind, Writer};
use std::fmt::{Display, Write as _};

/// Takes named values in order. Those of an array have an empty name; what is begun is closed.
pub trait Fields {
    /// A text.
    fn text(&mut self, name: &str, value: &str);
    /// A number.
    fn number(&mut self, name: &str, value: u64);
    /// Yes or no.
    fn flag(&mut self, name: &str, value: bool);
    /// Nothing.
    fn null(&mut self, name: &str);
    /// The fields that follow are in a table of this name.
    fn table(&mut self, name: &str);
    /// The values that follow are in an array of this name.
    fn array(&mut self, name: &str);
    /// The table or array begun last is at its end.
    fn close(&mut self);

    /// A text made of something displayed, or nothing.
    fn shown(&mut self, name: &str, value: Option<&dyn Display>) {
        match value {
            Some(value) => self.text(name, &value.to_string()),
            None => self.null(name),
        }
    }

    /// A number, or nothing.
    fn number_or_null(&mut self, name: &str, value: Option<u64>) {
        match value {
            Some(value) => self.number(name, value),
            None => self.null(name),
        }
    }
}

impl Fields for Writer {
    fn text(&mut self, name: &str, value: &str) {
        Writer::text(self, name, value);
    }

    fn number(&mut self, name: &str, value: u64) {
        Writer::number(self, name, value);
    }

    fn flag(&mut self, name: &str, value: bool) {
        Writer::flag(self, name, value);
    }

    fn null(&mut self, name: &str) {
        Writer::null(self, name);
    }

    fn table(&mut self, name: &str) {
        self.begin(Kind::Table, name);
    }

    fn array(&mut self, name: &str) {
        self.begin(Kind::Array, name);
    }

    fn close(&mut self) {
        Writer::close(self);
    }
}

/// JSON being written.
#[derive(Default)]
pub struct Json {
    text: String,
    /// The ends of what is open.
    open: Vec<char>,
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

    /// What stands before a value: a comma if it is not the first, and its name if it has one.
    fn name(&mut self, name: &str) {
        if !matches!(self.text.chars().next_back(), None | Some('{' | '[')) {
            self.text.push(',');
        }
        if !name.is_empty() {
            self.quote(name);
            self.text.push(':');
        }
    }

    fn quote(&mut self, text: &str) {
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => self.text.extend(['\\', c]),
                c if c < ' ' => {
                    let _ = write!(self.text, "\\u{:04x}", c as u32);
                }
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }

    fn plain(&mut self, name: &str, value: &dyn Display) {
        self.name(name);
        let _ = write!(self.text, "{value}");
    }

    fn begin(&mut self, name: &str, begin: char, end: char) {
        self.name(name);
        self.text.push(begin);
        self.open.push(end);
    }
}

impl Fields for Json {
    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.quote(value);
    }

    fn number(&mut self, name: &str, value: u64) {
        self.plain(name, &value);
    }

    fn flag(&mut self, name: &str, value: bool) {
        self.plain(name, &value);
    }

    fn null(&mut self, name: &str) {
        self.plain(name, &"null");
    }

    fn table(&mut self, name: &str) {
        self.begin(name, '{', '}');
    }

    fn array(&mut self, name: &str) {
        self.begin(name, '[', ']');
    }

    fn close(&mut self) {
        self.text.extend(self.open.pop());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(out: &mut dyn Fields) {
        out.text("a\"b", "c\\\n\u{1f600}");
        out.number("n", 7);
        out.array("l");
        out.number("", 1);
        out.flag("", true);
        out.null("");
        out.table("");
        out.close();
        out.array("");
        out.close();
        out.close();
        out.shown("s", Some(&std::net::Ipv4Addr::LOCALHOST));
        out.shown("t", None);
        out.number_or_null("e", None);
        out.number_or_null("f", Some(0));
    }

    #[test]
    fn json_has_its_commas_names_and_escapes() {
        let mut json = Json::new();
        json.table("");
        fill(&mut json);
        json.close();
        let want = "{\"a\\\"b\":\"c\\\\\\u000a\u{1f600}\",\"n\":7,\"l\":[1,true,null,{},[]],\
                    \"s\":\"127.0.0.1\",\"t\":null,\"e\":null,\"f\":0}";
        assert_eq!(json.finish(), want);
    }

    #[test]
    fn blobmsg_has_the_same_names_in_the_same_order() {
        let mut out = Writer::new();
        fill(&mut out);
        let written = out.finish();
        let names: Vec<&str> =
            crate::proto::blobmsg::Fields::new(&written).map(|(name, _)| name).collect();
        assert_eq!(names, ["a\"b", "n", "l", "s", "t", "e", "f"]);
    }
}
