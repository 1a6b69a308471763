//! Fuzzes the variables that a service manager sets.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| daemon_service::fuzz::environment(bytes));
