//! Handles the reports of the fork server and of children: forks, exits and statuses.

use daemon_core::{
    BackoffRules, Death, Exit, ExitCause, FailureReason, FaultCount, MonotonicTime, Phase,
    SlotEntry, SlotFault,
};
use daemon_forkserver::{ChildId, ForkRefusal, ForkServerEvent};
use daemon_sys::process::Pid;

use super::{Strategy, Supervisor, SupervisorEvent};
use crate::parent::process_control::{OomKills, ProcessControl};
use crate::parent::registry::{Age, StatusChange};

/// The number of SIGKILL, which is the same on every system.
const KILL: i32 = 9;
/// The start fails when this many consecutive children have died before they were ready and no
/// child was ever ready.
const BOOT_FAILURES_MAX: u32 = 5;

impl<R: 'static> Supervisor<R> {
    /// Handles a report of the fork server.
    pub(crate) fn on_fork_server_event(
        &mut self,
        event: ForkServerEvent<R>,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        match event {
            ForkServerEvent::Forked { child, pid } => {
                self.counters.forks += 1;
                self.backoff.fork_succeeded();
                self.registry.set_pid(child, pid);
                if let Strategy::PostFork(backlog) = &mut self.strategy {
                    // A post-forked child has its request from the fork on, so it is serving.
                    self.registry.mark_serving(child);
                    backlog.forked(child, pid);
                }
                self.events.push(SupervisorEvent::ChildForked(child, pid));
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
                self.on_child_exit(child, pid, exit, &last, processes, now);
            }
            ForkServerEvent::ReopenLogsFailed { error } => {
                self.events.push(SupervisorEvent::ReopenLogsFailed(error));
            }
        }
    }

    fn on_child_exit(
        &mut self,
        child: ChildId,
        pid: Pid,
        exit: daemon_core::Exit,
        last: &SlotEntry,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) {
        let Some((mut exited, age)) = self.registry.remove_exited(child, pid, exit, last, now)
        else {
            return;
        };
        // The OOM killer sends SIGKILL too. Only the counter of OOM kills shows the difference.
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
            let reason = format!(
                "the initial children failed to start: {} failures in a row, the last one: {}",
                self.boot_failures, exited.cause
            );
            // Keep the first reason, because more children may die at the same time.
            self.start_failure.get_or_insert(reason);
        }
        self.events.push(SupervisorEvent::ChildExited(exited));
    }

    /// Handles damage of the scoreboard that the parent has found and repaired.
    pub(crate) fn on_scoreboard_faults(&mut self, faults: &FaultCount, now: MonotonicTime) {
        if faults.is_zero() {
            return;
        }
        let repairs = faults.lines.saturating_add(faults.header_words);
        let total = &mut self.counters.scoreboard_repairs;
        *total = total.saturating_add(repairs);
        if self.scoreboard_fault_log.should_log(now) {
            self.events.push(SupervisorEvent::ScoreboardRepaired(*faults));
        }
    }

    /// Handles a changed slot of the scoreboard.
    pub(crate) fn on_status_change(&mut self, entry: &SlotEntry) {
        let child = ChildId { slot: entry.slot, generation: entry.generation };
        if entry.fault.is_some_and(SlotFault::is_damage) && self.registry.contains(child) {
            self.unconfirmed.add_damaged(child);
        }
        match self.registry.update_status(entry) {
            StatusChange::BecameReady => {
                self.backoff.child_ready();
                self.ready += 1;
                self.boot_failures = 0;
            }
            StatusChange::StartedLeaving => self.unconfirmed.add_leaving(child, entry.since),
            StatusChange::Other => {}
        }
    }
}
