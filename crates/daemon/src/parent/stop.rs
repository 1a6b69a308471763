//! Stops the parent: first its sessions and the children, then the fork server.

use actix::fut::WrapFuture;
use actix::{ActorContext, AsyncContext, Context, Handler, Message};
use daemon_core::{Phase, StopMode, format};
use daemon_forkserver::{ForkServerError, Transfer, now};
use daemon_sys::process::Signal;
use futures::FutureExt;
use slog::{error, info, warn};
use std::time::Duration;

use super::actor::{DaemonActor, Supervision};
use super::origin::Origin;
use super::supervisor::Supervisor;
use crate::control::ControlServer;
use crate::error::DaemonError;
use crate::messages::{DaemonShutdown, ShutdownReason};

/// The interval at which the parent checks whether the children of a lost fork server are gone. The
/// parent must poll, because these processes are not its own children.
const ORPHAN_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// A fork server that was asked to exit is killed if it has not exited within this time.
const FORK_SERVER_EXIT_MAX: Duration = Duration::from_secs(5);

/// The maximum time by which pending answers on the control socket delay the stop.
const CONTROL_ANSWERS_MAX: Duration = Duration::from_millis(200);

/// How far the shutdown of the parent has progressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShutdownStage {
    /// The daemon runs.
    NotStopping,
    /// Sessions and children were asked to stop.
    Children,
    /// All children are gone. The fork server was asked to exit.
    ForkServer,
    /// The fork server was lost. Its children are being stopped.
    Orphans { checks: u32 },
    /// The children and the fork server are gone, and the actor stops.
    Stopped,
}

impl<R: Transfer + Send> DaemonActor<R> {
    /// Starts a stop, or makes a graceful stop that is in progress immediate. Any other repeated
    /// stop is ignored.
    pub(super) fn stop(&mut self, mode: StopMode, by: Origin, ctx: &mut Context<Self>) {
        let begun = self.stopping;
        let mode = match (begun, mode) {
            (Some(StopMode::Immediate), _) => return,
            (Some(StopMode::Graceful), StopMode::Graceful) => return,
            (Some(StopMode::Graceful), StopMode::Immediate) | (None, _) => mode,
        };
        self.stopping = Some(mode);
        let reason = match mode {
            StopMode::Graceful => ShutdownReason::Stopping,
            StopMode::Immediate => ShutdownReason::StoppingNow,
        };
        let grace = match mode {
            StopMode::Graceful => format::duration(self.context.grace).to_string(),
            StopMode::Immediate => "none".to_owned(),
        };
        info!(
            self.log, "daemon stopping";
            "daemon" => &self.context.alias, "by" => %by, "children" => self.children(), "grace" => grace
        );
        self.broadcast_phase(ctx);
        if let Some(supervision) = &self.supervision {
            // A child that receives TERM reads from the scoreboard whether the daemon is stopping.
            supervision.processes.fork_server.scoreboard().set_phase(Phase::Stopping);
        }
        if begun.is_none() {
            self.shutdown_stage = ShutdownStage::Children;
            let shutdown = DaemonShutdown { reason };
            self.retained.shutdown = Some(shutdown);
            let address = ctx.address();
            let answers = self.sessions.shutdown.broadcast_and_wait(&shutdown);
            // `SessionsDrained` goes through the mailbox, behind all messages that the sessions
            // sent before they answered.
            ctx.spawn(answers.map(move |()| address.do_send(SessionsDrained)).into_actor(self));
            self.reap_foreign_children();
            self.foreign.signal_all(Signal::Term);
            ctx.run_later(self.context.grace, Self::on_grace_expired);
        }
        if mode == StopMode::Immediate {
            self.on_grace_expired(ctx);
        }
        self.with_supervisor(ctx, |supervisor, processes, now| {
            supervisor.stop(mode, processes, now);
        });
    }

    /// Kills the foreign children, which are the processes that were registered with
    /// `ForeignChild`. A daemon of the model `Solo` also stops waiting for its sessions.
    pub(super) fn on_grace_expired(&mut self, ctx: &mut Context<Self>) {
        self.reap_foreign_children();
        self.foreign.signal_all(Signal::Kill);
        if self.supervision.is_none() && self.shutdown_stage == ShutdownStage::Children {
            self.on_all_children_gone(ctx);
        }
    }

