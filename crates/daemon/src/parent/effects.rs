//! What the parent does about the supervisor's effects: it logs and broadcasts them, ends the
//! daemon, and reports its state.

use std::time::Duration;

use actix::fut::WrapFuture;
use actix::{ActorContext, ActorFutureExt, Addr, AsyncContext, Context};
use daemon_core::{
    AcceptState, ExitCause, FaultCount, LadderStep, OperatorPause, Phase, RecycleReason, StopMode,
    format,
};
use daemon_forkserver::{Transfer, now};
use daemon_protocol::{ModelKind, Report, Reporter};
use daemon_service::{ServiceActor, SetStatusText};
use daemon_sys::process::Pid;
use futures::FutureExt;
use futures::future::{OptionFuture, join};
use slog::{debug, error, info, o, warn};
use tokio::time::timeout;

use super::{DaemonActor, SessionsAnswered, StatusUpdates};
use crate::babysitter::NotReady;
use crate::control::ControlServer;
use crate::error::DaemonError;
use crate::events::DaemonEvent;
use crate::log;
use crate::messages::{ChildExited, DaemonReload, Detail, RogueChild, RogueStep};
use crate::peek;
use crate::service::counts;
use crate::supervisor::{Effect, Lifecycle};

/// The maximum time by which answers to the last event delay the end of the daemon.
const ANSWERS_MAX: Duration = Duration::from_millis(200);

/// The minimum time between two updates of the status text of the service. When the phase changes
/// or a reload ends, the text is updated immediately, even within this time.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

