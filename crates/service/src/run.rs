//! Runs a service in its own actix System: in a thread of the Windows service manager, or in the
//! calling thread.

use std::error::Error;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, System};
use futures::future::{Either, select};
use slog::crit;
use tokio::runtime::{Builder, Runtime};

use crate::actor::ServiceActor;
use crate::error::ServiceError;
use crate::log;
use crate::messages::{AwaitExit, LogPanic};
use crate::panics::PanicReceiver;

/// Runs the service with this name in its own actix System until the service has stopped. Returns
/// the exit code of the service, for `main` to exit with.
///
/// `start` runs inside the System: it must start the program's actors and spawn the service.
///
/// Under the Windows service manager, the System runs in a thread of the service manager. After the
/// System has ended, `run` reports to the service manager that the service has stopped. Without the
/// Windows service manager, the System runs in the calling thread.
///
/// A panic in this thread ends the service immediately with an error, because it ends only the
/// actor or the task in which it occurs: a service without this actor would only seem to be alive.
/// The panic is logged, and callbacks are not called any more. At the end, calls on blocking threads
/// of the runtime (a name lookup, for example) have one more second to return. This holds for panics that the
/// program catches, too. A panic hook that the program installs must call the previous one.
///
/// # Errors
///
/// - [`ServiceError::Program`] if `start` fails.
/// - [`ServiceError::Panicked`] if code of the program panics.
/// - [`ServiceError::ActorLost`] if the service's actor ends before the service has stopped.
/// - [`ServiceError::AlreadyRunning`] if this process already runs a service (Windows).
/// - [`ServiceError::System`] if the System cannot be created, because the process is out of
///   descriptors or memory, or if the communication with the service manager fails (Windows).
pub fn run<F>(name: &str, start: F) -> Result<u32, ServiceError>
where
    F: FnOnce() -> Result<Addr<ServiceActor>, Box<dyn Error>> + Send + 'static,
{
    platform::run(name, start)
}

/// Runs a service in the calling thread: under systemd, or in a console, where Ctrl-C stops the
/// service. Does not contact the Windows service manager. A panic ends the service as in [`run`].
///
/// # Errors
///
/// [`ServiceError::Program`], [`ServiceError::Panicked`], [`ServiceError::ActorLost`] and
/// [`ServiceError::System`], in the same cases as [`run`].
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
    let mut panics = PanicReceiver::install();
    let runtime = new_runtime(&mut panics)?;
    let system = System::with_tokio_rt(|| Arc::clone(&runtime));
    let ended = system.block_on(async move {
        let service = match panics.catch(start) {
            Ok(started) => started.map_err(|error| ServiceError::Program(error.to_string()))?,
            Err(panicked) => {
                crit!(log::default_logger(), "panicked, ending the service"; "error" => %panicked);
                return Err(panicked);
            }
        };
        match select(pin!(service.send(AwaitExit)), pin!(panics.next())).await {
            Either::Left((exit_code, _)) => exit_code.map_err(|_mailbox| ServiceError::ActorLost),
            Either::Right((panicked, _)) => {
                // This fails if the service's actor has panicked. The hook has printed the panic.
                let _ = service.send(LogPanic(panicked.to_string())).await;
                Err(panicked)
            }
        }
    });
    drop(system);
    // If the program has kept the runtime, it shuts the runtime down.
    if let Some(runtime) = Arc::into_inner(runtime) {
        runtime.shutdown_timeout(BLOCKING_CALLS_MAX);
    }
    log::flush_before_exit();
    ended
}

/// How long the end of the service waits for the blocking threads of its runtime.
const BLOCKING_CALLS_MAX: Duration = Duration::from_secs(1);

/// Creates the runtime of the System. tokio can panic if the process is out of descriptors or
/// memory; here this is an error.
fn new_runtime(panics: &mut PanicReceiver) -> Result<Arc<Runtime>, ServiceError> {
    let created = panics.catch_silently(|| Builder::new_current_thread().enable_all().build());
    let reason = match created {
        Ok(Ok(runtime)) => return Ok(Arc::new(runtime)),
        Ok(Err(error)) => error.to_string(),
        Err(panicked) => panicked.to_string(),
    };
    let source = io::Error::other(platform::shortage().unwrap_or(reason));
    Err(ServiceError::System { action: "create a System", source })
}

/// Runs the service in the calling thread. The name of the service is used only on Windows.
#[cfg(unix)]
mod platform {
    use std::error::Error;

    use actix::Addr;
    use daemon_sys::limits::require_descriptors;

    use super::serve;
    use crate::actor::ServiceActor;
    use crate::error::ServiceError;

    /// The descriptors that a System opens, and some that it needs immediately.
    const DESCRIPTORS: u32 = 12;

    /// Returns a sentence about the limit of open files, if the process has reached it.
    pub(super) fn shortage() -> Option<String> {
        require_descriptors(DESCRIPTORS).err().map(|too_few| too_few.to_string())
    }

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

    /// Returns no sentence: this system has no limit of open files.
    pub(super) fn shortage() -> Option<String> {
        None
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
