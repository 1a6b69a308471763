//! Handles commands of the operator, which the control socket or a session sends, and the messages
//! `KillRogue` and `SetQueueDepth`, which the dispatcher sends.

use actix::Context;
use actix::Handler;
use daemon_core::{OperatorPause, StopReason};
use daemon_forkserver::{ChildId, Transfer};
use slog::info;

use super::actor::{DaemonActor, Supervision};
use super::origin::Origin;
use crate::dispatching::{KillRogue, SetQueueDepth};
use crate::messages::{
    CommandError, DaemonHup, DaemonOperatorPause, Kill, Pause, PauseOutcome, Reopen, ReopenError,
    Resume, Retire,
};

impl<R: Transfer + Send> DaemonActor<R> {
    /// Reopens the log in the parent, in the fork server and in every child, and notifies the
    /// sessions.
    pub(super) fn reopen(&mut self, ctx: &mut Context<Self>) -> Result<(), ReopenError> {
        self.sessions.hup.broadcast(&DaemonHup);
        let reopened = self.context.reopen_log().map_err(|source| ReopenError { source });
        if let Some(Supervision { processes, .. }) = &mut self.supervision {
            let fork_server = &mut processes.fork_server;
            let sent = fork_server
                .reopen_logs()
                .and_then(|()| fork_server.signal_all(daemon_sys::Signal::Hup));
            if let Err(error) = sent {
                processes.lost.get_or_insert(error);
            }
        }
        self.process_events(ctx);
        reopened
    }

    /// Pauses or resumes the daemon. Notifies the sessions if the pause has changed.
    pub(super) fn set_operator_pause(
        &mut self,
        pause: OperatorPause,
        by: Origin,
        ctx: &mut Context<Self>,
    ) -> Result<PauseOutcome, CommandError> {
        let action = match pause {
            OperatorPause::On => "pause",
            OperatorPause::Off => "resume",
        };
        let Some(supervision) = &self.supervision else {
            return Err(CommandError::NoChildren { action });
        };
        let scoreboard = supervision.processes.fork_server.scoreboard();
        // Write the pause to the scoreboard first, because the children read it there when they are
        // signalled. If the supervisor refuses the command, the former value is restored.
        let former = scoreboard.operator_pause();
        scoreboard.set_operator_pause(pause);
        let outcome = self.with_supervisor(ctx, |supervisor, processes, now| {
            let outcome = supervisor.set_operator_pause(pause, processes, now);
            if outcome.is_err() {
                processes.fork_server.scoreboard().set_operator_pause(former);
            }
            outcome
        });
        let outcome = outcome.unwrap_or(Err(CommandError::NoChildren { action }))?;
        if outcome == PauseOutcome::Now {
            match pause {
                OperatorPause::On => info!(self.log, "paused by operator"; "by" => %by),
                OperatorPause::Off => info!(self.log, "resumed by operator"; "by" => %by),
            }
            let broadcast = DaemonOperatorPause(pause);
            self.retained.operator_pause = Some(broadcast);
            self.sessions.operator_pause.broadcast(&broadcast);
        }
        Ok(outcome)
    }
}

impl<R: Transfer + Send> Handler<Reopen> for DaemonActor<R> {
    type Result = Result<(), ReopenError>;

    fn handle(&mut self, _reopen: Reopen, ctx: &mut Self::Context) -> Self::Result {
        info!(self.log, "reopening logs"; "by" => %Origin::Message);
        self.reopen(ctx)
    }
}

impl<R: Transfer + Send> Handler<Retire> for DaemonActor<R> {
    type Result = Result<ChildId, CommandError>;

    fn handle(&mut self, Retire(pid): Retire, ctx: &mut Self::Context) -> Self::Result {
        let retired = self.with_supervisor(ctx, |supervisor, processes, now| {
            supervisor.retire_child(pid, processes, now)
        });
        let child =
            retired.unwrap_or(Err(CommandError::NoChildren { action: "retire a child" }))?;
        info!(
            self.log, "retiring child";
            "by" => %Origin::Message, "slot" => child.slot.get(), "child" => pid.as_raw()
        );
        Ok(child)
    }
}

impl<R: Transfer + Send> Handler<Kill> for DaemonActor<R> {
    type Result = Result<ChildId, CommandError>;

    fn handle(&mut self, Kill(pid): Kill, ctx: &mut Self::Context) -> Self::Result {
        let killed = self.with_supervisor(ctx, |supervisor, processes, now| {
            supervisor.kill_child(pid, processes, now)
        });
        let child = killed.unwrap_or(Err(CommandError::NoChildren { action: "kill a child" }))?;
        info!(
            self.log, "killing child";
            "by" => %Origin::Message, "slot" => child.slot.get(), "child" => pid.as_raw()
        );
        Ok(child)
    }
}

impl<R: Transfer + Send> Handler<KillRogue> for DaemonActor<R> {
    type Result = Result<ChildId, CommandError>;

    fn handle(&mut self, message: KillRogue, ctx: &mut Self::Context) -> Self::Result {
        let KillRogue { pid, violation } = message;
        let killed = self.with_supervisor(ctx, |supervisor, processes, now| {
            supervisor.kill_child_because(pid, StopReason::Rogue(violation), processes, now)
        });
        killed.unwrap_or(Err(CommandError::NoChildren { action: "kill a child" }))
    }
}

impl<R: Transfer + Send> Handler<SetQueueDepth> for DaemonActor<R> {
    type Result = ();

    fn handle(&mut self, SetQueueDepth(waiting): SetQueueDepth, ctx: &mut Self::Context) {
        self.with_supervisor(ctx, |supervisor, processes, now| {
            supervisor.set_queue_depth(waiting, processes, now);
        });
    }
}

impl<R: Transfer + Send> Handler<Pause> for DaemonActor<R> {
    type Result = Result<PauseOutcome, CommandError>;

    fn handle(&mut self, _pause: Pause, ctx: &mut Self::Context) -> Self::Result {
        self.set_operator_pause(OperatorPause::On, Origin::Message, ctx)
    }
}

impl<R: Transfer + Send> Handler<Resume> for DaemonActor<R> {
    type Result = Result<PauseOutcome, CommandError>;

    fn handle(&mut self, _resume: Resume, ctx: &mut Self::Context) -> Self::Result {
        self.set_operator_pause(OperatorPause::Off, Origin::Message, ctx)
    }
}
