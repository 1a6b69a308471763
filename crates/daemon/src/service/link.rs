//! The actor between a daemon and its service.

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

use super::rules::{End, Known, Order, Renewal, Step, health};
use crate::messages::{
    ChildBorn, ChildExited, DaemonHup, DaemonOperatorPause, DaemonPhase, DaemonReload, GetStatus,
    Pause, Resume, Shutdown, UntilStopped,
};
use crate::parent::{DaemonActor, SignalReceived};

/// What the end takes beyond the grace: the fork server goes home.
const BEYOND_GRACE: Duration = Duration::from_secs(5);

/// The exit code of a service whose daemon has failed.
const FAILED: u32 = 1;

/// What was passed on and is not yet answered, so that it is passed on once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passed<T> {
    Nothing,
    On(T),
}

/// It takes part in the service's states for the daemon.
pub(crate) struct Link<R: Transfer + Send> {
    daemon: Addr<DaemonActor<R>>,
    service: Addr<ServiceActor>,
    grace: Duration,
    log: Logger,
    known: Known,
    /// Where the service is.
    state: ServiceState,
    /// What it waits for.
    call: Option<StateCallback>,
    ordered: Passed<Order>,
    led: Passed<Control>,
}

impl<R: Transfer + Send> Link<R> {
    pub(crate) fn new(
        daemon: Addr<DaemonActor<R>>,
        service: Addr<ServiceActor>,
        grace: Duration,
        log: Logger,
    ) -> Self {
        let known = Known {
            phase: Phase::Starting,
            hold: OperatorPause::Off,
            renewal: Renewal::None,
            end: End::NotYet,
        };
        Link {
            daemon,
            service,
            grace,
            log,
            known,
            state: ServiceState::NotReady,
            call: None,
            ordered: Passed::Nothing,
            led: Passed::Nothing,
        }
    }

    /// Compares what the service waits for with what is.
    fn settle(&mut self, ctx: &mut Context<Self>) {
        if let Some(call) = self.call {
            match self.known.heed(call.callback) {
                Step::Answer => {
                    self.call = None;
                    self.ordered = Passed::Nothing;
                    if call.callback == Callback::Unhandled {
                        self.known.renewal = Renewal::None;
                    }
                    if (call.callback, self.known.end) == (Callback::StopPending, End::Failed) {
                        self.service.do_send(SetState::new(call.state).exit_code(FAILED));
                    }
                    self.service.do_send(call.next());
                }
                Step::Order(order) if self.ordered != Passed::On(order) => {
                    self.ordered = Passed::On(order);
                    self.order(order, ctx);
                }
                Step::Order(_) | Step::Wait => {}
            }
        }
        match (self.known.lead(self.state), self.call.map(|call| call.callback)) {
            // The service is at it.
            (Some(Control::ParamChange), Some(Callback::Unhandled)) => {}
            (Some(control), _) if self.led != Passed::On(control) => {
                self.led = Passed::On(control);
                self.service.do_send(control);
            }
            (Some(_) | None, _) => {}
        }
    }

    fn order(&mut self, order: Order, ctx: &mut Context<Self>) {
        match order {
            Order::Pause => self.hold(OperatorPause::On, ctx),
            Order::Resume => self.hold(OperatorPause::Off, ctx),
            Order::Renew => {
                self.known.renewal = Renewal::Begun;
                self.daemon.do_send(SignalReceived(Signal::Hup));
            }
            Order::Stop => self.daemon.do_send(Shutdown(StopMode::Graceful)),
        }
    }

