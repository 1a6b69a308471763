//! Handles the signals that the parent receives, and most of its messages.

use std::os::fd::AsFd;
use std::time::Duration;

use actix::{
    AsyncContext, Context, Handler, Message, MessageResult, ResponseFuture, StreamHandler,
};
use daemon_core::{OperatorPause, ParentAction, Signal, parent_action};
use daemon_forkserver::Transfer;
use daemon_protocol::Report;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::ready;
use slog::{debug, info, warn};

use super::actor::DaemonActor;
use super::backlog::PendingRequest;
use super::origin::Origin;
use super::supervisor::Supervisor;
use crate::blocking::blocking;
use crate::error::DaemonError;
use crate::messages::{
    CommandError, Detail, ForeignChild, ForeignChildError, ForeignExited, GetStatus, HandOver,
    HandOverError, HandOverErrorReason, HandedOver, Peek, Reload, ReloadStarted, Resize, Resized,
    Shutdown, ShutdownStarted, StatusError, Subscribe, UpdateStatus, Updated, WaitUntilStopped,
};
use crate::process_table;
use crate::sessions::Broadcast;
use crate::watch::Watch;

/// How long a status query waits for the process table. After that, the query is answered without
/// the resource usage of the processes.
const TIMEOUT: Duration = Duration::from_secs(2);

impl<R: Transfer + Send> Handler<HandOver<R>> for DaemonActor<R> {
    type Result = ResponseFuture<Result<HandedOver, HandOverError<R>>>;

    fn handle(&mut self, HandOver(request): HandOver<R>, ctx: &mut Self::Context) -> Self::Result {
        let (reply, answer) = oneshot::channel();
        let mut pending = Some(PendingRequest::new(request, reply));
        self.with_supervisor(ctx, |supervisor, processes, now| {
            if let Some(pending) = pending.take() {
                supervisor.hand_over(pending, processes, now);
            }
        });
        if let Some(pending) = pending {
            pending.hand_back(HandOverErrorReason::NotPostForking);
        }
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
        warn!(
            self.log, "status update rejected";
            "error" => StatusError::InParent.to_string()
        );
        Err(StatusError::InParent)
    }
}

impl<R: Transfer + Send, M: Broadcast> Handler<Subscribe<M>> for DaemonActor<R> {
    type Result = MessageResult<Subscribe<M>>;

    fn handle(&mut self, subscribe: Subscribe<M>, _ctx: &mut Self::Context) -> Self::Result {
        MessageResult::<Subscribe<M>>(self.sessions.subscribe(subscribe, &self.retained))
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
                // A separate thread reads them, so that only this query waits.
                let usages = blocking(TIMEOUT, move || process_table::usages(&pids)).await;
                let usages = usages.unwrap_or_default();
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
            .unwrap_or(Err(CommandError::NoPool { action: "reload" }))
    }
}

impl<R: Transfer + Send> Handler<Resize> for DaemonActor<R> {
    type Result = Result<Resized, CommandError>;

    fn handle(&mut self, resize: Resize, ctx: &mut Self::Context) -> Self::Result {
        self.resize(resize, Origin::Message, ctx)
    }
}

impl<R: Transfer + Send> Handler<ForeignChild> for DaemonActor<R> {
    type Result = Result<(), ForeignChildError>;

    fn handle(&mut self, ForeignChild(pid): ForeignChild, ctx: &mut Self::Context) -> Self::Result {
        let watch = Watch::readable(self.foreign.adopt(pid)?.as_fd(), ForeignGone);
        match watch {
            Ok(watch) => {
                ctx.add_stream(watch);
            }
            // Without a watch, the exit of the child is noticed only when the daemon stops.
            Err(error) => warn!(
                self.log, "cannot watch foreign child";
                "child" => pid.as_raw(), "error" => error.to_string()
            ),
        }
        if self.stopping.is_some() {
            // The daemon is stopping already, so stop this child like the other foreign children.
            self.foreign.signal_all(daemon_sys::Signal::Term);
            ctx.run_later(self.context.grace, Self::on_grace_expired);
        }
        Ok(())
    }
}

