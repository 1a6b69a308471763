//! The daemon's actor in a child: it notes statuses, and sees to a good end.

mod requests;
mod shutdown;

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::rc::Rc;

use actix::fut::WrapFuture;
use actix::{Actor, ActorContext, AsyncContext, Context, StreamHandler};
use daemon_core::{ChildAction, ChildKind, OperatorPause, Phase, Signal, StopMode, child_action};
use daemon_forkserver::{EXIT_SOFTWARE, now};
use daemon_sys::process::{Pid, terminate_after};
use daemon_sys::signals::SignalListener;
use futures::FutureExt;
use futures::channel::oneshot;
use slog::{debug, error, info};
use tokio::sync::watch;

use super::run::ProcessContext;
use super::state::{ChildState, NextAction};
use crate::messages::{
    DaemonAccept, DaemonHup, DaemonPause, DaemonShutdown, Detail, ShutdownReason,
};
use crate::peek;
use crate::sessions::{RetainedEvents, Sessions};
use crate::status::{Report, Reporter, View};
use crate::watch::Watch;

use shutdown::ShutdownAcknowledged;
pub(crate) use shutdown::{RecheckPause, SessionPanicked, WorkFinished, WorkStarted};

/// The signals that mean something to a child, as the system and as the rules name them.
pub(super) const HANDLED_SIGNALS: [(daemon_sys::Signal, Signal); 6] = [
    (daemon_sys::Signal::Term, Signal::Term),
    (daemon_sys::Signal::Int, Signal::Int),
    (daemon_sys::Signal::Quit, Signal::Quit),
    (daemon_sys::Signal::Hup, Signal::Hup),
    (daemon_sys::Signal::Usr2, Signal::Usr2),
    (daemon_sys::Signal::Cont, Signal::Cont),
];

/// The daemon in a child process.
///
/// Sessions tell it what they do ([`UpdateStatus`](crate::UpdateStatus)) and learn from it what
/// to do ([`DaemonAccept`], [`DaemonShutdown`]). It holds the child's seat; it has nothing to fork
/// with.
#[derive(Debug)]
pub struct ChildActor {
    state: Rc<RefCell<ChildState>>,
    ears: &'static SignalListener,
    fork_server: Option<Pid>,
    context: ProcessContext,
    sessions: Sessions,
    retained: RetainedEvents,
    shutdown_ack: ShutdownAck,
    /// Pieces of code that must end before the child does.
    in_flight: u32,
    leaving: watch::Sender<Option<ShutdownReason>>,
    /// The operator's word, as it was on the scoreboard at the last look.
    hold: watch::Sender<OperatorPause>,
    end: Option<oneshot::Sender<i32>>,
}

/// How far the sessions have taken leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShutdownAck {
    NotRequested,
    Requested,
    Received,
}

impl ChildActor {
    pub(crate) fn new(
        state: Rc<RefCell<ChildState>>,
        ears: &'static SignalListener,
        leaving: watch::Sender<Option<ShutdownReason>>,
        hold: watch::Sender<OperatorPause>,
        context: ProcessContext,
        end: oneshot::Sender<i32>,
    ) -> Self {
        ChildActor {
            state,
            ears,
            fork_server: Pid::parent(),
            context,
            sessions: Sessions::default(),
            retained: RetainedEvents::default(),
            shutdown_ack: ShutdownAck::NotRequested,
            in_flight: 0,
            leaving,
            hold,
            end: Some(end),
        }
    }

