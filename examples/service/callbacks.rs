//! The service's callbacks, which are the same on Windows and under systemd.

use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use daemon_service::{Callback, Control, ServiceActor, ServiceState, SetState, StateCallback};
use slog::{Logger, info};

/// The part of the program that depends on the platform.
pub(crate) trait Workload: Unpin + 'static {
    /// Starts to accept connections. Called when the service starts and when a pause ends.
    ///
    /// # Errors
    ///
    /// If the listener cannot be set up.
    fn start_accepting(&mut self) -> std::io::Result<()>;

    /// Stops accepting connections.
    fn stop_accepting(&mut self);
}

/// Receives the service's callbacks, and answers each callback when its step is done.
pub(crate) struct ServiceSession<W> {
    workload: W,
    /// How long each step takes: starting, pausing, continuing or stopping. A long step makes the
    /// pending states visible.
    step: Duration,
    service: Option<Addr<ServiceActor>>,
    log: Logger,
}

impl<W: Workload> ServiceSession<W> {
    pub(crate) fn new(workload: W, step: Duration, log: Logger) -> Self {
        ServiceSession { workload, step, service: None, log }
    }
}

impl<W: Workload> Actor for ServiceSession<W> {
    type Context = Context<Self>;
}

/// Sets the service that the session belongs to.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SetService(pub(crate) Addr<ServiceActor>);

impl<W: Workload> Handler<SetService> for ServiceSession<W> {
    type Result = ();

    fn handle(&mut self, SetService(service): SetService, _ctx: &mut Context<Self>) {
        self.service = Some(service);
    }
}

/// The user-defined control that makes the service stop with a failure.
const FAIL: u8 = 131;

/// The exit code of the service after a failure.
const FAILED: u32 = 3;

/// The user-defined control that makes the program exit as if it had crashed.
const CRASH: u8 = 200;

impl<W: Workload> Handler<StateCallback> for ServiceSession<W> {
    type Result = ();

    fn handle(&mut self, call: StateCallback, ctx: &mut Context<Self>) {
        let control =
            call.control.map_or_else(|| "none".to_owned(), |control| format!("{control:?}"));
        info!(
            self.log, "service callback";
            "callback" => ?call.callback, "state" => call.state.word(), "control" => control
        );
        let Some(service) = self.service.clone() else { return }; // the service repeats the call
        match (call.callback, call.control) {
            (Callback::Running, _) => {
                if let Err(error) = self.workload.start_accepting() {
                    info!(self.log, "cannot accept connections"; "error" => %error);
                    service.do_send(SetState::new(ServiceState::StopPending).exit_code(FAILED));
                    return;
                }
            }
            (Callback::PausePending | Callback::StopPending, _) => self.workload.stop_accepting(),
            (Callback::Unhandled, Some(Control::User(user))) if user.get() == FAIL => {
                service.do_send(SetState::new(ServiceState::StopPending).exit_code(FAILED));
                return;
            }
            (Callback::Unhandled, Some(Control::User(user))) if user.get() == CRASH => {
                std::process::exit(17);
            }
            (
                Callback::NotReady
                | Callback::StartPending
                | Callback::Paused
                | Callback::ContinuePending
                | Callback::Stopped
                | Callback::Shutdown
                | Callback::Unhandled,
                _,
            ) => {}
        }
        // A call may be repeated while its step is in progress. Its answers all have the same call
        // id, and the service ignores all but the first.
        let answer = call.next();
        match call.callback {
            Callback::Shutdown => {
                service.do_send(answer.delay(self.step + Duration::from_secs(20)));
            }
            Callback::StartPending
            | Callback::PausePending
            | Callback::ContinuePending
            | Callback::StopPending => {
                ctx.run_later(self.step, move |_session, _ctx| service.do_send(answer));
            }
            Callback::NotReady
            | Callback::Running
            | Callback::Paused
            | Callback::Stopped
            | Callback::Unhandled => service.do_send(answer),
        }
    }
}
