//! The daemon's actor in a child, which records statuses and shuts the child down.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::rc::Rc;

use actix::fut::WrapFuture;
use actix::{
    Actor, ActorContext, AsyncContext, Context, Handler, Message, MessageResult, StreamHandler,
};
use daemon_core::{
    AcceptState, ChildAction, ChildKind, OperatorPause, Signal, StopMode, child_action,
};
use daemon_forkserver::{EXIT_PANIC, EXIT_SOFTWARE, now};
use daemon_protocol::{Report, Reporter};
use daemon_sys::process::{Pid, parent_pid};
use daemon_sys::signals::SignalListener;
use daemon_sys::signals::terminate_after;
use futures::FutureExt;
use futures::channel::oneshot;
use slog::{debug, error, info};
use tokio::sync::watch;

use super::state::{ChildState, NextAction};
use super::{EXIT_CANNOT_ACCEPT, ProcessContext};
use crate::events::{Broadcast, DaemonEvent, Events};
use crate::messages::{
    Detail, GetStatus, Peek, SetLabel, Shutdown, ShutdownReason, ShutdownStarted, StatusError,
    Subscribe, UpdateStatus, Updated,
};
use crate::peek;
use crate::watch::Watch;

const ACCEPT: DaemonEvent = DaemonEvent::Accepting { state: AcceptState::Accepting };
const PAUSE: DaemonEvent = DaemonEvent::Accepting { state: AcceptState::Paused };

/// The daemon in a child process.
///
/// Sessions send [`UpdateStatus`](crate::UpdateStatus) to this actor to report what they do. The
/// actor broadcasts [`DaemonAccept`](crate::DaemonAccept) when a session may accept a request, and
/// [`DaemonShutdown`](crate::DaemonShutdown) when the child shuts down. The actor holds the child's
/// seat on the scoreboard. It cannot fork.
#[derive(Debug)]
pub struct ChildActor {
    state: Rc<RefCell<ChildState>>,
    signals: &'static SignalListener,
    fork_server: Option<Pid>,
    context: ProcessContext,
    events: Events,
    /// Whether the session has received `DaemonAccept`, and has not reported to this actor that a
    /// request has started.
    may_accept: bool,
    shutdown_ack: ShutdownAck,
    /// The number of tasks that must end before the child exits.
    in_flight: u32,
    leaving: watch::Sender<Option<ShutdownReason>>,
    /// The operator's pause, as last read from the scoreboard.
    operator_pause: watch::Sender<OperatorPause>,
    end: Option<oneshot::Sender<i32>>,
}

/// Whether the sessions have acknowledged the shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShutdownAck {
    NotRequested,
    Requested,
    Received,
}

impl ShutdownAck {
    fn word(self) -> &'static str {
        match self {
            ShutdownAck::NotRequested => "not requested",
            ShutdownAck::Requested => "awaited",
            ShutdownAck::Received => "received",
        }
    }
}

impl ChildActor {
    pub(crate) fn new(
        state: Rc<RefCell<ChildState>>,
        signals: &'static SignalListener,
        leaving: watch::Sender<Option<ShutdownReason>>,
        operator_pause: watch::Sender<OperatorPause>,
        context: ProcessContext,
        end: oneshot::Sender<i32>,
    ) -> Self {
        ChildActor {
            state,
            signals,
            fork_server: parent_pid(),
            context,
            events: Events::default(),
            may_accept: false,
            shutdown_ack: ShutdownAck::NotRequested,
            in_flight: 0,
            leaving,
            operator_pause,
            end: Some(end),
        }
    }

    /// Does what follows a recorded status.
    fn on_updated(&mut self, next: NextAction, ctx: &mut Context<Self>) -> Updated {
        match next {
            NextAction::Accept if self.shutdown_ack == ShutdownAck::Received => {
                self.leave_if_done(ctx);
                Updated::Leaving(ShutdownReason::Stopping)
            }
            // A child that is leaving ignores the operator's pause, because it still serves the
            // listener's backlog.
            NextAction::Accept if self.is_paused_by_operator() => Updated::Paused,
            NextAction::Accept => {
                self.events.emit(ACCEPT);
                self.may_accept = true;
                Updated::Accepting
            }
            NextAction::Continue => {
                self.may_accept = false;
                Updated::Recorded
            }
            NextAction::Leave(reason) => {
                self.request_leave(reason, ctx);
                Updated::Leaving(reason)
            }
        }
    }

    /// Makes the child exit when its current request is done.
    fn request_leave(&mut self, reason: ShutdownReason, ctx: &mut Context<Self>) {
        let NextAction::Leave(reason) = self.state.borrow_mut().leave(reason) else {
            return;
        };
        debug!(self.context.log, "leaving"; "reason" => reason.word());
        self.leaving.send_replace(Some(reason));
        if self.shutdown_ack == ShutdownAck::NotRequested {
            self.shutdown_ack = ShutdownAck::Requested;
            let address = ctx.address();
            let answers = self.events.emit_and_wait(DaemonEvent::Shutdown { reason });
            // The acknowledgement goes through the mailbox, behind all messages that the
            // sessions sent before they responded.
            ctx.spawn(
                answers
                    .map(move |()| address.do_send(ChildMessage::ShutdownAcknowledged))
                    .into_actor(self),
            );
            self.accept_remaining(reason);
        }
        self.leave_if_done(ctx);
    }

