//! What children are made of, and what a child is born with.

use std::error::Error;

use daemon_core::{Board, Moment, Seat};
use daemon_sys::bell::Bell;
use daemon_sys::process::{Pid, Signal};
use daemon_sys::signals::Blocked;

use crate::handover::{Handover, HandoverError};

/// A program's other life: what its children do.
///
/// The value is there when the nursery is founded, and each child owns a copy of it, as fork(2)
/// copies memory: a bound listener, a loaded table. What a child does not need it drops.
pub trait Brood: Sized + 'static {
    /// What a child is handed at birth; `()` where it needs nothing.
    type Request: Handover;

    /// Runs once in the nursery before the first child: load here what all children share, and
    /// the parent stays small.
    ///
    /// It must not start threads: the nursery could not fork any more, and says so.
    ///
    /// # Errors
    ///
    /// An error ends the nursery, and [`Plan::found`](crate::Plan::found) answers with it.
    fn preload(&mut self) -> Result<(), Box<dyn Error>> {
        Ok(())
    }

    /// Runs in the nursery when the parent orders a [`hang_up`](crate::Nursery::hang_up): reopen
    /// the log.
    ///
    /// # Errors
    ///
    /// An error is reported to the parent as [`Event::HangUpFailed`](crate::Event::HangUpFailed).
    fn hang_up(&mut self) -> Result<(), Box<dyn Error>> {
        Ok(())
    }

    /// Lives a child's life, and returns its exit code.
    ///
    /// The child has one thread, no signal handler and nothing of the nursery's but this value
    /// and its birth. It is the whole life: when it returns, the process exits.
    fn live(self, birth: Birth<Self::Request>) -> i32;
}

/// What a child is born with.
#[derive(Debug)]
#[non_exhaustive]
pub struct Birth<R> {
    /// Its line on the scoreboard. A child holds a seat; it has nothing to fork with.
    pub seat: Seat<Doorbell>,
    /// What it was handed.
    pub request: Result<R, HandoverError>,
    /// The signals that are held back until the child listens.
    pub signals: HeldSignals,
    /// The nursery's pid: the child's parent process.
    pub nursery: Pid,
}

/// Signals held back since before the fork, so that none finds a child without a handler.
///
/// Install handlers, if any, then [`release`](HeldSignals::release): a TERM that came meanwhile
/// is delivered then. While they are held nothing but KILL and STOP reaches the child.
#[derive(Debug)]
#[must_use = "a child that never releases its signals can only be killed"]
pub struct HeldSignals {
    pub(crate) blocked: Blocked,
}

impl HeldSignals {
    /// Lets signals through from now on, those that wait first.
    pub fn release(self) {
        // The nursery reads its children's ends from a queue, and this child does not.
        self.blocked.restore_without_queue(&[Signal::Child]);
    }
}

/// The bell on which a child's report wakes a parent that sleeps.
#[derive(Debug)]
pub struct Doorbell {
    pub(crate) bell: Bell,
}

impl daemon_core::Bell for Doorbell {
    fn ring(&self) {
        self.bell.ring();
    }
}

/// The time on the monotonic clock, as the scoreboard counts it.
#[must_use]
pub fn now() -> Moment {
    Moment::from_since_boot(daemon_sys::clock::monotonic())
}

/// Everything that a process needs to take a seat.
#[derive(Debug)]
pub(crate) struct Cradle {
    pub(crate) board: Board,
    pub(crate) doorbell: Doorbell,
}
