//! Panics in the thread of a service. A panic ends only the actor or the task in which it occurs,
//! so a service whose callback has panicked would only seem to be alive.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::thread;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::error::ServiceError;

thread_local! {
    /// Whether the caller of a function reports its panic.
    static IS_SILENT: Cell<bool> = const { Cell::new(false) };
}

/// Receives the panics of the thread that has created it.
#[derive(Debug)]
pub(crate) struct PanicReceiver(UnboundedReceiver<ServiceError>);

impl PanicReceiver {
    /// Installs a panic hook, which calls the previous hook and then sends the panics of this
    /// thread to the receiver.
    pub(crate) fn install() -> PanicReceiver {
        let (sender, receiver) = unbounded_channel();
        let (own, previous) = (thread::current().id(), panic::take_hook());
        panic::set_hook(Box::new(move |info| {
            if thread::current().id() != own {
                return previous(info);
            }
            if !IS_SILENT.get() {
                previous(info);
            }
            let location = info.location().map(ToString::to_string).unwrap_or_default();
            // This fails if the service has ended.
            let _ = sender.send(panicked(info.payload(), location));
        }));
        PanicReceiver(receiver)
    }

    /// Waits for a panic. Never returns if the program has installed another hook.
    pub(crate) async fn next(&mut self) -> ServiceError {
        match self.0.recv().await {
            Some(panicked) => panicked,
            None => std::future::pending().await,
        }
    }

    /// Runs a function, and returns its panic as an error.
    pub(crate) fn catch<T>(&mut self, act: impl FnOnce() -> T) -> Result<T, ServiceError> {
        panic::catch_unwind(AssertUnwindSafe(act)).map_err(|payload| {
            let unknown = || panicked(payload.as_ref(), "an unknown location".to_owned());
            // The last one is not caught by the function itself.
            let last = std::iter::from_fn(|| self.0.try_recv().ok()).last();
            last.unwrap_or_else(unknown)
        })
    }

    /// Runs a function as [`catch`](PanicReceiver::catch) does, without a call of the previous
    /// hook, which would print the panic.
    pub(crate) fn catch_silently<T>(&mut self, act: impl FnOnce() -> T) -> Result<T, ServiceError> {
        IS_SILENT.set(true);
        let result = self.catch(act);
        IS_SILENT.set(false);
        result
    }
}

fn panicked(payload: &(dyn Any + Send), location: String) -> ServiceError {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    ServiceError::Panicked { message: text.unwrap_or("no message").to_owned(), location }
}
