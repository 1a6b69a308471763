//! Fuzzes the frame decoder. Any input must result in frames or an error, never in a panic.
//!
//! Run `cargo +nightly fuzz run frames` in `crates/dispatch`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| actix_dispatch::fuzz::frames(bytes));
