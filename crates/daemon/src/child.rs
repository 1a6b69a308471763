//! The child process: its state, its actor, and its main function, from the fork to its exit code.

mod actor;
mod handle;
mod state;

pub use actor::ChildActor;
pub use handle::{ChildHandle, RequestReporter};

pub(crate) use actor::ChildMessage;
pub(crate) use state::{NextAction, ProcessTitle};

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Recipient, System};
use daemon_core::{ChildKind, Jitter, OperatorPause, Quota, RequestLimit, Signal};
use daemon_forkserver::{ChildStart, EXIT_PANIC, EXIT_SOFTWARE, now};
use daemon_protocol::ModelKind;
use daemon_sys::privileges;
#[cfg(feature = "sandbox")]
use daemon_sys::sandbox::PreparedSandbox;
use daemon_sys::signals::SignalListener;
use daemon_sys::stdio::LogFile;
use futures::channel::oneshot;
use slog::{Logger, crit, debug};
use tokio::sync::{Notify, watch};

use crate::connection_queue::ConnectionQueue;
use crate::log;
use crate::messages::{DaemonChild, UpdateStatus};
use crate::panics;
use crate::system::new_system;
use state::ChildState;

/// The data that each process of a daemon needs.
#[derive(Debug, Clone)]
pub(crate) struct ProcessContext {
    pub(crate) alias: String,
    /// The parent's pid.
    pub(crate) parent: u32,
    pub(crate) grace: Duration,
    pub(crate) model: ModelKind,
    pub(crate) child_kind: ChildKind,
    pub(crate) requests: RequestLimit,
    pub(crate) jitter: Jitter,
    pub(crate) log: Logger,
    /// The interval of a child's heartbeats; `None` if heartbeats are off.
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) log_file: Option<Arc<LogFile>>,
    /// The connections that a stopping pool still has to serve; `None` in a daemon without a pool.
    pub(crate) queue: Option<Rc<ConnectionQueue>>,
}

impl ProcessContext {
    /// Reopens the log file, if there is one.
    pub(crate) fn reopen_log(&self) -> Result<(), daemon_sys::Error> {
        self.log_file.as_deref().map_or(Ok(()), log::reopen)
    }
}

/// The restrictions that apply to children only. They are prepared before the fork server is
/// forked, and each child applies its copy before it runs any code of the program.
#[derive(Debug, Default)]
pub(crate) struct Confinement {
    /// Whether other processes of the daemon's user may trace a child. Otherwise they may only if
    /// they may trace the fork server.
    pub(crate) traceable: bool,
    #[cfg(feature = "sandbox")]
    pub(crate) sandbox: Option<PreparedSandbox>,
}

impl Confinement {
    /// Restricts this process permanently. If this fails, the child must not run.
    fn apply(self) -> Result<(), daemon_sys::Error> {
        if self.traceable {
            privileges::set_traceable(true)?;
        }
        #[cfg(feature = "sandbox")]
        if let Some(sandbox) = self.sandbox {
            sandbox.enter()?;
        }
        Ok(())
    }
}

/// The exit code of a child that cannot decode its request: `EX_DATAERR` of sysexits(3).
const EXIT_DATA: i32 = 65;

/// The exit code of a child that could not accept a connection for long: `EX_OSERR` of sysexits(3).
pub(crate) const EXIT_CANNOT_ACCEPT: i32 = 71;

