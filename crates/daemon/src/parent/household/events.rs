//! What the fork server and the children report: births, deaths, statuses.

use daemon_core::{BackoffRules, Death, Entry, Exit, ExitCause, MonotonicTime, Phase};
use daemon_forkserver::{ChildId, ForkServerEvent};
use daemon_sys::process::Pid;

use super::{Household, Notice, Strategy};
use crate::parent::hands::{Hands, Memory};
use crate::parent::registry::{Age, Sight};

/// SIGKILL, the same number everywhere.
const KILL: i32 = 9;
/// So many children in a row that die before they are ready, while none was ever ready, and the
/// daemon gives up starting.
const BOOT_DEATHS_MAX: u32 = 5;

impl<R: 'static> Household<R> {
    /// The fork server has reported.
    pub(crate) fn report(
        &mut self,
        event: ForkServerEvent<R>,
        hands: &mut impl Hands<R>,
        now: MonotonicTime,
    ) {
        match event {
            ForkServerEvent::Born { child, pid } => {
                self.counters.forks += 1;
                self.backoff.forked();
                self.registry.born(child, pid);
                if let Strategy::PostFork(reception) = &mut self.strategy {
                    // It has its request from birth; that is all there is to know of it.
                    self.registry.serves(child);
                    reception.born(child, pid);
                }
                self.notices.push(Notice::Born(child, pid));
            }
            ForkServerEvent::ForkFailed { child, request, refusal } => {
                self.counters.failed_forks += 1;
                self.registry.unmade(child);
                self.backoff.fork_failed(now);
                self.notices.push(Notice::ForkFailed(refusal.to_string()));
                if let Strategy::PostFork(reception) = &mut self.strategy {
                    reception.fork_failed(child, request, &refusal);
                }
            }
            ForkServerEvent::Exited { child, pid, exit, last } => {
                self.gone(child, pid, exit, &last, hands, now);
            }
            ForkServerEvent::ReopenLogsFailed { error } => {
                self.notices.push(Notice::ReopenLogsFailed(error))
            }
        }
    }

    fn gone(
        &mut self,
        child: ChildId,
        pid: Pid,
        exit: daemon_core::Exit,
        last: &Entry,
        hands: &mut impl Hands<R>,
        now: MonotonicTime,
    ) {
        let Some((mut exited, age)) = self.registry.gone(child, pid, exit, last, now) else {
            return;
        };
        // The kernel kills by the same signal as anybody.
        if let ExitCause::Killed { signal: KILL, .. }
        | ExitCause::FailedToBoot(Exit::Signal { number: KILL, .. }) = exited.cause
            && hands.memory() == Memory::HasRunOut
        {
            exited.cause = ExitCause::OutOfMemory;
        }
        let death = match age {
            Age::BeforeReady => {
                self.boot_deaths += 1;
                Death::BeforeReady
            }
            Age::Unused(lived) if lived < BackoffRules::default().young => Death::Early,
            Age::Unused(_) => Death::Late,
            Age::Served => {
                self.backoff.thrived();
                Death::Late
            }
        };
        self.backoff.died(death, now);
        self.counters.exited(&exited.cause, exited.requests);
        if self.phase == Phase::Starting && self.boot_deaths >= BOOT_DEATHS_MAX && self.ready == 0 {
            let why = format!(
                "the initial children do not come up: {} in a row died before they were ready, \
                 the last by {}",
                self.boot_deaths, exited.cause
            );
            // More may have died at the same time.
            self.not_ready.get_or_insert(why);
        }
        self.notices.push(Notice::Exited(exited));
    }

    /// A child has reported on the scoreboard.
    pub(crate) fn changed(&mut self, entry: &Entry) {
        if self.registry.saw(entry) == Sight::BecameReady {
            self.backoff.thrived();
            self.ready += 1;
            self.boot_deaths = 0;
        }
    }
}
