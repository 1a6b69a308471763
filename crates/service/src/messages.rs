//! What is said between a service, its callbacks and who registers with it.

use std::time::Duration;

use actix::{Message, Recipient};

use crate::callback::Callback;
use crate::control::Control;
use crate::machine::{Listener, Status};
use crate::stage::{IllegalState, Stage};

/// Tells a callback the service's state. The original's events `service_running` and the like.
///
/// It is told again each cycle until it is answered, by [`NextState`].
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct ServiceState {
    /// The state.
    pub state: Stage,
    /// The control that has led to it, if one has.
    pub message: Option<Control>,
    /// As what it is called.
    pub callback: Callback,
    /// By what the answer is known; none where nothing is to be answered.
    pub ticket: Option<Ticket>,
}

impl ServiceState {
    /// The answer to this call and no other: said twice, or late, it does no harm.
    #[must_use]
    pub fn next(&self) -> NextState {
        NextState { ticket: self.ticket, delay: None }
    }
}

/// Which call an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) number: u64,
    pub(crate) listener: Listener,
}

/// Answers a callback: what it was called for is done, and the service goes on to the next state.
/// The original's `next_state`.
///
/// `NextState::default()` answers whatever the service's callbacks are being asked;
/// [`ServiceState::next`] answers one call.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[rtype(result = "Answered")]
pub struct NextState {
    pub(crate) ticket: Option<Ticket>,
    pub(crate) delay: Option<Duration>,
}

impl NextState {
    /// With this delay: what is still pending, a stop after a shutdown say, may last so long. The
    /// master is told. Without it, 30 seconds unless the service is
    /// [set otherwise](crate::Settings::wait_hint).
    #[must_use]
    pub fn delay(self, delay: Duration) -> NextState {
        NextState { delay: Some(delay), ..self }
    }
}

/// What an answer has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// The service is in this state now.
    Now(Stage),
    /// It is noted; the state is the same, or others are yet to answer.
    Noted,
    /// Nobody waits for this answer any more.
    Late,
}

/// Reads or sets the state. The original's `state`.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Result<Status, IllegalState>")]
pub struct State {
    pub(crate) setting: Option<Setting>,
}

/// A state that is set, and what the master is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The state: the present one, or one that may follow.
    pub stage: Stage,
    /// How long it may last, while it is pending.
    pub wait_hint: Option<Duration>,
    /// How far it is, while it is pending; unless said, one more than before.
    pub checkpoint: Option<u32>,
    /// The exit code that the service will end with.
    pub exit_code: Option<u32>,
}

impl State {
    /// Reads the state.
    #[must_use]
    pub const fn read() -> State {
        State { setting: None }
    }

    /// Sets the state.
    #[must_use]
    pub const fn set(stage: Stage) -> State {
        let setting = Setting { stage, wait_hint: None, checkpoint: None, exit_code: None };
        State { setting: Some(setting) }
    }

    /// With this wait hint; what only reads stays as it is.
    #[must_use]
    pub fn wait_hint(self, wait_hint: Duration) -> State {
        let set = |setting| Setting { wait_hint: Some(wait_hint), ..setting };
        State { setting: self.setting.map(set) }
    }

    /// With this checkpoint.
    #[must_use]
    pub fn checkpoint(self, checkpoint: u32) -> State {
        let set = |setting| Setting { checkpoint: Some(checkpoint), ..setting };
        State { setting: self.setting.map(set) }
    }

    /// With this exit code: 0 for a good end.
    #[must_use]
    pub fn exit_code(self, exit_code: u32) -> State {
        let set = |setting| Setting { exit_code: Some(exit_code), ..setting };
        State { setting: self.setting.map(set) }
    }
}

/// Registers one who takes part in all states: the service goes on when it has answered too.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct Register {
    /// Who is told.
    pub recipient: Recipient<ServiceState>,
    /// Who is asked before the master hears that the service is alive.
    pub health: Option<Recipient<AskHealth>>,
    /// Who listens to signals.
    pub signals: Signals,
}

/// Who listens to the signals of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signals {
    /// The service does.
    Service,
    /// Who registers does, and passes on what they mean.
    Registered,
}

/// Asks whether all is well, before a watchdog is told so.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "Health")]
pub struct AskHealth;

/// How one who has registered is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// All is well.
    Well,
    /// It is not: the watchdog is told nothing.
    Ill(String),
}

/// Tells the master in a few words how the service is doing.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct StatusText(pub String);

/// Asks to be told when the service has stopped, and with which exit code.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "u32")]
pub struct UntilStopped;
