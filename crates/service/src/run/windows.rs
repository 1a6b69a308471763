//! In the thread that the service manager calls, or in a console.

use std::error::Error;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use actix::Addr;
use windows_service::service_dispatcher;

use super::serve;
use crate::actor::ServiceActor;
use crate::error::ServiceError;
use crate::master;

/// What Windows says to a program that its service manager has not started.
const NO_MANAGER: i32 = 1063;

/// The exit code of a service that could not start, when nothing better is known.
const FAILED: u32 = 1;

type Start = Box<dyn FnOnce() -> Result<Addr<ServiceActor>, Box<dyn Error>> + Send>;

/// What the manager's thread is to run, and what came of it.
static JOB: Mutex<Job> = Mutex::new(Job::None);

enum Job {
    None,
    Given { name: String, start: Start },
    Running,
    Done(Result<u32, ServiceError>),
}

/// Rung as the job changes.
static CHANGED: Condvar = Condvar::new();

/// How long the manager's thread may take to end after the manager has let go of the process.
const END_MAX: Duration = Duration::from_secs(60);

fn put(job: Job) -> Job {
    let former = std::mem::replace(&mut *JOB.lock().unwrap_or_else(PoisonError::into_inner), job);
    CHANGED.notify_all();
    former
}

/// What came of it, which may be a moment later than the manager's letting go.
fn outcome() -> Result<u32, ServiceError> {
    let job = JOB.lock().unwrap_or_else(PoisonError::into_inner);
    let is_open = |job: &mut Job| !matches!(job, Job::Done(_));
    let (mut job, _time) =
        CHANGED.wait_timeout_while(job, END_MAX, is_open).unwrap_or_else(PoisonError::into_inner);
    match std::mem::replace(&mut *job, Job::Running) {
        Job::Done(outcome) => outcome,
        Job::None | Job::Given { .. } | Job::Running => Err(ServiceError::ActorLost),
    }
}

pub(super) fn run<F>(name: &str, start: F) -> Result<u32, ServiceError>
where
    F: FnOnce() -> Result<Addr<ServiceActor>, Box<dyn Error>> + Send + 'static,
{
    match put(Job::Given { name: name.to_owned(), start: Box::new(start) }) {
        Job::None => {}
        other @ (Job::Given { .. } | Job::Running | Job::Done(_)) => {
            let _mine = put(other);
            return Err(ServiceError::Second);
        }
    }
    match service_dispatcher::start(name, service_main) {
        Ok(()) => outcome(),
        Err(windows_service::Error::Winapi(error)) if error.raw_os_error() == Some(NO_MANAGER) => {
            match put(Job::Running) {
                Job::Given { start, .. } => serve(start),
                Job::None | Job::Running | Job::Done(_) => Err(ServiceError::Second),
            }
        }
        Err(error) => Err(manager(error)),
    }
}

fn manager(error: windows_service::Error) -> ServiceError {
    let source = std::io::Error::other(error);
    ServiceError::System { act: "talk with the service manager", source }
}

/// What the service manager calls. The arguments of the start are not read: those of the installation
/// are on the command line.
extern "system" fn service_main(_count: u32, _arguments: *mut *mut u16) {
    let Job::Given { name, start } = put(Job::Running) else { return };
    let farewell = match master::take_up(&name) {
        Ok(farewell) => farewell,
        Err(error) => {
            let _running = put(Job::Done(Err(manager(error))));
            return;
        }
    };
    let outcome = serve(start);
    let exit_code = *outcome.as_ref().unwrap_or(&FAILED);
    // The process ends when the outcome is there: the manager hears of the end before.
    let outcome = match farewell.stopped(exit_code) {
        Ok(()) => outcome,
        Err(error) => outcome.and(Err(manager(error))),
    };
    let _running = put(Job::Done(outcome));
}
