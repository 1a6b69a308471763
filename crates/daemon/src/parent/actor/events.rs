//! What the household has to tell, as broadcasts and log lines.

use actix::Context;
use daemon_core::{AcceptChange, ExitCause, RecycleReason};
use daemon_forkserver::Transfer;
use slog::{debug, error, info, o, warn};

use super::DaemonActor;
use crate::error::DaemonError;
use crate::messages::{
    ChildBorn, ChildExited, DaemonAccept, DaemonParent, DaemonPause, DaemonPhase, DaemonReload,
};
use crate::parent::supervisor::SupervisorEvent;

impl<R: Transfer + Send> DaemonActor<R> {
    /// Tells the phase, if it is another than was told last.
    pub(in crate::parent) fn broadcast_phase(&mut self, ctx: &mut Context<Self>) {
        let phase = DaemonPhase(self.phase());
        if self.retained.phase != Some(phase) {
            self.retained.phase = Some(phase);
            self.send_service_status_now(ctx);
            self.sessions.phase.broadcast(&phase);
        }
    }

    pub(super) fn emit(&mut self, event: SupervisorEvent, ctx: &mut Context<Self>) {
        match event {
            SupervisorEvent::Ready => self.up(),
            SupervisorEvent::AcceptChange(AcceptChange::Pause) => {
                debug!(self.log, "pausing");
                self.retained.pause = Some(DaemonPause);
                self.sessions.pause.broadcast(&DaemonPause);
            }
            SupervisorEvent::AcceptChange(AcceptChange::Resume) => {
                debug!(self.log, "accepting again");
                self.retained.pause = None;
                self.sessions.accept.broadcast(&DaemonAccept);
            }
            SupervisorEvent::ChildBorn(child, pid) => {
                debug!(self.log, "child born"; "slot" => child.slot.get(), "child" => pid.as_raw());
                self.sessions.born.broadcast(&ChildBorn { child, pid });
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
            SupervisorEvent::ForkFailed(error) => warn!(self.log, "{}", error),
            SupervisorEvent::ForkBackoff(time) => {
                warn!(self.log, "no child is forked for {:?}: too many failed in a row", time);
            }
            SupervisorEvent::MaxChildrenReached { most, spare: 0, .. } => {
                warn!(self.log, "max_children is reached: all {} children are busy", most);
            }
            SupervisorEvent::MaxChildrenReached { most, spare, min_spare } => {
                warn!(
                    self.log,
                    "max_children is reached: {} of {} children are spare, min_spare is {}",
                    spare,
                    most,
                    min_spare
                );
            }
            SupervisorEvent::StartFailed(why) => self.fail(DaemonError::NotReady(why), ctx),
            SupervisorEvent::ReloadStarted(children) => {
                info!(self.log, "reloading: all children are replaced"; "children" => children);
                self.sessions.reload.broadcast(&DaemonReload::Started);
            }
            SupervisorEvent::ReloadFinished => {
                info!(self.log, "reloaded: all that serve are new");
                self.send_service_status_now(ctx);
                self.sessions.reload.broadcast(&DaemonReload::Done);
            }
            SupervisorEvent::GraceExpired(children) => {
                warn!(self.log, "the grace period is over: {} children are killed", children);
            }
            SupervisorEvent::ForkServerUnresponsive => {
                error!(
                    self.log,
                    "the fork server does not answer: it is killed with all its children"
                );
                self.kill_the_fork_server();
            }
            SupervisorEvent::ReopenLogsFailed(error) => {
                error!(self.log, "the fork server's old log stays in use: {}", error);
            }
            SupervisorEvent::AllChildrenGone => self.on_all_children_gone(ctx),
        }
    }

    fn log_exit(&self, exited: &ChildExited) {
        let facts = o!(
            "slot" => exited.child.slot.get(),
            "child" => exited.pid.as_raw(),
            "requests" => exited.requests
        );
        match exited.cause {
            // A leak is worth to be known of, though the child has left in order.
            ExitCause::Recycled(RecycleReason::Memory) => {
                info!(self.log, "child gone: {}", exited.cause; facts);
            }
            cause if cause.is_expected() => debug!(self.log, "child gone: {}", cause; facts),
            cause => warn!(self.log, "child gone: {}", cause; facts),
        }
    }

    /// The daemon is what it shall be.
    pub(super) fn up(&mut self) {
        match &self.supervision {
            None => {
                info!(self.log, "{} is up", self.life.alias; "model" => self.life.model.word());
            }
            Some(supervision) => info!(
                self.log, "{} is up", self.life.alias;
                "model" => self.life.model.word(),
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
