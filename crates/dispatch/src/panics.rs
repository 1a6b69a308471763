//! Catches panics of handlers, and records their message, location and backtrace.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};

use crate::methods::HandlerOutcome;

thread_local! {
    /// The location and backtrace of this thread's last panic.
    static LAST: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Installs a panic hook that calls the previous hook, and then records the location and the
/// backtrace.
pub(crate) fn install_hook() {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        previous(info);
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        let trace = Backtrace::force_capture().to_string();
        // The access fails if the thread is exiting. In that case the record is not needed.
        let _ = LAST.try_with(|last| last.replace(Some((location, trace))));
    }));
}

/// Runs `act` and turns a panic into [`HandlerOutcome::Panicked`].
pub(crate) fn catch<T>(act: impl FnOnce() -> T) -> Result<T, HandlerOutcome> {
    // The handler is responsible for state that it leaves half changed.
    panic::catch_unwind(AssertUnwindSafe(act)).map_err(|payload| outcome_of(payload.as_ref()))
}

/// Runs `act` and returns the message of a panic as the error.
pub(crate) fn catch_message<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(act)).map_err(|payload| message(payload.as_ref()))
}

fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no panic message".to_owned())
}

/// Returns the outcome of a handler whose panic was caught.
pub(crate) fn outcome_of(payload: &(dyn Any + Send)) -> HandlerOutcome {
    let message = message(payload);
    match LAST.take() {
        Some((location, backtrace)) => {
            HandlerOutcome::Panicked { message: format!("{message}, at {location}"), backtrace }
        }
        None => HandlerOutcome::Panicked { message, backtrace: String::new() },
    }
}
