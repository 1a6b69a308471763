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

/// Runs the service with this name in its own actix System until it has stopped, and returns its exit
/// code, which `main` returns in turn.
///
/// `start` runs inside the System: it starts the program's actors and spawns the service. Under the
/// Windows service manager it runs in a thread of the service manager, and the service manager
/// receives the end of the service after the System has ended. Otherwise it runs in the calling
/// thread.
///
/// # Errors
///
/// - [`ServiceError::Program`] when `start` fails.
/// - [`ServiceError::ActorLost`] when the System ends before the service has stopped.
/// - [`ServiceError::AlreadyRunning`] when this process already runs a service (Windows).
/// - [`ServiceError::System`] when the service manager does not respond (Windows).
pub fn run<F>(name: &str, start: F) -> Result<u32, ServiceError>
where
    F: FnOnce() -> Result<Addr<ServiceActor>, Box<dyn Error>> + Send + 'static,
{
    platform::run(name, start)
}

/// Runs a service in the calling thread: under systemd, or in a console, where Ctrl-C stops it. It
/// does not contact the Windows service manager.
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
        service.send(AwaitExit).await.map_err(|_mailbox| ServiceError::ActorLost)
    })
}
