//! Scenarios of the dispatcher with real worker processes.

#![expect(clippy::print_stdout, reason = "the test reports on stdout, and workers print")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod live {
    pub(crate) mod crashes;
    pub(crate) mod few_descriptors;
    pub(crate) mod fixture;
    pub(crate) mod flooding;
    pub(crate) mod hooks;
    #[cfg(all(target_os = "linux", not(fallback)))]
    pub(crate) mod hostile;
    /// The misdeeds need `/proc` and sealed memory files.
    #[cfg(not(all(target_os = "linux", not(fallback))))]
    pub(crate) mod hostile {
        pub(crate) const SCENARIOS: &[crate::scenarios::Scenario] = &[];
    }
    pub(crate) mod limits;
    pub(crate) mod methods;
    pub(crate) mod original;
    pub(crate) mod payloads;
    pub(crate) mod printing;
    pub(crate) mod queueing;
    pub(crate) mod shutdown;
    pub(crate) mod thousands;
}
#[path = "../../../tests/scenarios.rs"]
mod scenarios;

use std::process::ExitCode;

use live::{
    crashes, few_descriptors, flooding, hooks, hostile, limits, methods, original, payloads,
    printing, queueing, shutdown, thousands,
};

fn main() -> ExitCode {
    scenarios::run(&[
        methods::SCENARIOS,
        hooks::SCENARIOS,
        original::SCENARIOS,
        crashes::SCENARIOS,
        limits::SCENARIOS,
        hostile::SCENARIOS,
        queueing::SCENARIOS,
        payloads::SCENARIOS,
        few_descriptors::SCENARIOS,
        printing::SCENARIOS,
        flooding::SCENARIOS,
        shutdown::SCENARIOS,
        thousands::SCENARIOS,
    ])
}
