//! A service's System on Unix: made here and now.

use std::error::Error;

use actix::{Addr, System};

use crate::actor::ServiceActor;
use crate::error::ServiceError;
use crate::messages::UntilStopped;

/// Runs a service of this name in a System of its own, until it has stopped; returns with its exit
/// code, which `main` hands on.
///
/// `start` runs inside the System: it starts the program's actors, and spawns the service. On Windows
/// that is in the service manager's thread where there is one, and the manager hears of the end
/// after the System has ended.
///
/// # Errors
///
/// - [`ServiceError::Program`] when `start` fails.
/// - [`ServiceError::ActorLost`] when the System ends before the service has stopped.
/// - [`ServiceError::Second`] when this process runs a service already (Windows).
pub fn run<F>(name: &str, start: F) -> Result<u32, ServiceError>
where
    F: FnOnce() -> Result<Addr<ServiceActor>, Box<dyn Error>> + Send + 'static,
{
    let _only_windows_asks_for_it = name;
    serve(start)
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
