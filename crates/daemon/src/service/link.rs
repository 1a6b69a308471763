//! The actor that connects a daemon with its service.

use std::time::Duration;

use actix::fut::WrapFuture;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, ResponseFuture};
use daemon_core::{OperatorPause, Phase, Signal, StopMode};
use daemon_forkserver::Transfer;
use daemon_service::{
    Callback, CheckHealth, Control, Health, ServiceActor, ServiceState, SetState, StateCallback,
};
use futures::future::LocalBoxFuture;
use slog::{Logger, warn};

use super::rules::{CallStep, DaemonEnd, DaemonRequest, DaemonSnapshot, ReloadProgress, health};
use crate::messages::{
    ChildExited, ChildForked, DaemonHup, DaemonOperatorPause, DaemonPhase, DaemonReload, GetStatus,
    Pause, Resume, Shutdown, WaitUntilStopped,
};
use crate::parent::{DaemonActor, SignalReceived};

/// How long the fork server may take to exit after the grace period of a stop.
const STOP_ALLOWANCE: Duration = Duration::from_secs(5);

/// The exit code of a service whose daemon has failed.
const FAILED: u32 = 1;

/// The last request to the daemon or the last control to the service, if it has not taken effect
/// yet. It is recorded so that it is not sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent<T> {
    Nothing,
    Once(T),
}

/// Answers the callbacks of the service for the daemon.
pub(crate) struct ServiceLink<R: Transfer + Send> {
    daemon: Addr<DaemonActor<R>>,
    service: Addr<ServiceActor>,
    grace: Duration,
    log: Logger,
    known: DaemonSnapshot,
    /// The state of the service.
    state: ServiceState,
    /// The callback of the service that has not been answered yet.
    call: Option<StateCallback>,
    last_request: Sent<DaemonRequest>,
    last_control: Sent<Control>,
}

impl<R: Transfer + Send> ServiceLink<R> {
    pub(crate) fn new(
        daemon: Addr<DaemonActor<R>>,
        service: Addr<ServiceActor>,
        grace: Duration,
        log: Logger,
    ) -> Self {
        let known = DaemonSnapshot {
            phase: Phase::Starting,
            operator_pause: OperatorPause::Off,
            reload: ReloadProgress::None,
            end: DaemonEnd::NotYet,
        };
        ServiceLink {
            daemon,
            service,
            grace,
            log,
            known,
            state: ServiceState::NotReady,
            call: None,
            last_request: Sent::Nothing,
            last_control: Sent::Nothing,
        }
    }

    /// Compares the states of the service and the daemon. If they differ, sends the answer, request
    /// or control that makes them agree.
    fn reconcile(&mut self, ctx: &mut Context<Self>) {
        if let Some(call) = self.call {
            match self.known.on_callback(call.callback) {
                CallStep::Answer => {
                    self.call = None;
                    self.last_request = Sent::Nothing;
                    if call.callback == Callback::Unhandled {
                        self.known.reload = ReloadProgress::None;
                    }
                    if (call.callback, self.known.end) == (Callback::StopPending, DaemonEnd::Failed)
                    {
                        self.service.do_send(SetState::new(call.state).exit_code(FAILED));
                    }
                    self.service.do_send(call.next());
                }
                CallStep::Request(request) if self.last_request != Sent::Once(request) => {
                    self.last_request = Sent::Once(request);
                    self.request(request, ctx);
                }
                CallStep::Request(_) | CallStep::Wait => {}
            }
        }
        match (self.known.control_for(self.state), self.call.map(|call| call.callback)) {
            // The service is already handling this control.
            (Some(Control::ParamChange), Some(Callback::Unhandled)) => {}
            (Some(control), _) if self.last_control != Sent::Once(control) => {
                self.last_control = Sent::Once(control);
                self.service.do_send(control);
            }
            (Some(_) | None, _) => {}
        }
    }

    fn request(&mut self, request: DaemonRequest, ctx: &mut Context<Self>) {
        match request {
            DaemonRequest::Pause => self.operator_pause(OperatorPause::On, ctx),
            DaemonRequest::Resume => self.operator_pause(OperatorPause::Off, ctx),
            DaemonRequest::Reload => {
                self.known.reload = ReloadProgress::Requested;
                self.daemon.do_send(SignalReceived(Signal::Hup));
            }
            DaemonRequest::Stop => self.daemon.do_send(Shutdown(StopMode::Graceful)),
        }
    }