    /// The child is to go once its request is done.
    fn request_leave(&mut self, reason: ShutdownReason, ctx: &mut Context<Self>) {
        let NextAction::Leave(reason) = self.state.borrow_mut().leave(reason) else {
            return;
        };
        debug!(self.context.log, "leaving"; "reason" => ?reason);
        self.leaving.send_replace(Some(reason));
        if self.shutdown_ack == ShutdownAck::NotRequested {
            self.shutdown_ack = ShutdownAck::Requested;
            let shutdown = DaemonShutdown { reason };
            self.retained.shutdown = Some(shutdown);
            let address = ctx.address();
            let answers = self.sessions.shutdown.broadcast_and_wait(&shutdown);
            // By way of the mailbox: what a session has said before it answered comes first.
            ctx.spawn(
                answers.map(move |()| address.do_send(ShutdownAcknowledged)).into_actor(self),
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
        self.state.borrow_mut().gone(now());
        if let Some(end) = self.end.take() {
            // Who waits for the end is the child's main function; it cannot have gone.
            let _ = end.send(code);
        }
        ctx.stop();
    }

    fn is_paused_by_operator(&self) -> bool {
        *self.hold.borrow() == OperatorPause::On && self.state.borrow().leaving().is_none()
    }

    /// A child that was held while it was ready takes what waits in the listener's queue when the
    /// daemon stops, as the others do.
    fn accept_remaining(&mut self, reason: ShutdownReason) {
        let is_paused_by_operator = *self.hold.borrow() == OperatorPause::On;
        if reason == ShutdownReason::Stopping
            && is_paused_by_operator
            && self.state.borrow().status().is_idle()
        {
            self.sessions.accept.broadcast(&DaemonAccept);
        }
    }

    /// Looks on the scoreboard whether the operator has paused the daemon, and tells sessions.
    fn recheck_operator_pause(&mut self) {
        let hold = self.state.borrow().board().operator_pause();
        let is_news = self.hold.send_if_modified(|known| std::mem::replace(known, hold) != hold);
        if !is_news || self.context.child_kind == ChildKind::OneRequest {
            return;
        }
        match hold {
            OperatorPause::On => {
                debug!(self.context.log, "paused");
                self.retained.accept = None;
                self.retained.pause = Some(DaemonPause);
                self.sessions.pause.broadcast(&DaemonPause);
            }
            OperatorPause::Off => {
                debug!(self.context.log, "resumed");
                self.retained.pause = None;
                let state = self.state.borrow();
                if state.status().is_idle() && state.leaving().is_none() {
                    self.retained.accept = Some(DaemonAccept);
                    self.sessions.accept.broadcast(&DaemonAccept);
                }
            }
        }
    }

    fn reopen_logs(&mut self) {
        self.sessions.hup.broadcast(&DaemonHup);
        if let Err(error) = self.context.reopen_log() {
            error!(self.context.log, "the old log stays in use: {}", error);
        }
    }

    fn peek(&self, detail: Detail) -> String {
        let mut lines = self.sessions.peek(&self.context.alias);
        lines.push(format!("Scoreboard slot: {}", self.state.borrow().slot()));
        lines.push(format!("Scoreboard: {}", self.state.borrow().status().letter()));
        lines.push(format!("Held by the operator: {:?}", *self.hold.borrow()));
        lines.push(match self.state.borrow().leaving() {
            None => "Stays alive: waits for requests".to_owned(),
            Some(reason) => format!(
                "Leaving ({reason:?}): farewells {:?}, {} still inside, request in hand: {}",
                self.shutdown_ack,
                self.in_flight,
                self.state.borrow().status().is_busy()
            ),
        });
        lines.extend(peek::unanswered(&self.sessions.unanswered()));
        peek::with_details(lines, detail, &self.report())
    }

    fn report(&self) -> Report {
        let state = self.state.borrow();
        let view = View {
            alias: self.context.alias.clone(),
            model: self.context.model,
            reporter: Reporter::Child { slot: state.slot() },
            parent: self.context.parent,
            fork_server: self.fork_server.map(|pid| pid.as_raw().unsigned_abs()),
            phase: state.board().phase(),
        };
        Report::of(view, Some(state.board()), now())
    }
}

impl Actor for ChildActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(pause) = self.context.heartbeat {
            self.state.borrow().beat(now());
            ctx.run_interval(pause, |child, _ctx| child.state.borrow().beat(now()));
        }
        // Who is born while the daemon is paused gets no signal for it.
        self.recheck_operator_pause();
        match Watch::readable(self.ears.as_fd(), Signalled) {
            Ok(watch) => {
                ctx.add_stream(watch);
            }
            Err(error) => {
                error!(self.context.log, "cannot listen to signals: {}", error);
                self.end(EXIT_SOFTWARE, ctx);
            }
        }
    }
}

/// A signal has come.
#[derive(Debug, Clone, Copy)]
struct Signalled;

impl StreamHandler<Signalled> for ChildActor {
    fn handle(&mut self, _signalled: Signalled, ctx: &mut Self::Context) {
        let come = self.ears.drain();
        for (_, signal) in HANDLED_SIGNALS.into_iter().filter(|(heard, _)| come.contains(heard)) {
            self.handle(child_action(signal), ctx);
        }
    }

    fn finished(&mut self, _ctx: &mut Self::Context) {}
}

impl ChildActor {
    fn handle(&mut self, intention: ChildAction, ctx: &mut Context<Self>) {
        match intention {
            ChildAction::Leave(StopMode::Graceful) => {
                // The parent says on the scoreboard whether it is all of us or only this one.
                let reason = match self.state.borrow().board().phase() {
                    Phase::Stopping | Phase::Stopped => ShutdownReason::Stopping,
                    Phase::Starting | Phase::Running => ShutdownReason::Retired,
                };
                if Pid::parent() != self.fork_server {
                    // Nobody is left who would end this child when its time is over.
                    terminate_after(self.context.grace);
                }
                self.request_leave(reason, ctx);
            }
            ChildAction::Leave(StopMode::Immediate) => self.end(0, ctx),
            ChildAction::Hangup => self.reopen_logs(),
            ChildAction::Peek => info!(self.context.log, "peek\n{}", self.peek(Detail::Verbose)),
            ChildAction::CheckPause => self.recheck_operator_pause(),
            ChildAction::Ignore => {}
        }
    }
}
