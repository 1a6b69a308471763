//! The handlers of the messages that the parent receives: from sessions, signals, the control
//! socket, the babysitter, the dispatcher and services.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::WrapFuture;
use actix::{
    ActorFutureExt, AsyncContext, Context, Handler, MessageResult, ResponseActFuture,
    ResponseFuture, StreamHandler,
};
use daemon_core::{
    OperatorPause, ParentAction, Resize, StopMode, StopReason, Violation, parent_action,
};
use daemon_forkserver::{ChildId, Transfer};
use daemon_protocol::{Evidence, Report};
use daemon_service::{Register, SignalOwner};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{join, ready};
use slog::{debug, error, info, o, warn};

use super::{DaemonActor, OpenStream, Panicked, SessionsAnswered, StatusUpdates};
use crate::babysitter::BabysitterAction;
use crate::blocking::BlockingCalls;
use crate::error::DaemonError;
use crate::events::{Broadcast, DaemonEvent};
use crate::log;
use crate::messages::{
    CommandError, Detail, ForeignChild, ForeignChildError, ForeignExited, GetStatus, HandOver,
    HandOverError, HandedOver, Kill, Pause, PauseOutcome, Peek, RegisterWith, Reload,
    ReloadStarted, Reopen, ReopenError, Resized, Resume, Retire, RogueChild, RogueStep, SetSize,
    Shutdown, ShutdownStarted, SignalReceived, StatusError, Subscribe, TraceChild, TraceError,
    UpdateStatus, Updated, WaitUntilStopped,
};
use crate::model::{KillRogue, SetQueueDepth};
use crate::process_table;
use crate::service::{DaemonAddress, ServiceLink};
use crate::settings::OnHup;
use crate::supervisor::{Origin, PendingRequest, ProcessControl, Supervisor};
use crate::watch::Watch;

/// How long a status query waits for the process table. After that, the query is answered without
/// the resource usage of the processes.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Reopenings of the parent's log file.
static REOPENS: BlockingCalls = BlockingCalls::new();

/// How long the parent waits until its log file is open again. After that, it logs an error.
const REOPEN_MAX: Duration = Duration::from_secs(5);

