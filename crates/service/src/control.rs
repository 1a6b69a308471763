//! What a service is told by its master.

use actix::Message;

use crate::stage::Stage;

/// What a service is told to do, by the service manager, by a signal, or by a message.
#[derive(Message, Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[rtype(result = "Result<(), Refused>")]
pub enum Control {
    /// Stop. TERM and INT under a supervisor, Ctrl-C in a console.
    Stop,
    /// Rest. TSTP.
    Pause,
    /// Go on. CONT.
    Continue,
    /// Report the state again.
    Interrogate,
    /// Stop, since the machine goes down.
    Shutdown,
    /// Stop before other services do, since the machine goes down.
    Preshutdown,
    /// Read the parameters anew. HUP.
    ParamChange,
    /// A control of the service's own.
    User(UserControl),
}

/// The number of a control of the service's own: 128 to 255.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UserControl(u8);

impl UserControl {
    /// Takes a number.
    ///
    /// # Errors
    ///
    /// [`NoUserControl`] if it is less than 128: those are the system's.
    pub const fn new(code: u8) -> Result<UserControl, NoUserControl> {
        if code < 128 { Err(NoUserControl(code)) } else { Ok(UserControl(code)) }
    }

    /// Tells the number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// A number that is not of the service's own controls.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} is no control of a service's own: those are 128 to 255")]
pub struct NoUserControl(pub u8);

/// A control that does not fit the service's state.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("a service that is {} cannot {control}", stage.word())]
pub struct Refused {
    /// The service's state.
    pub stage: Stage,
    /// What it was told.
    pub control: Control,
}

impl std::fmt::Display for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Control::Stop => f.write_str("stop"),
            Control::Pause => f.write_str("pause"),
            Control::Continue => f.write_str("continue"),
            Control::Interrogate => f.write_str("report itself"),
            Control::Shutdown => f.write_str("shut down"),
            Control::Preshutdown => f.write_str("shut down early"),
            Control::ParamChange => f.write_str("read its parameters anew"),
            Control::User(user) => write!(f, "heed control {}", user.0),
        }
    }
}
