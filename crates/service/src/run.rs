//! Runs a service in its own actix System: in a thread of the Windows service manager, or in the
//! calling thread.

use std::error::Error;

use actix::{Addr, System};

use crate::actor::ServiceActor;
use crate::error::ServiceError;
use crate::messages::AwaitExit;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;
#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

/// Runs the service with this name in its own actix System until the service has stopped. Returns
/// the exit code of the service, for `main` to exit with.
///
/// `start` runs inside the System: it must start the program's actors and spawn the service.
///
/// Under the Windows service manager, the System runs in a thread of the service manager. After the
/// System has ended, `run` reports to the service manager that the service has stopped. Without the
/// Windows service manager, the System runs in the calling thread.
///
/// # Errors
///
/// - [`ServiceError::Program`] if `start` fails.
/// - [`ServiceError::ActorLost`] if the service's actor ends before the service has stopped.
/// - [`ServiceError::AlreadyRunning`] if this process already runs a service (Windows).
/// - [`ServiceError::System`] if the communication with the service manager fails (Windows).
pub fn run<F>(name: &str, start: F) -> Result<u32, ServiceError>
where
    F: FnOnce() -> Result<Addr<ServiceActor>, Box<dyn Error>> + Send + 'static,
{
    platform::run(name, start)
}

/// Runs a service in the calling thread: under systemd, or in a console, where Ctrl-C stops the
/// service. Does not contact the Windows service manager.
///
/// # Errors
///
/// [`ServiceError::Program`] and [`ServiceError::ActorLost`], in the same cases as [`run`].
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
        service.send(AwaitExit).await.map_err(|_mailbox| ServiceError::ActorLost)
    })
}
