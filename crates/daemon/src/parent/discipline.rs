//! What the babysitter wants done, and what it is told of.

use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler, ResponseFuture};
use daemon_forkserver::{ChildId, Transfer};
use daemon_sys::Signal;
use slog::{Logger, debug, error, info, o, warn};

use super::actor::DaemonActor;
use super::hands::Hands;
use crate::babysitter::{BabysitterActor, Verdict};
use crate::evidence::Evidence;
use crate::messages::{RogueChild, RogueStep, TraceChild, TraceError};

impl<R: Transfer + Send> DaemonActor<R> {
    /// Has somebody watch over the children, where there are some.
    pub(super) fn start_the_babysitter(&mut self, ctx: &Context<Self>) {
        let (Some(home), Some(babysitting)) = (&self.home, self.babysitting.take()) else { return };
        let babysitter = BabysitterActor::new(
            babysitting,
            ctx.address().recipient(),
            home.hands.fork_server.board(),
            self.log.clone(),
        );
        self.babysitter = Some(babysitter.start());
    }

    fn knows(&self, child: ChildId) -> bool {
        self.home.as_ref().is_some_and(|home| home.household.registry().knows(child))
    }

    fn tell_of_a_rogue(&mut self, rogue: &RogueChild) {
        let facts = o!("slot" => rogue.child.slot.get(), "child" => rogue.pid.as_raw());
        self.log_a_rogue(rogue, &self.log.new(facts));
        self.sessions.rogue.tell(rogue);
    }

    fn log_a_rogue(&self, rogue: &RogueChild, log: &Logger) {
        let offence = rogue.offence.map_or_else(String::new, |offence| offence.to_string());
        match rogue.step {
            RogueStep::Escalated(daemon_core::LadderStep::GiveUp) => {
                error!(log, "rogue child is given up: {}", offence);
            }
            RogueStep::Escalated(measure) => {
                let step = measure.word().to_uppercase();
                warn!(log, "rogue child: {}", offence; "step" => step);
            }
            RogueStep::Recovered => info!(log, "no rogue any more: {}", offence),
            RogueStep::Slow => warn!(log, "slow request"),
        }
    }
}

impl<R: Transfer + Send> Handler<Verdict> for DaemonActor<R> {
    type Result = ();

    fn handle(&mut self, verdict: Verdict, ctx: &mut Self::Context) {
        match verdict {
            Verdict::Step { child, .. } if !self.knows(child) => {
                debug!(self.log, "a rogue is gone before its step"; "slot" => child.slot.get());
            }
            Verdict::Step { child, pid, offence, measure, evidence } => {
                // Told first: the step's consequences are told after it.
                self.tell_of_a_rogue(&RogueChild {
                    child,
                    pid,
                    offence: Some(offence),
                    step: RogueStep::Escalated(measure),
                    evidence,
                });
                self.with_home(ctx, |household, hands, now| {
                    household.discipline(child, offence, measure, hands, now);
                });
            }
            Verdict::Recovered { child, pid, offence } => {
                let (offence, step) = (Some(offence), RogueStep::Recovered);
                self.tell_of_a_rogue(&RogueChild { child, pid, offence, step, evidence: None });
            }
            Verdict::Slow { child, pid, evidence } => {
                let (step, evidence) = (RogueStep::Slow, Some(evidence));
                self.tell_of_a_rogue(&RogueChild { child, pid, offence: None, step, evidence });
            }
            Verdict::Recycle { child, spent } => {
                self.with_home(ctx, |household, hands, now| {
                    household.recycle(child, spent, hands, now);
                });
            }
            Verdict::Missing { child, pid } => {
                let facts = o!("slot" => child.slot.get(), "child" => pid.as_raw());
                warn!(self.log, "a child is not to be seen: the fork server looks for it"; facts);
                self.with_home(ctx, |_household, hands, _now| hands.check_child(child));
            }
            Verdict::Sampled => {
                if let Some(home) = &mut self.home {
                    home.hands.kills.expire();
                }
            }
            Verdict::Ask { child } => {
                self.with_home(ctx, |_household, hands, _now| hands.signal(child, Signal::Urg));
            }
        }
    }
}

impl<R: Transfer + Send> Handler<TraceChild> for DaemonActor<R> {
    type Result = ResponseFuture<Result<Arc<Evidence>, TraceError>>;

    fn handle(&mut self, trace: TraceChild, _ctx: &mut Self::Context) -> Self::Result {
        let answer = self.babysitter.as_ref().map(|babysitter| babysitter.send(trace));
        Box::pin(async move {
            let nobody = || Err(TraceError::NoBabysitter(trace.0));
            match answer {
                None => nobody(),
                Some(answer) => answer.await.unwrap_or_else(|_mailbox| nobody()),
            }
        })
    }
}
