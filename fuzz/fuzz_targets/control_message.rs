//! Fuzzes the parser of lines from the control socket, and the formats of a status.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| actix_daemon::fuzz::control_message(bytes));
