//! Fuzzes a scoreboard that children damage between the actions of the parent.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| daemon_core::fuzz::board(bytes));
