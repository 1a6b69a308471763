//! Who has asked for what the daemon does, for the log.

use std::fmt;

use daemon_core::Signal;

/// Who has asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Who has sent this signal.
    Signal(Signal),
    /// A message: a session, the control socket, a service's master.
    Message,
    /// Nobody: the daemon cannot go on.
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
