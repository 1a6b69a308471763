//! The states of a service, and which may follow on which.

use crate::control::Control;

/// A state of a service, as Windows counts them.
///
/// | state | may be followed by | left when |
/// | --- | --- | --- |
/// | `NotReady` | `StartPending` | it is answered |
/// | `StartPending` | `Running`, `StopPending` | it is answered |
/// | `Running` | `PausePending`, `StopPending` | a control comes |
/// | `PausePending` | `Paused`, `StopPending` | it is answered |
/// | `Paused` | `ContinuePending`, `StopPending` | a control comes |
/// | `ContinuePending` | `Running`, `StopPending` | it is answered |
/// | `StopPending` | `Stopped` | it is answered |
/// | `Stopped` | | never |
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Stage {
    /// The service has not begun to start.
    NotReady = 0,
    /// It has ended.
    Stopped = 1,
    /// It starts.
    StartPending = 2,
    /// It ends.
    StopPending = 3,
    /// It does what it is for.
    Running = 4,
    /// It goes on after a pause.
    ContinuePending = 5,
    /// It comes to rest.
    PausePending = 6,
    /// It rests.
    Paused = 7,
}

/// A state that does not follow on the present one.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("a service that is {} cannot become {}", from.word(), wanted.word())]
pub struct IllegalState {
    /// The present state.
    pub from: Stage,
    /// The one that was to be entered.
    pub wanted: Stage,
}

/// What a control leads to in a state.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Response {
    /// This state is entered.
    Enter(Stage),
    /// `StopPending` is entered, and the callback for a shutdown comes before its own.
    ShutDown,
    /// The service reads its parameters anew.
    Reload,
    /// The callback for what has none of its own is told, once.
    Tell,
    /// The present state is reported again.
    Report,
    /// Nothing: the control does not fit the state.
    Refuse,
}

impl Stage {
    /// All of them, in the order of their codes.
    pub const ALL: [Stage; 8] = [
        Stage::NotReady,
        Stage::Stopped,
        Stage::StartPending,
        Stage::StopPending,
        Stage::Running,
        Stage::ContinuePending,
        Stage::PausePending,
        Stage::Paused,
    ];

    /// Enters the next state, and returns it.
    ///
    /// # Errors
    ///
    /// [`IllegalState`] if `next` does not follow on this one; a state does not follow on itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use daemon_service::Stage;
    ///
    /// assert_eq!(Stage::PausePending.enter(Stage::Paused), Ok(Stage::Paused));
    /// assert!(Stage::Running.enter(Stage::Paused).is_err());
    /// ```
    pub const fn enter(self, next: Stage) -> Result<Stage, IllegalState> {
        use Stage::{
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
            ) => Err(IllegalState { from: self, wanted: next }),
        }
    }

    /// The state that an answer leads to; none where only a control leads on.
    #[must_use]
    pub const fn next(self) -> Option<Stage> {
        match self {
            Stage::NotReady => Some(Stage::StartPending),
            Stage::StartPending | Stage::ContinuePending => Some(Stage::Running),
            Stage::PausePending => Some(Stage::Paused),
            Stage::StopPending => Some(Stage::Stopped),
            Stage::Running | Stage::Paused | Stage::Stopped => None,
        }
    }

    /// What a control leads to in this state.
    #[must_use]
    pub const fn respond(self, control: Control) -> Response {
        use Stage::{
            ContinuePending, NotReady, PausePending, Paused, Running, StartPending, StopPending,
            Stopped,
        };

        match (self, control) {
            (StartPending | Running | PausePending | Paused | ContinuePending, Control::Stop) => {
                Response::Enter(StopPending)
            }
            (
                StartPending | Running | PausePending | Paused | ContinuePending,
                Control::Shutdown | Control::Preshutdown,
            ) => Response::ShutDown,
            (Running, Control::Pause) => Response::Enter(PausePending),
            (Paused, Control::Continue) => Response::Enter(ContinuePending),
            (Running | Paused, Control::ParamChange) => Response::Reload,
            (Running | PausePending | Paused | ContinuePending, Control::User(_)) => Response::Tell,
            (
                NotReady | StartPending | Running | PausePending | Paused | ContinuePending
                | StopPending | Stopped,
                Control::Interrogate,
            ) => Response::Report,
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
                Response::Refuse
            }
        }
    }

    /// Whether something is under way: the master is told how far it is.
    #[must_use]
    pub const fn is_pending(self) -> bool {
        match self {
            Stage::StartPending
            | Stage::StopPending
            | Stage::ContinuePending
            | Stage::PausePending => true,
            Stage::NotReady | Stage::Stopped | Stage::Running | Stage::Paused => false,
        }
    }

    /// Tells its code, that of Windows.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Finds the state that has this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Stage> {
        Stage::ALL.get(usize::from(code)).copied()
    }

    /// Tells its word, in small letters.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Stage::NotReady => "not ready",
            Stage::Stopped => "stopped",
            Stage::StartPending => "starting",
            Stage::StopPending => "stopping",
            Stage::Running => "running",
            Stage::ContinuePending => "continuing",
            Stage::PausePending => "pausing",
            Stage::Paused => "paused",
        }
    }
}

#[cfg(test)]
mod tests;
