//! The origin of an action of the daemon, for the log.

use std::fmt;

use daemon_core::Signal;

/// The origin of an action: what caused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A signal to the parent.
    Signal(Signal),
    /// A message of a session, of the control socket or of the service manager.
    Message,
    /// A failure, after which the daemon cannot continue.
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
