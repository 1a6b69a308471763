//! Handles the internal messages of a child: mainly those that decide when the child exits.

use actix::{Handler, Message};
use daemon_forkserver::{EXIT_PANIC, now};
use slog::error;

use super::{ChildActor, ShutdownAck};
use crate::messages::ShutdownReason;

/// All sessions have responded to the shutdown.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct ShutdownAcknowledged;

impl Handler<ShutdownAcknowledged> for ChildActor {
    type Result = ();

    fn handle(&mut self, _acknowledged: ShutdownAcknowledged, ctx: &mut Self::Context) {
        self.shutdown_ack = ShutdownAck::Received;
        self.leave_if_done(ctx);
    }
}

/// A task has started, and must end before the child exits.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct WorkStarted;

impl Handler<WorkStarted> for ChildActor {
    type Result = ();

    fn handle(&mut self, _started: WorkStarted, _ctx: &mut Self::Context) {
        self.in_flight += 1;
    }
}

/// A task that [`WorkStarted`] has announced has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct WorkFinished;

impl Handler<WorkFinished> for ChildActor {
    type Result = ();

    fn handle(&mut self, _finished: WorkFinished, ctx: &mut Self::Context) {
        self.in_flight = self.in_flight.saturating_sub(1);
        // The task has handled all requests of the child, so now no request is in progress and the
        // child exits.
        self.state.borrow_mut().report_leaving(now());
        self.request_leave(ShutdownReason::Done, ctx);
    }
}

/// The task that accepts connections has seen that the operator has paused the daemon.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct RecheckPause;

impl Handler<RecheckPause> for ChildActor {
    type Result = ();

    fn handle(&mut self, _recheck: RecheckPause, _ctx: &mut Self::Context) {
        self.recheck_operator_pause();
    }
}

/// The child's session has panicked.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SessionPanicked;

impl Handler<SessionPanicked> for ChildActor {
    type Result = ();

    fn handle(&mut self, _panicked: SessionPanicked, ctx: &mut Self::Context) {
        error!(self.context.log, "session panicked, the child exits");
        self.end(EXIT_PANIC, ctx);
    }
}