    /// Pauses or resumes the daemon. If the daemon refuses, for example because it has no children,
    /// the service changes its state nevertheless.
    fn operator_pause(&mut self, operator_pause: OperatorPause, ctx: &mut Context<Self>) {
        let response: LocalBoxFuture<'static, _> = match operator_pause {
            OperatorPause::On => Box::pin(self.daemon.send(Pause)),
            OperatorPause::Off => Box::pin(self.daemon.send(Resume)),
        };
        ctx.spawn(response.into_actor(self).map(move |result, link, ctx| {
            match result {
                Ok(Ok(_outcome)) => {}
                Ok(Err(refusal)) => {
                    warn!(link.log, "the daemon refused to pause or resume"; "reason" => %refusal);
                }
                Err(error) => warn!(link.log, "cannot reach the daemon"; "error" => %error),
            }
            link.known.operator_pause = operator_pause;
            link.reconcile(ctx);
        }));
    }

    /// Records the progress of a reload. The service receives one control per reload.
    fn set_reload_progress(&mut self, reload: ReloadProgress, ctx: &mut Context<Self>) {
        if self.known.reload == ReloadProgress::None {
            self.last_control = Sent::Nothing;
        }
        self.known.reload = reload;
        self.reconcile(ctx);
    }

    /// Extends the timeout of the service while children start or exit.
    fn extend(&self) {
        match self.state {
            ServiceState::StopPending => {
                let hint = self.grace.saturating_add(STOP_ALLOWANCE);
                self.service.do_send(SetState::new(self.state).wait_hint(hint));
            }
            ServiceState::StartPending => self.service.do_send(SetState::new(self.state)),
            ServiceState::NotReady
            | ServiceState::Stopped
            | ServiceState::Running
            | ServiceState::ContinuePending
            | ServiceState::PausePending
            | ServiceState::Paused => {}
        }
    }
}

impl<R: Transfer + Send> Actor for ServiceLink<R> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.spawn(self.daemon.send(WaitUntilStopped).into_actor(self).map(|end, link, ctx| {
            link.known.phase = Phase::Stopped;
            link.known.end = match end {
                Ok(Ok(())) => DaemonEnd::Good,
                Ok(Err(_)) | Err(_) => DaemonEnd::Failed,
            };
            link.reconcile(ctx);
        }));
    }
}

impl<R: Transfer + Send> Handler<StateCallback> for ServiceLink<R> {
    type Result = ();

    fn handle(&mut self, call: StateCallback, ctx: &mut Context<Self>) {
        if self.state != call.state {
            self.state = call.state;
            self.last_request = Sent::Nothing;
            self.last_control = Sent::Nothing;
            if call.state == ServiceState::StopPending {
                self.extend();
            }
        }
        self.call = call.call_id.map(|_call_id| call);
        self.reconcile(ctx);
    }
}

impl<R: Transfer + Send> Handler<CheckHealth> for ServiceLink<R> {
    type Result = ResponseFuture<Health>;

    fn handle(&mut self, _message: CheckHealth, _ctx: &mut Context<Self>) -> Self::Result {
        let report = self.daemon.send(GetStatus::Board);
        Box::pin(async move {
            match report.await {
                Ok(report) => health(&report),
                Err(error) => Health::Unhealthy(format!("cannot reach the daemon: {error}")),
            }
        })
    }
}

impl<R: Transfer + Send> Handler<DaemonPhase> for ServiceLink<R> {
    type Result = ();

    fn handle(&mut self, DaemonPhase(phase): DaemonPhase, ctx: &mut Context<Self>) {
        self.known.phase = phase;
        self.reconcile(ctx);
    }
}

impl<R: Transfer + Send> Handler<DaemonOperatorPause> for ServiceLink<R> {
    type Result = ();

    fn handle(
        &mut self,
        DaemonOperatorPause(operator_pause): DaemonOperatorPause,
        ctx: &mut Context<Self>,
    ) {
        self.known.operator_pause = operator_pause;
        self.last_control = Sent::Nothing;
        self.reconcile(ctx);
    }
}

impl<R: Transfer + Send> Handler<DaemonReload> for ServiceLink<R> {
    type Result = ();

    fn handle(&mut self, reload: DaemonReload, ctx: &mut Context<Self>) {
        self.set_reload_progress(
            match reload {
                DaemonReload::Started => ReloadProgress::Replacing,
                DaemonReload::Done => ReloadProgress::Done,
            },
            ctx,
        );
    }
}

impl<R: Transfer + Send> Handler<DaemonHup> for ServiceLink<R> {
    type Result = ();

    /// Completes the reload, unless it replaces children. Such a reload is complete when the link
    /// receives [`DaemonReload::Done`].
    fn handle(&mut self, _hup: DaemonHup, ctx: &mut Context<Self>) {
        match self.known.reload {
            ReloadProgress::None | ReloadProgress::Requested => {
                self.set_reload_progress(ReloadProgress::Done, ctx);
            }
            ReloadProgress::Replacing | ReloadProgress::Done => {}
        }
    }
}

impl<R: Transfer + Send> Handler<ChildForked> for ServiceLink<R> {
    type Result = ();

    fn handle(&mut self, _forked: ChildForked, _ctx: &mut Context<Self>) {
        self.extend();
    }
}

impl<R: Transfer + Send> Handler<ChildExited> for ServiceLink<R> {
    type Result = ();

    fn handle(&mut self, _exited: ChildExited, _ctx: &mut Context<Self>) {
        self.extend();
    }
}
