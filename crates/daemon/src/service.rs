//! The daemon as a service: the service's state follows the daemon's phase, and the service
//! forwards the service manager's requests (stop, pause, reload) to the daemon.
//!
//! A daemon that is [supervised](crate::DaemonBuilder::supervised) spawns its service and registers
//! itself with this service. A program that needs the callbacks of the service must spawn the
//! service in its own code, with the setting
//! [`await_registration`](daemon_service::ServiceSettings::await_registration). Such a program
//! registers the daemon with the service in [`Program::parent`](crate::Program::parent):
//! `daemon.do_send(RegisterWith(service))`. The states of the service and the daemon correspond as
//! follows:
//!
//! | the service | while the daemon |
//! | --- | --- |
//! | starts | starts its first children |
//! | runs, and sends READY to the service manager | runs |
//! | pauses, then is paused | is paused by the operator, with a message, `daemonctl` or TSTP |
//! | continues | is resumed by the operator, with a message, `daemonctl` or CONT |
//! | reloads (Windows: ParamChange) | carries out its [`OnHup`](crate::OnHup) action; with `OnHup::Reload`, the service's reload ends when all children have been replaced |
//! | stops, and extends its timeout each time a child exits | is stopping |
//! | has stopped, with exit code 1 if the daemon has failed | has stopped |
//!
//! The service notifies the watchdog of the service manager while the daemon is healthy. A running
//! pool is healthy if at least one child waits for a request or serves one; a child that is still
//! starting does not count. The status text that the service sends to the service manager contains
//! the numbers of children and requests.

mod rules;

use std::time::Duration;

use actix::fut::WrapFuture;
use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Recipient, ResponseFuture,
};
use daemon_core::{OperatorPause, Phase, Signal, StopMode};
use daemon_service::{
    Callback, Callbacks, CheckHealth, Control, Health, ServiceActor, ServiceError, ServiceSettings,
    ServiceState, SetState, StateCallback,
};
use futures::future::LocalBoxFuture;
use slog::{Logger, warn};

use crate::events::DaemonEvent;
use crate::messages::{
    DaemonReload, GetStatus, Pause, Resume, Shutdown, SignalReceived, WaitUntilStopped,
};
use rules::{CallStep, DaemonEnd, DaemonRequest, DaemonSnapshot, ReloadProgress, health};

pub(crate) use rules::counts;

/// How long the fork server may take to exit after the grace period of a stop.
const STOP_ALLOWANCE: Duration = Duration::from_secs(5);

/// The exit code of a service whose daemon has failed.
const FAILED: u32 = 1;

/// Spawns a service without callbacks, which waits until the daemon registers.
pub(crate) fn spawn(alias: &str, log: &Logger) -> Result<Addr<ServiceActor>, ServiceError> {
    let settings = ServiceSettings::new(Callbacks::none()).alias(alias).logger(log.clone());
    ServiceActor::spawn(settings.await_registration())
}

/// The messages that a link sends to its daemon.
pub(crate) struct DaemonAddress {
    pause: Recipient<Pause>,
    resume: Recipient<Resume>,
    shutdown: Recipient<Shutdown>,
    status: Recipient<GetStatus>,
    end: Recipient<WaitUntilStopped>,
    signal: Recipient<SignalReceived>,
}

impl DaemonAddress {
    pub(crate) fn of<A>(daemon: &Addr<A>) -> Self
    where
        A: Actor<Context = Context<A>>
            + Handler<Pause>
            + Handler<Resume>
            + Handler<Shutdown>
            + Handler<GetStatus>
            + Handler<WaitUntilStopped>
            + Handler<SignalReceived>,
    {
        DaemonAddress {
            pause: daemon.clone().recipient(),
            resume: daemon.clone().recipient(),
            shutdown: daemon.clone().recipient(),
            status: daemon.clone().recipient(),
            end: daemon.clone().recipient(),
            signal: daemon.clone().recipient(),
        }
    }
}

/// Answers the callbacks of the service for the daemon.
pub(crate) struct ServiceLink {
    daemon: DaemonAddress,
    service: Addr<ServiceActor>,
    grace: Duration,
    log: Logger,
    known: DaemonSnapshot,
    /// The state of the service.
    state: ServiceState,
    /// The callback of the service that has not been answered yet.
    call: Option<StateCallback>,
    /// The last request to the daemon that has not taken effect yet, so that it is not sent twice.
    last_request: Option<DaemonRequest>,
    /// The last control to the service that has not taken effect yet, so that it is not sent twice.
    last_control: Option<Control>,
}

impl ServiceLink {
    pub(crate) fn start(
        daemon: DaemonAddress,
        service: Addr<ServiceActor>,
        grace: Duration,
        log: Logger,
    ) -> Addr<Self> {
        let known = DaemonSnapshot {
            phase: Phase::Starting,
            operator_pause: OperatorPause::Off,
            reload: ReloadProgress::None,
            end: DaemonEnd::NotYet,
        };
        let link = ServiceLink {
            daemon,
            service,
            grace,
            log,
            known,
            state: ServiceState::NotReady,
            call: None,
            last_request: None,
            last_control: None,
        };
        Actor::start(link)
    }

