//! Does the cost of a request grow with the number of mappings? `parts/flatness.rs` alone.

#![allow(clippy::print_stdout, clippy::unwrap_used, dead_code, unused_imports)]

#[path = "parts/flatness.rs"]
mod flatness;
mod lab;
mod report;
#[path = "../tests/netns/world.rs"]
mod world;

fn main() {
    let mut report = report::Report::default();
    flatness::measure(&mut report);
    let failures = report.failures();
    assert!(failures.is_empty(), "it grows with the number of mappings: {failures:?}");
}
