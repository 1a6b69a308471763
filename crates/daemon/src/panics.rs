//! What the daemon does when the program's code panics.
//!
//! The panic hook that the daemon installs in its processes logs each panic with its message and
//! its location. What else happens depends on where the code runs:
//!
//! - *A function that serves one request* costs this request. The sender receives an error, or its
//!   connection is closed, and everything else continues. In the parent these are the function of a
//!   [`ParentAcceptor`](crate::ParentAcceptor), [`Transfer::encode`](crate::Transfer::encode), the
//!   clients of the control socket, and code that runs in [`catch`] or [`contain`].
//! - *Everything else in the thread of the parent's System* ends the daemon: an actor, a task, or
//!   [`Program::parent`](crate::Program::parent). A panic ends the actor or the task in which it
//!   occurs, and nothing restarts it, so the daemon would only seem to be alive. The daemon stops
//!   gracefully, and [`run`](crate::Launched::run) returns
//!   [`DaemonError::Panicked`](crate::DaemonError::Panicked).
//! - *A panic in another thread of the parent* is logged. The thread ends, and its program has to
//!   notice that.
//! - *A child* whose session or handler panics exits with code 101, and is replaced.
//!
//! The daemon cannot see whether the program catches a panic with [`std::panic::catch_unwind`], so
//! use [`catch`] or [`contain`] in the parent. A panic hook that the program installs must call the
//! previous one, which is the daemon's if it is installed in
//! [`Program::parent`](crate::Program::parent) or [`Program::child`](crate::Program::child).
//!
//! With `panic = "abort"` in its profile, a program cannot catch a panic: one in the parent ends
//! the parent with ABRT, and the fork server then stops the children. The same holds for a panic in
//! `Drop` while another panic unwinds the stack, and for a logger that panics while it writes the
//! record of a panic.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::pin::pin;
use std::task::Poll;

use daemon_core::LogLimit;
use daemon_forkserver::now;
use slog::{Drain, Level, Logger, OwnedKVList, crit, error, o};

use crate::log::default_logger;

/// A panic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("panicked at {location}: {message}")]
#[non_exhaustive]
pub struct Panic {
    /// The message of the panic; `no message` if the payload is not a text.
    pub message: String,
    /// The file, line and column of the panic. Unknown in a process that has no hook of the daemon:
    /// before the daemon is started, and in the fork server.
    pub location: String,
}

impl Panic {
    fn of(info: &PanicHookInfo<'_>) -> Panic {
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        Panic { message: message(info.payload()), location }
    }