impl<R: Transfer + Send> DaemonActor<R> {
    /// Reopens the log in the parent, in the fork server and in every child, restores files of the
    /// parent that were removed, and notifies the sessions. The parent opens its log and checks its
    /// files on other threads, because a file system may not answer.
    fn reopen(
        &mut self,
        ctx: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Result<(), ReopenError>> {
        self.emit(DaemonEvent::Hup, ctx);
        self.with_supervisor(ctx, |_supervisor, processes, _now| {
            processes.command(|fork_server| {
                fork_server.reopen_logs()?;
                fork_server.signal_all(daemon_sys::Signal::Hup)
            });
        });
        let log_file = self.context.log_file.clone();
        let reopened = async move {
            let Some(file) = log_file else { return Ok(()) };
            let path = file.path().to_owned();
            let reopened = REOPENS.run(REOPEN_MAX, move || log::reopen(&file)).await;
            let reopened = reopened.unwrap_or_else(|error| {
                let action = format!("open log file {}", path.display());
                Err(daemon_sys::Error::os(action, io::Error::other(error)))
            });
            reopened.map_err(|source| ReopenError { source })
        };
        let done = join(reopened, self.are_files_intact());
        Box::pin(done.into_actor(self).map(|(reopened, are_intact), daemon, _ctx| {
            let failures = daemon.restore_files(are_intact);
            daemon.log_failures(&failures);
            reopened
        }))
    }

    fn on_hangup(&mut self, by: Origin, ctx: &mut Context<Self>) {
        match self.on_hup {
            OnHup::ReopenLogs => info!(self.log, "reopening logs"; "by" => %by),
            OnHup::Reload => {
                info!(self.log, "reopening logs and reloading"; "by" => %by);
                // A daemon without a pool only reopens its logs.
                let _no_pool = self.with_supervisor(ctx, Supervisor::reload);
            }
        }
        let reopened = self.reopen(ctx).map(|reopened, daemon, _ctx| {
            if let Err(error) = reopened {
                error!(daemon.log, "cannot reopen the log file"; "error" => error.to_string());
            }
        });
        ctx.spawn(reopened);
    }

    fn pause(
        &mut self,
        pause: OperatorPause,
        by: Origin,
        ctx: &mut Context<Self>,
    ) -> Result<PauseOutcome, CommandError> {
        let outcome = self.with_supervisor(ctx, |supervisor, processes, now| {
            supervisor.set_pause(pause, processes, now)
        })?;
        match (outcome, pause) {
            (PauseOutcome::Already, _) => {}
            (PauseOutcome::Now, OperatorPause::On) => {
                info!(self.log, "paused by operator"; "by" => %by);
            }
            (PauseOutcome::Now, OperatorPause::Off) => {
                info!(self.log, "resumed by operator"; "by" => %by);
            }
        }
        Ok(outcome)
    }

    fn resize(
        &mut self,
        resize: Resize,
        by: Origin,
        ctx: &mut Context<Self>,
    ) -> Result<Resized, CommandError> {
        let resized = self.with_supervisor(ctx, |supervisor, processes, now| {
            supervisor.resize(resize, processes, now)
        })?;
        let Resized { min_spare, max_spare, max_children } = resized;
        // A post-forking daemon and a pool that is sized by demand have no limits for spare
        // children.
        if max_spare > 0 {
            info!(
                self.log, "resized";
                "by" => %by,
                "min_spare" => min_spare, "max_spare" => max_spare, "max_children" => max_children
            );
        } else {
            info!(self.log, "resized"; "by" => %by, "max_children" => max_children);
        }
        Ok(resized)
    }

    fn stop(&mut self, mode: StopMode, by: Origin, ctx: &mut Context<Self>) {
        // Foreign children that have exited must not be signalled.
        self.reap_foreign(ctx);
        self.with_supervisor(ctx, |supervisor, processes, now| {
            supervisor.stop(mode, by, processes, now);
        });
    }

    /// Removes the foreign children that have exited, and broadcasts their exits.
    fn reap_foreign(&mut self, ctx: &mut Context<Self>) {
        for pid in self.processes.remove_exited_foreign() {
            self.emit(DaemonEvent::ForeignExited(ForeignExited::new(pid)), ctx);
        }
    }

    /// Returns whether this child has neither become ready nor begun to leave.
    fn is_starting(&self, child: ChildId) -> bool {
        let board = self.processes.board();
        board.is_some_and(|board| self.supervisor.registry().is_starting(child, board))
    }

    fn kill(
        &mut self,
        child: daemon_sys::process::Pid,
        reason: StopReason,
        ctx: &mut Context<Self>,
    ) -> Result<ChildId, CommandError> {
        self.with_supervisor(ctx, |supervisor, processes, now| {
            supervisor.kill_child(child, reason, processes, now)
        })
    }
}

impl<R: Transfer + Send> Handler<SignalReceived> for DaemonActor<R> {
    type Result = ();

    fn handle(&mut self, SignalReceived(signal): SignalReceived, ctx: &mut Self::Context) {
        debug!(self.log, "signal received"; "signal" => signal.name());
        let by = Origin::Signal(signal);
        let refusal = match parent_action(signal, self.supervisor.life().stop_mode()) {
            ParentAction::Stop(mode) => {
                self.stop(mode, by, ctx);
                None
            }
            ParentAction::Hangup => {
                self.on_hangup(by, ctx);
                None
            }
            ParentAction::Peek => {
                info!(self.log, "peek"; "state" => format!("\n{}", self.peek(Detail::Verbose)));
                None
            }
            ParentAction::AddChild => self.resize(Resize::More, by, ctx).err(),
            ParentAction::RemoveChild => self.resize(Resize::Fewer, by, ctx).err(),
            ParentAction::Pause => self.pause(OperatorPause::On, by, ctx).err(),
            ParentAction::Resume => self.pause(OperatorPause::Off, by, ctx).err(),
            ParentAction::Ignore => None,
        };
        // A signal has no answer, so a refusal is logged.
        if let Some(refusal) = refusal {
            warn!(self.log, "command refused"; "by" => %by, "error" => refusal.to_string());
        }
    }
}

impl<R: Transfer + Send> Handler<HandOver<R>> for DaemonActor<R> {
    type Result = ResponseFuture<Result<HandedOver, HandOverError<R>>>;

