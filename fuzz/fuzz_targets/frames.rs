//! Fuzzes the decoder of frames between the dispatcher and its workers.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| actix_dispatch::fuzz::frames(bytes));
