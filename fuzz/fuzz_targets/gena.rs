#![no_main]

#[path = "../targets/documents.rs"]
mod documents;
#[path = "../targets/gena.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