    /// Asks the fork server to exit, because all children are gone. Kills it if it has not exited
    /// after [`FORK_SERVER_EXIT_MAX`].
    pub(super) fn on_all_children_gone(&mut self, ctx: &mut Context<Self>) {
        self.shutdown_stage = ShutdownStage::ForkServer;
        if let Some(supervision) = &mut self.supervision
            && let Err(error) = supervision.processes.fork_server.shut_down()
        {
            supervision.processes.lost.get_or_insert(error);
        }
        ctx.run_later(FORK_SERVER_EXIT_MAX, |daemon, _ctx| {
            if daemon.shutdown_stage == ShutdownStage::ForkServer {
                daemon.kill_the_fork_server();
            }
        });
        self.finish_if_all_gone(ctx);
    }

    /// Kills an unresponsive fork server and all other processes in its process group.
    pub(super) fn kill_the_fork_server(&self) {
        self.signal_orphaned(Signal::Kill);
    }

    /// Handles the end of the link to the fork server. If the fork server was asked to exit,
    /// this is expected. Otherwise it is an error, and the parent stops the children itself.
    pub(super) fn on_fork_server_lost(&mut self, lost: &ForkServerError, ctx: &mut Context<Self>) {
        match self.shutdown_stage {
            ShutdownStage::ForkServer => self.finish_if_all_gone(ctx),
            ShutdownStage::NotStopping | ShutdownStage::Children => {
                error!(
                    self.log, "fork server lost, stopping its children";
                    "error" => lost.to_string()
                );
                self.failure.get_or_insert(DaemonError::ForkServerLost(lost.to_string()));
                if let Some(readiness) = self.readiness.take() {
                    readiness.notify_failure(&lost.to_string());
                }
                if let Some(Supervision { supervisor, processes }) = &mut self.supervision {
                    supervisor.on_fork_server_lost(
                        processes.fork_server.take_pending(),
                        &lost.to_string(),
                    );
                }
                self.shutdown_stage = ShutdownStage::Orphans { checks: 0 };
                self.stopping.get_or_insert(StopMode::Immediate);
                let shutdown = DaemonShutdown { reason: ShutdownReason::StoppingNow };
                self.retained.shutdown = Some(shutdown);
                self.sessions.shutdown.broadcast(&shutdown);
                self.foreign.signal_all(Signal::Term);
                self.signal_orphaned(Signal::Term);
                self.wait_for_orphans(ctx);
            }
            ShutdownStage::Orphans { .. } | ShutdownStage::Stopped => {}
        }
    }

    fn signal_orphaned(&self, signal: Signal) {
        if let Some(supervision) = &self.supervision
            && let Err(error) = supervision.processes.fork_server.signal_orphaned(signal)
        {
            warn!(self.log, "cannot signal orphaned children"; "error" => error.to_string());
        }
    }

    /// Waits until the orphaned children are gone. Kills them when the grace period is over, and
    /// stops waiting [`FORK_SERVER_EXIT_MAX`] later.
    fn wait_for_orphans(&mut self, ctx: &mut Context<Self>) {
        let ShutdownStage::Orphans { checks } = self.shutdown_stage else {
            return;
        };
        let gone = self
            .supervision
            .as_ref()
            .is_none_or(|supervision| supervision.processes.fork_server.orphaned_are_gone());
        let waited = ORPHAN_CHECK_INTERVAL * checks;
        // Only zombies that init does not reap, and processes in uninterruptible sleep, can remain
        // after KILL. Do not wait longer for them.
        if gone || waited >= self.context.grace.saturating_add(FORK_SERVER_EXIT_MAX) {
            self.on_stopped(ctx);
            return;
        }
        if waited >= self.context.grace {
            self.signal_orphaned(Signal::Kill);
            self.foreign.signal_all(Signal::Kill);
        }
        self.shutdown_stage = ShutdownStage::Orphans { checks: checks.saturating_add(1) };
        ctx.run_later(ORPHAN_CHECK_INTERVAL, Self::wait_for_orphans);
    }

