//! The state of a child: what a status update leads to, when the child exits, and the process title
//! that shows the state.

use std::rc::Rc;

use daemon_core::{
    ChildKind, IllegalTransition, LimitedRecord, MAX_EXTENSION, MonotonicTime, Phase, Quota,
    QuotaState, ReportError, Seat, SlotNumber, Status, WakeParent,
};
use daemon_forkserver::ParentWakeup;
use daemon_sys::title::Title;
use slog::{Logger, debug, warn};

use crate::messages::{ShutdownReason, StatusError, UpdateStatus, Updated};

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

impl From<NextAction> for Updated {
    fn from(next: NextAction) -> Updated {
        match next {
            NextAction::Accept => Updated::Accepting,
            NextAction::Continue => Updated::Recorded,
            NextAction::Leave(reason) => Updated::Leaving(reason),
        }
    }
}

/// Whose reports say when a request of the child starts and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestOwner {
    /// The sessions of the program.
    Sessions,
    /// The code that accepts the requests, such as `serve`. What the program's code says about a
    /// request must not end it.
    Acceptor,
}

/// The state of a child: its seat on the scoreboard, its quota, and whether it is leaving.
#[derive(Debug)]
pub(crate) struct ChildState<B: WakeParent = ParentWakeup> {
    seat: Seat<B>,
    kind: ChildKind,
    quota: Quota,
    owner: RequestOwner,
    /// Why the child exits after its current request, if it does. If the reason is `Stopping`, the
    /// child serves the listener's backlog before it exits.
    leaving: Option<ShutdownReason>,
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
        ChildState { seat, kind, quota, owner: RequestOwner::Sessions, leaving: None, title }
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

    /// Returns whether the scoreboard shows that the daemon is stopping. The signal that stops this
    /// child may not have arrived yet.
    pub(crate) fn is_daemon_stopping(&self) -> bool {
        match self.board().phase() {
            Phase::Stopping | Phase::Stopped => true,
            Phase::Starting | Phase::Running => false,
        }
    }

    /// Writes the status to the scoreboard again.
    pub(crate) fn refresh(&self) {
        self.seat.refresh();
    }

    /// Records that the event loop is running.
    pub(crate) fn beat(&self, now: MonotonicTime) {
        self.seat.heartbeat(now);
    }

    /// Returns why the child will exit after its current request; `None` if it will not.
    pub(crate) fn will_leave(&self) -> Option<ShutdownReason> {
        match self.leaving {
            // The signal that stops this child has not arrived yet. No other child is forked, so
            // this one serves on although its quota is used up.
            Some(ShutdownReason::Recycled) if self.is_daemon_stopping() => {
                Some(ShutdownReason::Stopping)
            }
            reason => reason,
        }
    }