    fn caught(payload: &(dyn Any + Send)) -> Panic {
        LAST.take().unwrap_or_else(|| Panic {
            message: message(payload),
            location: "an unknown location".to_owned(),
        })
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

thread_local! {
    /// The number of functions on the stack that catch panics with this module.
    static CATCHING: Cell<u32> = const { Cell::new(0) };
    /// The last panic that was contained.
    static LAST: RefCell<Option<Panic>> = const { RefCell::new(None) };
    /// Whether [`catch_unlogged`] is on the stack.
    static UNLOGGED: Cell<bool> = const { Cell::new(false) };
    /// Whether the program's logger is writing a record.
    static LOGGING: Cell<bool> = const { Cell::new(false) };
}

/// While this value exists, the hook regards panics of this thread as contained.
pub(crate) struct Containment(());

impl Containment {
    pub(crate) fn enter() -> Containment {
        CATCHING.set(CATCHING.get() + 1);
        Containment(())
    }
}

impl Drop for Containment {
    fn drop(&mut self) {
        CATCHING.set(CATCHING.get().saturating_sub(1));
    }
}

/// Runs a function, and returns its panic as an error. The panic is logged as an error, with a
/// limit on the rate of the records. It does not end the daemon.
///
/// The caller is responsible for state that the function leaves half changed.
///
/// # Errors
///
/// [`Panic`] if the function panics.
///
/// # Examples
///
/// ```
/// use actix_daemon::panics;
///
/// let panic = panics::catch(|| u32::from_str_radix("z", 10).unwrap()).unwrap_err();
/// assert!(panic.message.contains("InvalidDigit"));
/// ```
pub fn catch<T>(act: impl FnOnce() -> T) -> Result<T, Panic> {
    let contained = Containment::enter();
    let result = panic::catch_unwind(AssertUnwindSafe(act));
    drop(contained);
    result.map_err(|payload| Panic::caught(payload.as_ref()))
}

/// Runs a function as [`catch`] does, but the panic is not logged, because the caller reports it.
pub(crate) fn catch_unlogged<T>(act: impl FnOnce() -> T) -> Result<T, Panic> {
    let was_unlogged = UNLOGGED.replace(true);
    let result = catch(act);
    UNLOGGED.set(was_unlogged);
    result
}

/// Awaits a future, and returns its panic as an error, as [`catch`] does for a function.
///
/// A server in the parent awaits the handler of each connection in this function, so that a panic
/// closes this connection only.
///
/// # Errors
///
/// [`Panic`] if the future panics.
pub async fn contain<T>(future: impl Future<Output = T>) -> Result<T, Panic> {
    let mut future = pin!(future);
    poll_fn(|context| match catch(|| future.as_mut().poll(context)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// Installs the panic hook of this process. The hook logs each panic, and its backtrace if
/// backtraces are enabled. It passes panics that are not contained to `uncontained`.
pub(crate) fn install_hook(log: &Logger, uncontained: impl Fn(Panic) + Send + Sync + 'static) {
    let (log, limit) = (log.clone(), LogLimit::default());
    panic::set_hook(Box::new(move |info| {
        let panic = Panic::of(info);
        // The logger itself may have panicked.
        let default = LOGGING.try_with(Cell::get).unwrap_or(false).then(|| default_logger(false));
        let log = default.as_ref().unwrap_or(&log);
        let is_contained = CATCHING.try_with(Cell::get).is_ok_and(|catching| catching > 0);
        if is_contained {
            let is_logged = !UNLOGGED.try_with(Cell::get).unwrap_or(false);
            if is_logged && let Some(suppressed) = limit.admit(now()) {
                let Panic { message, location } = &panic;
                error!(
                    log, "panic caught";
                    "message" => message, "location" => location, "suppressed" => suppressed
                );
                if let Some(frames) = backtrace() {
                    error!(log, "backtrace"; "frames" => frames);
                }
            }
            // The access fails if the thread is exiting.
            let _ = LAST.try_with(|last| last.replace(Some(panic)));
        } else {
            crit!(log, "panicked"; "message" => &panic.message, "location" => &panic.location);
            if let Some(frames) = backtrace() {
                crit!(log, "backtrace"; "frames" => frames);
            }
            uncontained(panic);
        }
    }));
}

/// Returns the backtrace of this thread, if backtraces are enabled.
fn backtrace() -> Option<String> {
    let trace = Backtrace::capture();
    (trace.status() == BacktraceStatus::Captured).then(|| format!("\n{trace}"))
}

/// The program's logger, whose panics are caught. A record that makes it panic is lost.
struct CatchingDrain(Logger);

impl CatchingDrain {
    /// Calls the program's logger. Returns `None` if it panics, which the hook reports.
    fn call<T>(&self, act: impl FnOnce(&Logger) -> T) -> Option<T> {
        let was_logging = LOGGING.replace(true);
        let result = catch(|| act(&self.0));
        LOGGING.set(was_logging);
        result.ok()
    }
}

impl Drain for CatchingDrain {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &slog::Record<'_>, values: &OwnedKVList) -> Result<(), slog::Never> {
        let _lost = self.call(|logger| Drain::log(logger, record, values));
        Ok(())
    }

    fn is_enabled(&self, level: Level) -> bool {
        self.call(|logger| logger.is_enabled(level)).unwrap_or(true)
    }
}

/// Wraps a logger of the program, so that a panic in its drain costs one record.
pub(crate) fn catching_logger(logger: Logger) -> Logger {
    Logger::root(CatchingDrain(logger), o!())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caught_panic_has_its_message() {
        let caught = |act: fn()| catch(act).unwrap_err().message;
        assert_eq!(caught(|| panic!("on purpose")), "on purpose");
        assert_eq!(caught(|| panic!("number {}", 7)), "number 7");
        assert_eq!(caught(|| panic::panic_any(7_u32)), "no message");
        assert_eq!(catch(|| 7), Ok(7));
        assert_eq!(CATCHING.get(), 0);
    }

    #[test]
    fn a_future_that_panics_after_it_has_waited_is_contained() {
        actix_rt::System::new().block_on(async {
            let panic = contain(async {
                tokio::task::yield_now().await;
                panic!("later")
            });
            assert_eq!(panic.await.map(|(): ()| ()).unwrap_err().message, "later");
            let value = contain(async {
                tokio::task::yield_now().await;
                7
            });
            assert_eq!(value.await, Ok(7));
            assert_eq!(CATCHING.get(), 0, "between two polls no panic is contained");
        });
    }

    /// A drain that panics.
    struct Broken;

    impl Drain for Broken {
        type Ok = ();
        type Err = slog::Never;

        fn log(&self, _: &slog::Record<'_>, _: &OwnedKVList) -> Result<(), slog::Never> {
            panic!("the drain is broken")
        }
    }

    #[test]
    fn a_logger_that_panics_costs_a_record() {
        let log = catching_logger(Logger::root(Broken, o!()));
        slog::info!(log, "lost");
        assert!(!LOGGING.get());
    }

    #[test]
    fn the_levels_of_the_programs_logger_are_those_of_the_daemons_logger() {
        let warnings = slog::LevelFilter::new(Broken, Level::Warning).ignore_res();
        let log = catching_logger(Logger::root(warnings, o!()));
        assert!(log.is_warning_enabled() && !log.is_info_enabled());
    }
}
