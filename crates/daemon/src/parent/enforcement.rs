//! Carries out the babysitter's actions, and passes `TraceChild` messages on to the babysitter.

use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler, ResponseFuture};
use daemon_forkserver::{ChildId, Transfer};
use daemon_sys::Signal;
use slog::{Logger, debug, error, info, o, warn};

use super::actor::DaemonActor;
use super::process_control::ProcessControl;
use crate::babysitter::{BabysitterAction, BabysitterActor};
use crate::messages::{RogueChild, RogueStep, TraceChild, TraceError};
use daemon_protocol::Evidence;

impl<R: Transfer + Send> DaemonActor<R> {
    /// Starts the babysitter, if the daemon has children.
    pub(super) fn start_babysitter(&mut self, ctx: &Context<Self>) {
        let (Some(supervision), Some(config)) = (&self.supervision, self.babysitter_config.take())
        else {
            return;
        };
        let babysitter = BabysitterActor::new(
            config,
            ctx.address().recipient(),
            supervision.processes.fork_server.board(),
            self.log.clone(),
        );
        self.babysitter = Some(babysitter.start());
    }

    fn has_child(&self, child: ChildId) -> bool {
        self.supervision
            .as_ref()
            .is_some_and(|supervision| supervision.supervisor.registry().contains(child))
    }

    fn report_rogue(&mut self, rogue: &RogueChild) {
        let facts = o!("slot" => rogue.child.slot.get(), "child" => rogue.pid.as_raw());
        Self::log_rogue(rogue, &self.log.new(facts));
        self.sessions.rogue.broadcast(rogue);
    }

    fn log_rogue(rogue: &RogueChild, log: &Logger) {
        let reason = rogue.violation.map_or_else(String::new, |violation| violation.to_string());
        match rogue.step {
            RogueStep::Escalated(daemon_core::LadderStep::GiveUp) => {
                error!(log, "giving up on rogue child"; "reason" => reason);
            }
            RogueStep::Escalated(step) => {
                let step = step.word().to_uppercase();
                warn!(log, "rogue child"; "reason" => reason, "step" => step);
            }
            RogueStep::Recovered => info!(log, "rogue child recovered"; "reason" => reason),
            RogueStep::Slow => warn!(log, "slow request"),
        }
    }
}

impl<R: Transfer + Send> Handler<BabysitterAction> for DaemonActor<R> {
    type Result = ();

    fn handle(&mut self, action: BabysitterAction, ctx: &mut Self::Context) {
        match action {
            BabysitterAction::Step { child, .. } if !self.has_child(child) => {
                debug!(self.log, "rogue child already exited"; "slot" => child.slot.get());
            }
            BabysitterAction::Step { child, pid, violation, step, evidence } => {
                // Report the step before the events that it causes.
                let rogue = RogueStep::Escalated(step);
                let mut rogue = RogueChild::new(child, pid, Some(violation), rogue);
                rogue.evidence = evidence;
                self.report_rogue(&rogue);
                self.with_supervisor(ctx, |supervisor, processes, now| {
                    supervisor.enforce(child, violation, step, processes, now);
                });
            }
            BabysitterAction::Recovered { child, pid, violation } => {
                let (violation, step) = (Some(violation), RogueStep::Recovered);
                self.report_rogue(&RogueChild::new(child, pid, violation, step));
            }
            BabysitterAction::Slow { child, pid, evidence } => {
                let mut rogue = RogueChild::new(child, pid, None, RogueStep::Slow);
                rogue.evidence = Some(evidence);
                self.report_rogue(&rogue);
            }
            BabysitterAction::Recycle { child, reason } => {
                self.with_supervisor(ctx, |supervisor, processes, now| {
                    supervisor.recycle(child, reason, processes, now);
                });
            }
            BabysitterAction::Missing { child, pid } => {
                let facts = o!("slot" => child.slot.get(), "child" => pid.as_raw());
                warn!(self.log, "child missing from the process table, checking whether it exited"; facts);
                self.with_supervisor(ctx, |_supervisor, processes, _now| {
                    processes.check_child(child);
                });
            }
            BabysitterAction::Sampled => {
                if let Some(supervision) = &mut self.supervision {
                    supervision.processes.oom_kills.expire();
                }
                self.sweep_scoreboard(ctx);
            }
            BabysitterAction::RequestBacktrace { child } => {
                self.with_supervisor(ctx, |_supervisor, processes, _now| {
                    processes.signal(child, Signal::Urg);
                });
            }
            BabysitterAction::LookUpSymbols { backtraces, answer } => {
                let lookup = self.supervision.as_mut().and_then(|supervision| {
                    supervision.processes.fork_server.look_up_symbols(backtraces).ok()
                });
                if let Some(lookup) = lookup {
                    // This fails if the babysitter no longer waits.
                    let _ = answer.send(lookup);
                }
            }
        }
    }
}

impl<R: Transfer + Send> Handler<TraceChild> for DaemonActor<R> {
    type Result = ResponseFuture<Result<Arc<Evidence>, TraceError>>;

    fn handle(&mut self, trace: TraceChild, _ctx: &mut Self::Context) -> Self::Result {
        let answer = self.babysitter.as_ref().map(|babysitter| babysitter.send(trace));
        Box::pin(async move {
            let no_babysitter = || Err(TraceError::NoBabysitter(trace.0));
            match answer {
                None => no_babysitter(),
                Some(answer) => answer.await.unwrap_or_else(|_mailbox| no_babysitter()),
            }
        })
    }
}