    fn handle(&mut self, HandOver(request): HandOver<R>, ctx: &mut Self::Context) -> Self::Result {
        let (reply, answer) = oneshot::channel();
        let pending = PendingRequest::new(request, reply);
        self.with_supervisor(ctx, |supervisor, processes, now| {
            supervisor.hand_over(pending, processes, now);
        });
        Box::pin(async move {
            match answer.await {
                Ok(answer) => answer,
                // The actor has stopped. The sender gets a mailbox error when the runtime ends.
                Err(oneshot::Canceled) => std::future::pending().await,
            }
        })
    }
}

impl<R: Transfer + Send> Handler<UpdateStatus> for DaemonActor<R> {
    type Result = Result<Updated, StatusError>;

    fn handle(&mut self, _update: UpdateStatus, _ctx: &mut Self::Context) -> Self::Result {
        let error = StatusError::InParent;
        warn!(self.log, "status update rejected"; "error" => error.to_string());
        Err(error)
    }
}

impl<R: Transfer + Send, M: Broadcast> Handler<Subscribe<M>> for DaemonActor<R> {
    type Result = MessageResult<Subscribe<M>>;

    fn handle(&mut self, subscribe: Subscribe<M>, _ctx: &mut Self::Context) -> Self::Result {
        let current = self.current_events();
        MessageResult::<Subscribe<M>>(self.events.subscribe(subscribe, &current))
    }
}

impl<R: Transfer + Send> Handler<OpenStream> for DaemonActor<R> {
    type Result = MessageResult<OpenStream>;

    fn handle(&mut self, _open: OpenStream, _ctx: &mut Self::Context) -> Self::Result {
        let current = self.current_events();
        MessageResult(self.events.stream(current))
    }
}

impl<R: Transfer + Send> Handler<GetStatus> for DaemonActor<R> {
    type Result = ResponseFuture<Report>;

    fn handle(&mut self, status: GetStatus, ctx: &mut Self::Context) -> Self::Result {
        self.sweep_scoreboard(ctx);
        let mut report = self.report();
        match status {
            GetStatus::Board => Box::pin(ready(report)),
            GetStatus::Processes => Box::pin(async move {
                let pids = report.pids();
                // Reading the usages is slow, because the kernel walks all pages of each process.
                // Other threads read them, so that only this query waits.
                let usages = process_table::usages(pids, TIMEOUT).await;
                report.add_usage(|pid| usages.get(&pid).copied());
                report
            }),
        }
    }
}

impl<R: Transfer + Send> Handler<Peek> for DaemonActor<R> {
    type Result = String;

    fn handle(&mut self, peek: Peek, _ctx: &mut Self::Context) -> Self::Result {
        self.peek(peek.detail)
    }
}

impl<R: Transfer + Send> Handler<Reload> for DaemonActor<R> {
    type Result = Result<ReloadStarted, CommandError>;

    fn handle(&mut self, _reload: Reload, ctx: &mut Self::Context) -> Self::Result {
        self.with_supervisor(ctx, Supervisor::reload)
    }
}

impl<R: Transfer + Send> Handler<SetSize> for DaemonActor<R> {
    type Result = Result<Resized, CommandError>;

