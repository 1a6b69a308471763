//! Fuzzes the parsers of files in /proc.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| actix_daemon::fuzz::proc_files(bytes));
