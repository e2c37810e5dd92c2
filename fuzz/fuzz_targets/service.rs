#![no_main]

#[path = "../targets/service.rs"]
mod target;
#[path = "../targets/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