    fn leave_if_done(&mut self, ctx: &mut Context<Self>) {
        let is_done = {
            let state = self.state.borrow();
            state.leaving().is_some() && !state.status().is_busy()
        };
        if is_done && self.shutdown_ack == ShutdownAck::Received && self.in_flight == 0 {
            self.end(0, ctx);
        }
    }

    fn end(&mut self, code: i32, ctx: &mut Context<Self>) {
        self.state.borrow_mut().report_leaving(now());
        if let Some(end) = self.end.take() {
            // The receiver is the child's main function, which waits for this message.
            let _ = end.send(code);
        }
        ctx.stop();
    }

    fn is_paused_by_operator(&self) -> bool {
        *self.operator_pause.borrow() == OperatorPause::On
            && self.state.borrow().leaving().is_none()
    }

    /// If the daemon stops while the operator has paused it, makes an idle child accept requests
    /// again. The child then serves the listener's backlog, as all children do when the daemon
    /// stops without a pause.
    fn accept_remaining(&mut self, reason: ShutdownReason) {
        let is_paused = *self.operator_pause.borrow() == OperatorPause::On;
        if reason == ShutdownReason::Stopping && is_paused && self.state.borrow().status().is_idle()
        {
            self.events.emit(ACCEPT);
        }
    }

    /// Reads from the scoreboard whether the operator has paused the daemon, and broadcasts a
    /// change.
    fn recheck_operator_pause(&mut self) {
        let operator_pause = self.state.borrow().board().operator_pause();
        let has_changed = self
            .operator_pause
            .send_if_modified(|known| std::mem::replace(known, operator_pause) != operator_pause);
        if !has_changed || self.context.child_kind == ChildKind::OneRequest {
            return;
        }
        match operator_pause {
            OperatorPause::On => {
                debug!(self.context.log, "paused");
                self.may_accept = false;
                self.events.emit(PAUSE);
            }
            OperatorPause::Off => {
                debug!(self.context.log, "resumed");
                let state = self.state.borrow();
                if state.status().is_idle() && state.leaving().is_none() {
                    self.may_accept = true;
                    self.events.emit(ACCEPT);
                }
            }
        }
    }

    /// Returns the events that a late subscriber receives: those that describe the current state.
    fn current_events(&self) -> Vec<DaemonEvent> {
        let mut events = Vec::new();
        if self.may_accept && self.state.borrow().status().is_idle() {
            events.push(ACCEPT);
        }
        let is_paused = *self.operator_pause.borrow() == OperatorPause::On;
        if is_paused && self.context.child_kind == ChildKind::Pool {
            events.push(PAUSE);
        }
        if self.shutdown_ack != ShutdownAck::NotRequested {
            let reason = self.state.borrow().leaving();
            events.extend(reason.map(|reason| DaemonEvent::Shutdown { reason }));
        }
        events
    }

    fn reopen_logs(&mut self) {
        self.events.emit(DaemonEvent::Hup);
        if let Err(error) = self.context.reopen_log() {
            error!(self.context.log, "cannot reopen the log, the old log stays in use"; "error" => %error);
        }
    }

    fn peek(&self, detail: Detail) -> String {
        let mut lines = self.events.peek(&self.context.alias);
        lines.push(format!("Scoreboard slot: {}", self.state.borrow().slot()));
        lines.push(format!("Scoreboard: {}", self.state.borrow().status().letter()));
        let is_paused = *self.operator_pause.borrow() == OperatorPause::On;
        lines.push(format!("Paused by operator: {}", peek::yes_or_no(is_paused)));
        let request = peek::yes_or_no(self.state.borrow().status().is_busy());
        lines.push(match self.state.borrow().leaving() {
            None => format!("State: running, request in progress: {request}"),
            Some(reason) => format!(
                "State: leaving, reason: {}, shutdown acknowledgement: {}, tasks in flight: {}, \
                 request in progress: {request}",
                reason.word(),
                self.shutdown_ack.word(),
                self.in_flight,
            ),
        });
        lines.extend(peek::unanswered(&self.events.unanswered()));
        peek::with_details(lines, detail, &self.report())
    }

    fn report(&self) -> Report {
        let state = self.state.borrow();
        let (board, reporter) = (state.board(), Reporter::Child { slot: state.slot() });
        let (alias, model) = (self.context.alias.clone(), self.context.model);
        let mut report = Report::new(alias, model, reporter, self.context.parent);
        report.fork_server = self.fork_server.map(|pid| pid.as_raw().unsigned_abs());
        report.phase = board.phase();
        report.add_board(board, &board.entries().collect::<Vec<_>>(), now());
        report
    }

