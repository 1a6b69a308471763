//! What the operator orders: one child gone, the whole daemon held.

use daemon_core::{AcceptChange, MonotonicTime, OperatorPause, Phase, StopReason};
use daemon_forkserver::ChildId;
use daemon_sys::process::{Pid, Signal};

use super::{Strategy, Supervisor, SupervisorEvent};
use crate::messages::{CommandError, PauseOutcome};
use crate::parent::process_control::ProcessControl;

impl<R: 'static> Supervisor<R> {
    /// Has a child leave after the request in hand.
    pub(crate) fn retire_child(
        &mut self,
        pid: Pid,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) -> Result<ChildId, CommandError> {
        self.changeable()?;
        let child = self.child(pid)?;
        self.stop_child(child, StopReason::Retired, processes);
        self.reconcile(processes, now);
        Ok(child)
    }

    /// Kills a child, in any phase: one that holds up the end, for one.
    pub(crate) fn kill_child(
        &mut self,
        pid: Pid,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) -> Result<ChildId, CommandError> {
        self.kill_child_because(pid, StopReason::Killed, processes, now)
    }

    /// Kills a child for this reason, which is told of it when it is gone.
    pub(crate) fn kill_child_because(
        &mut self,
        pid: Pid,
        why: StopReason,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) -> Result<ChildId, CommandError> {
        let child = self.child(pid)?;
        self.registry.mark_killed(child, why);
        processes.signal(child, Signal::Kill);
        self.reconcile(processes, now);
        Ok(child)
    }

    fn child(&self, pid: Pid) -> Result<ChildId, CommandError> {
        self.registry.find_by_pid(pid).ok_or(CommandError::NoSuchChild { pid })
    }

    /// Holds the door shut, or lets it go. A pool's children read on the scoreboard how it is, where
    /// it must have been written before, and are told to look.
    pub(crate) fn set_operator_pause(
        &mut self,
        pause: OperatorPause,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) -> Result<PauseOutcome, CommandError> {
        self.changeable()?;
        if self.operator_pause == pause {
            return Ok(PauseOutcome::Already);
        }
        self.operator_pause = pause;
        match &mut self.strategy {
            Strategy::PostFork(backlog) => backlog.operator_pause = pause,
            Strategy::PreFork { .. } => {
                processes.signal_all(Signal::Cont);
                let change = match pause {
                    OperatorPause::On => AcceptChange::Pause,
                    OperatorPause::Off => AcceptChange::Resume,
                };
                self.counters.operator_pauses += u64::from(change == AcceptChange::Pause);
                self.events.push(SupervisorEvent::AcceptChange(change));
            }
        }
        self.reconcile(processes, now);
        Ok(PauseOutcome::Now)
    }

    /// Whether the operator holds the daemon. One that stops takes what waits, and is held no more.
    pub(crate) fn operator_pause(&self) -> OperatorPause {
        match self.phase {
            Phase::Starting | Phase::Running => self.operator_pause,
            Phase::Stopping | Phase::Stopped => OperatorPause::Off,
        }
    }
}
