//! Fuzzes the splitter of the output of workers.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| actix_dispatch::fuzz::worker_output(bytes));
