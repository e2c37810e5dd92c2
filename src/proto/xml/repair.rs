//! The one repair of XML that real clients send malformed.
//!
//! One pass over the text, in which
//! - everything before the first tag and after the last one is dropped (byte order mark, blank
//!   lines, NUL), and so are the XML declaration, processing instructions and comments;
//! - an `&` that begins no entity becomes `&amp;`, a `<` that begins no tag becomes `&lt;`,
//!   and a `>` that ends none `&gt;`, because `]]>` is forbidden in text;
//! - inside `NewPortMappingDescription` every `<` is text;
//! - characters that XML forbids are dropped;
//! - every prefix that the root element does not declare is declared there.

use super::{is_xml, UNDECLARED};

/// The element whose content clients forget to escape.
const FREE_TEXT: &str = "NewPortMappingDescription";
/// Most prefixes declared for a document.
const PREFIXES_MAX: usize = 16;

/// `text` made well-formed, if it is one of the known kinds of malformed.
///
/// `None`: something is left open, or a limit is passed.
pub(super) fn repair(text: &str) -> Option<String> {
    let mut rest = text.get(text.find('<')?..=text.rfind('>')?)?;
    let mut out = String::with_capacity(rest.len() + 256);
    let mut prefixes: Vec<&str> = Vec::new();
    let mut declared: Vec<&str> = Vec::new();
    // Where the root element's name ends in `out`.
    let mut root: Option<usize> = None;
    while let Some(at) = rest.find('<') {
        let (before, markup) = rest.split_at(at);
        push_text(&mut out, before);
        if let Some(len) = skipped(markup)? {
            rest = &markup[len..];
            continue;
        }
        if markup.starts_with("<![CDATA[") {
            let end = markup.as_bytes().windows(3).position(|three| three == b"]]>")? + 3;
            out.extend(markup[..end].chars().filter(|c| is_xml(*c)));
            rest = &markup[end..];
            continue;
        }
        let Some(tag) = tag(markup) else {
            push_text(&mut out, "<");
            rest = &markup[1..];
            continue;
        };
        let is_root = root.is_none();
        let (name, attributes) = tag.split_at(1 + element_name(tag).len());
        push_tag(&mut out, name);
        root.get_or_insert(out.len());
        push_tag(&mut out, attributes);
        rest = &markup[tag.len()..];
        for (name, is_attribute) in names(tag) {
            let Some((prefix, local)) = name.split_once(':') else {
                continue;
            };
            let list = match (is_attribute, prefix) {
                (true, "xmlns") if is_root => &mut declared,
                (_, "xmlns" | "xml") => continue,
                _ => &mut prefixes,
            };
            let word = if prefix == "xmlns" { local } else { prefix };
            if !list.contains(&word) {
                if list.len() == PREFIXES_MAX {
                    return None;
                }
                list.push(word);
            }
        }
        if is_free_text(tag) && !rest.starts_with("<![CDATA[") {
            let end = closing(rest, element_name(tag))?;
            push_text(&mut out, &rest[..end]);
            rest = &rest[end..];
        }
    }
    push_text(&mut out, rest);
    let mut declarations = String::new();
    for prefix in prefixes.into_iter().filter(|p| !declared.contains(p)) {
        for part in [" xmlns:", prefix, "=\"", UNDECLARED, "\""] {
            declarations.push_str(part);
        }
    }
    out.insert_str(root?, &declarations);
    Some(out)
}

/// Length of the comment or processing instruction that `markup` begins with, if it does.
/// Outer `None`: it has no end.
fn skipped(markup: &str) -> Option<Option<usize>> {
    for (begin, end) in [("<?", "?>"), ("<!--", "-->")] {
        if let Some(inside) = markup.strip_prefix(begin) {
            return Some(Some(begin.len() + inside.find(end)? + end.len()));
        }
    }
    Some(None)
}

/// The tag that `markup` begins with, from `<` to `>`; `None` if this `<` is only a character.
fn tag(markup: &str) -> Option<&str> {
    let inside = markup.strip_prefix('<')?;
    let name = inside.strip_prefix('/').unwrap_or(inside);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()) {
        return None;
    }
    let mut quote = None;
    for (at, c) in inside.char_indices() {
        match (c, quote) {
            ('<', _) => return None,
            ('>', None) => return markup.get(..at + 2),
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            _ => {}
        }
    }
    None
}

/// The name in a tag, with its prefix: `u:AddPortMapping`. A closing tag has the empty name.
fn element_name(tag: &str) -> &str {
    let inside = &tag[1..];
    let end = inside.find(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>');
    &inside[..end.unwrap_or(inside.len())]
}

/// The names of a tag's element (`false`) and attributes (`true`).
fn names(tag: &str) -> impl Iterator<Item = (&str, bool)> {
    let element = element_name(tag);
    // Odd pieces between quotes are values; each even one ends in `name=`.
    let attributes = tag[1 + element.len()..]
        .split(['"', '\''])
        .step_by(2)
        .filter_map(|piece| Some((piece.trim().strip_suffix('=')?.trim(), true)));
    std::iter::once((element, false)).chain(attributes)
}

fn is_free_text(tag: &str) -> bool {
    let name = element_name(tag);
    name.rsplit(':').next() == Some(FREE_TEXT) && !tag.ends_with("/>")
}

/// Where the closing tag of `name` begins in `rest`.
fn closing(rest: &str, name: &str) -> Option<usize> {
    rest.match_indices("</").map(|(at, _)| at).find(|at| {
        let after = rest[at + 2..].strip_prefix(name);
        after.is_some_and(|after| after.trim_start().starts_with('>'))
    })
}

/// Appends a tag, with a raw `&` in an attribute value escaped.
fn push_tag(out: &mut String, tag: &str) {
    push(out, tag, false);
}

/// Appends character data.
fn push_text(out: &mut String, text: &str) {
    push(out, text, true);
}

fn push(out: &mut String, text: &str, is_text: bool) {
    for (at, c) in text.char_indices() {
        match c {
            '<' if is_text => out.push_str("&lt;"),
            '>' if is_text => out.push_str("&gt;"),
            '&' if !is_entity(&text[at + 1..]) => out.push_str("&amp;"),
            c if is_xml(c) => out.push(c),
            _ => {}
        }
    }
}

/// Whether the text after an `&` makes it a predefined entity or a character reference.
fn is_entity(after: &str) -> bool {
    /// Longest reference: `#x10ffff`, with some leading zeros.
    const REFERENCE_MAX: usize = 12;
    let Some(name) = after
        .char_indices()
        .take(REFERENCE_MAX)
        .find(|(_, c)| *c == ';')
        .and_then(|(at, _)| after.get(..at))
    else {
        return false;
    };
    let number = match name.strip_prefix('#') {
        None => return matches!(name, "amp" | "lt" | "gt" | "quot" | "apos"),
        Some(digits) => match digits.strip_prefix('x') {
            Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => u32::from_str_radix(hex, 16),
            None if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse(),
            _ => return false,
        },
    };
    number.ok().and_then(char::from_u32).is_some_and(is_xml)
}
