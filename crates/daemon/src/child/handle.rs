//! Direct access to the state of a child, without messages to its actor.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use daemon_core::{LimitedRecord, OperatorPause, SlotNumber};
use daemon_forkserver::now;
use daemon_sys::stdio::{self, LogFile};
use futures::FutureExt;
use tokio::sync::watch;

use super::actor::{ChildActor, ChildMessage};
use super::state::{ChildState, NextAction};
use crate::connection_queue::ConnectionQueue;
use crate::log::{self, logger};
use crate::messages::{ShutdownReason, StatusError, UpdateStatus, Updated};

/// A handle to the child's slot on the scoreboard. It is cheap to clone.
///
/// The handler of [`serve`](crate::DaemonBuilder::serve) receives such a handle. Reporting a status
/// takes a few atomic stores.
#[derive(Clone, Debug)]
pub struct ChildHandle {
    state: Rc<RefCell<ChildState>>,
    daemon: Addr<ChildActor>,
    leaving: watch::Receiver<Option<ShutdownReason>>,
    operator_pause: watch::Receiver<OperatorPause>,
    log_file: Option<Arc<LogFile>>,
    queue: Option<Rc<ConnectionQueue>>,
}

thread_local! {
    static CURRENT: RefCell<Option<ChildHandle>> = const { RefCell::new(None) };
}

impl ChildHandle {
    /// Returns the handle of the child that this thread's System belongs to; `None` in the parent
    /// and in other threads.
    #[must_use]
    pub fn current() -> Option<ChildHandle> {
        CURRENT.with_borrow(Clone::clone)
    }

    pub(crate) fn make_current(self) {
        CURRENT.set(Some(self));
    }

    pub(crate) fn new(
        state: Rc<RefCell<ChildState>>,
        daemon: Addr<ChildActor>,
        leaving: watch::Receiver<Option<ShutdownReason>>,
        operator_pause: watch::Receiver<OperatorPause>,
        log_file: Option<Arc<LogFile>>,
        queue: Option<Rc<ConnectionQueue>>,
    ) -> Self {
        ChildHandle { state, daemon, leaving, operator_pause, log_file, queue }
    }

    /// Sets the child's label: a few words about what it is doing, for the scoreboard and ps(1).
    pub fn label(&self, text: &str) {
        self.state.borrow_mut().label(text);
    }

    /// Reports that the current request takes long: `l` on the scoreboard.
    ///
    /// # Errors
    ///
    /// [`StatusError`] if the scoreboard refuses this change of status, as for [`UpdateStatus`].
    pub fn long(&self) -> Result<(), StatusError> {
        self.update_status(UpdateStatus::Long).map(drop)
    }

    /// Extends the time limit of the current request to at least this long from now, at most 24
    /// hours at a time.
    pub fn extend(&self, time: Duration) {
        // An extension is never refused.
        let _ = self.update_status(UpdateStatus::Extend(time));
    }

    /// Returns the child's slot on the scoreboard.
    #[must_use]
    pub fn slot(&self) -> SlotNumber {
        self.state.borrow().slot()
    }

    /// Returns the address of the child's daemon actor.
    #[must_use]
    pub fn daemon(&self) -> &Addr<ChildActor> {
        &self.daemon
    }

    /// Returns why the child shuts down; `None` if it does not.
    #[must_use]
    pub fn leaving(&self) -> Option<ShutdownReason> {
        *self.leaving.borrow()
    }

    /// Waits until the child is asked to shut down, and returns why.
    ///
    /// When this method has returned, a keep-alive connection should be closed as soon as its
    /// current request is done.
    pub async fn wait_for_shutdown(&self) -> ShutdownReason {
        let mut leaving = self.leaving.clone();
        match leaving.wait_for(Option::is_some).await.map(|reason| *reason) {
            Ok(Some(reason)) => reason,
            // The daemon's actor has ended, and the child exits.
            Ok(None) | Err(_) => ShutdownReason::StoppingNow,
        }
    }

    /// Returns whether the scoreboard shows that the operator has paused the daemon. The child's
    /// actor may not have noticed the pause yet.
    pub(crate) fn is_paused_by_operator(&self) -> bool {
        self.state.borrow().board().operator_pause() == OperatorPause::On
    }

    /// Returns the queue that the children of a pool share; `None` in a child of another model.
    pub(crate) fn queue(&self) -> Option<Rc<ConnectionQueue>> {
        self.queue.clone()
    }

    /// Returns whether the scoreboard shows that the daemon is stopping. The signal that stops this
    /// child may not have arrived yet.
    pub(crate) fn is_daemon_stopping(&self) -> bool {
        self.state.borrow().is_daemon_stopping()
    }

    /// Ends this child, which has no request, because it cannot accept connections.
    pub(crate) fn give_up_accepting(&self) {
        self.daemon.do_send(ChildMessage::CannotAccept);
    }

