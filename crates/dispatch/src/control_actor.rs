//! The control actor. It has its own mailbox for the daemon's events and [`Cancel`] messages, so
//! that they do not wait behind requests in the dispatcher's mailbox.

use std::rc::Rc;

use actix::{Actor, Addr, Context, Handler, Message, MessageResult, Recipient, ResponseFuture};
use actix_daemon::{
    ChildExited, ChildForked, DaemonAccept, DaemonActor, DaemonPause, DaemonPhase, DaemonShutdown,
    ShutdownReason, Subscribe,
};
use daemon_core::{OperatorPause, Phase, StopMode};
use daemon_forkserver::Transfer;

use crate::dispatcher::{DispatcherActor, ForgetCancelled};
use crate::engine::{CancelLookup, SharedEngine};
use crate::request::{IfRunning, RequestId};
use crate::scheduler::CancelOutcome;

/// Cancels a request. Sent to [`RunningDispatcher::cancel`](crate::RunningDispatcher::cancel).
///
/// A request that has not started is answered as cancelled. If the request is running, `if_running`
/// decides whether its worker is killed or the request continues.
///
/// The message does not wait behind requests that wait for queue capacity, so it can arrive before
/// the request itself. In that case the request is answered as cancelled when it arrives.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "CancelOutcome")]
pub struct Cancel {
    /// The id of the request.
    pub id: RequestId,
    /// What happens if the request is running.
    pub if_running: IfRunning,
}

impl Handler<Cancel> for ControlActor {
    type Result = MessageResult<Cancel>;

    fn handle(&mut self, cancel: Cancel, _ctx: &mut Self::Context) -> Self::Result {
        let cancelled = self.shared.borrow_mut().cancel(cancel.id, cancel.if_running);
        MessageResult(match cancelled {
            CancelLookup::NotArrived => {
                // The engine keeps the cancellation until the dispatcher receives
                // `ForgetCancelled`, which it receives after all messages that were sent to it
                // earlier.
                self.dispatcher.do_send(ForgetCancelled(cancel.id));
                CancelOutcome::Unknown
            }
            CancelLookup::Found(outcome) => outcome,
        })
    }
}

/// Handles the daemon's events and [`Cancel`] messages, which must not wait behind requests.
pub(crate) struct ControlActor {
    shared: SharedEngine,
    dispatcher: Addr<DispatcherActor>,
}

impl ControlActor {
    /// Starts the actor. Returns the recipient of [`Cancel`] messages.
    pub(crate) fn begin<R: Transfer + Send>(
        shared: &SharedEngine,
        daemon: &Addr<DaemonActor<R>>,
        dispatcher: Addr<DispatcherActor>,
    ) -> Recipient<Cancel> {
        let control = ControlActor { shared: Rc::clone(shared), dispatcher }.start();
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
        self.shared.borrow_mut().worker_forked(forked.child, forked.pid);
    }
}

impl Handler<ChildExited> for ControlActor {
    type Result = ();

    fn handle(&mut self, exited: ChildExited, _ctx: &mut Self::Context) {
        self.shared.borrow_mut().worker_exited(&exited);
    }
}

impl Handler<DaemonPause> for ControlActor {
    type Result = ();

    fn handle(&mut self, _pause: DaemonPause, _ctx: &mut Self::Context) {
        self.shared.borrow_mut().set_operator_pause(OperatorPause::On);
    }
}

impl Handler<DaemonAccept> for ControlActor {
    type Result = ();

    fn handle(&mut self, _accept: DaemonAccept, _ctx: &mut Self::Context) {
        self.shared.borrow_mut().set_operator_pause(OperatorPause::Off);
    }
}

impl Handler<DaemonPhase> for ControlActor {
    type Result = ();

    fn handle(&mut self, DaemonPhase(phase): DaemonPhase, _ctx: &mut Self::Context) {
        match phase {
            Phase::Stopped => self.shared.borrow_mut().daemon_stopped(),
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
        let drained = self.shared.borrow_mut().stop(mode);
        Box::pin(async move {
            // An error means that the sending half of this channel was dropped with the engine. In
            // that case there is nothing to wait for.
            let _ = drained.await;
        })
    }
}
