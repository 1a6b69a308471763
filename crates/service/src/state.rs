//! The states of a service, the legal changes between them, the controls that cause these changes,
//! and the callbacks that a service calls in its states.

use actix::Message;

/// A state of a service. The codes are those of Windows, which does not have `NotReady`.
///
/// | state | successors | left when |
/// | --- | --- | --- |
/// | `NotReady` | `StartPending` | the callbacks have answered |
/// | `StartPending` | `Running`, `StopPending` | the callbacks have answered |
/// | `Running` | `PausePending`, `StopPending` | a control arrives |
/// | `PausePending` | `Paused`, `StopPending` | the callbacks have answered |
/// | `Paused` | `ContinuePending`, `StopPending` | a control arrives |
/// | `ContinuePending` | `Running`, `StopPending` | the callbacks have answered |
/// | `StopPending` | `Stopped` | the callbacks have answered |
/// | `Stopped` | | never |
///
/// In `StartPending`, `PausePending` and `ContinuePending`, a stop does not wait for the answers.
/// It changes the state to `StopPending` at once.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ServiceState {
    /// The service has not begun to start.
    NotReady = 0,
    /// The service has stopped.
    Stopped = 1,
    /// The service is starting.
    StartPending = 2,
    /// The service is stopping.
    StopPending = 3,
    /// The service runs.
    Running = 4,
    /// The service is continuing after a pause.
    ContinuePending = 5,
    /// The service is pausing.
    PausePending = 6,
    /// The service is paused.
    Paused = 7,
}

/// The error for a state that is not a legal successor of the present state.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("cannot change the service from {} to {}", from.word(), to.word())]
pub struct IllegalStateChange {
    /// The present state.
    pub from: ServiceState,
    /// The requested state.
    pub to: ServiceState,
}

/// The response of a state to a control.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum ControlResponse {
    /// Enter this state.
    Enter(ServiceState),
    /// Enter `StopPending`, and call the callback `Shutdown` before the callback `StopPending`.
    ShutDown,
    /// Report a reload, and call the callback `Unhandled` until it answers.
    Reload,
    /// Call the callback `Unhandled` once, and expect no answer.
    Notify,
    /// Report the present state again.
    Report,
    /// Refuse: the state does not accept the control.
    Refuse,
}

impl ServiceState {
    /// All states, in the order of their codes.
    pub const ALL: [ServiceState; 8] = [
        ServiceState::NotReady,
        ServiceState::Stopped,
        ServiceState::StartPending,
        ServiceState::StopPending,
        ServiceState::Running,
        ServiceState::ContinuePending,
        ServiceState::PausePending,
        ServiceState::Paused,
    ];

    /// Returns `next` if it is a legal successor of this state.
    ///
    /// # Errors
    ///
    /// [`IllegalStateChange`] if `next` is not a legal successor. No state is its own successor.
    ///
    /// # Examples
    ///
    /// ```
    /// use daemon_service::ServiceState;
    ///
    /// assert_eq!(ServiceState::PausePending.enter(ServiceState::Paused),
    /// Ok(ServiceState::Paused));
    /// assert!(ServiceState::Running.enter(ServiceState::Paused).is_err());
    /// ```
    pub const fn enter(self, next: ServiceState) -> Result<ServiceState, IllegalStateChange> {
        use ServiceState::{
            ContinuePending, NotReady, PausePending, Paused, Running, StartPending, StopPending,
            Stopped,
        };

        match (self, next) {
            (NotReady, StartPending)
            | (StartPending | ContinuePending, Running)
            | (Running, PausePending)
            | (PausePending, Paused)
            | (Paused, ContinuePending)
            | (StartPending | Running | PausePending | Paused | ContinuePending, StopPending)
            | (StopPending, Stopped) => Ok(next),
            (
                NotReady,
                NotReady | Stopped | StopPending | Running | ContinuePending | PausePending
                | Paused,
            )
            | (
                StartPending | ContinuePending,
                NotReady | Stopped | StartPending | ContinuePending | PausePending | Paused,
            )
            | (Running, NotReady | Stopped | StartPending | Running | ContinuePending | Paused)
            | (
                PausePending,
                NotReady | Stopped | StartPending | Running | ContinuePending | PausePending,
            )
            | (Paused, NotReady | Stopped | StartPending | Running | PausePending | Paused)
            | (
                StopPending,
                NotReady | StartPending | StopPending | Running | ContinuePending | PausePending
                | Paused,
            )
            | (
                Stopped,
                NotReady | Stopped | StartPending | StopPending | Running | ContinuePending
                | PausePending | Paused,
            ) => Err(IllegalStateChange { from: self, to: next }),
        }
    }

