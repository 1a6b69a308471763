//! Fuzzes the status of a damaged scoreboard.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| actix_daemon::fuzz::report(bytes));
