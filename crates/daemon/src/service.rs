//! The daemon as a service: the service's state follows the daemon's phase, and the service
//! forwards the service manager's requests (stop, pause, reload) to the daemon.
//!
//! A daemon that is [supervised](crate::DaemonBuilder::supervised) spawns its service and registers
//! itself with this service. A program that needs the callbacks of the service must spawn the
//! service in its own code, with the setting
//! [`await_registration`](daemon_service::ServiceSettings::await_registration). Such a program
//! registers the daemon with the service in [`Program::parent`](crate::Program::parent):
//! `daemon.do_send(RegisterWith(service))`. The states of the service and the daemon correspond as
//! follows:
//!
//! | the service | while the daemon |
//! | --- | --- |
//! | starts | starts its first children |
//! | runs, and sends READY to the service manager | runs |
//! | pauses, then is paused | is paused by the operator, with a message, `daemonctl` or TSTP |
//! | continues | is resumed by the operator, with a message, `daemonctl` or CONT |
//! | reloads (Windows: ParamChange) | carries out its [`OnHup`](crate::OnHup) action; with `OnHup::Reload`, the service's reload ends when all children have been replaced |
//! | stops, and extends its timeout each time a child exits | is stopping |
//! | has stopped, with exit code 1 if the daemon has failed | has stopped |
//!
//! The service notifies the watchdog of the service manager while the daemon is healthy. A running
//! pool is healthy if at least one child waits for a request or serves one; a child that is still
//! starting does not count. The status text that the service sends to the service manager contains
//! the numbers of children and requests.

mod link;
mod rules;

use actix::Addr;
use daemon_service::{Callbacks, ServiceActor, ServiceError, ServiceSettings};
use slog::Logger;

pub(crate) use link::ServiceLink;
pub(crate) use rules::counts;

/// Spawns a service without callbacks, which waits until the daemon registers.
pub(crate) fn spawn(alias: &str, log: &Logger) -> Result<Addr<ServiceActor>, ServiceError> {
    let settings = ServiceSettings::new(Callbacks::none()).alias(alias).logger(log.clone());
    ServiceActor::spawn(settings.await_registration())
}
