//! A child's life, from its birth in the fork server to its exit code.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Recipient, System};
use daemon_core::{ChildKind, Jitter, OperatorPause, Quota, RequestLimit};
use daemon_forkserver::{ChildStart, EXIT_PANIC, EXIT_SOFTWARE};
use daemon_sys::signals::SignalListener;
use daemon_sys::stdio::LogFile;
use futures::channel::oneshot;
use slog::{Logger, crit, debug};
use tokio::sync::{Notify, watch};

use super::actor::{ChildActor, HANDLED_SIGNALS, SessionPanicked};
use super::handle::ChildHandle;
use super::state::ChildState;
use super::title::ProcessTitle;
use crate::log;
use crate::messages::{DaemonChild, UpdateStatus};
use crate::model::ModelKind;
use crate::program::Program;

/// Exit code of a child that could not read its request: `EX_DATAERR` of sysexits(3).
const EXIT_DATA: i32 = 65;

/// What each process of a daemon knows of it.
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
    /// The pause between two beats of a child's heart; none if it has none.
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) log_file: Option<Arc<LogFile>>,
}

impl ProcessContext {
    /// Reopens the log file, if there is one.
    pub(crate) fn reopen_log(&self) -> Result<(), daemon_sys::Error> {
        match (self.log_file.as_deref(), log::is_redirected()) {
            (None, _) => Ok(()),
            (Some(file), false) => file.reopen(),
            (Some(file), true) => file.reopen_without_redirect(),
        }
    }
}

/// Lives a child's life, and answers with its exit code.
pub(crate) fn run_child<P: Program>(
    program: P,
    context: ProcessContext,
    title: ProcessTitle,
    birth: ChildStart<P::Request>,
) -> i32 {
    let ChildStart { seat, request, signals, .. } = birth;
    log::become_child(seat.slot().get());
    let log = context.log.clone();
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            crit!(log, "the request is lost: {}", error);
            return EXIT_DATA;
        }
    };
    // Children that were born together sit side by side: their slots count their births.
    let generation = u64::from(seat.generation().get());
    let birth = generation * u64::from(seat.reader().slots()) + u64::from(seat.slot().get());
    let quota = Quota::new(context.requests, context.jitter, birth);
    let state = ChildState::new(seat, context.child_kind, quota, title);
    let system = System::new();
    // Code that ends the process by exit(3) has the thread's locals taken apart, this System among them.
    // The last who can speak to it would wake it as it goes, when what it is woken by is gone.
    std::mem::forget(System::current());
    let code = system.block_on(async move {
        let ears = match SignalListener::open(&HANDLED_SIGNALS.map(|(heard, _)| heard)) {
            // Until the process ends, and with it: nothing is to be taken apart then.
            Ok(ears) => &*Box::leak(Box::new(ears)),
            Err(error) => {
                crit!(log, "cannot listen to signals: {}", error);
                return EXIT_SOFTWARE;
            }
        };
        signals.release();
        let panics = log_panics(&log);
        let child_kind = context.child_kind;
        let (end, ended) = oneshot::channel();
        let state = Rc::new(RefCell::new(state));
        let (leaving, told) = watch::channel(None);
        let (hold, held) = watch::channel(OperatorPause::Off);
        let log_file = context.log_file.clone();
        let daemon = ChildActor::new(Rc::clone(&state), ears, leaving, hold, context, end).start();
        ChildHandle::new(state, daemon.clone(), told, held, log_file).make_current();
        debug!(log, "born");
        if child_kind == ChildKind::OneRequest {
            daemon.do_send(UpdateStatus::Req);
        }
        let session = program.child(daemon.clone());
        session.do_send(DaemonChild { request });
        actix_rt::spawn(on_session_panicked(session, daemon, panics));
        ended.await.unwrap_or(EXIT_PANIC)
    });
    // The process ends now, and with it everything at once: no need to take the runtime apart.
    std::mem::forget(system);
    code
}

/// Has panics logged as one record, and noted: a panic that nobody catches ends an actor, and a
/// child whose session has ended would sit there for ever.
fn log_panics(log: &Logger) -> Arc<Notify> {
    let noted = Arc::new(Notify::new());
    let (log, note) = (log.clone(), Arc::clone(&noted));
    panic::set_hook(Box::new(move |info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let words = info.payload_as_str().unwrap_or("no words");
        crit!(log, "panicked at {}: {}", place, words);
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            crit!(log, "backtrace\n{}", trace);
        }
        note.notify_one();
    }));
    noted
}

/// Ends the child if a panic has taken its session along. A panic that somebody caught has not.
async fn on_session_panicked<R: Send + 'static>(
    session: Recipient<DaemonChild<R>>,
    daemon: Addr<ChildActor>,
    panics: Arc<Notify>,
) {
    loop {
        panics.notified().await;
        // The panic is still unwinding when the hook runs; by the next turn it has arrived.
        tokio::task::yield_now().await;
        if !session.connected() {
            daemon.do_send(SessionPanicked);
            return;
        }
    }
}