impl<R: Transfer + Send> Handler<Shutdown> for DaemonActor<R> {
    type Result = MessageResult<Shutdown>;

    fn handle(&mut self, Shutdown(mode): Shutdown, ctx: &mut Self::Context) -> Self::Result {
        let outcome = match self.stopping {
            None => ShutdownStarted::Now,
            Some(_) => ShutdownStarted::Already,
        };
        self.stop(mode, Origin::Message, ctx);
        MessageResult(outcome)
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

/// Sent to the actor when the parent has received a signal.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub(crate) struct SignalReceived(pub(crate) Signal);

impl<R: Transfer + Send> Handler<SignalReceived> for DaemonActor<R> {
    type Result = ();

    fn handle(&mut self, SignalReceived(signal): SignalReceived, ctx: &mut Self::Context) {
        debug!(self.log, "signal received"; "signal" => signal.name());
        let by = Origin::Signal(signal);
        match parent_action(signal, self.stopping) {
            ParentAction::Stop(mode) => self.stop(mode, by, ctx),
            ParentAction::Hangup => self.reopen_logs(ctx),
            ParentAction::Peek => {
                info!(self.log, "peek"; "state" => format!("\n{}", self.peek(Detail::Verbose)));
            }
            ParentAction::AddChild => self.resize_by_signal(Resize::More, by, ctx),
            ParentAction::RemoveChild => self.resize_by_signal(Resize::Fewer, by, ctx),
            ParentAction::Pause => self.pause_by_signal(OperatorPause::On, by, ctx),
            ParentAction::Resume => self.pause_by_signal(OperatorPause::Off, by, ctx),
            ParentAction::Ignore => {}
        }
    }
}

impl<R: Transfer + Send> DaemonActor<R> {
    fn resize(
        &mut self,
        resize: Resize,
        by: Origin,
        ctx: &mut Context<Self>,
    ) -> Result<Resized, CommandError> {
        let resized = self.with_supervisor(ctx, |supervisor, processes, now| {
            supervisor.resize(resize, processes, now)
        });
        let resized = resized.unwrap_or(Err(CommandError::NoPool { action: "resize" }))?;
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

    /// Changes the number of children after a signal. A signal has no answer, so a refusal is
    /// logged.
    fn resize_by_signal(&mut self, resize: Resize, by: Origin, ctx: &mut Context<Self>) {
        if let Err(refusal) = self.resize(resize, by, ctx) {
            self.log_refusal(&refusal, by);
        }
    }

    fn pause_by_signal(&mut self, pause: OperatorPause, by: Origin, ctx: &mut Context<Self>) {
        if let Err(refusal) = self.set_operator_pause(pause, by, ctx) {
            self.log_refusal(&refusal, by);
        }
    }

    fn log_refusal(&self, refusal: &CommandError, by: Origin) {
        warn!(self.log, "command refused"; "by" => %by, "error" => refusal.to_string());
    }
}

impl<R: Transfer + Send> DaemonActor<R> {
    /// Removes the foreign children that have exited, and logs and broadcasts their exits.
    pub(super) fn reap_foreign_children(&mut self) {
        for pid in self.foreign.remove_gone() {
            info!(self.log, "foreign child exited"; "child" => pid.as_raw());
            self.sessions.foreign.broadcast(&ForeignExited::new(pid));
        }
    }
}

/// Emitted by the watch of a foreign child when the child has exited.
#[derive(Debug, Clone, Copy)]
struct ForeignGone;

impl<R: Transfer + Send> StreamHandler<ForeignGone> for DaemonActor<R> {
    fn handle(&mut self, _gone: ForeignGone, ctx: &mut Self::Context) {
        self.reap_foreign_children();
        self.finish_if_all_gone(ctx);
    }

    fn finished(&mut self, _ctx: &mut Self::Context) {}
}
