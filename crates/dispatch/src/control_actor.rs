//! The actor beside the dispatcher's: what the daemon has to tell, and what is to be cancelled, waits
//! behind no request.

use std::rc::Rc;

use actix::{Actor, Addr, Context, Handler, Message, MessageResult, Recipient, ResponseFuture};
use actix_daemon::{
    ChildBorn, ChildExited, DaemonAccept, DaemonActor, DaemonPause, DaemonPhase, DaemonShutdown,
    ShutdownReason, Subscribe,
};
use daemon_core::{OperatorPause, Phase, StopMode};
use daemon_forkserver::Transfer;

use crate::dispatcher::{DispatcherActor, ForgetCancelled};
use crate::engine::{CancelLookup, SharedEngine};
use crate::request::{IfRunning, RequestId};
use crate::scheduler::CancelOutcome;

/// Asks for the end of a request, by [`RunningDispatcher::cancel`](crate::RunningDispatcher::cancel): one that has not
/// begun is not begun; of one that runs the worker is killed, or it goes on.
///
/// It never stands in line behind requests that wait for room, and may come before the very request
/// that it means: that is answered as cancelled when it comes.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "CancelOutcome")]
pub struct Cancel {
    /// Which request.
    pub id: RequestId,
    /// What becomes of it if it runs.
    pub if_running: IfRunning,
}

impl Handler<Cancel> for ControlActor {
    type Result = MessageResult<Cancel>;

    fn handle(&mut self, cancel: Cancel, _ctx: &mut Self::Context) -> Self::Result {
        let cancelled = self.shared.borrow_mut().cancel(cancel.id, cancel.if_running);
        MessageResult(match cancelled {
            CancelLookup::NotArrived => {
                // It is remembered until all that is on its way has come.
                self.dispatcher.do_send(ForgetCancelled(cancel.id));
                CancelOutcome::Unknown
            }
            CancelLookup::Found(outcome) => outcome,
        })
    }
}

/// Who hears what the daemon has to tell, and what is to be cancelled: never behind requests that wait
/// for room.
pub(crate) struct ControlActor {
    shared: SharedEngine,
    dispatcher: Addr<DispatcherActor>,
}

impl ControlActor {
    /// Starts it. What it answers with is where requests are cancelled.
    pub(crate) fn begin<R: Transfer + Send>(
        shared: &SharedEngine,
        daemon: &Addr<DaemonActor<R>>,
        dispatcher: Addr<DispatcherActor>,
    ) -> Recipient<Cancel> {
        let control = ControlActor { shared: Rc::clone(shared), dispatcher }.start();
        let name = "dispatcher";
        daemon.do_send(Subscribe::<ChildBorn>::new(name, control.clone()));
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

impl Handler<ChildBorn> for ControlActor {
    type Result = ();

    fn handle(&mut self, born: ChildBorn, _ctx: &mut Self::Context) {
        self.shared.borrow_mut().worker_born(born.child, born.pid);
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

    /// The farewell is said when all is answered; the daemon's grace is the most it waits.
    fn handle(&mut self, shutdown: DaemonShutdown, _ctx: &mut Self::Context) -> Self::Result {
        let manner = match shutdown.reason {
            ShutdownReason::StoppingNow => StopMode::Immediate,
            ShutdownReason::Stopping
            | ShutdownReason::Retired
            | ShutdownReason::Recycled
            | ShutdownReason::Done => StopMode::Graceful,
        };
        let drained = self.shared.borrow_mut().stop(manner);
        Box::pin(async move {
            // Either way there is nothing more to wait for.
            let _ = drained.await;
        })
    }
}
