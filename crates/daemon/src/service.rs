//! The daemon as a service: its phase drives the states of a service, and what the service is told
//! reaches the daemon.
//!
//! A daemon that is [supervised](crate::DaemonBuilder::supervised) does all that by itself. One with callbacks
//! of its own spawns the service, and one line in [`Program::parent`](crate::Program::parent) registers it:
//! `daemon.do_send(RegisterWith(service))`. The service is spawned so that it
//! [awaits](daemon_service::ServiceSettings::await_registration) that. Then
//!
//! | the service | while the daemon |
//! | --- | --- |
//! | starts | brings its first children up |
//! | runs: a supervisor hears READY | runs |
//! | pauses, is paused, goes on | shuts its door, keeps it shut, opens it: by message, `daemonctl`, TSTP and CONT alike |
//! | reads its parameters anew | does what HUP asks for, until all children that serve are new |
//! | stops, with more time asked for at each child that leaves | drains |
//! | has stopped, with exit code 1 if the daemon has failed | has stopped |
//!
//! While the pool is healthy a supervisor's watchdog is told so, and its status line has the counts.

mod link;
mod rules;

use actix::Addr;
use daemon_service::{Callbacks, ServiceActor, ServiceError, ServiceSettings};
use slog::Logger;

pub(crate) use link::ServiceLink;
pub(crate) use rules::counts;

/// The service of a daemon that has no callbacks of its own: it waits for the daemon to register.
pub(crate) fn spawn(alias: &str, log: &Logger) -> Result<Addr<ServiceActor>, ServiceError> {
    let settings = ServiceSettings::new(Callbacks::none()).alias(alias).logger(log.clone());
    ServiceActor::spawn(settings.await_registration())
}
