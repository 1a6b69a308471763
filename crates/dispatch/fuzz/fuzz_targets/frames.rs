//! `cargo +nightly fuzz run frames`, in this directory's parent: bytes of another process are
//! frames or an error, and never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| actix_dispatch::fuzz::frames(bytes));
