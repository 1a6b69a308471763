//! The control actor. It has its own mailbox for the daemon's events and [`Cancel`] messages, so
//! that they do not wait behind requests in the dispatcher's mailbox.

use actix::{Actor, Addr, Context, Handler, Message, Recipient, ResponseFuture};
use actix_daemon::{DaemonActor, DaemonEvent, ShutdownReason, Subscribe};
use daemon_core::{Phase, StopMode};
use daemon_forkserver::Transfer;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::ready;

use crate::engine::{Input, InputSender};
use crate::request::{CancellationToken, IfRunning};
use crate::scheduler::CancelOutcome;

/// Cancels a request. Sent to [`RunningDispatcher::cancel`](crate::RunningDispatcher::cancel).
///
/// A request that has not started is answered as cancelled. If the request is running, `if_running`
/// decides whether its worker is killed or the request continues.
///
/// The message does not wait behind requests that wait for queue capacity, so it can arrive before
/// the request itself. In that case the request is answered as cancelled when it arrives.
#[derive(Message, Debug, Clone)]
#[rtype(result = "CancelOutcome")]
pub struct Cancel {
    /// The token of the request.
    pub token: CancellationToken,
    /// What happens if the request is running.
    pub if_running: IfRunning,
}

impl Handler<Cancel> for ControlActor {
    type Result = ResponseFuture<CancelOutcome>;

    fn handle(&mut self, cancel: Cancel, _ctx: &mut Self::Context) -> Self::Result {
        let (sender, outcome) = oneshot::channel();
        self.inputs.send(Input::Cancel(cancel.token, cancel.if_running, sender));
        // If the engine has ended, the request does not exist any more.
        Box::pin(async move { outcome.await.unwrap_or(CancelOutcome::Unknown) })
    }
}

/// Passes the daemon's events and [`Cancel`] messages to the engine. They must not wait behind
/// requests.
pub(crate) struct ControlActor {
    inputs: InputSender,
}

impl ControlActor {
    /// Starts the actor. Returns the recipient of [`Cancel`] messages.
    pub(crate) fn begin<R: Transfer + Send>(
        inputs: InputSender,
        daemon: &Addr<DaemonActor<R>>,
    ) -> Recipient<Cancel> {
        let control = ControlActor { inputs }.start();
        daemon.do_send(Subscribe::<DaemonEvent>::new("dispatcher", control.clone()));
        control.recipient()
    }
}

impl Actor for ControlActor {
    type Context = Context<Self>;
}

impl Handler<DaemonEvent> for ControlActor {
    type Result = ResponseFuture<()>;

    /// Passes the event on. The response to a shutdown and to the end of the daemon arrives when
    /// all requests have been answered. The daemon waits for it, but not longer than its grace
    /// period.
    fn handle(&mut self, event: DaemonEvent, _ctx: &mut Self::Context) -> Self::Result {
        match event {
            DaemonEvent::Forked(forked) => {
                self.inputs.send(Input::WorkerForked(forked.child, forked.pid));
            }
            DaemonEvent::Exited(exited) => self.inputs.send(Input::WorkerExited(exited)),
            DaemonEvent::OperatorPause { state } => self.inputs.send(Input::OperatorPause(state)),
            DaemonEvent::Phase { phase: Phase::Stopped } => {
                let (sender, answered) = oneshot::channel();
                self.inputs.send(Input::DaemonStopped(sender));
                return Box::pin(answered.map(|_answered| ()));
            }
            DaemonEvent::Shutdown { reason } => {
                let mode = match reason {
                    ShutdownReason::StoppingNow => StopMode::Immediate,
                    ShutdownReason::Stopping
                    | ShutdownReason::Retired
                    | ShutdownReason::Recycled
                    | ShutdownReason::Done => StopMode::Graceful,
                };
                let (sender, drained) = oneshot::channel();
                self.inputs.send(Input::Stop(mode, sender));
                // If the engine has ended, there is nothing to wait for.
                return Box::pin(drained.map(|_drained| ()));
            }
            // The other events do not concern tasks.
            _ => {}
        }
        Box::pin(ready(()))
    }
}