    /// Returns why the child is leaving; `None` if it is not.
    pub(crate) fn leaving(&self) -> Option<ShutdownReason> {
        self.leaving
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

    /// From now on only [`update`](ChildState::update) starts and ends requests.
    pub(crate) fn take_over_requests(&mut self) {
        self.owner = RequestOwner::Acceptor;
    }

    /// Returns whether to write this log record now, see [`Seat::admit_record`].
    pub(crate) fn admit_record(&self, record: LimitedRecord, now: MonotonicTime) -> Option<u64> {
        self.seat.admit_record(record, now)
    }

    /// Records what the program's code says that it does, and returns what the child does next. If
    /// the acceptor reports the requests, the code can only describe the current request.
    pub(crate) fn update_by_program(
        &mut self,
        update: UpdateStatus,
        now: MonotonicTime,
    ) -> Result<NextAction, StatusError> {
        match (self.owner, update) {
            (RequestOwner::Sessions, _) => {}
            (RequestOwner::Acceptor, UpdateStatus::Wait | UpdateStatus::Done) => {
                return Err(StatusError::NotYours { update: update.word() });
            }
            (RequestOwner::Acceptor, UpdateStatus::Req | UpdateStatus::Long)
                if !self.status().is_busy() =>
            {
                return Err(StatusError::NoRequest { update: update.word() });
            }
            // No request is in progress whose time could be extended.
            (RequestOwner::Acceptor, UpdateStatus::Extend(_)) if !self.status().is_busy() => {
                return Ok(NextAction::Continue);
            }
            (
                RequestOwner::Acceptor,
                UpdateStatus::Req | UpdateStatus::Long | UpdateStatus::Extend(_),
            ) => {}
        }
        Ok(self.update(update, now)?)
    }

    /// Logs a refused status. The rate is limited, because a handler can repeat its error with each
    /// request.
    pub(crate) fn log_refused(&self, log: &Logger, error: &StatusError, now: MonotonicTime) {
        match error {
            // The child is exiting, so it no longer matters what the session does.
            StatusError::Refused(ReportError::IllegalTransition(IllegalTransition {
                from: Status::Leaving,
                ..
            })) => debug!(log, "status refused"; "error" => %error),
            StatusError::Refused(_)
            | StatusError::NotYours { .. }
            | StatusError::NoRequest { .. }
            | StatusError::InParent => {
                if let Some(suppressed) = self.admit_record(LimitedRecord::StatusRefused, now) {
                    warn!(log, "status refused"; "error" => %error, "suppressed" => suppressed);
                }
            }
        }
    }

    /// Records what the owner of the requests does, and returns what the child does next.
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
            self.leaving.get_or_insert(ShutdownReason::Recycled);
        }
        Ok(NextAction::Continue)
    }

    /// Returns what an idle child does: accept a request, or exit.
    fn ready(&self) -> NextAction {
        match self.will_leave() {
            None | Some(ShutdownReason::Stopping) => NextAction::Accept,
            Some(reason) => NextAction::Leave(reason),
        }
    }

    /// Makes the child exit after its current request. An earlier reason remains, except that
    /// `Stopping` replaces `Retired` and `Recycled`.
    pub(crate) fn leave(&mut self, reason: ShutdownReason) -> NextAction {
        let reason = match self.leaving {
            // When the daemon stops, no other child is forked, so this one must also serve the
            // connections that wait.
            Some(ShutdownReason::Retired | ShutdownReason::Recycled)
                if reason == ShutdownReason::Stopping =>
            {
                reason
            }
            Some(earlier) => earlier,
            None => reason,
        };
        self.leaving = Some(reason);
        NextAction::Leave(reason)
    }

    /// Reports the last status, `Leaving`.
    pub(crate) fn report_leaving(&mut self, now: MonotonicTime) {
        if self.seat.status() != Status::Leaving {
            // If the scoreboard refuses the status, the parent has already closed the slot.
            let _ = self.report(Status::Leaving, now);
        }
    }
}

/// The capacity in bytes for the text after the prefix `name: child `.
const ROOM: usize = 128;

/// A placeholder for the status letter, followed by the closing bracket.
const SHOWN: &str = " ]";

/// The process title of a child. Setting the title copies memory and needs no system call.
///
/// The fork server allocates the text with enough capacity, so that a child can complete the text
/// without an allocation, unless its label is long.
#[derive(Debug)]
pub(crate) struct ProcessTitle {
    title: Rc<Title>,
    text: String,
    /// The position of the status letter in the text.
    status_at: usize,
}

impl ProcessTitle {
    /// Creates the title of a child that has no slot yet.
    pub(crate) fn new(title: Rc<Title>, name: &str) -> Self {
        let begin = [name, ": child "].concat();
        let mut text = String::with_capacity(begin.len() + ROOM);
        text.push_str(&begin);
        ProcessTitle { title, text, status_at: begin.len() }
    }

    /// Inserts the slot.
    #[inline]
    fn seat(&mut self, slot: SlotNumber) {
        push_number(&mut self.text, slot.get());
        self.text.push_str(" [");
        self.status_at = self.text.len();
        self.text.push_str(SHOWN);
    }

    #[inline]
    fn show(&mut self, status: Status) {
        let at = self.status_at;
        // If there is no label, nothing follows the status.
        if self.text.len() == at + SHOWN.len() {
            self.text.truncate(at);
            self.text.push(status.letter());
            self.text.push(']');
        } else {
            self.text.replace_range(at..=at, status.letter().encode_utf8(&mut [0; 4]));
        }
        self.title.set(&self.text);
    }

    fn label(&mut self, label: &str) {
        self.text.truncate(self.status_at + SHOWN.len());
        if !label.is_empty() {
            self.text.push(' ');
            self.text.push_str(label);
        }
        self.title.set(&self.text);
    }

    #[cfg(test)]
    fn text(&self) -> &str {
        &self.text
    }
}

/// Appends a number without `format!`. A child that serves one request needs the code of `format!`
/// for nothing else, so avoiding it saves page faults.
#[inline]
fn push_number(text: &mut String, number: u32) {
    let mut unit = 1;
    while number / unit >= 10 {
        unit *= 10;
    }
    while unit > 0 {
        text.extend(char::from_digit(number / unit % 10, 10));
        unit /= 10;
    }
}

#[cfg(test)]
mod tests;
