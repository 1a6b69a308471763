//! The control actor. It has its own mailbox for the daemon's events and [`Cancel`] messages, so
//! that they do not wait behind requests in the dispatcher's mailbox.

use actix::{Actor, Addr, Context, Handler, Message, Recipient, ResponseFuture};
use actix_daemon::{
    ChildExited, ChildForked, DaemonAccept, DaemonActor, DaemonPause, DaemonPhase, DaemonShutdown,
    ShutdownReason, Subscribe,
};
use daemon_core::{OperatorPause, Phase, StopMode};
use daemon_forkserver::Transfer;
use futures::channel::oneshot;

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
        let name = "dispatcher";
        daemon.do_send(Subscribe::<ChildForked>::new(name, control.clone()));
        daemon.do_send(Subscribe::<ChildExited>::new(name, control.clone()));
        daemon.do_send(Subscribe::<DaemonPause>::new(name, control.clone()));
        daemon.do_send(Subscribe::<DaemonAccept>::new(name, control.clone()));
        daemon.do_send(Subscribe::<DaemonPhase>::new(name, control.clone()));
        daemon.do_send(Subscribe::<DaemonShutdown>::new(name, control.clone()));
        control.recipient()
    }
}

impl Actor for ControlActor {
    type Context = Context<Self>;
}

impl Handler<ChildForked> for ControlActor {
    type Result = ();

    fn handle(&mut self, forked: ChildForked, _ctx: &mut Self::Context) {
        self.inputs.send(Input::WorkerForked(forked.child, forked.pid));
    }
}

impl Handler<ChildExited> for ControlActor {
    type Result = ();

    fn handle(&mut self, exited: ChildExited, _ctx: &mut Self::Context) {
        self.inputs.send(Input::WorkerExited(exited));
    }
}

impl Handler<DaemonPause> for ControlActor {
    type Result = ();

    fn handle(&mut self, _pause: DaemonPause, _ctx: &mut Self::Context) {
        self.inputs.send(Input::OperatorPause(OperatorPause::On));
    }
}

impl Handler<DaemonAccept> for ControlActor {
    type Result = ();

    fn handle(&mut self, _accept: DaemonAccept, _ctx: &mut Self::Context) {
        self.inputs.send(Input::OperatorPause(OperatorPause::Off));
    }
}

impl Handler<DaemonPhase> for ControlActor {
    type Result = ();

    fn handle(&mut self, DaemonPhase(phase): DaemonPhase, _ctx: &mut Self::Context) {
        match phase {
            Phase::Stopped => self.inputs.send(Input::DaemonStopped),
            Phase::Starting | Phase::Running | Phase::Stopping => {}
        }
    }
}

impl Handler<DaemonShutdown> for ControlActor {
    type Result = ResponseFuture<()>;

    /// Completes when all requests have been answered. The daemon waits for this response, but not
    /// longer than its grace period.
    fn handle(&mut self, shutdown: DaemonShutdown, _ctx: &mut Self::Context) -> Self::Result {
        let mode = match shutdown.reason {
            ShutdownReason::StoppingNow => StopMode::Immediate,
            ShutdownReason::Stopping
            | ShutdownReason::Retired
            | ShutdownReason::Recycled
            | ShutdownReason::Done => StopMode::Graceful,
        };
        let (sender, drained) = oneshot::channel();
        self.inputs.send(Input::Stop(mode, sender));
        Box::pin(async move {
            // An error means that the sending half of this channel was dropped with the engine. In
            // that case there is nothing to wait for.
            let _ = drained.await;
        })
    }
}
