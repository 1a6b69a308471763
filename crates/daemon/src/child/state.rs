//! The state of a child: what a status update leads to, and when the child exits.

use daemon_core::{
    ChildKind, MAX_EXTENSION, MonotonicTime, Quota, QuotaState, ReportError, Seat, SlotNumber,
    Status, WakeParent,
};
use daemon_forkserver::ParentWakeup;

use super::title::ProcessTitle;
use crate::messages::{ShutdownReason, UpdateStatus};

/// What the child does after a status update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextAction {
    /// The child may accept a request.
    Accept,
    /// The child is busy and continues.
    Continue,
    /// The child exits for this reason.
    Leave(ShutdownReason),
}

/// Whether a child is leaving, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeaveState {
    Working,
    /// The child exits after its current request. If the reason is `Stopping`, the child serves the
    /// listener's backlog before it exits.
    Leaving(ShutdownReason),
}

/// The state of a child: its seat on the scoreboard, its quota, and whether it is leaving.
#[derive(Debug)]
pub(crate) struct ChildState<B: WakeParent = ParentWakeup> {
    seat: Seat<B>,
    kind: ChildKind,
    quota: Quota,
    leave_state: LeaveState,
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
        ChildState { seat, kind, quota, leave_state: LeaveState::Working, title }
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

    /// Writes the status to the scoreboard again.
    pub(crate) fn refresh(&self) {
        self.seat.refresh();
    }

    /// Records that the event loop is running.
    pub(crate) fn beat(&self, now: MonotonicTime) {
        self.seat.heartbeat(now);
    }

    /// Returns why the child is leaving; `None` if it is not.
    pub(crate) fn leaving(&self) -> Option<ShutdownReason> {
        match self.leave_state {
            LeaveState::Working => None,
            LeaveState::Leaving(reason) => Some(reason),
        }
    }

    pub(crate) fn label(&mut self, text: &str) {
        self.seat.set_label(text.as_bytes());
        self.title.label(text);
    }

    /// Reports a status. A line that other code has damaged is not the session's fault: the parent
    /// repairs it, and the child's own status is right.
    fn report(&mut self, status: Status, now: MonotonicTime) -> Result<(), ReportError> {
        match self.seat.report(status, now) {
            Ok(_) | Err(ReportError::StaleGeneration { .. } | ReportError::Closed { .. }) => {}
            Err(error) => return Err(error),
        }
        self.title.show(status);
        Ok(())
    }

    /// Records what the session does, and returns what the child does next.
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
                self.seat.extend_deadline(now + time.min(MAX_EXTENSION));
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
        // An acceptor may have recorded the request already. Reporting a request twice is not an
        // error.
        if self.seat.status() != wanted {
            self.report(wanted, now)?;
        }
        if !was_busy && self.quota.consume() == QuotaState::Exhausted {
            self.leave_state = match self.leave_state {
                LeaveState::Working => LeaveState::Leaving(ShutdownReason::Recycled),
                leaving @ LeaveState::Leaving(_) => leaving,
            };
        }
        Ok(NextAction::Continue)
    }

    /// Returns what an idle child does: accept a request, or exit.
    fn ready(&self) -> NextAction {
        match self.leave_state {
            LeaveState::Working | LeaveState::Leaving(ShutdownReason::Stopping) => {
                NextAction::Accept
            }
            LeaveState::Leaving(reason) => NextAction::Leave(reason),
        }
    }

    /// Makes the child exit after its current request. An earlier reason remains, except that
    /// `Stopping` replaces `Retired`.
    pub(crate) fn leave(&mut self, reason: ShutdownReason) -> NextAction {
        self.leave_state = match self.leave_state {
            LeaveState::Working => LeaveState::Leaving(reason),
            // A stop of the daemon replaces a retirement, because when the daemon stops, the child
            // must also serve the listener's backlog.
            LeaveState::Leaving(ShutdownReason::Retired) if reason == ShutdownReason::Stopping => {
                LeaveState::Leaving(reason)
            }
            leaving @ LeaveState::Leaving(_) => leaving,
        };
        match self.leave_state {
            LeaveState::Leaving(reason) => NextAction::Leave(reason),
            LeaveState::Working => NextAction::Continue,
        }
    }

    /// Reports the last status, `Leaving`.
    pub(crate) fn report_leaving(&mut self, now: MonotonicTime) {
        if self.seat.status() != Status::Leaving {
            // If the scoreboard refuses the status, the parent has already closed the slot.
            let _ = self.report(Status::Leaving, now);
        }
    }
}

#[cfg(test)]
mod tests;
