//! A service's System: where the service manager calls for it, or here and now.

use std::error::Error;

use actix::{Addr, System};

use crate::actor::ServiceActor;
use crate::error::ServiceError;
use crate::messages::UntilStopped;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;
#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

/// Runs a service of this name in a System of its own, until it has stopped; returns with its exit
/// code, which `main` hands on.
///
/// `start` runs inside the System: it starts the program's actors, and spawns the service. That is in
/// the service manager's thread where there is one, and the manager hears of the end after the
/// System has ended. In a console it is here.
///
/// # Errors
///
/// - [`ServiceError::Program`] when `start` fails.
/// - [`ServiceError::ActorLost`] when the System ends before the service has stopped.
/// - [`ServiceError::Second`] when this process runs a service already (Windows).
/// - [`ServiceError::System`] when the service manager does not answer (Windows).
pub fn run<F>(name: &str, start: F) -> Result<u32, ServiceError>
where
    F: FnOnce() -> Result<Addr<ServiceActor>, Box<dyn Error>> + Send + 'static,
{
    platform::run(name, start)
}

/// Runs a service in this thread: under a supervisor, or in a console, where Ctrl-C stops it. No
/// service manager of Windows is asked.
///
/// # Errors
///
/// As [`run`].
pub fn run_here<F>(start: F) -> Result<u32, ServiceError>
where
    F: FnOnce() -> Result<Addr<ServiceActor>, Box<dyn Error>>,
{
    serve(start)
}

fn serve<F>(start: F) -> Result<u32, ServiceError>
where
    F: FnOnce() -> Result<Addr<ServiceActor>, Box<dyn Error>>,
{
    System::new().block_on(async move {
        let service = start().map_err(|error| ServiceError::Program(error.to_string()))?;
        service.send(UntilStopped).await.map_err(|_mailbox| ServiceError::ActorLost)
    })
}
