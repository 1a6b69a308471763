//! Stops the children: TERM, the grace period, KILL. Requests that were accepted before a graceful
//! stop still get a child.

use daemon_core::{MonotonicTime, Phase, StopMode, StopReason};
use daemon_forkserver::ChildId;
use daemon_sys::process::Signal;

use super::{
    FORK_SERVER_RESPONSE_MAX, QUIT_GRACE, StopProgress, Strategy, Supervisor, SupervisorEvent,
};
use crate::parent::backlog::Drained;
use crate::parent::process_control::ProcessControl;

impl<R: 'static> Supervisor<R> {
    /// Records that all sessions have answered the shutdown, so no more requests arrive.
    pub(crate) fn drained(&mut self, processes: &mut impl ProcessControl<R>, now: MonotonicTime) {
        self.drained = Drained::Yes;
        self.reconcile(processes, now);
    }

    /// Starts a graceful or an immediate stop.
    pub(crate) fn stop(
        &mut self,
        mode: StopMode,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        self.phase = Phase::Stopping;
        match mode {
            StopMode::Graceful => {
                self.registry.mark_all_stopping(StopReason::Stopping);
                processes.signal_all(Signal::Term);
                self.stop_progress = StopProgress::Grace(now + self.grace);
            }
            StopMode::Immediate => {
                if let Strategy::PostFork(backlog) = &mut self.strategy {
                    backlog.clear();
                }
                self.drained = Drained::Yes;
                self.registry.mark_all_stopping(StopReason::StoppedNow);
                processes.signal_all(Signal::Quit);
                self.stop_progress = StopProgress::Grace(now + QUIT_GRACE);
            }
        }
        if let Strategy::PreFork { .. } = self.strategy {
            self.release(processes);
        }
        self.reconcile(processes, now);
    }

    /// Notifies the fork server once that no more children will be forked. The fork server then
    /// closes its listeners.
    pub(super) fn release(&mut self, processes: &mut impl ProcessControl<R>) {
        if !self.is_released {
            self.is_released = true;
            processes.release();
        }
    }

    /// Forks children for the requests that were accepted before the daemon began to stop. After
    /// KILL was sent, returns these requests to their senders instead.
    pub(super) fn serve_remaining(
        &mut self,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        if let Strategy::PreFork { .. } = self.strategy {
            return;
        }
        if let StopProgress::KillSent(_) | StopProgress::Unresponsive = self.stop_progress
            && let Strategy::PostFork(backlog) = &mut self.strategy
        {
            backlog.clear();
        }
        match self.backoff.blocked_until(now) {
            Some(until) if self.waiting() > 0 => self.retry = Some(until),
            Some(_) | None => {
                self.fork_for_pending(processes, now);
                if self.is_served() && self.drained == Drained::Yes {
                    self.release(processes);
                }
            }
        }
    }

    /// Returns whether no request waits and no fork is pending. A pending fork can fail and put its
    /// request back into the backlog.
    pub(super) fn is_served(&self) -> bool {
        match &self.strategy {
            Strategy::PreFork { .. } => true,
            Strategy::PostFork(backlog) => backlog.is_served(),
        }
    }

    /// Continues the stop if all children are gone or a deadline has passed.
    pub(super) fn check_stopped(
        &mut self,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        let children = self.registry.counts().children();
        if children == 0 && self.waiting() == 0 && self.drained == Drained::Yes {
            if !matches!(self.stop_progress, StopProgress::Stopped) {
                self.stop_progress = StopProgress::Stopped;
                self.phase = Phase::Stopped;
                self.events.push(SupervisorEvent::AllChildrenGone);
            }
            return;
        }
        match self.stop_progress {
            StopProgress::Grace(time) if now >= time => {
                self.events.push(SupervisorEvent::GraceExpired(children));
                if let Strategy::PostFork(backlog) = &mut self.strategy {
                    backlog.clear();
                }
                self.drained = Drained::Yes;
                processes.signal_all(Signal::Kill);
                self.stop_progress = StopProgress::KillSent(now + FORK_SERVER_RESPONSE_MAX);
                self.check_stopped(processes, now);
            }
            StopProgress::KillSent(time) if now >= time => {
                self.events.push(SupervisorEvent::ForkServerUnresponsive);
                self.stop_progress = StopProgress::Unresponsive;
            }
            StopProgress::Grace(_)
            | StopProgress::KillSent(_)
            | StopProgress::NotStopping
            | StopProgress::Unresponsive
            | StopProgress::Stopped => {}
        }
    }

    /// Handles the loss of the fork server. Returns all waiting requests to their senders, because
    /// no child can be forked any more.
    pub(crate) fn on_fork_server_lost(&mut self, pending: Vec<(ChildId, R)>, reason: &str) {
        self.phase = Phase::Stopped;
        self.stop_progress = StopProgress::Stopped;
        if let Strategy::PostFork(backlog) = &mut self.strategy {
            for (child, request) in pending {
                backlog.return_unforked(child, request, reason);
            }
            backlog.clear();
        }
    }
}
