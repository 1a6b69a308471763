//! Workers that fail to start. If none can be started, the waiting requests are answered instead of
//! waiting for ever.

use std::fmt;

use actix_daemon::ChildId;
use daemon_core::LogThrottle;
use daemon_forkserver::now;

use super::Engine;
use crate::answer::Rejection;
use crate::link::SetupState;
use crate::talkback::report;

/// The number of consecutive failures after which the waiting requests are rejected, if there is no
/// worker.
const FAILURES_MAX: u32 = 5;

/// The consecutive workers that failed before they were ready.
#[derive(Debug, Default)]
pub(super) struct StartFailures {
    count: u32,
    log: LogThrottle,
}

impl StartFailures {
    /// Records a failure. Returns the number of consecutive failures if the waiting requests are to
    /// be rejected.
    fn add(&mut self, has_workers: bool) -> Option<u32> {
        self.count = self.count.saturating_add(1);
        (self.count >= FAILURES_MAX && !has_workers).then_some(self.count)
    }

    /// Records that a worker is ready.
    pub(super) fn reset(&mut self) {
        self.count = 0;
    }
}

impl Engine {
    /// Handles a worker that could not be forked.
    pub(super) fn fork_failed(&mut self, child: Option<ChildId>, reason: String) {
        if let Some(child) = child {
            self.remove_link(child);
        }
        self.start_failed(reason);
        self.reject_if_no_workers_left();
    }

    /// Handles a worker that was never ready. If no worker is left and too many have failed in a
    /// row, rejects the requests that wait. The next request causes the next attempt.
    pub(super) fn start_failed(&mut self, reason: String) {
        if !self.scheduler.is_accepting() {
            return;
        }
        let has_workers = self.links.iter().flatten().any(|link| match &link.setup {
            SetupState::Ready | SetupState::Leaving => true,
            SetupState::Starting | SetupState::Broken | SetupState::Refused(_) => false,
        });
        let Some(failures) = self.start_failures.add(has_workers) else { return };
        if self.scheduler.stats().queued > 0 && self.start_failures.log.should_log(now()) {
            report!(
                self.events, warn, "no worker can be started, rejecting the waiting requests";
                "failures" => failures, "reason" => &reason
            );
        }
        self.scheduler.reject_queued(&Rejection::NoWorker { failures, reason }, now());
    }

    /// Handles a worker for which the hook `fork_postinit` has panicked. It is killed, because it
    /// may lack what the hook sets up.
    pub(super) fn refuse_worker(&mut self, child: ChildId, reason: &impl fmt::Display) {
        report!(
            self.events, warn, "fork_postinit panicked, killing worker";
            "slot" => child.slot.get(), "error" => reason.to_string()
        );
        if let Some(link) = self.link_of(child) {
            link.setup = SetupState::Refused(format!("fork_postinit {reason}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_rejected_after_consecutive_failures_without_a_worker() {
        let mut failures = StartFailures::default();
        // whether there are workers, whether requests are rejected
        let table = [
            (false, None),
            (false, None),
            (false, None),
            (false, None),
            (false, Some(5)),
            (true, None),
            (false, Some(7)),
        ];
        for (has_workers, expected) in table {
            assert_eq!(failures.add(has_workers), expected);
        }
        failures.reset();
        assert_eq!(failures.add(false), None);
    }
}
