//! What the operator orders: one child gone, the whole daemon held.

use daemon_core::{AcceptChange, MonotonicTime, OperatorPause, Phase, StopReason};
use daemon_forkserver::ChildId;
use daemon_sys::process::{Pid, Signal};

use super::{Household, Notice, Strategy};
use crate::messages::{PauseOutcome, Refusal};
use crate::parent::hands::Hands;

impl<R: 'static> Household<R> {
    /// Has a child leave after the request in hand.
    pub(crate) fn retire_one(
        &mut self,
        pid: Pid,
        hands: &mut impl Hands<R>,
        now: MonotonicTime,
    ) -> Result<ChildId, Refusal> {
        self.changeable()?;
        let child = self.child(pid)?;
        self.send_away(child, StopReason::Retired, hands);
        self.settle(hands, now);
        Ok(child)
    }

    /// Kills a child, in any phase: one that holds up the end, for one.
    pub(crate) fn kill_one(
        &mut self,
        pid: Pid,
        hands: &mut impl Hands<R>,
        now: MonotonicTime,
    ) -> Result<ChildId, Refusal> {
        self.condemn_one(pid, StopReason::Killed, hands, now)
    }

    /// Kills a child for this reason, which is told of it when it is gone.
    pub(crate) fn condemn_one(
        &mut self,
        pid: Pid,
        why: StopReason,
        hands: &mut impl Hands<R>,
        now: MonotonicTime,
    ) -> Result<ChildId, Refusal> {
        let child = self.child(pid)?;
        self.registry.condemn(child, why);
        hands.signal(child, Signal::Kill);
        self.settle(hands, now);
        Ok(child)
    }

    fn child(&self, pid: Pid) -> Result<ChildId, Refusal> {
        self.registry.of_process(pid).ok_or(Refusal::NoSuchChild { pid })
    }

    /// Holds the door shut, or lets it go. A pool's children read on the scoreboard how it is, where
    /// it must have been written before, and are told to look.
    pub(crate) fn hold(
        &mut self,
        hold: OperatorPause,
        hands: &mut impl Hands<R>,
        now: MonotonicTime,
    ) -> Result<PauseOutcome, Refusal> {
        self.changeable()?;
        if self.hold == hold {
            return Ok(PauseOutcome::Already);
        }
        self.hold = hold;
        match &mut self.strategy {
            Strategy::PostFork(reception) => reception.hold = hold,
            Strategy::PreFork { .. } => {
                hands.signal_all(Signal::Cont);
                let swing = match hold {
                    OperatorPause::On => AcceptChange::Pause,
                    OperatorPause::Off => AcceptChange::Resume,
                };
                self.counters.pauses += u64::from(swing == AcceptChange::Pause);
                self.notices.push(Notice::AcceptChange(swing));
            }
        }
        self.settle(hands, now);
        Ok(PauseOutcome::Now)
    }

    /// Whether the operator holds the daemon. One that stops takes what waits, and is held no more.
    pub(crate) fn held(&self) -> OperatorPause {
        match self.phase {
            Phase::Starting | Phase::Running => self.hold,
            Phase::Stopping | Phase::Stopped => OperatorPause::Off,
        }
    }
}
