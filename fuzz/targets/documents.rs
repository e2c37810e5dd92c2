//! Which XML documents are over a limit that is looked at before they are parsed.

use postern::proto::xml::{DECLARATIONS_MAX, DOCUMENT_MAX, EQUALS_MAX};

pub fn is_large(document: &[u8]) -> bool {
    let equals = document.iter().filter(|byte| **byte == b'=').count();
    let declarations = document.windows(5).filter(|word| word == b"xmlns").count();
    document.len() > DOCUMENT_MAX || equals > EQUALS_MAX || declarations > DECLARATIONS_MAX
}
