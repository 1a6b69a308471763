//! A child's daemon without messages: for code that runs in the child and wants no detour.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use daemon_core::{OperatorPause, SlotNumber};
use daemon_forkserver::now;
use daemon_sys::stdio::{self, LogFile};
use futures::FutureExt;
use futures::future::{Either, select};
use tokio::sync::watch;

use super::actor::{ChildActor, RecheckPause, SessionPanicked, WorkFinished, WorkStarted};
use super::state::{ChildState, NextAction};
use crate::listen::{Listen, WatchedListener};
use crate::log;
use crate::messages::{ShutdownReason, StatusError, UpdateStatus, Updated};

/// A handle on the child's own line of the scoreboard, cheap to clone.
///
/// A handler of [`serve`](crate::DaemonBuilder::serve) gets one. What it reports costs a few atomic
/// stores.
#[derive(Clone, Debug)]
pub struct ChildHandle {
    state: Rc<RefCell<ChildState>>,
    daemon: Addr<ChildActor>,
    leaving: watch::Receiver<Option<ShutdownReason>>,
    hold: watch::Receiver<OperatorPause>,
    log_file: Option<Arc<LogFile>>,
}

thread_local! {
    static CURRENT: RefCell<Option<ChildHandle>> = const { RefCell::new(None) };
}

impl ChildHandle {
    /// The child that this thread's System belongs to; none in the parent, and in other threads.
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
        hold: watch::Receiver<OperatorPause>,
        log_file: Option<Arc<LogFile>>,
    ) -> Self {
        ChildHandle { state, daemon, leaving, hold, log_file }
    }

    /// Says in a few words what the child is doing, for the scoreboard and ps(1).
    pub fn label(&self, text: &str) {
        self.state.borrow_mut().label(text);
    }

    /// Says that the request in hand takes long: `l` on the scoreboard.
    ///
    /// # Errors
    ///
    /// As [`UpdateStatus`]: when the scoreboard's rules forbid it.
    pub fn long(&self) -> Result<(), StatusError> {
        self.update(UpdateStatus::Long).map(drop)
    }

    /// Asks for more time for the request in hand: at least so much from now, whatever its time
    /// limit.
    pub fn extend(&self, time: Duration) {
        // Nothing forbids it.
        let _ = self.update(UpdateStatus::Extend(time));
    }

    /// The child's place on the scoreboard.
    #[must_use]
    pub fn slot(&self) -> SlotNumber {
        self.state.borrow().slot()
    }

    /// The child's daemon.
    #[must_use]
    pub fn daemon(&self) -> &Addr<ChildActor> {
        &self.daemon
    }

    /// Why the child is going, if it is.
    #[must_use]
    pub fn leaving(&self) -> Option<ShutdownReason> {
        *self.leaving.borrow()
    }

    /// Waits until the child is told to go: time to end a kept-alive connection after the request
    /// in hand.
    pub async fn wait_for_shutdown(&self) -> ShutdownReason {
        let mut leaving = self.leaving.clone();
        match leaving.wait_for(Option::is_some).await.map(|reason| *reason) {
            Ok(Some(reason)) => reason,
            // The daemon's actor has ended, and with it the child.
            Ok(None) | Err(_) => ShutdownReason::StoppingNow,
        }
    }

    /// Whether the operator holds the daemon at this moment, told of it yet or not.
    fn is_paused_by_operator(&self) -> bool {
        self.state.borrow().board().operator_pause() == OperatorPause::On
    }

    /// Waits for a connection, and takes none from the moment that the operator holds the daemon.
    pub(crate) async fn accept<L: Listen>(&self, gate: &WatchedListener<L>) -> L::Socket {
        loop {
            self.wait_for_operator_pause(OperatorPause::Off).await;
            let accepted = gate.accept_while(|| !self.is_paused_by_operator());
            match select(pin!(accepted), pin!(self.wait_for_operator_pause(OperatorPause::On)))
                .await
            {
                Either::Left((Some(stream), _)) => return stream,
                // The signal that tells of it may still be on its way: then the daemon hears of it by this.
                Either::Left((None, _)) => drop(self.daemon.send(RecheckPause).await),
                Either::Right(((), _)) => {}
            }
        }
    }

    /// Waits until the operator's word is this one. Who waits in vain is told to leave meanwhile.
    async fn wait_for_operator_pause(&self, wanted: OperatorPause) {
        let mut hold = self.hold.clone();
        if hold.wait_for(|hold| *hold == wanted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Notes what the session does, as [`UpdateStatus`] sent to the child's daemon, but for the
    /// broadcast: who asks here reads the answer.
    ///
    /// A session that [works](ChildHandle::work) ends when it is answered with
    /// [`Updated::Leaving`].
    ///
    /// # Errors
    ///
    /// When the scoreboard's rules forbid the move.
    pub fn update_status(&self, update: UpdateStatus) -> Result<Updated, StatusError> {
        Ok(match self.update(update)? {
            NextAction::Accept => Updated::Accepting,
            NextAction::Continue => Updated::Recorded,
            NextAction::Leave(reason) => Updated::Leaving(reason),
        })
    }

    /// Why the child will leave after the request in hand, if it will: it was told to, or this is
    /// the last of its share.
    #[must_use]
    pub fn will_leave(&self) -> Option<ShutdownReason> {
        self.state.borrow().leaving()
    }

    /// Runs all that the child is for. The child waits for it, and leaves when it is done; if it
    /// panics the child leaves with exit code 101.
    pub fn work(&self, work: impl Future<Output = ()> + 'static) {
        self.start_work();
        let child = self.clone();
        actix_rt::spawn(async move {
            match AssertUnwindSafe(work).catch_unwind().await {
                Ok(()) => child.finish_work(),
                Err(_told_by_the_panic_hook) => child.daemon.do_send(SessionPanicked),
            }
        });
    }

    /// Leads this process' standard output and error elsewhere: into pipes, for one. The daemon's
    /// own log goes on where it went.
    ///
    /// # Errors
    ///
    /// If no descriptor is left.
    pub fn redirect_output(&self, out: OwnedFd, err: OwnedFd) -> Result<(), daemon_sys::Error> {
        log::keep_log_target(self.log_file.as_ref())?;
        stdio::redirect_outputs(out, err)
    }

    pub(crate) fn update(&self, update: UpdateStatus) -> Result<NextAction, StatusError> {
        Ok(self.state.borrow_mut().update(update, now())?)
    }

    /// A piece of code begins that the child must wait for before it leaves.
    pub(crate) fn start_work(&self) {
        self.daemon.do_send(WorkStarted);
    }

    /// That piece of code has ended.
    pub(crate) fn finish_work(&self) {
        self.daemon.do_send(WorkFinished);
    }
}
