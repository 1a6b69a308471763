//! A child's own rules: what a status update leads to, and when it is time to go.

use daemon_core::{
    ChildKind, MonotonicTime, Quota, QuotaState, ReportError, Seat, SlotNumber, Status, WakeParent,
};
use daemon_forkserver::ParentWakeup;

use super::title::ProcessTitle;
use crate::messages::{ShutdownReason, UpdateStatus};

/// What follows from an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextAction {
    /// A request may be taken.
    Accept,
    /// Nothing; the child is busy.
    Continue,
    /// The child has no more to do.
    Leave(ShutdownReason),
}

/// Why and how far a child is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeaveState {
    Working,
    /// Told to go. In `Stopping` it still takes what waits in the listener's queue.
    Leaving(ShutdownReason),
}

/// A seated child: its line on the scoreboard, its share of requests, its stage.
#[derive(Debug)]
pub(crate) struct ChildState<B: WakeParent = ParentWakeup> {
    seat: Seat<B>,
    kind: ChildKind,
    quota: Quota,
    stage: LeaveState,
    title: ProcessTitle,
}

impl<B: WakeParent> ChildState<B> {
    pub(crate) fn new(
        seat: Seat<B>,
        kind: ChildKind,
        quota: Quota,
        mut title: ProcessTitle,
    ) -> Self {
        title.seat(seat.slot());
        title.show(seat.status());
        ChildState { seat, kind, quota, stage: LeaveState::Working, title }
    }

    pub(crate) fn slot(&self) -> SlotNumber {
        self.seat.slot()
    }

    pub(crate) fn status(&self) -> Status {
        self.seat.status()
    }

    pub(crate) fn board(&self) -> daemon_core::ScoreboardReader {
        self.seat.reader()
    }

    /// The event loop turns.
    pub(crate) fn beat(&self, now: MonotonicTime) {
        self.seat.heartbeat(now);
    }

    /// Why the child is leaving, if it is.
    pub(crate) fn leaving(&self) -> Option<ShutdownReason> {
        match self.stage {
            LeaveState::Working => None,
            LeaveState::Leaving(reason) => Some(reason),
        }
    }

    pub(crate) fn label(&mut self, text: &str) {
        self.seat.set_label(text.as_bytes());
        self.title.label(text);
    }

    fn report(&mut self, status: Status, now: MonotonicTime) -> Result<(), ReportError> {
        self.seat.report(status, now)?;
        self.title.show(status);
        Ok(())
    }

    /// Notes what the session does.
    pub(crate) fn update(
        &mut self,
        update: UpdateStatus,
        now: MonotonicTime,
    ) -> Result<NextAction, ReportError> {
        let status = self.seat.status();
        match update {
            UpdateStatus::Req => self.begin(Status::Serving, now),
            UpdateStatus::Long => self.begin(Status::Long, now),
            UpdateStatus::Extend(time) => {
                self.seat.extend_deadline(now + time);
                Ok(NextAction::Continue)
            }
            UpdateStatus::Wait | UpdateStatus::Done => match (self.kind, status) {
                (ChildKind::OneRequest, _) => {
                    self.report(Status::Leaving, now)?;
                    Ok(self.leave(ShutdownReason::Done))
                }
                (ChildKind::Pool, Status::Forked) => {
                    self.report(Status::Fresh, now)?;
                    Ok(self.ready())
                }
                (ChildKind::Pool, _) => {
                    self.report(Status::Waiting, now)?;
                    Ok(self.ready())
                }
            },
        }
    }

    fn begin(&mut self, wanted: Status, now: MonotonicTime) -> Result<NextAction, ReportError> {
        let was_busy = self.seat.status().is_busy();
        // An acceptor has noted the request already: to say so again is no mistake.
        if self.seat.status() != wanted {
            self.report(wanted, now)?;
        }
        if !was_busy && self.quota.consume() == QuotaState::Exhausted {
            self.stage = match self.stage {
                LeaveState::Working => LeaveState::Leaving(ShutdownReason::Recycled),
                leaving @ LeaveState::Leaving(_) => leaving,
            };
        }
        Ok(NextAction::Continue)
    }

    /// The child is idle: it may take a request, or it goes.
    fn ready(&self) -> NextAction {
        match self.stage {
            LeaveState::Working | LeaveState::Leaving(ShutdownReason::Stopping) => {
                NextAction::Accept
            }
            LeaveState::Leaving(reason) => NextAction::Leave(reason),
        }
    }

    /// The child shall go once it has done what it does.
    pub(crate) fn leave(&mut self, reason: ShutdownReason) -> NextAction {
        self.stage = match self.stage {
            LeaveState::Working => LeaveState::Leaving(reason),
            // The whole daemon's end comes after a retirement: what is queued is to be taken.
            LeaveState::Leaving(ShutdownReason::Retired) if reason == ShutdownReason::Stopping => {
                LeaveState::Leaving(reason)
            }
            leaving @ LeaveState::Leaving(_) => leaving,
        };
        match self.stage {
            LeaveState::Leaving(reason) => NextAction::Leave(reason),
            LeaveState::Working => NextAction::Continue,
        }
    }

    /// The last report.
    pub(crate) fn gone(&mut self, now: MonotonicTime) {
        if self.seat.status() != Status::Leaving {
            // A slot that says otherwise by now is the parent's to judge.
            let _ = self.report(Status::Leaving, now);
        }
    }
}

#[cfg(test)]
mod tests;
