//! The controls that a service receives, for example from its service manager.

use actix::Message;

use crate::state::ServiceState;

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
