//! The program that children run, and what a child starts with.

use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use daemon_core::{Descendants, ScoreboardReader, Seat};
use daemon_sys::process::{Pid, Signal};
use daemon_sys::signals::SignalBlockGuard;
use daemon_sys::title::Title;
use daemon_sys::wakeup::Waker;

use crate::transfer::{Transfer, TransferError};

/// Exit code of a fork server or child that could not start: `EX_SOFTWARE` of sysexits(3).
pub const EXIT_SOFTWARE: i32 = 70;
/// Exit code of a fork server or child that panicked, the same as Rust's default.
pub const EXIT_PANIC: i32 = 101;

/// The program that children run.
///
/// The value is created before the fork server is spawned. Each child owns a copy of it, because
/// fork(2) copies memory. Typical contents are a bound listener or a loaded table. A child drops
/// the parts that it does not need.
pub trait ChildProgram: Sized + 'static {
    /// The type of the request that a child receives when it is forked; `()` if children need no
    /// request.
    type Request: Transfer;

    /// Runs once in the fork server, before the first child is forked. Use this step, not the
    /// parent, to load the data that all children share, so that the parent's memory stays small.
    ///
    /// The step must not start threads, because every later fork would then fail with
    /// [`ForkRefusal::OtherThreads`](crate::ForkRefusal::OtherThreads).
    ///
    /// # Errors
    ///
    /// If the step fails, the fork server exits, and
    /// [`ForkServerBuilder::spawn`](crate::ForkServerBuilder::spawn) returns the error.
    fn preload(&mut self) -> Result<(), Box<dyn Error>> {
        Ok(())
    }

    /// Reopens the logs. Runs in the fork server when the parent calls
    /// [`reopen_logs`](crate::ForkServer::reopen_logs).
    ///
    /// # Errors
    ///
    /// The error is reported to the parent as
    /// [`ForkServerEvent::ReopenLogsFailed`](crate::ForkServerEvent::ReopenLogsFailed).
    fn reopen_logs(&mut self) -> Result<(), Box<dyn Error>> {
        Ok(())
    }

    /// Runs in the fork server when no more children will be forked, and drops the program: after
    /// [`release`](crate::ForkServer::release), or when the fork server shuts down.
    fn release(self) {}

    /// Runs in the child, and returns its exit code.
    ///
    /// The child has one thread and no signal handlers. It keeps nothing of the fork server's state
    /// except this value and its [`ChildStart`]. The process exits when this function returns.
    fn run_child(self, start: ChildStart<Self::Request>) -> i32;
}

/// The seat, the request and the blocked signals that a child starts with.
#[derive(Debug)]
#[non_exhaustive]
pub struct ChildStart<R> {
    /// The child's seat: the write handle on its scoreboard slot.
    pub seat: Seat<ParentWakeup>,
    /// The request, or why it could not be decoded.
    pub request: Result<R, TransferError>,
    /// The signals that are blocked until the child releases them.
    pub signals: BlockedSignals,
    /// The pid of the fork server, which is the child's parent process.
    pub fork_server: Pid,
}

/// Signals that were blocked before the fork, so that no signal arrives before the child has
/// installed its handlers.
///
/// Install handlers, if any, and then call [`release`](BlockedSignals::release), which delivers the
/// signals that have arrived, for example TERM. Before that call only KILL and STOP affect the
/// child.
#[derive(Debug)]
#[must_use = "a child that never releases its signals can only be killed"]
pub struct BlockedSignals {
    pub(crate) blocked: SignalBlockGuard,
}

impl BlockedSignals {
    /// Unblocks the signals. Pending signals are delivered at once.
    pub fn release(self) {
        // The fork server reads CHLD from a signal queue; this child does not.
        self.blocked.restore_without_queue(&[Signal::Child]);
    }
}

/// Wakes a sleeping parent when a child writes to the scoreboard.
#[derive(Debug)]
pub struct ParentWakeup {
    pub(crate) waker: Waker,
}

impl daemon_core::WakeParent for ParentWakeup {
    fn wake(&self) {
        self.waker.wake();
    }
}

/// The scoreboard and the wakeup that a new child needs to take its seat.
#[derive(Debug)]
pub(crate) struct SlotResources {
    pub(crate) board: ScoreboardReader,
    pub(crate) wakeup: ParentWakeup,
}

/// Settings that the fork server's own process uses.
#[derive(Debug, Clone)]
pub(crate) struct ServerSettings {
    pub(crate) grace: Duration,
    pub(crate) descendants: Descendants,
    pub(crate) title: Option<(Rc<Title>, String)>,
    pub(crate) fork_server: Pid,
}
