//! Fuzzes the cells that record who owns a task.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| daemon_core::fuzz::claim(bytes));
