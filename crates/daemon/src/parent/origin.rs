//! The origin of a request to the daemon, for the log.

use std::fmt;

use daemon_core::Signal;

/// What caused an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This signal.
    Signal(Signal),
    /// A message of a session, of the control socket or of the service manager.
    Message,
    /// A failure: the daemon cannot continue.
    Failure,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Signal(signal) => signal.name(),
            Origin::Message => "message",
            Origin::Failure => "failure",
        })
    }
}