    fn handle(&mut self, SetSize(resize): SetSize, ctx: &mut Self::Context) -> Self::Result {
        self.resize(resize, Origin::Message, ctx)
    }
}

impl<R: Transfer + Send> Handler<Reopen> for DaemonActor<R> {
    type Result = ResponseActFuture<Self, Result<(), ReopenError>>;

    fn handle(&mut self, _reopen: Reopen, ctx: &mut Self::Context) -> Self::Result {
        info!(self.log, "reopening logs"; "by" => %Origin::Message);
        self.reopen(ctx)
    }
}

impl<R: Transfer + Send> Handler<Retire> for DaemonActor<R> {
    type Result = Result<ChildId, CommandError>;

    fn handle(&mut self, Retire(pid): Retire, ctx: &mut Self::Context) -> Self::Result {
        let child = self.with_supervisor(ctx, |supervisor, processes, now| {
            supervisor.retire_child(pid, processes, now)
        })?;
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
        let child = self.kill(pid, StopReason::Killed, ctx)?;
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
        self.kill(pid, StopReason::Rogue(violation), ctx)
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
        self.pause(OperatorPause::On, Origin::Message, ctx)
    }
}

impl<R: Transfer + Send> Handler<Resume> for DaemonActor<R> {
    type Result = Result<PauseOutcome, CommandError>;

    fn handle(&mut self, _resume: Resume, ctx: &mut Self::Context) -> Self::Result {
        self.pause(OperatorPause::Off, Origin::Message, ctx)
    }
}

impl<R: Transfer + Send> Handler<Shutdown> for DaemonActor<R> {
    type Result = MessageResult<Shutdown>;

    fn handle(&mut self, Shutdown(mode): Shutdown, ctx: &mut Self::Context) -> Self::Result {
        let outcome = match self.supervisor.life().stop_mode() {
            None => ShutdownStarted::Now,
            Some(_) => ShutdownStarted::Already,
        };
        self.stop(mode, Origin::Message, ctx);
        MessageResult(outcome)
    }
}

impl<R: Transfer + Send> Handler<SessionsAnswered> for DaemonActor<R> {
    type Result = ();

    fn handle(&mut self, _answered: SessionsAnswered, ctx: &mut Self::Context) {
        self.with_supervisor(ctx, Supervisor::on_sessions_answered);
    }
}

impl<R: Transfer + Send> Handler<Panicked> for DaemonActor<R> {
    type Result = ();

    /// Stops the daemon gracefully: children and requests are not affected by the panic.
    fn handle(&mut self, Panicked(panic): Panicked, ctx: &mut Self::Context) {
        self.with_supervisor(ctx, |supervisor, processes, now| {
            supervisor.fail(DaemonError::Panicked(panic), StopMode::Graceful, processes, now);
        });
    }
}

impl<R: Transfer + Send> Handler<WaitUntilStopped> for DaemonActor<R> {
    type Result = ResponseFuture<Result<(), DaemonError>>;

    fn handle(&mut self, _until: WaitUntilStopped, _ctx: &mut Self::Context) -> Self::Result {
        let (stopped, answer) = oneshot::channel();
        self.waiting_for_stop.push(stopped);
        answer.map(|answer| answer.unwrap_or(Err(DaemonError::ActorLost))).boxed_local()
    }
}

impl<R: Transfer + Send> Handler<ForeignChild> for DaemonActor<R> {
    type Result = Result<(), ForeignChildError>;

