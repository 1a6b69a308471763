//! Tests of the manager with real workers.

#![expect(clippy::print_stdout, reason = "a test program that prints its results")]

mod live {
    pub(crate) mod accepting;
    pub(crate) mod failures;
    pub(crate) mod launched;
    #[cfg(target_vendor = "apple")]
    #[path = "limit/apple.rs"]
    pub(crate) mod limit;
    #[cfg(not(target_vendor = "apple"))]
    #[path = "limit/other.rs"]
    pub(crate) mod limit;
    pub(crate) mod originals;
    pub(crate) mod rolling;
    pub(crate) mod shutdown;
    pub(crate) mod signals;
    pub(crate) mod statuses;
    pub(crate) mod support;
    pub(crate) mod workers;
}
#[path = "../../../tests/scenarios.rs"]
mod scenarios;

use std::process::ExitCode;

use live::{
    accepting, failures, launched, originals, rolling, shutdown, signals, statuses, workers,
};

fn main() -> ExitCode {
    scenarios::run(&[
        originals::SCENARIOS,
        workers::SCENARIOS,
        launched::SCENARIOS,
        accepting::SCENARIOS,
        signals::SCENARIOS,
        rolling::SCENARIOS,
        statuses::SCENARIOS,
        failures::SCENARIOS,
        shutdown::SCENARIOS,
    ])
}