    fn on_action(&mut self, action: ChildAction, ctx: &mut Context<Self>) {
        match action {
            ChildAction::Leave(StopMode::Graceful) => {
                // The phase on the scoreboard shows whether the whole daemon stops or only this
                // child.
                let reason = if self.state.borrow().is_daemon_stopping() {
                    ShutdownReason::Stopping
                } else {
                    ShutdownReason::Retired
                };
                if parent_pid() != self.fork_server {
                    // The fork server, which kills children after the grace period, is gone.
                    // Therefore the child sets an alarm that ends the child after the grace period.
                    terminate_after(self.context.grace);
                }
                self.request_leave(reason, ctx);
            }
            ChildAction::Leave(StopMode::Immediate) => self.end(0, ctx),
            ChildAction::Hangup => self.reopen_logs(),
            ChildAction::Peek => {
                let state = self.peek(Detail::Verbose);
                info!(self.context.log, "peek"; "state" => format!("\n{state}"));
            }
            // The parent sends CONT when the operator pauses or resumes the daemon, and when the
            // child's line on the scoreboard may be wrong.
            ChildAction::CheckPause => {
                self.recheck_operator_pause();
                self.state.borrow().refresh();
            }
            ChildAction::Ignore => {}
        }
    }
}

impl Actor for ChildActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(pause) = self.context.heartbeat {
            self.state.borrow().beat(now());
            ctx.run_interval(pause, |child, _ctx| child.state.borrow().beat(now()));
        }
        // A child that is forked during a pause receives no signal about the pause, so read the
        // scoreboard.
        self.recheck_operator_pause();
        match Watch::readable(self.signals.as_fd(), SignalReady) {
            Ok(watch) => {
                ctx.add_stream(watch);
            }
            Err(error) => {
                error!(self.context.log, "cannot listen for signals"; "error" => %error);
                self.end(EXIT_SOFTWARE, ctx);
            }
        }
    }
}

/// The signal listener is readable.
#[derive(Debug, Clone, Copy)]
struct SignalReady;

impl StreamHandler<SignalReady> for ChildActor {
    fn handle(&mut self, _ready: SignalReady, ctx: &mut Self::Context) {
        let received = self.signals.drain();
        for signal in Signal::CHILD_SIGNALS.into_iter().filter(|one| received.contains(one)) {
            self.on_action(child_action(signal), ctx);
        }
    }

    fn finished(&mut self, _ctx: &mut Self::Context) {}
}

/// A message of a child to itself.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
pub(crate) enum ChildMessage {
    /// All sessions have responded to the shutdown.
    ShutdownAcknowledged,
    /// A task has started, and must end before the child exits.
    WorkStarted,
    /// A task that [`WorkStarted`](ChildMessage::WorkStarted) has announced has ended.
    WorkFinished,
    /// The task that accepts connections has seen that the operator has paused the daemon.
    RecheckPause,
    /// A session has reported a status without a message to the actor.
    Updated(NextAction),
    /// The child's session has panicked.
    SessionPanicked,
    /// The session that serves the connections of a [`ChildAcceptor`](crate::ChildAcceptor) has
    /// stopped, so the child cannot serve any.
    SessionStopped,
    /// The child could not accept a connection for long, and has no request.
    CannotAccept,
}

impl Handler<ChildMessage> for ChildActor {
    type Result = ();

    fn handle(&mut self, message: ChildMessage, ctx: &mut Self::Context) {
        match message {
            ChildMessage::ShutdownAcknowledged => {
                self.shutdown_ack = ShutdownAck::Received;
                self.leave_if_done(ctx);
            }
            ChildMessage::WorkStarted => self.in_flight += 1,
            ChildMessage::WorkFinished => {
                self.in_flight = self.in_flight.saturating_sub(1);
                // The tasks have handled all requests of the child, so now no request is in
                // progress and the child exits.
                if self.in_flight == 0 {
                    self.state.borrow_mut().report_leaving(now());
                    self.request_leave(ShutdownReason::Done, ctx);
                }
            }
            ChildMessage::RecheckPause => self.recheck_operator_pause(),
            ChildMessage::Updated(NextAction::Accept)
                if !self.state.borrow().status().is_idle() =>
            {
                // Another request has started meanwhile.
            }
            ChildMessage::Updated(next) => {
                let _ = self.on_updated(next, ctx);
            }
            ChildMessage::SessionPanicked => {
                error!(self.context.log, "session panicked, the child exits");
                self.end(EXIT_PANIC, ctx);
            }
            ChildMessage::SessionStopped => {
                error!(
                    self.context.log,
                    "the session of the acceptor has stopped, the child closes the connection and exits"
                );
                self.end(EXIT_PANIC, ctx);
            }
            ChildMessage::CannotAccept => {
                error!(self.context.log, "cannot accept connections, the child exits");
                self.end(EXIT_CANNOT_ACCEPT, ctx);
            }
        }
    }
}

impl Handler<UpdateStatus> for ChildActor {
    type Result = Result<Updated, StatusError>;

    fn handle(&mut self, update: UpdateStatus, ctx: &mut Self::Context) -> Self::Result {
        let next = self.state.borrow_mut().update_by_program(update, now());
        match next {
            Ok(next) => Ok(self.on_updated(next, ctx)),
            Err(refused) => {
                self.state.borrow().log_refused(&self.context.log, &refused, now());
                Err(refused)
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