    /// Compares the states of the service and the daemon. If they differ, sends the answer, request
    /// or control that makes them agree.
    fn reconcile(&mut self, ctx: &mut Context<Self>) {
        if let Some(call) = self.call {
            match self.known.on_callback(call.callback) {
                CallStep::Answer => {
                    self.call = None;
                    self.last_request = None;
                    if call.callback == Callback::Unhandled {
                        self.known.reload = ReloadProgress::None;
                    }
                    if (call.callback, self.known.end) == (Callback::StopPending, DaemonEnd::Failed)
                    {
                        self.service.do_send(SetState::new(call.state).exit_code(FAILED));
                    }
                    self.service.do_send(call.next());
                }
                CallStep::Request(request) if self.last_request != Some(request) => {
                    self.last_request = Some(request);
                    self.request(request, ctx);
                }
                CallStep::Request(_) | CallStep::Wait => {}
            }
        }
        match (self.known.control_for(self.state), self.call.map(|call| call.callback)) {
            // The service is already handling this control.
            (Some(Control::ParamChange), Some(Callback::Unhandled)) => {}
            (Some(control), _) if self.last_control != Some(control) => {
                self.last_control = Some(control);
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
                self.daemon.signal.do_send(SignalReceived(Signal::Hup));
            }
            DaemonRequest::Stop => {
                self.daemon.shutdown.do_send(Shutdown(StopMode::Graceful));
            }
        }
    }

    /// Pauses or resumes the daemon. If the daemon refuses, for example because it has no children,
    /// the service changes its state nevertheless.
    fn operator_pause(&mut self, operator_pause: OperatorPause, ctx: &mut Context<Self>) {
        let response: LocalBoxFuture<'static, _> = match operator_pause {
            OperatorPause::On => Box::pin(self.daemon.pause.send(Pause)),
            OperatorPause::Off => Box::pin(self.daemon.resume.send(Resume)),
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
            self.last_control = None;
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

impl Actor for ServiceLink {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.spawn(self.daemon.end.send(WaitUntilStopped).into_actor(self).map(|end, link, ctx| {
            link.known.phase = Phase::Stopped;
            link.known.end = match end {
                Ok(Ok(())) => DaemonEnd::Good,
                Ok(Err(_)) | Err(_) => DaemonEnd::Failed,
            };
            link.reconcile(ctx);
        }));
    }
}

impl Handler<StateCallback> for ServiceLink {
    type Result = ();

    fn handle(&mut self, call: StateCallback, ctx: &mut Context<Self>) {
        if self.state != call.state {
            self.state = call.state;
            self.last_request = None;
            self.last_control = None;
            if call.state == ServiceState::StopPending {
                self.extend();
            }
        }
        self.call = call.call_id.map(|_call_id| call);
        self.reconcile(ctx);
    }
}

impl Handler<CheckHealth> for ServiceLink {
    type Result = ResponseFuture<Health>;

    fn handle(&mut self, _message: CheckHealth, _ctx: &mut Context<Self>) -> Self::Result {
        let report = self.daemon.status.send(GetStatus::Board);
        Box::pin(async move {
            match report.await {
                Ok(report) => health(&report),
                Err(error) => Health::Unhealthy(format!("cannot reach the daemon: {error}")),
            }
        })
    }
}

impl Handler<DaemonEvent> for ServiceLink {
    type Result = ();

    fn handle(&mut self, event: DaemonEvent, ctx: &mut Context<Self>) {
        match event {
            DaemonEvent::Phase { phase } => {
                self.known.phase = phase;
                self.reconcile(ctx);
            }
            DaemonEvent::OperatorPause { state } => {
                self.known.operator_pause = state;
                self.last_control = None;
                self.reconcile(ctx);
            }
            DaemonEvent::Reload { state: DaemonReload::Started } => {
                self.set_reload_progress(ReloadProgress::Replacing, ctx);
            }
            DaemonEvent::Reload { state: DaemonReload::Done } => {
                self.set_reload_progress(ReloadProgress::Done, ctx);
            }
            // Completes the reload, unless it replaces children. Such a reload is complete when
            // the link receives `DaemonReload::Done`.
            DaemonEvent::Hup => match self.known.reload {
                ReloadProgress::None | ReloadProgress::Requested => {
                    self.set_reload_progress(ReloadProgress::Done, ctx);
                }
                ReloadProgress::Replacing | ReloadProgress::Done => {}
            },
            DaemonEvent::Forked(_) | DaemonEvent::Exited(_) => self.extend(),
            // The other events do not change what the service manager sees.
            _ => {}
        }
    }
}
