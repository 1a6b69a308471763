//! What happens to the processes that children have started.

use crate::signals::Signal;

/// What happens to the processes that a child has started, and that still run when the child ends.
///
/// They are its *descendants*: the processes that it has started, and their descendants. A
/// descendant that has made its own process group or session has left the child, and only ends at
/// the daemon's stop.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum Descendants {
    /// Nothing. They may outlive the daemon, and keep its listener open.
    Leave,
    /// They are killed with a child that the daemon kills, and end with the daemon: they receive
    /// TERM when all children have ended, and KILL at the end of the grace period. If a child ends
    /// otherwise, they are left alone, and a warning is logged.
    #[default]
    EndAtStop,
    /// As [`EndAtStop`](Descendants::EndAtStop). Moreover, when a child ends for any reason, they
    /// receive TERM, and KILL after the grace period.
    EndWithChild,
}

impl Descendants {
    /// Returns whether KILL to a child is also sent to its descendants, and whether all descendants
    /// end when the daemon stops.
    #[must_use]
    pub const fn are_ended(self) -> bool {
        match self {
            Descendants::Leave => false,
            Descendants::EndAtStop | Descendants::EndWithChild => true,
        }
    }

    /// Returns the signal that the descendants of a child receive when the child ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use daemon_core::{Descendants, Signal};
    ///
    /// assert_eq!(Descendants::EndAtStop.signal_at_exit(), None);
    /// assert_eq!(Descendants::EndWithChild.signal_at_exit(), Some(Signal::Term));
    /// ```
    #[must_use]
    pub const fn signal_at_exit(self) -> Option<Signal> {
        match self {
            Descendants::Leave | Descendants::EndAtStop => None,
            Descendants::EndWithChild => Some(Signal::Term),
        }
    }
}
