//! The phases of a daemon.

use serde::{Deserialize, Serialize};

/// The phase of a daemon, from its start to the end of its last child.
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

impl Phase {
    /// All phases, in the order of their codes.
    pub const ALL: [Phase; 4] = [Phase::Starting, Phase::Running, Phase::Stopping, Phase::Stopped];

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
    fn codes_convert_back_to_phases() {
        for phase in Phase::ALL {
            assert_eq!(Phase::from_code(phase.code()), Some(phase));
        }
        assert_eq!(Phase::from_code(4), None);
    }
}
