//! What the fork server and the children report: births, deaths, statuses.

use daemon_core::{
    BackoffRules, Death, Exit, ExitCause, FailureReason, MonotonicTime, Phase, SlotEntry,
};
use daemon_forkserver::{ChildId, ForkRefusal, ForkServerEvent};
use daemon_sys::process::Pid;

use super::{Strategy, Supervisor, SupervisorEvent};
use crate::parent::process_control::{OomKills, ProcessControl};
use crate::parent::registry::{Age, StatusChange};

/// SIGKILL, the same number everywhere.
const KILL: i32 = 9;
/// So many children in a row that die before they are ready, while none was ever ready, and the
/// daemon gives up starting.
const BOOT_FAILURES_MAX: u32 = 5;

impl<R: 'static> Supervisor<R> {
    /// The fork server has reported.
    pub(crate) fn report(
        &mut self,
        event: ForkServerEvent<R>,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        match event {
            ForkServerEvent::Born { child, pid } => {
                self.counters.forks += 1;
                self.backoff.fork_succeeded();
                self.registry.born(child, pid);
                if let Strategy::PostFork(backlog) = &mut self.strategy {
                    // It has its request from birth; that is all there is to know of it.
                    self.registry.mark_serving(child);
                    backlog.born(child, pid);
                }
                self.events.push(SupervisorEvent::ChildBorn(child, pid));
            }
            ForkServerEvent::ForkFailed { child, request, refusal } => {
                self.counters.failed_forks += 1;
                self.registry.remove_failed(child);
                let reason = match &refusal {
                    ForkRefusal::System(errno) => FailureReason::Errno(*errno),
                    _not_attempted => FailureReason::NotAttempted,
                };
                self.backoff.fork_failed(reason, now);
                self.events.push(SupervisorEvent::ForkFailed(refusal.to_string()));
                if let Strategy::PostFork(backlog) = &mut self.strategy {
                    backlog.fork_failed(child, request, &refusal);
                }
            }
            ForkServerEvent::Exited { child, pid, exit, last } => {
                self.gone(child, pid, exit, &last, processes, now);
            }
            ForkServerEvent::ReopenLogsFailed { error } => {
                self.events.push(SupervisorEvent::ReopenLogsFailed(error))
            }
        }
    }

    fn gone(
        &mut self,
        child: ChildId,
        pid: Pid,
        exit: daemon_core::Exit,
        last: &SlotEntry,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        let Some((mut exited, age)) = self.registry.gone(child, pid, exit, last, now) else {
            return;
        };
        // The kernel kills by the same signal as anybody.
        if let ExitCause::Killed { signal: KILL, .. }
        | ExitCause::FailedToBoot(Exit::Signal { number: KILL, .. }) = exited.cause
            && processes.oom_kills() == OomKills::New
        {
            exited.cause = ExitCause::OutOfMemory;
        }
        let death = match age {
            Age::BeforeReady => {
                self.boot_failures += 1;
                Death::BeforeReady
            }
            Age::Unused(lived) if lived < BackoffRules::default().early_death_age => Death::Early,
            Age::Unused(_) => Death::Late,
            Age::Served => {
                self.backoff.child_ready();
                Death::Late
            }
        };
        self.backoff.child_died(death, exited.cause, now);
        self.counters.exited(&exited.cause, exited.requests);
        if self.phase == Phase::Starting
            && self.boot_failures >= BOOT_FAILURES_MAX
            && self.ready == 0
        {
            let why = format!(
                "the initial children do not come up: {} in a row died before they were ready, \
                 the last by {}",
                self.boot_failures, exited.cause
            );
            // More may have died at the same time.
            self.not_ready.get_or_insert(why);
        }
        self.events.push(SupervisorEvent::ChildExited(exited));
    }

    /// A child has reported on the scoreboard.
    pub(crate) fn on_status_change(&mut self, entry: &SlotEntry) {
        if self.registry.update_status(entry) == StatusChange::BecameReady {
            self.backoff.child_ready();
            self.ready += 1;
            self.boot_failures = 0;
        }
    }
}
