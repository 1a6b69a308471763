//! How the parent ends: sessions first, children next, the fork server last.

use actix::fut::WrapFuture;
use actix::{ActorContext, AsyncContext, Context, Handler, Message};
use daemon_core::{Phase, StopMode};
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

/// How often it is looked whether the bereaved children of a lost fork server are gone. Nobody can
/// tell: they are not this process's children.
const ORPHAN_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// How long a fork server without children has to go home.
const FORK_SERVER_EXIT_MAX: Duration = Duration::from_secs(5);

/// How long answers on the control socket may hold up the end.
const CONTROL_ANSWERS_MAX: Duration = Duration::from_millis(200);

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShutdownStage {
    /// The daemon runs.
    NotStopping,
    /// Sessions were told, children are going.
    Children,
    /// All children are gone; the fork server was sent home.
    ForkServer,
    /// The fork server is gone before its time; its children are being ended.
    Orphans { checks: u32 },
    /// Nothing is left.
    Stopped,
}

impl<R: Transfer + Send> DaemonActor<R> {
    /// Begins to stop, or hurries.
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
            StopMode::Graceful => format!("{:?}", self.life.grace),
            StopMode::Immediate => "none".to_owned(),
        };
        info!(
            self.log, "{} is stopping", self.life.alias;
            "by" => %by, "children" => self.children(), "grace" => grace
        );
        self.broadcast_phase(ctx);
        if let Some(supervision) = &self.supervision {
            // Children read on the scoreboard why they get their TERM.
            supervision.processes.fork_server.scoreboard().set_phase(Phase::Stopping);
        }
        if begun.is_none() {
            self.shutdown_stage = ShutdownStage::Children;
            let shutdown = DaemonShutdown { reason };
            self.retained.shutdown = Some(shutdown);
            let address = ctx.address();
            let answers = self.sessions.shutdown.broadcast_and_wait(&shutdown);
            // By way of the mailbox: a request that a session has sent before comes first.
            ctx.spawn(answers.map(move |()| address.do_send(SessionsDrained)).into_actor(self));
            self.reap_foreign_children();
            self.foreign.signal_all(Signal::Term);
            ctx.run_later(self.life.grace, Self::on_grace_expired);
        }
        if mode == StopMode::Immediate {
            self.on_grace_expired(ctx);
        }
        self.with_supervisor(ctx, |supervisor, processes, now| {
            supervisor.stop(mode, processes, now)
        });
    }

    /// Nobody is waited for any longer: neither foreign children nor, where there are no others,
    /// sessions.
    pub(super) fn on_grace_expired(&mut self, ctx: &mut Context<Self>) {
        self.reap_foreign_children();
        self.foreign.signal_all(Signal::Kill);
        if self.supervision.is_none() && self.shutdown_stage == ShutdownStage::Children {
            self.on_all_children_gone(ctx);
        }
    }

    /// All children are gone: the fork server goes home.
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

    /// Ends a fork server that does not answer, and whatever is in its process group.
    pub(super) fn kill_the_fork_server(&self) {
        self.signal_orphaned(Signal::Kill);
    }

    /// The link has ended: at the very end that is the fork server's good-bye, before it a loss.
    pub(super) fn on_fork_server_lost(&mut self, lost: &ForkServerError, ctx: &mut Context<Self>) {
        match self.shutdown_stage {
            ShutdownStage::ForkServer => self.finish_if_all_gone(ctx),
            ShutdownStage::NotStopping | ShutdownStage::Children => {
                error!(self.log, "{}; its children are ended", lost);
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
            warn!(self.log, "{}", error);
        }
    }

    /// Waits for children whose parent process is gone, and kills them when their time is over.
    fn wait_for_orphans(&mut self, ctx: &mut Context<Self>) {
        let ShutdownStage::Orphans { checks } = self.shutdown_stage else {
            return;
        };
        let gone = self
            .supervision
            .as_ref()
            .is_none_or(|supervision| supervision.processes.fork_server.orphaned_are_gone());
        let waited = ORPHAN_CHECK_INTERVAL * checks;
        // After the KILL only zombies are left, of an init that does not reap them.
        if gone || waited >= self.life.grace + FORK_SERVER_EXIT_MAX {
            self.on_stopped(ctx);
            return;
        }
        if waited >= self.life.grace {
            self.signal_orphaned(Signal::Kill);
            self.foreign.signal_all(Signal::Kill);
        }
        self.shutdown_stage = ShutdownStage::Orphans { checks: checks.saturating_add(1) };
        ctx.run_later(ORPHAN_CHECK_INTERVAL, Self::wait_for_orphans);
    }

    /// Ends the actor when nothing is left that it answers for.
    pub(super) fn finish_if_all_gone(&mut self, ctx: &mut Context<Self>) {
        if !self.foreign.is_empty() {
            return;
        }
        match self.shutdown_stage {
            ShutdownStage::ForkServer => {
                let buried = self
                    .supervision
                    .as_ref()
                    .map(|supervision| supervision.processes.fork_server.reap());
                match buried {
                    None | Some(Ok(Some(_))) => self.on_stopped(ctx),
                    Some(Ok(None)) => {
                        // Its end of the link is closed a moment before its process is gone.
                        ctx.run_later(Duration::from_millis(1), Self::finish_if_all_gone);
                    }
                    Some(Err(error)) => {
                        warn!(self.log, "{}", error);
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

    /// Ends the actor, once who has asked for the end, or listens to events, has heard that it has come.
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
            warn!(self.log, "{}", error);
        }
        let counted = self
            .supervision
            .as_ref()
            .map(|supervision| supervision.supervisor.counters())
            .unwrap_or_default();
        info!(
            self.log, "{} has stopped", self.life.alias;
            "children" => counted.forks, "requests" => counted.requests
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
            // Who has asked may have gone meanwhile.
            let _ = waiting.send(outcome);
        }
        ctx.stop();
    }

    /// What keeps this process alive.
    pub(super) fn describe_stop(&self) -> String {
        match self.shutdown_stage {
            ShutdownStage::NotStopping => "Stays alive: the daemon runs".to_owned(),
            ShutdownStage::Children => "Stopping: waits for children and sessions".to_owned(),
            ShutdownStage::ForkServer if !self.foreign.is_empty() => {
                format!("Stopping: waits for foreign children {:?}", self.foreign.pids())
            }
            ShutdownStage::ForkServer => "Stopping: waits for the fork server".to_owned(),
            ShutdownStage::Orphans { .. } => {
                "Stopping: waits for the children of a lost fork server".to_owned()
            }
            ShutdownStage::Stopped => "Has stopped".to_owned(),
        }
    }
}

/// All sessions of the parent have answered to the shutdown.
#[derive(Message)]
#[rtype(result = "()")]
struct SessionsDrained;

impl<R: Transfer + Send> Handler<SessionsDrained> for DaemonActor<R> {
    type Result = ();

    fn handle(&mut self, _said: SessionsDrained, ctx: &mut Self::Context) {
        if self.supervision.is_some() {
            self.with_supervisor(ctx, Supervisor::drained);
        } else if self.shutdown_stage == ShutdownStage::Children {
            self.on_all_children_gone(ctx);
        }
    }
}
