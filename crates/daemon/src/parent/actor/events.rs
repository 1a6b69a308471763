//! Turns the supervisor's events into broadcasts and log records.

use actix::Context;
use daemon_core::{AcceptChange, ExitCause, FaultCount, RecycleReason, format};
use daemon_forkserver::Transfer;
use slog::{debug, error, info, o, warn};

use super::DaemonActor;
use crate::error::DaemonError;
use crate::messages::{
    ChildExited, ChildForked, DaemonAccept, DaemonParent, DaemonPause, DaemonPhase, DaemonReload,
};
use crate::parent::supervisor::SupervisorEvent;
use daemon_protocol::ModelKind;

impl<R: Transfer + Send> DaemonActor<R> {
    /// Broadcasts the phase if it has changed.
    pub(in crate::parent) fn broadcast_phase(&mut self, ctx: &mut Context<Self>) {
        let phase = DaemonPhase(self.phase());
        if self.retained.phase != Some(phase) {
            self.retained.phase = Some(phase);
            self.send_service_status_now(ctx);
            self.sessions.phase.broadcast(&phase);
        }
    }

    /// Handles an event of the supervisor: broadcasts it, logs it, or acts on it.
    pub(super) fn emit(&mut self, event: SupervisorEvent, ctx: &mut Context<Self>) {
        match event {
            SupervisorEvent::Ready => self.on_ready(),
            SupervisorEvent::AcceptChange(AcceptChange::Pause) => {
                debug!(self.log, "accepting paused");
                self.retained.pause = Some(DaemonPause);
                self.sessions.pause.broadcast(&DaemonPause);
            }
            SupervisorEvent::AcceptChange(AcceptChange::Resume) => {
                debug!(self.log, "accepting resumed");
                self.retained.pause = None;
                self.sessions.accept.broadcast(&DaemonAccept);
            }
            SupervisorEvent::ChildForked(child, pid) => {
                debug!(self.log, "child forked"; "slot" => child.slot.get(), "child" => pid.as_raw());
                self.sessions.forked.broadcast(&ChildForked::new(child, pid));
            }
            SupervisorEvent::ChildExited(exited) => {
                if let Some(supervision) = &self.supervision {
                    supervision
                        .processes
                        .fork_server
                        .scoreboard()
                        .record_exit(exited.child.slot, exited.cause);
                }
                self.log_exit(&exited);
                self.sessions.exited.broadcast(&exited);
            }
            SupervisorEvent::ForkFailed(error) => {
                warn!(self.log, "cannot fork a child"; "error" => error);
            }
            SupervisorEvent::ForkBackoff(state) => warn!(
                self.log, "fork backoff";
                "delay" => %format::duration(state.delay),
                "failures" => state.consecutive_failures,
                "reason" => %state.reason
            ),
            SupervisorEvent::MaxChildrenReached { max_children, spare, min_spare } => {
                match self.context.model {
                    ModelKind::PreFork => warn!(
                        self.log, "max_children reached";
                        "max_children" => max_children, "spare" => spare, "min_spare" => min_spare
                    ),
                    // Without a pool there are no spare children.
                    ModelKind::PostFork | ModelKind::Solo => {
                        warn!(self.log, "max_children reached"; "max_children" => max_children);
                    }
                }
            }
            SupervisorEvent::ScoreboardRepaired(FaultCount { last, .. }) => match last {
                Some((slot, fault)) => warn!(
                    self.log, "scoreboard damaged, repaired";
                    "slot" => slot.get(), "reason" => %fault
                ),
                None => warn!(
                    self.log, "scoreboard damaged, repaired"; "reason" => "the header is damaged"
                ),
            },
            SupervisorEvent::StartFailed(reason) => self.fail(DaemonError::NotReady(reason), ctx),
            SupervisorEvent::ReloadStarted(children) => {
                info!(self.log, "reload started"; "children" => children);
                self.sessions.reload.broadcast(&DaemonReload::Started);
            }
            SupervisorEvent::ReloadFinished => {
                info!(self.log, "reload finished");
                self.send_service_status_now(ctx);
                self.sessions.reload.broadcast(&DaemonReload::Done);
            }
            SupervisorEvent::GraceExpired(children) => {
                warn!(self.log, "grace period expired, killing children"; "children" => children);
            }
            SupervisorEvent::ForkServerUnresponsive => {
                error!(self.log, "fork server unresponsive, killing it and its children");
                self.kill_the_fork_server();
            }
            SupervisorEvent::ReopenLogsFailed(error) => {
                error!(self.log, "fork server cannot reopen the log file"; "error" => error);
            }
            SupervisorEvent::AllChildrenGone => self.on_all_children_gone(ctx),
        }
    }

    fn log_exit(&self, exited: &ChildExited) {
        let facts = o!(
            "slot" => exited.child.slot.get(),
            "child" => exited.pid.as_raw(),
            "requests" => exited.requests,
            "reason" => exited.cause.to_string()
        );
        match exited.cause {
            // This exit is expected, but the child may leak memory, so log the exit at level info.
            ExitCause::Recycled(RecycleReason::Memory) => {
                info!(self.log, "child exited"; facts);
            }
            cause if cause.is_expected() => debug!(self.log, "child exited"; facts),
            _ => warn!(self.log, "child exited"; facts),
        }
    }

    /// Logs and broadcasts that the daemon is ready, and notifies the process that started it.
    pub(super) fn on_ready(&mut self) {
        match &self.supervision {
            None => {
                info!(
                    self.log, "daemon ready";
                    "daemon" => &self.context.alias, "model" => self.context.model.word()
                );
            }
            Some(supervision) => info!(
                self.log, "daemon ready";
                "daemon" => &self.context.alias,
                "model" => self.context.model.word(),
                "fork_server" => supervision.processes.fork_server.pid().as_raw(),
                "children" => self.children(),
                "max_children" => supervision.supervisor.max_children()
            ),
        }
        self.retained.parent = Some(DaemonParent);
        self.sessions.parent.broadcast(&DaemonParent);
        if let Some(readiness) = self.readiness.take() {
            readiness.notify_ready();
        }
    }
}
