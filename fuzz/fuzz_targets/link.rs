//! Fuzzes the decoder of the link between parent and fork server.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| daemon_forkserver::fuzz::link(bytes));