    /// Returns the state that follows when the callbacks have answered; `None` if their answers do
    /// not change this state.
    #[must_use]
    pub const fn next(self) -> Option<ServiceState> {
        match self {
            ServiceState::NotReady => Some(ServiceState::StartPending),
            ServiceState::StartPending | ServiceState::ContinuePending => {
                Some(ServiceState::Running)
            }
            ServiceState::PausePending => Some(ServiceState::Paused),
            ServiceState::StopPending => Some(ServiceState::Stopped),
            ServiceState::Running | ServiceState::Paused | ServiceState::Stopped => None,
        }
    }

    /// Returns the response of this state to a control.
    #[must_use]
    pub const fn respond(self, control: Control) -> ControlResponse {
        use ServiceState::{
            ContinuePending, NotReady, PausePending, Paused, Running, StartPending, StopPending,
            Stopped,
        };

        match (self, control) {
            (StartPending | Running | PausePending | Paused | ContinuePending, Control::Stop) => {
                ControlResponse::Enter(StopPending)
            }
            (
                StartPending | Running | PausePending | Paused | ContinuePending,
                Control::Shutdown | Control::Preshutdown,
            ) => ControlResponse::ShutDown,
            (Running, Control::Pause) => ControlResponse::Enter(PausePending),
            (Paused, Control::Continue) => ControlResponse::Enter(ContinuePending),
            (Running | Paused, Control::ParamChange) => ControlResponse::Reload,
            (Running | PausePending | Paused | ContinuePending, Control::User(_)) => {
                ControlResponse::Notify
            }
            (
                NotReady | StartPending | Running | PausePending | Paused | ContinuePending
                | StopPending | Stopped,
                Control::Interrogate,
            ) => ControlResponse::Report,
            (
                NotReady | StopPending | Stopped,
                Control::Stop | Control::Shutdown | Control::Preshutdown,
            )
            | (
                NotReady | StartPending | PausePending | Paused | ContinuePending | StopPending
                | Stopped,
                Control::Pause,
            )
            | (
                NotReady | StartPending | Running | PausePending | ContinuePending | StopPending
                | Stopped,
                Control::Continue,
            )
            | (
                NotReady | StartPending | PausePending | ContinuePending | StopPending | Stopped,
                Control::ParamChange,
            )
            | (NotReady | StartPending | StopPending | Stopped, Control::User(_)) => {
                ControlResponse::Refuse
            }
        }
    }

    /// Returns whether the state is pending: a change to another state is in progress, and the
    /// service reports a checkpoint and a wait hint.
    #[must_use]
    pub const fn is_pending(self) -> bool {
        match self {
            ServiceState::StartPending
            | ServiceState::StopPending
            | ServiceState::ContinuePending
            | ServiceState::PausePending => true,
            ServiceState::NotReady
            | ServiceState::Stopped
            | ServiceState::Running
            | ServiceState::Paused => false,
        }
    }

    /// Returns the code of the state, as Windows defines it.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the state with this code, or `None` if no state has this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<ServiceState> {
        ServiceState::ALL.get(usize::from(code)).copied()
    }

    /// Returns the name of the state, in lower case.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            ServiceState::NotReady => "not ready",
            ServiceState::Stopped => "stopped",
            ServiceState::StartPending => "starting",
            ServiceState::StopPending => "stopping",
            ServiceState::Running => "running",
            ServiceState::ContinuePending => "continuing",
            ServiceState::PausePending => "pausing",
            ServiceState::Paused => "paused",
        }
    }
}

/// A control for a service, sent by the service manager, by a signal, or as a message.
#[derive(Message, Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[rtype(result = "Result<(), ControlRefused>")]
pub enum Control {
    /// Stop. Sent by SIGTERM and SIGINT on Unix, and by Ctrl-C in a console.
    Stop,
    /// Pause. Sent by SIGTSTP on Unix.
    Pause,
    /// Continue after a pause. Sent by SIGCONT on Unix.
    Continue,
    /// Report the state again.
    Interrogate,
    /// Stop, because the system shuts down.
    Shutdown,
    /// Stop before other services do, because the system shuts down.
    Preshutdown,
    /// Read the parameters again. Sent by SIGHUP on Unix.
    ParamChange,
    /// A user-defined control.
    User(UserControl),
}

