//! The states of a service, and the legal changes between them.

use crate::control::Control;

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
    /// assert_eq!(ServiceState::PausePending.enter(ServiceState::Paused), Ok(ServiceState::Paused));
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

#[cfg(test)]
mod tests;
