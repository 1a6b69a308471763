//! The phases of a daemon.

use serde::{Deserialize, Serialize};

/// The phase of a daemon, from its start to the end of its last child.
///
/// # Examples
///
/// ```
/// use daemon_core::Phase;
///
/// let phase = Phase::Starting.enter(Phase::Running)?;
/// assert_eq!(phase, Phase::Running);
/// assert!(phase.enter(Phase::Starting).is_err());
/// # Ok::<(), daemon_core::IllegalPhaseChange>(())
/// ```
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The initial children are not ready yet.
    Starting = 0,
    /// The daemon serves requests.
    Running = 1,
    /// The daemon accepts no requests, and waits for its children to exit.
    Stopping = 2,
    /// No child is left.
    Stopped = 3,
}

/// A phase change that is not allowed.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("cannot change the phase of the daemon from {} to {}", from.word(), to.word())]
pub struct IllegalPhaseChange {
    /// The current phase.
    pub from: Phase,
    /// The requested phase.
    pub to: Phase,
}

impl Phase {
    /// All phases, in the order of their codes.
    pub const ALL: [Phase; 4] = [Phase::Starting, Phase::Running, Phase::Stopping, Phase::Stopped];

    /// Returns `next`, if a daemon in this phase may change to it.
    ///
    /// A daemon that fails to start may change to [`Stopped`](Phase::Stopped) directly, because it
    /// has no child to wait for.
    ///
    /// # Errors
    ///
    /// [`IllegalPhaseChange`] if `next` cannot follow this phase. A phase cannot follow itself.
    pub const fn enter(self, next: Phase) -> Result<Phase, IllegalPhaseChange> {
        use Phase::{Running, Starting, Stopped, Stopping};

        match (self, next) {
            (Starting, Running | Stopping | Stopped)
            | (Running, Stopping)
            | (Stopping, Stopped) => Ok(next),
            (Starting, Starting)
            | (Running, Starting | Running | Stopped)
            | (Stopping, Starting | Running | Stopping)
            | (Stopped, Starting | Running | Stopping | Stopped) => {
                Err(IllegalPhaseChange { from: self, to: next })
            }
        }
    }

    /// Returns the phase as a word, in lower case.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::Stopping => "stopping",
            Phase::Stopped => "stopped",
        }
    }

    /// Returns the code in shared memory.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the phase with this code. Returns `None` if no phase has this code, which means that
    /// the shared memory was damaged.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Phase> {
        Phase::ALL.get(usize::from(code)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_change_is_allowed_or_rejected_as_listed() {
        #[rustfmt::skip]
        let table = [
            // to:          Starting Running Stopping Stopped
            /* Starting */ [false,   true,   true,    true ],
            /* Running  */ [false,   false,  true,    false],
            /* Stopping */ [false,   false,  false,   true ],
            /* Stopped  */ [false,   false,  false,   false],
        ];
        for (from, row) in Phase::ALL.into_iter().zip(table) {
            for (to, legal) in Phase::ALL.into_iter().zip(row) {
                let expected = if legal { Ok(to) } else { Err(IllegalPhaseChange { from, to }) };
                assert_eq!(from.enter(to), expected);
            }
        }
    }

    #[test]
    fn codes_convert_back_to_phases() {
        for phase in Phase::ALL {
            assert_eq!(Phase::from_code(phase.code()), Some(phase));
        }
        assert_eq!(Phase::from_code(4), None);
    }
}
