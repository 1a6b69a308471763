//! Tests of the fork server with real processes.

#![expect(clippy::print_stdout, reason = "a test program that prints its results")]

mod live {
    pub(crate) mod descriptors;
    pub(crate) mod lifecycle;
    pub(crate) mod preload;
    pub(crate) mod shutdown;
    pub(crate) mod signals;
    pub(crate) mod support;
    pub(crate) mod symbols;
    pub(crate) mod transfers;
}
#[path = "../../../tests/scenarios.rs"]
mod scenarios;

use std::process::ExitCode;

use live::{descriptors, lifecycle, preload, shutdown, signals, symbols, transfers};

fn main() -> ExitCode {
    scenarios::run(&[
        transfers::SCENARIOS,
        preload::SCENARIOS,
        lifecycle::SCENARIOS,
        signals::SCENARIOS,
        descriptors::SCENARIOS,
        shutdown::SCENARIOS,
        symbols::SCENARIOS,
    ])
}
