//! Live tests: real daemons, real connections, real signals. `harness` is what they stand on; each
//! other module holds the tests of one concept.

#![expect(clippy::unwrap_used, reason = "a test that unwraps what is not there has failed")]

mod babysitting;
mod board;
mod company;
mod control;
mod day;
mod detaching;
mod dispatching;
mod faults;
mod forking;
mod forks;
mod gearman;
mod handover;
mod harness;
mod housework;
mod logs;
mod preforking;
mod refusals;
mod reloading;
#[cfg(target_os = "linux")]
mod service;
mod short;
mod sizes;
mod status;
mod stopping;
