//! Fuzzes the frame decoder: bytes from another process are frames or an error, never a panic.
//!
//! Run `cargo +nightly fuzz run frames` in `crates/dispatch`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| actix_dispatch::fuzz::frames(bytes));
