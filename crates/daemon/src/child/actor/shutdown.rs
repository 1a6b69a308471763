//! What a child is asked to look at, what it waits for before it leaves, and what ends it at once.

use actix::{Handler, Message};
use daemon_forkserver::{EXIT_PANIC, now};
use slog::error;

use super::{ChildActor, ShutdownAck};
use crate::messages::ShutdownReason;

/// All sessions have answered to the shutdown.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct ShutdownAcknowledged;

impl Handler<ShutdownAcknowledged> for ChildActor {
    type Result = ();

    fn handle(&mut self, _said: ShutdownAcknowledged, ctx: &mut Self::Context) {
        self.shutdown_ack = ShutdownAck::Received;
        self.leave_if_done(ctx);
    }
}

/// A piece of code begins that the child waits for.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct WorkStarted;

impl Handler<WorkStarted> for ChildActor {
    type Result = ();

    fn handle(&mut self, _check_in: WorkStarted, _ctx: &mut Self::Context) {
        self.in_flight += 1;
    }
}

/// The piece of code has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct WorkFinished;

impl Handler<WorkFinished> for ChildActor {
    type Result = ();

    fn handle(&mut self, _check_out: WorkFinished, ctx: &mut Self::Context) {
        self.in_flight = self.in_flight.saturating_sub(1);
        // Who held the child did all of its work: without it there is nothing to stay for, and no
        // request in hand.
        self.state.borrow_mut().gone(now());
        self.request_leave(ShutdownReason::Done, ctx);
    }
}

/// Who accepts has seen that the operator holds the daemon.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct RecheckPause;

impl Handler<RecheckPause> for ChildActor {
    type Result = ();

    fn handle(&mut self, _look: RecheckPause, _ctx: &mut Self::Context) {
        self.recheck_operator_pause();
    }
}

/// A panic has happened in this process, and the child's session did not survive it.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SessionPanicked;

impl Handler<SessionPanicked> for ChildActor {
    type Result = ();

    fn handle(&mut self, _lost: SessionPanicked, ctx: &mut Self::Context) {
        error!(self.context.log, "the child's session has panicked; the child leaves");
        self.end(EXIT_PANIC, ctx);
    }
}
