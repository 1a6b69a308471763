//! Direct access to the state of a child, without messages to its actor.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use daemon_core::{OperatorPause, SlotNumber};
use daemon_forkserver::now;
use daemon_sys::stdio::{self, LogFile};
use futures::FutureExt;
use tokio::sync::watch;

use super::actor::{ChildActor, ChildMessage};
use super::state::{ChildState, NextAction};
use crate::log;
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
    ) -> Self {
        ChildHandle { state, daemon, leaving, operator_pause, log_file }
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
        self.update(UpdateStatus::Long).map(drop)
    }

    /// Extends the time limit of the current request to at least this long from now, at most 24
    /// hours at a time.
    pub fn extend(&self, time: Duration) {
        // An extension is never refused.
        let _ = self.update(UpdateStatus::Extend(time));
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

    /// Records what the session does. Unlike the message [`UpdateStatus`], this method does not
    /// broadcast [`DaemonAccept`](crate::DaemonAccept).
    ///
    /// A task of [`work`](ChildHandle::work) should end when this method returns
    /// [`Updated::Leaving`].
    ///
    /// # Errors
    ///
    /// [`StatusError`] if the scoreboard refuses the change of status.
    pub fn update_status(&self, update: UpdateStatus) -> Result<Updated, StatusError> {
        Ok(match self.update(update)? {
            NextAction::Accept => Updated::Accepting,
            NextAction::Continue => Updated::Recorded,
            NextAction::Leave(reason) => Updated::Leaving(reason),
        })
    }

    /// Returns why the child will exit after its current request: because it was asked to shut
    /// down, or because this request is the last one of its quota. Returns `None` if the child will
    /// not exit.
    #[must_use]
    pub fn will_leave(&self) -> Option<ShutdownReason> {
        self.state.borrow().leaving()
    }

    /// Runs the main task of the child.
    ///
    /// The child exits when the task is done. A graceful shutdown waits for the task. If the task
    /// panics, the exit code is 101.
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

    pub(crate) fn update(&self, update: UpdateStatus) -> Result<NextAction, StatusError> {
        Ok(self.state.borrow_mut().update(update, now())?)
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
