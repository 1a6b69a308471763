//! Fuzzes labels of children.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| daemon_core::fuzz::label(bytes));