    fn handle(&mut self, ForeignChild(pid): ForeignChild, ctx: &mut Self::Context) -> Self::Result {
        match Watch::readable(self.processes.adopt_foreign(pid)?.as_fd(), ForeignGone) {
            Ok(watch) => {
                ctx.add_stream(watch);
            }
            Err(error) => {
                warn!(
                    self.log, "cannot watch foreign child, checking every second whether it exists";
                    "child" => pid.as_raw(), "error" => error.to_string()
                );
                ctx.run_interval(Duration::from_secs(1), |daemon, ctx| {
                    daemon.reap_foreign(ctx);
                    daemon.with_supervisor(ctx, Supervisor::reconcile);
                });
            }
        }
        self.with_supervisor(ctx, |supervisor, processes, _now| {
            supervisor.on_foreign_added(processes);
        });
        Ok(())
    }
}

/// Emitted by the watch of a foreign child when the child has exited.
#[derive(Debug, Clone, Copy)]
struct ForeignGone;

impl<R: Transfer + Send> StreamHandler<ForeignGone> for DaemonActor<R> {
    fn handle(&mut self, _gone: ForeignGone, ctx: &mut Self::Context) {
        self.reap_foreign(ctx);
        self.with_supervisor(ctx, Supervisor::reconcile);
    }

    fn finished(&mut self, _ctx: &mut Self::Context) {}
}

impl<R: Transfer + Send> Handler<BabysitterAction> for DaemonActor<R> {
    type Result = ();

    fn handle(&mut self, action: BabysitterAction, ctx: &mut Self::Context) {
        let rogue = |child, pid, violation, step, evidence| {
            let mut rogue = RogueChild::new(child, pid, violation, step);
            rogue.evidence = evidence;
            DaemonEvent::Rogue(rogue)
        };
        match action {
            BabysitterAction::Step { child, .. } if !self.supervisor.registry().contains(child) => {
                debug!(self.log, "rogue child already exited"; "slot" => child.slot.get());
            }
            BabysitterAction::Step { child, violation: Violation::Boot, .. }
                if !self.is_starting(child) =>
            {
                debug!(self.log, "child became ready late"; "slot" => child.slot.get());
            }
            BabysitterAction::Step { child, pid, violation, step, evidence } => {
                // Report the step before the events that it causes.
                let taken = RogueStep::Escalated(step);
                self.emit(rogue(child, pid, Some(violation), taken, evidence), ctx);
                self.with_supervisor(ctx, |supervisor, processes, now| {
                    supervisor.enforce(child, violation, step, processes, now);
                });
            }
            BabysitterAction::Recovered { child, pid, violation } => {
                self.emit(rogue(child, pid, Some(violation), RogueStep::Recovered, None), ctx);
            }
            BabysitterAction::Slow { child, pid, evidence } => {
                self.emit(rogue(child, pid, None, RogueStep::Slow, Some(evidence)), ctx);
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
                self.processes.oom_kills.expire();
                self.sweep_scoreboard(ctx);
                self.check_files(ctx);
            }
            BabysitterAction::RequestBacktrace { child } => {
                self.with_supervisor(ctx, |_supervisor, processes, _now| {
                    processes.signal(child, daemon_sys::Signal::Urg);
                });
            }
            BabysitterAction::LookUpSymbols { backtraces, answer } => {
                let fork_server = self.processes.fork_server.as_mut();
                let lookup = fork_server.and_then(|server| server.look_up_symbols(backtraces).ok());
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

impl<R: Transfer + Send> Handler<RegisterWith> for DaemonActor<R> {
    type Result = ();

    fn handle(&mut self, RegisterWith(service): RegisterWith, ctx: &mut Context<Self>) {
        let daemon = DaemonAddress::of(&ctx.address());
        let grace = self.supervisor.grace();
        let link = ServiceLink::start(daemon, service.clone(), grace, self.log.clone());
        // Subscribe before registering, so that the `ServiceLink` receives the current events
        // before the commands of the service.
        let subscribe = Subscribe::<DaemonEvent>::new("service", link.clone());
        let current = self.current_events();
        self.events.subscribe(subscribe, &current);
        service.do_send(Register {
            recipient: link.clone().recipient(),
            health: Some(link.recipient()),
            signals: SignalOwner::Participant,
        });
        self.status_updates = StatusUpdates::Ready(service);
        self.update_service_status(ctx);
    }
}
