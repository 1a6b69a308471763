//! The fork server with real processes.

#![expect(clippy::print_stdout, reason = "a program that reports")]

mod live {
    pub(crate) mod asks;
    pub(crate) mod births;
    pub(crate) mod descriptors;
    pub(crate) mod ends;
    pub(crate) mod preloads;
    pub(crate) mod signals;
    pub(crate) mod transfers;
}
#[path = "../../../tests/scenarios.rs"]
mod scenarios;

use std::process::ExitCode;

use live::{births, descriptors, ends, preloads, signals, transfers};

fn main() -> ExitCode {
    scenarios::run(&[
        transfers::SCENARIOS,
        preloads::SCENARIOS,
        births::SCENARIOS,
        signals::SCENARIOS,
        descriptors::SCENARIOS,
        ends::SCENARIOS,
    ])
}