impl<R: Transfer + Send> DaemonActor<R> {
    pub(super) fn handle_effect(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::Event(event) => self.emit(event, ctx),
            Effect::Entered(life) => self.on_entered(&life, ctx),
            Effect::Failed(error) => self.on_failed(error),
            Effect::ForkFailed(error) => {
                if let Some(suppressed) = self.forks_log.admit(now()) {
                    warn!(
                        self.log, "cannot fork a child";
                        "error" => error, "suppressed" => suppressed
                    );
                }
            }
            Effect::ForkBackoff(state) => {
                if let Some(suppressed) = self.backoff_log.admit(now()) {
                    warn!(
                        self.log, "fork backoff";
                        "delay" => %format::duration(state.delay),
                        "failures" => state.consecutive_failures,
                        "reason" => %state.reason,
                        "suppressed" => suppressed
                    );
                }
            }
            Effect::MaxChildrenReached { max_children, spare, min_spare } => {
                match self.context.model {
                    ModelKind::PreFork => warn!(
                        self.log, "max_children reached";
                        "max_children" => max_children, "spare" => spare, "min_spare" => min_spare
                    ),
                    // Without a pool there are no spare children.
                    ModelKind::PostFork | ModelKind::Solo => {
                        warn!(self.log, "max_children reached"; "max_children" => max_children);
                    }
                }
            }
            Effect::NotReady { child, pid } => {
                if let Some(babysitter) = &self.babysitter {
                    babysitter.do_send(NotReady { child, pid });
                }
            }
            Effect::ReloadStarted(children) => {
                info!(self.log, "reload started"; "children" => children);
            }
            Effect::ScoreboardRepaired(FaultCount { last, .. }) => match last {
                Some((slot, fault)) => warn!(
                    self.log, "scoreboard damaged, repaired";
                    "slot" => slot.get(), "reason" => %fault
                ),
                None => warn!(
                    self.log, "scoreboard damaged, repaired"; "reason" => "the header is damaged"
                ),
            },
            Effect::DescendantsLeft { child, group } => warn!(
                self.log, "processes left behind by a child";
                "slot" => child.slot.get(), "group" => group.as_raw()
            ),
            Effect::EndingDescendants(processes) => info!(
                self.log, "ending processes that children started"; "processes" => processes
            ),
            Effect::DescendantsSurvive(error) => warn!(
                self.log, "processes that children started are left"; "error" => error
            ),
            Effect::ReopenLogsFailed(error) => {
                error!(self.log, "fork server cannot reopen the log file"; "error" => error);
            }
        }
    }

    /// Logs an event and sends it to all subscribers.
    pub(super) fn emit(&mut self, event: DaemonEvent, ctx: &mut Context<Self>) {
        match &event {
            DaemonEvent::Accepting { state: AcceptState::Paused } => {
                debug!(self.log, "accepting paused");
            }
            DaemonEvent::Accepting { state: AcceptState::Accepting } => {
                debug!(self.log, "accepting resumed");
            }
            DaemonEvent::Forked(forked) => debug!(
                self.log, "child forked";
                "slot" => forked.child.slot.get(), "child" => forked.pid.as_raw()
            ),
            DaemonEvent::Exited(exited) => {
                if let Some(fork_server) = &self.processes.fork_server {
                    fork_server.scoreboard().record_exit(exited.child.slot, exited.cause);
                }
                self.log_exit(exited);
            }
            DaemonEvent::Rogue(rogue) => self.log_rogue(rogue),
            DaemonEvent::ForeignExited(exited) => {
                info!(self.log, "foreign child exited"; "child" => exited.pid.as_raw());
            }
            DaemonEvent::Reload { state: DaemonReload::Done } => {
                info!(self.log, "reload finished");
                self.send_service_status_now(ctx);
            }
            DaemonEvent::Phase { phase } => {
                self.send_service_status_now(ctx);
                if *phase == Phase::Stopped {
                    self.end_after(event, ctx);
                    return;
                }
            }
            DaemonEvent::Shutdown { .. } => {
                // `SessionsAnswered` goes through the mailbox, behind all messages that the
                // sessions sent before they answered.
                let address = ctx.address();
                let answers = self.events.emit_and_wait(event);
                ctx.spawn(
                    answers.map(move |()| address.do_send(SessionsAnswered)).into_actor(self),
                );
                return;
            }
            // Those who cause these events log them.
            _ => {}
        }
        self.events.emit(event);
    }

    /// Logs that the daemon has entered a state, and does what belongs to the state.
    fn on_entered(&mut self, life: &Lifecycle, ctx: &mut Context<Self>) {
        debug!(self.log, "daemon state"; "state" => life.describe());
        match life {
            Lifecycle::Starting(_) | Lifecycle::ForkServerLost(_) => {}
            // No child is left that could serve them.
            Lifecycle::Closing { .. } | Lifecycle::Stopped => self.drop_waiting_connections(),
            Lifecycle::Running => self.on_ready(ctx),
            Lifecycle::Draining(drain) => {
                let grace = match drain.mode {
                    StopMode::Graceful => format::duration(self.supervisor.grace()).to_string(),
                    StopMode::Immediate => "none".to_owned(),
                };
                info!(
                    self.log, "daemon stopping";
                    "daemon" => &self.context.alias, "by" => %drain.by,
                    "children" => self.children(), "grace" => grace
                );
                self.not_ready
                    .get_or_insert_with(|| format!("stopped by {} before it was ready", drain.by));
            }
            Lifecycle::Killing { .. } => {
                let children = self.children();
                if children > 0 {
                    warn!(
                        self.log, "grace period expired, killing children"; "children" => children
                    );
                }
                self.drop_waiting_connections();
            }
        }
    }

    /// Closes the connections that no child has taken from the queue of a stopping pool.
    fn drop_waiting_connections(&self) {
        let dropped = self.context.queue.as_ref().map_or(0, |queue| queue.discard());
        if dropped > 0 {
            warn!(self.log, "waiting connections dropped"; "connections" => dropped);
        }
    }

    /// Logs and broadcasts that the daemon is ready, and notifies the process that started it.
    fn on_ready(&mut self, ctx: &mut Context<Self>) {
        match &self.processes.fork_server {
            None => {
                info!(
                    self.log, "daemon ready";
                    "daemon" => &self.context.alias, "model" => self.context.model.word()
                );
            }
            Some(fork_server) => info!(
                self.log, "daemon ready";
                "daemon" => &self.context.alias,
                "model" => self.context.model.word(),
                "fork_server" => fork_server.pid().as_raw(),
                "children" => self.children(),
                "max_children" => self.supervisor.max_children()
            ),
        }
        self.emit(DaemonEvent::Ready, ctx);
        if let Some(files) = &mut self.files {
            files.keep_created();
        }
        self.terminal = None;
        if let Some(readiness) = self.readiness.take() {
            readiness.notify_ready();
        }
    }

    /// Logs the error. After the stop, [`WaitUntilStopped`](crate::WaitUntilStopped) returns the
    /// first one, and the launching process reports it if the daemon was not ready.
    fn on_failed(&mut self, error: DaemonError) {
        let text = if let DaemonError::ForkServerLost(reason) = &error {
            error!(self.log, "fork server lost, stopping its children"; "error" => reason);
            reason.clone()
        } else {
            error!(self.log, "daemon failed"; "error" => error.to_string());
            error.to_string()
        };
        self.not_ready.get_or_insert(text);
        self.failure.get_or_insert(error);
    }

    /// Sends the last event, and stops the actor when all subscribers have answered it and the
    /// clients of the control socket have received it, but at the latest after [`ANSWERS_MAX`].
    fn end_after(&mut self, last: DaemonEvent, ctx: &mut Context<Self>) {
        let answers = self.events.emit_and_wait(last);
        let clients = self.control.as_ref().map(ControlServer::answered);
        let answered = timeout(ANSWERS_MAX, join(answers, OptionFuture::from(clients)));
        ctx.spawn(answered.into_actor(self).map(|_in_time, daemon, ctx| daemon.end(ctx)));
    }

    fn end(&mut self, ctx: &mut Context<Self>) {
        if let Some(control) = self.control.take() {
            control.close();
        }
        if let Some(files) = self.files.take()
            && let Err(error) = files.finish()
        {
            warn!(self.log, "cannot remove the pid file"; "error" => error.to_string());
        }
        if let Some(readiness) = self.readiness.take() {
            // Each way to the end before the daemon is ready has set the reason.
            readiness.notify_failure(self.not_ready.as_deref().unwrap_or("the daemon has ended"));
        }
        let counters = self.supervisor.counters();
        info!(
            self.log, "daemon stopped";
            "daemon" => &self.context.alias,
            "children" => counters.forks, "requests" => counters.requests
        );
        log::restore_terminal(self.terminal.take());
        let failure = self.failure.take();
        let text = failure.as_ref().map(ToString::to_string);
        let mut first = failure.map_or(Ok(()), Err);
        for waiting in self.waiting_for_stop.drain(..) {
            let later = text.clone().map_or(Ok(()), |text| Err(DaemonError::Ended(text)));
            // This fails if the sender of `WaitUntilStopped` no longer waits.
            let _ = waiting.send(std::mem::replace(&mut first, later));
        }
        if let Some(stopped) = self.stopped.take() {
            // This fails only if the System is ending.
            let _ = stopped.send(());
        }
        ctx.stop();
    }

    fn log_exit(&self, exited: &ChildExited) {
        let facts = o!(
            "slot" => exited.child.slot.get(),
            "child" => exited.pid.as_raw(),
            "requests" => exited.requests,
            "reason" => exited.cause.to_string()
        );
        match exited.cause {
            // This exit is expected, but the child may leak memory, so log the exit at level info.
            ExitCause::Recycled(RecycleReason::Memory) => {
                info!(self.log, "child exited"; facts);
            }
            cause if cause.is_expected() => debug!(self.log, "child exited"; facts),
            _ => warn!(self.log, "child exited"; facts),
        }
    }

    fn log_rogue(&self, rogue: &RogueChild) {
        let log = self.log.new(o!(
            "slot" => rogue.child.slot.get(), "child" => rogue.pid.as_raw()
        ));
        let reason = rogue.violation.map_or_else(String::new, |violation| violation.to_string());
        match rogue.step {
            RogueStep::Escalated(LadderStep::GiveUp) => {
                error!(log, "giving up on rogue child"; "reason" => reason);
            }
            RogueStep::Escalated(step) => {
                let step = step.word().to_uppercase();
                warn!(log, "rogue child"; "reason" => reason, "step" => step);
            }
            RogueStep::Recovered => info!(log, "rogue child recovered"; "reason" => reason),
            RogueStep::Slow => warn!(log, "slow request"),
        }
    }

    /// Returns the events that a late subscriber receives: those that describe the current state.
    pub(super) fn current_events(&self) -> Vec<DaemonEvent> {
        let phase = self.supervisor.phase();
        let mut events = vec![DaemonEvent::Start];
        if phase == Phase::Running {
            events.push(DaemonEvent::Ready);
        }
        let shutdown = self.supervisor.life().shutdown_reason();
        let state = self.supervisor.accept_state();
        if state == AcceptState::Paused && shutdown.is_none() {
            events.push(DaemonEvent::Accepting { state });
        }
        let state = self.supervisor.operator_pause();
        if state == OperatorPause::On {
            events.push(DaemonEvent::OperatorPause { state });
        }
        events.extend(shutdown.map(|reason| DaemonEvent::Shutdown { reason }));
        events.push(DaemonEvent::Phase { phase });
        events
    }

    /// Updates the status text of the service after a possible change: at once, or at the end of
    /// the current interval. While nothing changes, nothing is sent and no timer runs.
    pub(super) fn update_service_status(&mut self, ctx: &mut Context<Self>) {
        if let StatusUpdates::Ready(service) = &self.status_updates {
            let service = service.clone();
            self.send_service_status(&service);
            self.status_updates = StatusUpdates::Throttled(service);
            ctx.run_later(STATUS_INTERVAL, |daemon, _ctx| {
                if let StatusUpdates::Throttled(service) = &daemon.status_updates {
                    let service = service.clone();
                    daemon.send_service_status(&service);
                    daemon.status_updates = StatusUpdates::Ready(service);
                }
            });
        }
    }

    fn send_service_status(&self, service: &Addr<ServiceActor>) {
        service.do_send(SetStatusText(counts(&self.report())));
    }

    /// Updates the status text at once, even within an interval.
    fn send_service_status_now(&mut self, ctx: &mut Context<Self>) {
        match &self.status_updates {
            StatusUpdates::Throttled(service) => self.send_service_status(service),
            StatusUpdates::Ready(_) | StatusUpdates::Off => self.update_service_status(ctx),
        }
    }

    /// Returns the number of children, including those that are starting or leaving.
    fn children(&self) -> u32 {
        self.supervisor.registry().counts().children()
    }

    pub(super) fn report(&self) -> Report {
        let now = now();
        let (alias, model) = (self.context.alias.clone(), self.context.model);
        let mut report = Report::new(alias, model, Reporter::Parent, self.context.parent);
        report.phase = self.supervisor.phase();
        report.up = now.saturating_since(self.started);
        report.log_dropped = log::dropped_records();
        if let Some(fork_server) = &self.processes.fork_server {
            report.fork_server = Some(fork_server.pid().as_raw().unsigned_abs());
            let board = fork_server.board();
            report.add_board(board, &board.observe_all(now).collect::<Vec<_>>(), now);
            report.accepting = Some(self.supervisor.accept_state());
            report.operator_pause = Some(self.supervisor.operator_pause());
            report.waiting = u32::try_from(self.supervisor.waiting()).unwrap_or(u32::MAX);
            report.add_counters(self.supervisor.counters());
        }
        report
    }

    pub(super) fn peek(&self, detail: Detail) -> String {
        let mut lines = self.events.peek(&self.context.alias);
        lines.push(format!("Subscriptions: {}", self.events.count()));
        if let Some(fork_server) = &self.processes.fork_server {
            let counts = self.supervisor.registry().counts();
            lines.push(format!(
                "Children: {} ({} starting, {} idle, {} busy, {} leaving)",
                counts.children(),
                counts.starting(),
                counts.idle(),
                counts.busy(),
                counts.leaving()
            ));
            lines.extend(self.supervisor.registry().peek_stopping(fork_server.board(), now()));
            lines.push(format!("Requests waiting: {}", self.supervisor.waiting()));
            let accepting = match (self.supervisor.accept_state(), self.supervisor.operator_pause())
            {
                (_, OperatorPause::On) => "no, paused by operator",
                (AcceptState::Paused, OperatorPause::Off) => "no, the pool is full",
                (AcceptState::Accepting, OperatorPause::Off) => "yes",
            };
            lines.push(format!("Accepting: {accepting}"));
            lines.push(format!("Fork server: pid {}", fork_server.pid()));
            if fork_server.has_unsent_commands() {
                lines.push("Fork server commands: waiting to be sent".to_owned());
            }
        }
        lines.push(match &self.timer {
            None => "Timer: none".to_owned(),
            Some((time, _handle)) => {
                format!("Timer: due in {}", format::duration(time.saturating_since(now())))
            }
        });
        let foreign: Vec<String> =
            self.processes.foreign_pids().iter().map(Pid::to_string).collect();
        if !foreign.is_empty() {
            lines.push(format!("Foreign children: {}", foreign.join(", ")));
        }
        lines.extend(self.control.as_ref().map(ControlServer::peek));
        lines.push(format!("State: {}", self.supervisor.life().describe()));
        lines.extend(peek::unanswered(&self.events.unanswered()));
        peek::with_details(lines, detail, &self.report())
    }
}
