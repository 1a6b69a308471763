//! The dispatcher with real workers.

#![expect(clippy::print_stdout, reason = "a program that reports, and workers that print")]
#![expect(clippy::unwrap_used, reason = "what is not as it should be ends the story")]

mod live {
    pub(crate) mod crashes;
    pub(crate) mod end;
    pub(crate) mod limits;
    pub(crate) mod methods;
    pub(crate) mod originals;
    pub(crate) mod payloads;
    pub(crate) mod play;
    pub(crate) mod printing;
    pub(crate) mod queueing;
    pub(crate) mod scarce;
    pub(crate) mod thousands;
}
#[path = "../../../tests/scenarios.rs"]
mod scenarios;

use std::process::ExitCode;

use live::{
    crashes, end, limits, methods, originals, payloads, printing, queueing, scarce, thousands,
};

fn main() -> ExitCode {
    scenarios::run(&[
        methods::SCENARIOS,
        originals::SCENARIOS,
        crashes::SCENARIOS,
        limits::SCENARIOS,
        queueing::SCENARIOS,
        payloads::SCENARIOS,
        scarce::SCENARIOS,
        printing::SCENARIOS,
        end::SCENARIOS,
        thousands::SCENARIOS,
    ])
}
