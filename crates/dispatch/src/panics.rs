//! Panics of handlers: caught, and told with their words, place and backtrace.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};

use crate::methods::Done;

thread_local! {
    /// Where the last panic of this thread was, and how it came there.
    static LAST: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Has panics of this process noted for who catches them, after what was done about them before.
pub(crate) fn note() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        before(info);
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let trace = Backtrace::force_capture().to_string();
        // A thread that ends has nobody who would ask.
        let _ = LAST.try_with(|last| last.replace(Some((place, trace))));
    }));
}

/// Runs this, and tells its panic.
pub(crate) fn caught<T>(act: impl FnOnce() -> T) -> Result<T, Done> {
    // What it leaves half done is the handler's own.
    panic::catch_unwind(AssertUnwindSafe(act)).map_err(|payload| told(payload.as_ref()))
}

/// Runs this, and answers with the words of its panic.
pub(crate) fn or_words<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(act)).map_err(|payload| words(payload.as_ref()))
}

fn words(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no words".to_owned())
}

/// Tells a panic that was caught.
pub(crate) fn told(payload: &(dyn Any + Send)) -> Done {
    let words = words(payload);
    match LAST.take() {
        Some((place, backtrace)) => {
            Done::Panicked { message: format!("{words}, at {place}"), backtrace }
        }
        None => Done::Panicked { message: words, backtrace: String::new() },
    }
}
