//! Fuzzes the decoder of requests that are handed over to children.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| daemon_forkserver::fuzz::request(bytes));
