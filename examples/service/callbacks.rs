//! The callbacks: the same under each master.

use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use daemon_service::{Callback, Control, ServiceActor, ServiceState, Stage, State};
use slog::{Logger, info};

/// What the program does in its states, where the system makes a difference.
pub(crate) trait Work: Unpin + 'static {
    /// Begins to take connections, at the start and after a pause.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    fn open(&mut self) -> std::io::Result<()>;

    /// Takes no more connections.
    fn shut(&mut self);
}

/// Hears of the service's states, and answers when the step is taken.
pub(crate) struct Session<W> {
    work: W,
    /// How long a step takes, for who wants to see the pending states.
    step: Duration,
    service: Option<Addr<ServiceActor>>,
    log: Logger,
}

impl<W: Work> Session<W> {
    pub(crate) fn new(work: W, step: Duration, log: Logger) -> Self {
        Session { work, step, service: None, log }
    }
}

impl<W: Work> Actor for Session<W> {
    type Context = Context<Self>;
}

/// Tells the session which service it is of.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Serves(pub(crate) Addr<ServiceActor>);

impl<W: Work> Handler<Serves> for Session<W> {
    type Result = ();

    fn handle(&mut self, Serves(service): Serves, _ctx: &mut Context<Self>) {
        self.service = Some(service);
    }
}

/// A control of our own: stop, and say that something was wrong.
const FAIL: u8 = 131;

/// The exit code that tells it.
const FAILED: u32 = 3;

/// A control of our own: end as if the program had crashed.
const CRASH: u8 = 200;

impl<W: Work> Handler<ServiceState> for Session<W> {
    type Result = ();

    fn handle(&mut self, told: ServiceState, ctx: &mut Context<Self>) {
        let message =
            told.message.map_or_else(|| "none".to_owned(), |control| format!("{control:?}"));
        info!(self.log, "callback {:?}", told.callback; "state" => told.state.word(), "message" => message);
        let Some(service) = self.service.clone() else { return }; // it is told again
        match (told.callback, told.message) {
            (Callback::Running, _) => {
                if let Err(error) = self.work.open() {
                    info!(self.log, "cannot take connections: {}", error);
                    service.do_send(State::set(Stage::StopPending).exit_code(FAILED));
                    return;
                }
            }
            (Callback::PausePending | Callback::StopPending, _) => self.work.shut(),
            (Callback::Unhandled, Some(Control::User(user))) if user.get() == FAIL => {
                service.do_send(State::set(Stage::StopPending).exit_code(FAILED));
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
        // What is still under way when it is asked again is answered once: by its ticket.
        let answer = told.next();
        match told.callback {
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
