//! Handles the commands of the operator: retire or kill a child, pause and resume.

use daemon_core::{AcceptChange, MonotonicTime, OperatorPause, Phase, StopReason};
use daemon_forkserver::ChildId;
use daemon_sys::process::{Pid, Signal};

use super::{Strategy, Supervisor, SupervisorEvent};
use crate::messages::{CommandError, PauseOutcome};
use crate::parent::process_control::ProcessControl;

impl<R: 'static> Supervisor<R> {
    /// Asks a child to exit after its current request.
    pub(crate) fn retire_child(
        &mut self,
        pid: Pid,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) -> Result<ChildId, CommandError> {
        self.check_changeable()?;
        let child = self.child(pid)?;
        self.stop_child(child, StopReason::Retired, processes);
        self.reconcile(processes, now);
        Ok(child)
    }

    /// Kills a child. This is allowed in any phase, so an operator can kill a child that delays the
    /// daemon's stop.
    pub(crate) fn kill_child(
        &mut self,
        pid: Pid,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) -> Result<ChildId, CommandError> {
        self.kill_child_because(pid, StopReason::Killed, processes, now)
    }

    /// Kills a child. The reason is reported when the child exits.
    pub(crate) fn kill_child_because(
        &mut self,
        pid: Pid,
        reason: StopReason,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) -> Result<ChildId, CommandError> {
        let child = self.child(pid)?;
        self.registry.mark_killed(child, reason);
        processes.signal(child, Signal::Kill);
        self.reconcile(processes, now);
        Ok(child)
    }

    fn child(&self, pid: Pid) -> Result<ChildId, CommandError> {
        self.registry.find_by_pid(pid).ok_or(CommandError::NoSuchChild { pid })
    }

    /// Pauses or resumes the daemon. The children of a pool read the pause from the scoreboard when
    /// they get CONT, so the caller must write the pause to the scoreboard before this call.
    pub(crate) fn set_operator_pause(
        &mut self,
        pause: OperatorPause,
        processes: &mut impl ProcessControl<R>,
        now: MonotonicTime,
    ) -> Result<PauseOutcome, CommandError> {
        self.check_changeable()?;
        if self.operator_pause == pause {
            return Ok(PauseOutcome::Already);
        }
        self.operator_pause = pause;
        self.counters.operator_pauses += u64::from(pause == OperatorPause::On);
        match &mut self.strategy {
            Strategy::PostFork(backlog) => backlog.operator_pause = pause,
            Strategy::PreFork { .. } => {
                processes.signal_all(Signal::Cont);
                let change = match pause {
                    OperatorPause::On => AcceptChange::Pause,
                    OperatorPause::Off => AcceptChange::Resume,
                };
                self.events.push(SupervisorEvent::AcceptChange(change));
            }
        }
        self.reconcile(processes, now);
        Ok(PauseOutcome::Now)
    }

    /// Returns whether the operator has paused the daemon. A stopping daemon is no longer paused,
    /// because it serves the requests that wait.
    pub(crate) fn operator_pause(&self) -> OperatorPause {
        match self.phase {
            Phase::Starting | Phase::Running => self.operator_pause,
            Phase::Stopping | Phase::Stopped => OperatorPause::Off,
        }
    }
}
