//! Fuzzes the reader of pid files.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| daemon_sys::fuzz::pidfile(bytes));