    /// Makes the child's actor read from the scoreboard whether the operator has paused the daemon.
    pub(crate) async fn recheck_pause(&self) {
        // If the actor has ended, the child exits.
        let _ = self.daemon.send(ChildMessage::RecheckPause).await;
    }

    /// Waits until the operator's pause has this value. Never completes if the actor has ended,
    /// because the child then exits.
    pub(crate) async fn wait_for_operator_pause(&self, wanted: OperatorPause) {
        let mut operator_pause = self.operator_pause.clone();
        if operator_pause.wait_for(|operator_pause| *operator_pause == wanted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Records what the session does. The message [`UpdateStatus`] has the same effect.
    ///
    /// # Errors
    ///
    /// [`StatusError`] if the scoreboard refuses the change of status, or if the code that accepts
    /// the requests reports them itself, as `serve` does. The error is also logged, with a limit on
    /// the rate of the records.
    pub fn update_status(&self, update: UpdateStatus) -> Result<Updated, StatusError> {
        let next = self.state.borrow_mut().update_by_program(update, now());
        match next {
            Ok(next) => {
                // The actor broadcasts `DaemonAccept`, or lets the child exit.
                match next {
                    NextAction::Continue => {}
                    NextAction::Accept | NextAction::Leave(_) => {
                        self.daemon.do_send(ChildMessage::Updated(next));
                    }
                }
                match next {
                    NextAction::Accept if self.is_paused_by_operator() => Ok(Updated::Paused),
                    NextAction::Accept | NextAction::Continue | NextAction::Leave(_) => {
                        Ok(next.into())
                    }
                }
            }
            Err(error) => {
                self.state.borrow().log_refused(&logger(), &error, now());
                Err(error)
            }
        }
    }

    /// Returns why the child will exit after its current request: because it was asked to shut
    /// down, or because this request is the last one of its quota. Returns `None` if the child will
    /// not exit.
    #[must_use]
    pub fn will_leave(&self) -> Option<ShutdownReason> {
        self.state.borrow().will_leave()
    }

    /// Runs a task that must end before the child exits.
    ///
    /// The child exits when all these tasks are done. A graceful shutdown waits for them. If one of
    /// them panics, the exit code is 101. `serve` and a dispatcher's worker run such a task, so a
    /// further one, started by a handler, only delays the exit.
    pub fn work(&self, work: impl Future<Output = ()> + 'static) {
        self.start_work();
        let child = self.clone();
        actix_rt::spawn(async move {
            match AssertUnwindSafe(work).catch_unwind().await {
                Ok(()) => child.finish_work(),
                Err(_logged_by_the_panic_hook) => {
                    child.daemon.do_send(ChildMessage::SessionPanicked);
                }
            }
        });
    }

    /// Redirects standard output and standard error of this process, for example into pipes. The
    /// daemon's log keeps its destination.
    ///
    /// # Errors
    ///
    /// If the process has no free descriptor.
    pub fn redirect_output(&self, out: OwnedFd, err: OwnedFd) -> Result<(), daemon_sys::Error> {
        log::keep_log_target(self.log_file.as_ref())?;
        stdio::redirect_outputs(out, err)
    }

    /// Takes over the reports about requests. From now on only the returned value starts and ends
    /// requests on the scoreboard. What other code of this child reports with
    /// [`update_status`](ChildHandle::update_status) or [`UpdateStatus`] can only describe the
    /// current request.
    ///
    /// Code that accepts requests and calls functions of the program uses this method, so that no
    /// function can make the scoreboard untrue.
    #[must_use]
    pub fn take_over_requests(&self) -> RequestReporter {
        self.state.borrow_mut().take_over_requests();
        RequestReporter { state: Rc::clone(&self.state) }
    }

    /// Returns whether to write this log record now, see [`Seat::admit_record`].
    pub(crate) fn admit_record(&self, record: LimitedRecord) -> Option<u64> {
        self.state.borrow().admit_record(record, now())
    }

    /// Reports that a task has started. The child does not exit before the task has ended.
    pub(crate) fn start_work(&self) {
        self.daemon.do_send(ChildMessage::WorkStarted);
    }

    /// Reports that the task has ended.
    pub(crate) fn finish_work(&self) {
        self.daemon.do_send(ChildMessage::WorkFinished);
    }
}

/// Reports the requests of a child, see [`ChildHandle::take_over_requests`].
#[derive(Debug)]
pub struct RequestReporter {
    state: Rc<RefCell<ChildState>>,
}

impl RequestReporter {
    /// Records what the child does, as [`ChildHandle::update_status`] does.
    ///
    /// # Errors
    ///
    /// [`StatusError`] if the scoreboard refuses the change of status.
    pub fn update(&self, update: UpdateStatus) -> Result<Updated, StatusError> {
        self.next(update).map(Updated::from)
    }

    pub(crate) fn next(&self, update: UpdateStatus) -> Result<NextAction, StatusError> {
        Ok(self.state.borrow_mut().update(update, now())?)
    }
}
