//! Fuzzes the page for backtraces.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| daemon_sys::fuzz::trace_page(bytes));
