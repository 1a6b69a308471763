//! What the operator orders, by message; the control socket sends them, sessions may.

use actix::Context;
use actix::Handler;
use daemon_core::{Dismissal, Hold};
use daemon_nursery::{ChildId, Handover};
use slog::info;

use super::actor::{DaemonActor, Home};
use super::asker::Asker;
use crate::messages::{
    Condemn, DaemonHold, DaemonHup, Demand, Held, Kill, Pause, Refusal, Reopen, ReopenError,
    Resume, Retire,
};

impl<R: Handover + Send> DaemonActor<R> {
    /// Has the logs reopened here, in the nursery and in every child, and tells sessions.
    pub(super) fn reopen(&mut self, ctx: &mut Context<Self>) -> Result<(), ReopenError> {
        self.sessions.hup.tell(&DaemonHup);
        let reopened = self.life.reopen_log().map_err(|source| ReopenError { source });
        if let Some(Home { hands, .. }) = &mut self.home {
            let nursery = &mut hands.nursery;
            let told = nursery.hang_up().and_then(|()| nursery.signal_all(daemon_sys::Signal::Hup));
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
        hold: Hold,
        by: Asker,
        ctx: &mut Context<Self>,
    ) -> Result<Held, Refusal> {
        let act = match hold {
            Hold::Yes => "pause",
            Hold::No => "resume",
        };
        let Some(home) = &self.home else { return Err(Refusal::NoChildren { act }) };
        let scoreboard = home.hands.nursery.scoreboard();
        // Before the children are told to look; and back, if it is refused.
        let former = scoreboard.hold();
        scoreboard.set_hold(hold);
        let held = self.with_home(ctx, |household, hands, now| {
            let held = household.hold(hold, hands, now);
            if held.is_err() {
                hands.nursery.scoreboard().set_hold(former);
            }
            held
        });
        let held = held.unwrap_or(Err(Refusal::NoChildren { act }))?;
        if held == Held::Now {
            match hold {
                Hold::Yes => info!(self.log, "paused: no more requests are taken"; "by" => %by),
                Hold::No => info!(self.log, "resumed: requests are taken again"; "by" => %by),
            }
            let told = DaemonHold(hold);
            self.news.hold = Some(told);
            self.sessions.hold.tell(&told);
        }
        Ok(held)
    }
}

impl<R: Handover + Send> Handler<Reopen> for DaemonActor<R> {
    type Result = Result<(), ReopenError>;

    fn handle(&mut self, _reopen: Reopen, ctx: &mut Self::Context) -> Self::Result {
        info!(self.log, "reopening logs"; "by" => %Asker::Message);
        self.reopen(ctx)
    }
}

impl<R: Handover + Send> Handler<Retire> for DaemonActor<R> {
    type Result = Result<ChildId, Refusal>;

    fn handle(&mut self, Retire(pid): Retire, ctx: &mut Self::Context) -> Self::Result {
        let retired =
            self.with_home(ctx, |household, hands, now| household.retire_one(pid, hands, now));
        let child = retired.unwrap_or(Err(Refusal::NoChildren { act: "retire one" }))?;
        info!(self.log, "a child is retired"; "by" => %Asker::Message, "slot" => child.slot.get(), "child" => pid.as_raw());
        Ok(child)
    }
}

impl<R: Handover + Send> Handler<Kill> for DaemonActor<R> {
    type Result = Result<ChildId, Refusal>;

    fn handle(&mut self, Kill(pid): Kill, ctx: &mut Self::Context) -> Self::Result {
        let killed =
            self.with_home(ctx, |household, hands, now| household.kill_one(pid, hands, now));
        let child = killed.unwrap_or(Err(Refusal::NoChildren { act: "kill one" }))?;
        info!(self.log, "a child is killed"; "by" => %Asker::Message, "slot" => child.slot.get(), "child" => pid.as_raw());
        Ok(child)
    }
}

impl<R: Handover + Send> Handler<Condemn> for DaemonActor<R> {
    type Result = Result<ChildId, Refusal>;

    fn handle(&mut self, condemn: Condemn, ctx: &mut Self::Context) -> Self::Result {
        let Condemn { pid, offence } = condemn;
        let killed = self.with_home(ctx, |household, hands, now| {
            household.condemn_one(pid, Dismissal::Rogue(offence), hands, now)
        });
        killed.unwrap_or(Err(Refusal::NoChildren { act: "kill one" }))
    }
}

impl<R: Handover + Send> Handler<Demand> for DaemonActor<R> {
    type Result = ();

    fn handle(&mut self, Demand(waiting): Demand, ctx: &mut Self::Context) {
        self.with_home(ctx, |household, hands, now| household.demand(waiting, hands, now));
    }
}

impl<R: Handover + Send> Handler<Pause> for DaemonActor<R> {
    type Result = Result<Held, Refusal>;

    fn handle(&mut self, _pause: Pause, ctx: &mut Self::Context) -> Self::Result {
        self.hold(Hold::Yes, Asker::Message, ctx)
    }
}

impl<R: Handover + Send> Handler<Resume> for DaemonActor<R> {
    type Result = Result<Held, Refusal>;

    fn handle(&mut self, _resume: Resume, ctx: &mut Self::Context) -> Self::Result {
        self.hold(Hold::No, Asker::Message, ctx)
    }
}
