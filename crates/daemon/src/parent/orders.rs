//! What the operator orders, by message; the control socket sends them, sessions may.

use actix::Context;
use actix::Handler;
use daemon_core::{OperatorPause, StopReason};
use daemon_forkserver::{ChildId, Transfer};
use slog::info;

use super::actor::{DaemonActor, Home};
use super::asker::Asker;
use crate::messages::{
    DaemonHup, DaemonOperatorPause, Kill, KillRogue, Pause, PauseOutcome, Refusal, Reopen,
    ReopenError, Resume, Retire, SetQueueDepth,
};

impl<R: Transfer + Send> DaemonActor<R> {
    /// Has the logs reopened here, in the fork server and in every child, and tells sessions.
    pub(super) fn reopen(&mut self, ctx: &mut Context<Self>) -> Result<(), ReopenError> {
        self.sessions.hup.tell(&DaemonHup);
        let reopened = self.life.reopen_log().map_err(|source| ReopenError { source });
        if let Some(Home { hands, .. }) = &mut self.home {
            let fork_server = &mut hands.fork_server;
            let told = fork_server
                .reopen_logs()
                .and_then(|()| fork_server.signal_all(daemon_sys::Signal::Hup));
            if let Err(error) = told {
                hands.lost.get_or_insert(error);
            }
        }
        self.after(ctx);
        reopened
    }

    /// Holds the door shut, or lets it go, and tells sessions if that is news.
    pub(super) fn hold(
        &mut self,
        hold: OperatorPause,
        by: Asker,
        ctx: &mut Context<Self>,
    ) -> Result<PauseOutcome, Refusal> {
        let act = match hold {
            OperatorPause::On => "pause",
            OperatorPause::Off => "resume",
        };
        let Some(home) = &self.home else { return Err(Refusal::NoChildren { act }) };
        let scoreboard = home.hands.fork_server.scoreboard();
        // Before the children are told to look; and back, if it is refused.
        let former = scoreboard.hold();
        scoreboard.set_operator_pause(hold);
        let held = self.with_home(ctx, |household, hands, now| {
            let held = household.hold(hold, hands, now);
            if held.is_err() {
                hands.fork_server.scoreboard().set_operator_pause(former);
            }
            held
        });
        let held = held.unwrap_or(Err(Refusal::NoChildren { act }))?;
        if held == PauseOutcome::Now {
            match hold {
                OperatorPause::On => {
                    info!(self.log, "paused: no more requests are taken"; "by" => %by)
                }
                OperatorPause::Off => {
                    info!(self.log, "resumed: requests are taken again"; "by" => %by)
                }
            }
            let told = DaemonOperatorPause(hold);
            self.news.hold = Some(told);
            self.sessions.hold.tell(&told);
        }
        Ok(held)
    }
}

impl<R: Transfer + Send> Handler<Reopen> for DaemonActor<R> {
    type Result = Result<(), ReopenError>;

    fn handle(&mut self, _reopen: Reopen, ctx: &mut Self::Context) -> Self::Result {
        info!(self.log, "reopening logs"; "by" => %Asker::Message);
        self.reopen(ctx)
    }
}

impl<R: Transfer + Send> Handler<Retire> for DaemonActor<R> {
    type Result = Result<ChildId, Refusal>;

    fn handle(&mut self, Retire(pid): Retire, ctx: &mut Self::Context) -> Self::Result {
        let retired =
            self.with_home(ctx, |household, hands, now| household.retire_one(pid, hands, now));
        let child = retired.unwrap_or(Err(Refusal::NoChildren { act: "retire one" }))?;
        info!(self.log, "a child is retired"; "by" => %Asker::Message, "slot" => child.slot.get(), "child" => pid.as_raw());
        Ok(child)
    }
}

impl<R: Transfer + Send> Handler<Kill> for DaemonActor<R> {
    type Result = Result<ChildId, Refusal>;

    fn handle(&mut self, Kill(pid): Kill, ctx: &mut Self::Context) -> Self::Result {
        let killed =
            self.with_home(ctx, |household, hands, now| household.kill_one(pid, hands, now));
        let child = killed.unwrap_or(Err(Refusal::NoChildren { act: "kill one" }))?;
        info!(self.log, "a child is killed"; "by" => %Asker::Message, "slot" => child.slot.get(), "child" => pid.as_raw());
        Ok(child)
    }
}

impl<R: Transfer + Send> Handler<KillRogue> for DaemonActor<R> {
    type Result = Result<ChildId, Refusal>;

    fn handle(&mut self, condemn: KillRogue, ctx: &mut Self::Context) -> Self::Result {
        let KillRogue { pid, offence } = condemn;
        let killed = self.with_home(ctx, |household, hands, now| {
            household.condemn_one(pid, StopReason::Rogue(offence), hands, now)
        });
        killed.unwrap_or(Err(Refusal::NoChildren { act: "kill one" }))
    }
}

impl<R: Transfer + Send> Handler<SetQueueDepth> for DaemonActor<R> {
    type Result = ();

    fn handle(&mut self, SetQueueDepth(waiting): SetQueueDepth, ctx: &mut Self::Context) {
        self.with_home(ctx, |household, hands, now| household.demand(waiting, hands, now));
    }
}

impl<R: Transfer + Send> Handler<Pause> for DaemonActor<R> {
    type Result = Result<PauseOutcome, Refusal>;

    fn handle(&mut self, _pause: Pause, ctx: &mut Self::Context) -> Self::Result {
        self.hold(OperatorPause::On, Asker::Message, ctx)
    }
}

impl<R: Transfer + Send> Handler<Resume> for DaemonActor<R> {
    type Result = Result<PauseOutcome, Refusal>;

    fn handle(&mut self, _resume: Resume, ctx: &mut Self::Context) -> Self::Result {
        self.hold(OperatorPause::Off, Asker::Message, ctx)
    }
}
