//! Creates the runtime of a process. actix and tokio panic if the process is out of descriptors;
//! here this is an error.

use std::io;

use actix_rt::SystemRunner;
use daemon_sys::limits;

use crate::panics;

/// The descriptors that a System opens, and some that it needs immediately.
const DESCRIPTORS: u32 = 12;

/// Creates a System in this thread.
///
/// # Errors
///
/// If the process is out of descriptors or memory.
pub(crate) fn new_system() -> io::Result<SystemRunner> {
    catch_shortage(|| Ok(actix::System::new()))
}

/// Creates a runtime, and returns an error that names the limit of open files if `create` fails or
/// panics because of this limit. The daemon's panic hook does not log a panic.
///
/// # Errors
///
/// If `create` fails or panics.
pub(crate) fn catch_shortage<T>(create: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let error = match panics::catch_unlogged(create) {
        Ok(Ok(created)) => return Ok(created),
        Ok(Err(error)) => error,
        Err(panic) => io::Error::other(panic.message),
    };
    match limits::require_descriptors(DESCRIPTORS) {
        Err(too_few) => Err(io::Error::other(too_few)),
        Ok(()) => Err(error),
    }
}
