//! Creates the runtime of a process. actix and tokio panic if the process is out of descriptors; here
//! this is an error.

use std::io;
use std::panic::{UnwindSafe, catch_unwind, set_hook, take_hook};

use actix_rt::SystemRunner;
use daemon_sys::limits;

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
/// panics because of this limit. A panic is not reported to the panic hook.
///
/// # Errors
///
/// If `create` fails or panics.
pub(crate) fn catch_shortage<T>(
    create: impl FnOnce() -> io::Result<T> + UnwindSafe,
) -> io::Result<T> {
    let hook = take_hook();
    set_hook(Box::new(|_panic| {}));
    let created = catch_unwind(create);
    set_hook(hook);
    let error = match created {
        Ok(Ok(created)) => return Ok(created),
        Ok(Err(error)) => error,
        Err(panic) => {
            let reason = panic.downcast_ref::<String>().map_or("it panicked", String::as_str);
            io::Error::other(reason.to_owned())
        }
    };
    match limits::require_descriptors(DESCRIPTORS) {
        Err(too_few) => Err(io::Error::other(too_few)),
        Ok(()) => Err(error),
    }
}
