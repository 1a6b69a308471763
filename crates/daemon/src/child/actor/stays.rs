//! What a child is asked to look at, what it waits for before it leaves, and what ends it at once.

use actix::{Handler, Message};
use daemon_forkserver::{EXIT_PANIC, now};
use slog::error;

use super::{ChildActor, Farewell};
use crate::messages::ShutdownReason;

/// All sessions have answered to the shutdown.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct FarewellsSaid;

impl Handler<FarewellsSaid> for ChildActor {
    type Result = ();

    fn handle(&mut self, _said: FarewellsSaid, ctx: &mut Self::Context) {
        self.farewell = Farewell::Answered;
        self.leave_if_done(ctx);
    }
}

/// A piece of code begins that the child waits for.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct CheckIn;

impl Handler<CheckIn> for ChildActor {
    type Result = ();

    fn handle(&mut self, _check_in: CheckIn, _ctx: &mut Self::Context) {
        self.inside += 1;
    }
}

/// The piece of code has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct CheckOut;

impl Handler<CheckOut> for ChildActor {
    type Result = ();

    fn handle(&mut self, _check_out: CheckOut, ctx: &mut Self::Context) {
        self.inside = self.inside.saturating_sub(1);
        // Who held the child did all of its work: without it there is nothing to stay for, and no
        // request in hand.
        self.desk.borrow_mut().gone(now());
        self.dismiss(ShutdownReason::Done, ctx);
    }
}

/// Who accepts has seen that the operator holds the daemon.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Look;

impl Handler<Look> for ChildActor {
    type Result = ();

    fn handle(&mut self, _look: Look, _ctx: &mut Self::Context) {
        self.look_at_the_hold();
    }
}

/// A panic has happened in this process, and the child's session did not survive it.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SessionLost;

impl Handler<SessionLost> for ChildActor {
    type Result = ();

    fn handle(&mut self, _lost: SessionLost, ctx: &mut Self::Context) {
        error!(self.life.log, "the child's session has panicked; the child leaves");
        self.end(EXIT_PANIC, ctx);
    }
}
