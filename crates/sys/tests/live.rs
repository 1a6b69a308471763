//! Tests with real processes.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints the test results")]

mod live {
    pub(crate) mod children;
    pub(crate) mod helpers;
    pub(crate) mod launch;
    pub(crate) mod sharing;
    pub(crate) mod traces;
    #[cfg(feature = "tokio")]
    pub(crate) mod watching;
}
#[path = "../../../tests/scenarios.rs"]
mod scenarios;
#[path = "../../../tests/small_disk.rs"]
mod small_disk;

use std::process::ExitCode;

use live::{children, launch, sharing, traces};

fn main() -> ExitCode {
    scenarios::run(&[
        children::SCENARIOS,
        sharing::SCENARIOS,
        launch::SCENARIOS,
        traces::SCENARIOS,
        #[cfg(feature = "tokio")]
        live::watching::SCENARIOS,
    ])
}