/// Runs a child, and returns its exit code. `program` starts the session of the child.
pub(crate) fn run_child<R: Send + 'static>(
    program: impl FnOnce(Addr<ChildActor>) -> Recipient<DaemonChild<R>>,
    context: ProcessContext,
    title: ProcessTitle,
    confinement: Confinement,
    start: ChildStart<R>,
) -> i32 {
    let ChildStart { seat, request, signals, .. } = start;
    log::become_child(seat.slot().get());
    let log = context.log.clone();
    if let Err(error) = confinement.apply() {
        crit!(log, "cannot restrict the child, so it does not run"; "error" => %error);
        return EXIT_SOFTWARE;
    }
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            crit!(log, "cannot decode the request; the request is lost"; "error" => %error);
            return EXIT_DATA;
        }
    };
    // The quota computes its jitter from this index. Children that were forked together have
    // neighbouring slots, so their indices and quotas differ.
    let generation = u64::from(seat.generation().get());
    let start_index = generation * u64::from(seat.reader().slots()) + u64::from(seat.slot().get());
    let quota = Quota::new(context.requests, context.jitter, start_index);
    let state = ChildState::new(seat, context.child_kind, quota, title);
    let panics = log_panics(&log);
    let system = match new_system() {
        Ok(system) => system,
        Err(error) => {
            crit!(log, "cannot create the System of the child"; "error" => %error);
            return EXIT_SOFTWARE;
        }
    };
    // Leak one handle of the System. If the program calls exit(3), the C library destroys this
    // thread's thread-locals, including the current System. If that thread-local held the last
    // handle, dropping it would wake the System's arbiter, whose waker has been destroyed by then.
    std::mem::forget(System::current());
    let code = system.block_on(async move {
        let listener = match SignalListener::open(&Signal::CHILD_SIGNALS) {
            // The leak costs nothing, because the process exits without destroying the runtime.
            Ok(listener) => &*Box::leak(Box::new(listener)),
            Err(error) => {
                crit!(log, "cannot listen for signals"; "error" => %error);
                return EXIT_SOFTWARE;
            }
        };
        signals.release();
        let child_kind = context.child_kind;
        let (end, ended) = oneshot::channel();
        let state = Rc::new(RefCell::new(state));
        let (leaving, leaving_watch) = watch::channel(None);
        let (operator_pause, operator_pause_watch) = watch::channel(OperatorPause::Off);
        let (log_file, queue) = (context.log_file.clone(), context.queue.clone());
        let daemon =
            ChildActor::new(Rc::clone(&state), listener, leaving, operator_pause, context, end)
                .start();
        ChildHandle::new(
            Rc::clone(&state),
            daemon.clone(),
            leaving_watch,
            operator_pause_watch,
            log_file,
            queue,
        )
        .make_current();
        debug!(log, "child started");
        let session = program(daemon.clone());
        if child_kind == ChildKind::OneRequest {
            // Not earlier, because a child that hangs in the line above is not ready. This fails
            // only if the parent has closed the slot, and then ends the child.
            let _ = state.borrow_mut().update(UpdateStatus::Req, now());
        }
        session.do_send(DaemonChild { request });
        actix_rt::spawn(on_session_panicked(session, daemon, panics));
        ended.await.unwrap_or(EXIT_PANIC)
    });
    log::flush_before_exit();
    // The process exits now. Destroying the runtime would only take time.
    std::mem::forget(system);
    code
}

/// Installs a panic hook that logs each panic, and notifies the returned handle.
///
/// An uncaught panic ends the actor in which it occurs. If this actor is the session,
/// [`on_session_panicked`] ends the child, which would otherwise stay idle for ever.
fn log_panics(log: &Logger) -> Arc<Notify> {
    let panics = Arc::new(Notify::new());
    let note = Arc::clone(&panics);
    panics::install_hook(log, move |_panic| note.notify_one());
    panics
}

/// Ends the child when a panic has ended its session. A caught panic does not end the session.
async fn on_session_panicked<R: Send + 'static>(
    session: Recipient<DaemonChild<R>>,
    daemon: Addr<ChildActor>,
    panics: Arc<Notify>,
) {
    loop {
        panics.notified().await;
        // The panic hook runs before the stack is unwound. After one yield to the event loop, the
        // actor that panicked has ended.
        tokio::task::yield_now().await;
        if !session.connected() {
            daemon.do_send(ChildMessage::SessionPanicked);
            return;
        }
    }
}