/// The code of a user-defined control: 128 to 255.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UserControl(u8);

impl UserControl {
    /// Creates a user-defined control with this code.
    ///
    /// # Errors
    ///
    /// [`InvalidUserControl`] if the code is below 128. Codes below 128 are reserved for the
    /// system.
    pub const fn new(code: u8) -> Result<UserControl, InvalidUserControl> {
        if code < 128 { Err(InvalidUserControl(code)) } else { Ok(UserControl(code)) }
    }

    /// Returns the code.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// The error for a code that is reserved for the system.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} is not a user-defined control: the code must be between 128 and 255")]
pub struct InvalidUserControl(pub u8);

/// The error for a control that the service does not accept in its present state.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("cannot {control} while the service is {}", state.word())]
pub struct ControlRefused {
    /// The present state of the service.
    pub state: ServiceState,
    /// The refused control.
    pub control: Control,
}

impl std::fmt::Display for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Control::Stop => f.write_str("stop"),
            Control::Pause => f.write_str("pause"),
            Control::Continue => f.write_str("continue"),
            Control::Interrogate => f.write_str("interrogate"),
            Control::Shutdown => f.write_str("shut down"),
            Control::Preshutdown => f.write_str("prepare for the system shutdown"),
            Control::ParamChange => f.write_str("reload"),
            Control::User(user) => write!(f, "handle user control {}", user.0),
        }
    }
}

/// A callback of a service: one for each state, one for a shutdown, and one for other controls.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Callback {
    /// The service has not begun to start.
    NotReady,
    /// The service is starting.
    StartPending,
    /// The service runs.
    Running,
    /// The service is pausing.
    PausePending,
    /// The service is paused.
    Paused,
    /// The service is continuing after a pause.
    ContinuePending,
    /// The service is stopping.
    StopPending,
    /// The service has stopped. This callback needs no answer.
    Stopped,
    /// The system shuts down. The callback `StopPending` follows.
    Shutdown,
    /// A control without a callback of its own has arrived:
    /// [`ParamChange`](crate::Control::ParamChange), which needs an answer, or a user-defined
    /// control, which is delivered once and needs no answer.
    Unhandled,
}

impl Callback {
    /// All callbacks.
    pub const ALL: [Callback; 10] = [
        Callback::NotReady,
        Callback::StartPending,
        Callback::Running,
        Callback::PausePending,
        Callback::Paused,
        Callback::ContinuePending,
        Callback::StopPending,
        Callback::Stopped,
        Callback::Shutdown,
        Callback::Unhandled,
    ];

    /// Returns the callback for a state.
    #[must_use]
    pub const fn for_state(state: ServiceState) -> Callback {
        match state {
            ServiceState::NotReady => Callback::NotReady,
            ServiceState::Stopped => Callback::Stopped,
            ServiceState::StartPending => Callback::StartPending,
            ServiceState::StopPending => Callback::StopPending,
            ServiceState::Running => Callback::Running,
            ServiceState::ContinuePending => Callback::ContinuePending,
            ServiceState::PausePending => Callback::PausePending,
            ServiceState::Paused => Callback::Paused,
        }
    }
}

/// A set of callbacks.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct CallbackSet(u16);

impl CallbackSet {
    /// All callbacks.
    pub const ALL: CallbackSet = CallbackSet((1 << Callback::ALL.len()) - 1);
    /// The empty set.
    pub const NONE: CallbackSet = CallbackSet(0);
    pub(crate) const START: CallbackSet = CallbackSet::NONE.with(Callback::StartPending);

    /// Returns the set with this callback added.
    #[must_use]
    pub const fn with(self, callback: Callback) -> CallbackSet {
        CallbackSet(self.0 | 1 << callback as u16)
    }

    /// Returns whether the set contains this callback.
    #[must_use]
    pub const fn contains(self, callback: Callback) -> bool {
        self.0 & 1 << callback as u16 != 0
    }
}

#[cfg(test)]
mod tests;
