//! Handles the messages that the sessions of a child send to the child's `ChildActor`.

use actix::{Handler, MessageResult};
use daemon_core::StopMode;
use daemon_forkserver::now;
use slog::debug;

use super::super::state::NextAction;
use super::{ACCEPT, ChildActor, ShutdownAck};
use crate::events::Broadcast;
use crate::messages::{
    GetStatus, Peek, SetLabel, Shutdown, ShutdownReason, ShutdownStarted, StatusError, Subscribe,
    UpdateStatus, Updated,
};

impl Handler<UpdateStatus> for ChildActor {
    type Result = Result<Updated, StatusError>;

    fn handle(&mut self, update: UpdateStatus, ctx: &mut Self::Context) -> Self::Result {
        let next = self.state.borrow_mut().update(update, now());
        match next {
            Ok(NextAction::Accept) if self.shutdown_ack == ShutdownAck::Received => {
                self.leave_if_done(ctx);
                Ok(Updated::Leaving(ShutdownReason::Stopping))
            }
            // A child that is leaving ignores the operator's pause, because it still serves the
            // listener's backlog.
            Ok(NextAction::Accept) if self.is_paused_by_operator() => Ok(Updated::Paused),
            Ok(NextAction::Accept) => {
                self.events.emit(ACCEPT);
                self.may_accept = true;
                Ok(Updated::Accepting)
            }
            Ok(NextAction::Continue) => {
                self.may_accept = false;
                Ok(Updated::Recorded)
            }
            Ok(NextAction::Leave(reason)) => {
                self.request_leave(reason, ctx);
                Ok(Updated::Leaving(reason))
            }
            Err(refused) => {
                debug!(self.context.log, "status refused"; "error" => %refused);
                Err(refused.into())
            }
        }
    }
}

impl Handler<SetLabel> for ChildActor {
    type Result = ();

    fn handle(&mut self, label: SetLabel, _ctx: &mut Self::Context) {
        self.state.borrow_mut().label(&label.0);
    }
}

impl<M: Broadcast> Handler<Subscribe<M>> for ChildActor {
    type Result = MessageResult<Subscribe<M>>;

    fn handle(&mut self, subscribe: Subscribe<M>, _ctx: &mut Self::Context) -> Self::Result {
        let current = self.current_events();
        MessageResult::<Subscribe<M>>(self.events.subscribe(subscribe, &current))
    }
}

impl Handler<Shutdown> for ChildActor {
    type Result = MessageResult<Shutdown>;

    fn handle(&mut self, Shutdown(mode): Shutdown, ctx: &mut Self::Context) -> Self::Result {
        let outcome = match self.state.borrow().leaving() {
            None => ShutdownStarted::Now,
            Some(_) => ShutdownStarted::Already,
        };
        match mode {
            StopMode::Graceful => self.request_leave(ShutdownReason::Retired, ctx),
            StopMode::Immediate => self.end(0, ctx),
        }
        MessageResult(outcome)
    }
}

impl Handler<GetStatus> for ChildActor {
    type Result = MessageResult<GetStatus>;

    /// Does not read the process table, because the child cannot serve a request during the read.
    /// Only the parent reads the table.
    fn handle(&mut self, _status: GetStatus, _ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.report())
    }
}

impl Handler<Peek> for ChildActor {
    type Result = String;

    fn handle(&mut self, peek: Peek, _ctx: &mut Self::Context) -> Self::Result {
        self.peek(peek.detail)
    }
}