    /// A daemon that cannot be held, having no children, does not hold up the service either.
    fn hold(&mut self, hold: OperatorPause, ctx: &mut Context<Self>) {
        let asked: LocalBoxFuture<'static, _> = match hold {
            OperatorPause::On => Box::pin(self.daemon.send(Pause)),
            OperatorPause::Off => Box::pin(self.daemon.send(Resume)),
        };
        ctx.spawn(asked.into_actor(self).map(move |held, link, ctx| {
            match held {
                Ok(Ok(_held)) => {}
                Ok(Err(refusal)) => warn!(link.log, "{}", refusal),
                Err(gone) => warn!(link.log, "the daemon is gone: {}", gone),
            }
            link.known.hold = hold;
            link.settle(ctx);
        }));
    }

    /// Parameters are being read anew. The service is told so once, until it has its answer.
    fn renewed(&mut self, renewal: Renewal, ctx: &mut Context<Self>) {
        if self.known.renewal == Renewal::None {
            self.led = Passed::Nothing;
        }
        self.known.renewal = renewal;
        self.settle(ctx);
    }

    /// More time is asked for while something comes or goes.
    fn extend(&self) {
        match self.state {
            ServiceState::StopPending => {
                let hint = self.grace + BEYOND_GRACE;
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

impl<R: Transfer + Send> Actor for Link<R> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.spawn(self.daemon.send(UntilStopped).into_actor(self).map(|end, link, ctx| {
            link.known.phase = Phase::Stopped;
            link.known.end = match end {
                Ok(Ok(())) => End::Good,
                Ok(Err(_)) | Err(_) => End::Failed,
            };
            link.settle(ctx);
        }));
    }
}

impl<R: Transfer + Send> Handler<StateCallback> for Link<R> {
    type Result = ();

    fn handle(&mut self, call: StateCallback, ctx: &mut Context<Self>) {
        if self.state != call.state {
            self.state = call.state;
            self.ordered = Passed::Nothing;
            self.led = Passed::Nothing;
            if call.state == ServiceState::StopPending {
                self.extend();
            }
        }
        self.call = call.call_id.map(|_call_id| call);
        self.settle(ctx);
    }
}

impl<R: Transfer + Send> Handler<CheckHealth> for Link<R> {
    type Result = ResponseFuture<Health>;

    fn handle(&mut self, _check: CheckHealth, _ctx: &mut Context<Self>) -> Self::Result {
        let report = self.daemon.send(GetStatus::Board);
        Box::pin(async move {
            match report.await {
                Ok(report) => health(&report),
                Err(gone) => Health::Unhealthy(format!("the daemon is gone: {gone}")),
            }
        })
    }
}

impl<R: Transfer + Send> Handler<DaemonPhase> for Link<R> {
    type Result = ();

    fn handle(&mut self, DaemonPhase(phase): DaemonPhase, ctx: &mut Context<Self>) {
        self.known.phase = phase;
        self.settle(ctx);
    }
}

impl<R: Transfer + Send> Handler<DaemonOperatorPause> for Link<R> {
    type Result = ();

    fn handle(&mut self, DaemonOperatorPause(hold): DaemonOperatorPause, ctx: &mut Context<Self>) {
        self.known.hold = hold;
        self.led = Passed::Nothing;
        self.settle(ctx);
    }
}

impl<R: Transfer + Send> Handler<DaemonReload> for Link<R> {
    type Result = ();

    fn handle(&mut self, reload: DaemonReload, ctx: &mut Context<Self>) {
        self.renewed(
            match reload {
                DaemonReload::Begun => Renewal::Replacing,
                DaemonReload::Done => Renewal::Done,
            },
            ctx,
        );
    }
}

impl<R: Transfer + Send> Handler<DaemonHup> for Link<R> {
    type Result = ();

    /// The logs are reopened. Where children are replaced too, their end is waited for.
    fn handle(&mut self, _hup: DaemonHup, ctx: &mut Context<Self>) {
        match self.known.renewal {
            Renewal::None | Renewal::Begun => self.renewed(Renewal::Done, ctx),
            Renewal::Replacing | Renewal::Done => {}
        }
    }
}

impl<R: Transfer + Send> Handler<ChildBorn> for Link<R> {
    type Result = ();

    fn handle(&mut self, _born: ChildBorn, _ctx: &mut Context<Self>) {
        self.extend();
    }
}

impl<R: Transfer + Send> Handler<ChildExited> for Link<R> {
    type Result = ();

    fn handle(&mut self, _exited: ChildExited, _ctx: &mut Context<Self>) {
        self.extend();
    }
}
