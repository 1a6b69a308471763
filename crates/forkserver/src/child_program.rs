//! What children are made of, and what a child is born with.

use std::error::Error;

use daemon_core::{Board, MonotonicTime, Seat};
use daemon_sys::process::{Pid, Signal};
use daemon_sys::signals::SignalBlockGuard;
use daemon_sys::wakeup::Wakeup;

use crate::transfer::{Transfer, TransferError};

/// A program's other life: what its children do.
///
/// The value is there when the fork server is founded, and each child owns a copy of it, as fork(2)
/// copies memory: a bound listener, a loaded table. What a child does not need it drops.
pub trait ChildProgram: Sized + 'static {
    /// What a child is handed at birth; `()` where it needs nothing.
    type Request: Transfer;

    /// Runs once in the fork server before the first child: load here what all children share, and
    /// the parent stays small.
    ///
    /// It must not start threads: the fork server could not fork any more, and says so.
    ///
    /// # Errors
    ///
    /// An error ends the fork server, and [`ForkServerBuilder::found`](crate::Plan::found) answers with it.
    fn preload(&mut self) -> Result<(), Box<dyn Error>> {
        Ok(())
    }

    /// Runs in the fork server when the parent orders a [`reopen_logs`](crate::Fork server::reopen_logs): reopen
    /// the log.
    ///
    /// # Errors
    ///
    /// An error is reported to the parent as [`ForkServerEvent::ReopenLogsFailed`](crate::Event::ReopenLogsFailed).
    fn reopen_logs(&mut self) -> Result<(), Box<dyn Error>> {
        Ok(())
    }

    /// Lives a child's life, and returns its exit code.
    ///
    /// The child has one thread, no signal handler and nothing of the fork server's but this value
    /// and its birth. It is the whole life: when it returns, the process exits.
    fn run_child(self, start: ChildStart<Self::Request>) -> i32;
}

/// What a child is born with.
#[derive(Debug)]
#[non_exhaustive]
pub struct ChildStart<R> {
    /// Its line on the scoreboard. A child holds a seat; it has nothing to fork with.
    pub seat: Seat<ParentWakeup>,
    /// What it was handed.
    pub request: Result<R, TransferError>,
    /// The signals that are held back until the child listens.
    pub signals: BlockedSignals,
    /// The fork server's pid: the child's parent process.
    pub fork_server: Pid,
}

/// Signals held back since before the fork, so that none finds a child without a handler.
///
/// Install handlers, if any, then [`release`](BlockedSignals::release): a TERM that came meanwhile
/// is delivered then. While they are held nothing but KILL and STOP reaches the child.
#[derive(Debug)]
#[must_use = "a child that never releases its signals can only be killed"]
pub struct BlockedSignals {
    pub(crate) blocked: SignalBlockGuard,
}

impl BlockedSignals {
    /// Lets signals through from now on, those that wait first.
    pub fn release(self) {
        // The fork server reads its children's ends from a queue, and this child does not.
        self.blocked.restore_without_queue(&[Signal::Child]);
    }
}

/// The bell on which a child's report wakes a parent that sleeps.
#[derive(Debug)]
pub struct ParentWakeup {
    pub(crate) wakeup: Wakeup,
}

impl daemon_core::WakeParent for ParentWakeup {
    fn wake(&self) {
        self.wakeup.wake();
    }
}

/// The time on the monotonic clock, as the scoreboard counts it.
#[must_use]
pub fn now() -> MonotonicTime {
    MonotonicTime::from_since_boot(daemon_sys::clock::monotonic())
}

/// Everything that a process needs to take a seat.
#[derive(Debug)]
pub(crate) struct SlotResources {
    pub(crate) board: Board,
    pub(crate) wakeup: ParentWakeup,
}
