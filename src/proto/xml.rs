//! XML in and out, as far as SOAP control needs it (XML 1.0, Namespaces in XML 1.0).
//!
//! Reading goes through `roxmltree`, without document types and within the limits below. Bytes
//! that are not well-formed get one second chance after [`repair`], because widely used clients
//! send such bytes: raw `&` and `<` in a description, prefixes never declared, a NUL or blank
//! lines around the document. No bytes make this module panic.

mod repair;

use roxmltree::{Document, Node, ParsingOptions};

/// Longest document read, in bytes: whatever HTTP lets through.
pub const DOCUMENT_MAX: usize = crate::proto::http::BODY_MAX;
/// Most nodes (elements, texts, comments) in a document. It bounds the parser's memory and time.
pub const NODES_MAX: u32 = 256;
/// Deepest nesting of elements; an UPnP request has 4.
pub const DEPTH_MAX: usize = 16;
/// Most `=` signs in a document: a cheap upper bound of its attributes, whose checks for
/// duplicates take quadratic time.
pub const EQUALS_MAX: usize = 192;
/// Most namespace declarations in a document: each element that has one of its own looks through
/// all that hold where it stands, for each of them.
pub const DECLARATIONS_MAX: usize = 48;
/// Namespace given to a prefix that the document uses but does not declare.
pub const UNDECLARED: &str = "urn:undeclared";

/// Why a document is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not XML, not even after the repair.
    Malformed,
    /// It has a document type declaration.
    DocumentType,
    /// It is over a limit.
    TooLarge,
}

/// Parses `body` and hands the root element to `read`.
///
/// Invalid UTF-8 is replaced, not refused: some clients write a description in a local encoding.
///
/// # Errors
/// [`Error`]; `read` has not been called then.
pub fn with_root<T>(body: &[u8], read: impl FnOnce(Node<'_, '_>) -> T) -> Result<T, Error> {
    let equals = || body.iter().filter(|byte| **byte == b'=').count();
    let declarations = || body.windows(5).filter(|word| word == b"xmlns").count();
    if body.len() > DOCUMENT_MAX || equals() > EQUALS_MAX || declarations() > DECLARATIONS_MAX {
        return Err(Error::TooLarge);
    }
    let text = String::from_utf8_lossy(body);
    match parse(&text) {
        Ok(document) => Ok(read(document.root_element())),
        Err(Error::Malformed) => {
            let text = repair::repair(&text).ok_or(Error::Malformed)?;
            parse(&text).map(|document| read(document.root_element()))
        }
        Err(error) => Err(error),
    }
}

fn parse(text: &str) -> Result<Document<'_>, Error> {
    let options = ParsingOptions { nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| match error {
        roxmltree::Error::DtdDetected => Error::DocumentType,
        roxmltree::Error::NodesLimitReached => Error::TooLarge,
        _ => Error::Malformed,
    })?;
    // The parser keeps its own stack on the heap, so the depth may be looked at afterwards.
    let mut elements = document.descendants().filter(|node| node.is_element());
    if elements.any(|node| node.ancestors().nth(DEPTH_MAX + 1).is_some()) {
        return Err(Error::TooLarge);
    }
    Ok(document)
}

/// The character data directly inside an element: text and CDATA, comments left out.
pub fn text(element: Node<'_, '_>) -> String {
    element.children().filter(|n| n.is_text()).filter_map(|n| n.text()).collect()
}

/// Appends `text` to `out` so that it is character data or an attribute value of XML 1.0.
/// Characters that XML cannot hold are left out.
pub fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // As it is, a reader takes it for a line end (XML 1.0 §2.11).
            '\r' => out.push_str("&#13;"),
            c if is_xml(c) => out.push(c),
            _ => {}
        }
    }
}

/// Appends `<name>escaped value</name>`.
pub fn element(out: &mut String, name: &str, value: &str) {
    open(out, name);
    escape(out, value);
    close(out, name);
}

/// Appends `<name>`.
pub fn open(out: &mut String, name: &str) {
    out.push('<');
    out.push_str(name);
    out.push('>');
}

/// Appends `</name>`.
pub fn close(out: &mut String, name: &str) {
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// `Char` of XML 1.0 §2.2.
fn is_xml(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        c => c >= ' ',
    }
}

#[cfg(test)]
mod tests;
