//! Runs a service in its own actix System: in a thread of the Windows service manager, or in the
//! calling thread.

use std::error::Error;

use actix::{Addr, System};

use crate::actor::ServiceActor;
use crate::error::ServiceError;
use crate::log;
use crate::messages::AwaitExit;

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
    let ended = System::new().block_on(async move {
        let service = start().map_err(|error| ServiceError::Program(error.to_string()))?;
        service.send(AwaitExit).await.map_err(|_mailbox| ServiceError::ActorLost)
    });
    log::flush_before_exit();
    ended
}

/// Runs the service in the calling thread. The name of the service is used only on Windows.
#[cfg(unix)]
mod platform {
    use std::error::Error;

    use actix::Addr;

    use super::serve;
    use crate::actor::ServiceActor;
    use crate::error::ServiceError;

    pub(super) fn run<F>(_name: &str, start: F) -> Result<u32, ServiceError>
    where
        F: FnOnce() -> Result<Addr<ServiceActor>, Box<dyn Error>> + Send + 'static,
    {
        serve(start)
    }
}

/// Runs the service in a thread of the service control manager (SCM), or in a console.
#[cfg(windows)]
mod platform {
    use std::error::Error;
    use std::sync::{Condvar, Mutex, PoisonError};
    use std::time::Duration;

    use actix::Addr;
    use windows_service::service_dispatcher;

    use super::serve;
    use crate::actor::ServiceActor;
    use crate::error::ServiceError;
    use crate::service_manager;

    /// `ERROR_FAILED_SERVICE_CONTROLLER_CONNECT`: the SCM has not started this process.
    const NOT_A_SERVICE: i32 = 1063;

    /// The exit code of a service that could not start, or whose actor ended too early.
    const FAILED: u32 = 1;

    type Start = Box<dyn FnOnce() -> Result<Addr<ServiceActor>, Box<dyn Error>> + Send>;

    /// The state of the run, shared with the SCM's thread.
    static RUN: Mutex<ServiceRun> = Mutex::new(ServiceRun::None);

    enum ServiceRun {
        None,
        Requested { name: String, start: Start },
        Running,
        Done(Result<u32, ServiceError>),
    }

    /// Notified when `RUN` changes.
    static CHANGED: Condvar = Condvar::new();

    /// How long the SCM's thread may take to set the result after the service dispatcher has
    /// returned.
    const END_MAX: Duration = Duration::from_secs(60);

    fn set(run: ServiceRun) -> ServiceRun {
        let former =
            std::mem::replace(&mut *RUN.lock().unwrap_or_else(PoisonError::into_inner), run);
        CHANGED.notify_all();
        former
    }

    /// Waits for the result, which the SCM's thread may set shortly after the service dispatcher
    /// has returned.
    fn wait_for_result() -> Result<u32, ServiceError> {
        let run = RUN.lock().unwrap_or_else(PoisonError::into_inner);
        let is_unfinished = |run: &mut ServiceRun| !matches!(run, ServiceRun::Done(_));
        let (mut run, _time) = CHANGED
            .wait_timeout_while(run, END_MAX, is_unfinished)
            .unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *run, ServiceRun::Running) {
            ServiceRun::Done(result) => result,
            ServiceRun::None | ServiceRun::Requested { .. } | ServiceRun::Running => {
                Err(ServiceError::ActorLost)
            }
        }
    }

    pub(super) fn run<F>(name: &str, start: F) -> Result<u32, ServiceError>
    where
        F: FnOnce() -> Result<Addr<ServiceActor>, Box<dyn Error>> + Send + 'static,
    {
        match set(ServiceRun::Requested { name: name.to_owned(), start: Box::new(start) }) {
            ServiceRun::None => {}
            other @ (ServiceRun::Requested { .. } | ServiceRun::Running | ServiceRun::Done(_)) => {
                let _own_request = set(other);
                return Err(ServiceError::AlreadyRunning);
            }
        }
        match service_dispatcher::start(name, service_main) {
            Ok(()) => wait_for_result(),
            Err(windows_service::Error::Winapi(error))
                if error.raw_os_error() == Some(NOT_A_SERVICE) =>
            {
                match set(ServiceRun::Running) {
                    ServiceRun::Requested { start, .. } => serve(start),
                    ServiceRun::None | ServiceRun::Running | ServiceRun::Done(_) => {
                        Err(ServiceError::AlreadyRunning)
                    }
                }
            }
            Err(error) => Err(scm_error(error)),
        }
    }

    fn scm_error(error: windows_service::Error) -> ServiceError {
        let source = std::io::Error::other(error);
        ServiceError::System { action: "communicate with the service manager", source }
    }

    /// The entry point that the SCM calls. Ignores the arguments of the start request. The
    /// arguments that were set when the service was installed are on the command line.
    extern "system" fn service_main(_count: u32, _arguments: *mut *mut u16) {
        let ServiceRun::Requested { name, start } = set(ServiceRun::Running) else { return };
        let reporter = match service_manager::connect(&name) {
            Ok(reporter) => reporter,
            Err(error) => {
                let _running = set(ServiceRun::Done(Err(scm_error(error))));
                return;
            }
        };
        let result = serve(start);
        let exit_code = *result.as_ref().unwrap_or(&FAILED);
        // The process may end as soon as the result is set, so report the stop to the SCM first.
        let result = match reporter.report(exit_code) {
            Ok(()) => result,
            Err(error) => result.and(Err(scm_error(error))),
        };
        let _running = set(ServiceRun::Done(result));
    }
}
