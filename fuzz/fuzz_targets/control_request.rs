//! Fuzzes the parser of requests to the control socket.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| actix_daemon::fuzz::control_request(bytes));