    /// Stops the actor when the fork server and all foreign children are gone.
    pub(super) fn finish_if_all_gone(&mut self, ctx: &mut Context<Self>) {
        if !self.foreign.is_empty() {
            return;
        }
        match self.shutdown_stage {
            ShutdownStage::ForkServer => {
                let reaped = self
                    .supervision
                    .as_ref()
                    .map(|supervision| supervision.processes.fork_server.reap());
                match reaped {
                    None | Some(Ok(Some(_))) => self.on_stopped(ctx),
                    Some(Ok(None)) => {
                        // The link is closed shortly before the fork server exits, so check again.
                        ctx.run_later(Duration::from_millis(1), Self::finish_if_all_gone);
                    }
                    Some(Err(error)) => {
                        warn!(self.log, "cannot reap the fork server"; "error" => error.to_string());
                        self.on_stopped(ctx);
                    }
                }
            }
            ShutdownStage::NotStopping
            | ShutdownStage::Children
            | ShutdownStage::Orphans { .. }
            | ShutdownStage::Stopped => {}
        }
    }

    fn on_stopped(&mut self, ctx: &mut Context<Self>) {
        if self.shutdown_stage == ShutdownStage::Stopped {
            return;
        }
        self.shutdown_stage = ShutdownStage::Stopped;
        self.broadcast_phase(ctx);
        self.close(ctx);
    }

    /// Stops the actor when the clients of the control socket have received their last answers and
    /// events, or after a timeout.
    fn close(&mut self, ctx: &mut Context<Self>) {
        let until = *self.answers_deadline.get_or_insert(now() + CONTROL_ANSWERS_MAX);
        if self.control.as_ref().is_some_and(ControlServer::is_answering) && now() < until {
            ctx.run_later(Duration::from_millis(2), Self::close);
            return;
        }
        if let Some(control) = self.control.take() {
            control.close();
        }
        if let Some(pidfile) = self.pidfile.take()
            && let Err(error) = pidfile.release()
        {
            warn!(self.log, "cannot remove the pid file"; "error" => error.to_string());
        }
        let counters = self
            .supervision
            .as_ref()
            .map(|supervision| supervision.supervisor.counters())
            .unwrap_or_default();
        info!(
            self.log, "daemon stopped";
            "daemon" => &self.context.alias,
            "children" => counters.forks, "requests" => counters.requests
        );
        let failure = self.failure.take();
        let text = failure.as_ref().map(ToString::to_string);
        let mut first = failure.map_or(Ok(()), Err);
        for waiting in self.waiting_for_stop.drain(..) {
            let outcome = std::mem::replace(
                &mut first,
                match &text {
                    None => Ok(()),
                    Some(text) => Err(DaemonError::Ended(text.clone())),
                },
            );
            // This fails if the sender of `WaitUntilStopped` no longer waits.
            let _ = waiting.send(outcome);
        }
        ctx.stop();
    }

    /// Returns the line of a peek that says whether the daemon runs, or what its stop waits for.
    pub(super) fn describe_stop(&self) -> String {
        match self.shutdown_stage {
            ShutdownStage::NotStopping => "State: running".to_owned(),
            ShutdownStage::Children => {
                "State: stopping, waiting for children and sessions".to_owned()
            }
            ShutdownStage::ForkServer if !self.foreign.is_empty() => {
                "State: stopping, waiting for foreign children".to_owned()
            }
            ShutdownStage::ForkServer => "State: stopping, waiting for the fork server".to_owned(),
            ShutdownStage::Orphans { .. } => {
                "State: stopping, waiting for the children of a lost fork server".to_owned()
            }
            ShutdownStage::Stopped => "State: stopped".to_owned(),
        }
    }
}

/// Sent to the actor when all sessions of the parent have answered `DaemonShutdown`.
#[derive(Message)]
#[rtype(result = "()")]
struct SessionsDrained;

impl<R: Transfer + Send> Handler<SessionsDrained> for DaemonActor<R> {
    type Result = ();

    fn handle(&mut self, _drained: SessionsDrained, ctx: &mut Self::Context) {
        if self.supervision.is_some() {
            self.with_supervisor(ctx, Supervisor::drained);
        } else if self.shutdown_stage == ShutdownStage::Children {
            self.on_all_children_gone(ctx);
        }
    }
}
