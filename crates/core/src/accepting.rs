//! Whether a post-forking daemon takes requests: the door that sessions are told of, and the
//! single request that comes in all the same.

use serde::{Deserialize, Serialize};

use crate::phase::Phase;

/// Whether sessions may take requests.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AcceptState {
    /// They may.
    Accepting,
    /// They may not: all children are taken, or the daemon is held or stops.
    Paused,
}

/// What sessions are to be told as the door swings.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum AcceptChange {
    /// Take no more requests.
    Pause,
    /// Take requests again.
    Resume,
}

/// An operator's word that the door is to be kept shut.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorPause {
    /// The door follows the traffic.
    #[default]
    Off,
    /// The door is kept shut.
    On,
}

/// What decides about the door.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct PoolLoad {
    /// How many children there are, those on their way in and out included.
    pub children: u32,
    /// How many there may be.
    pub max_children: u32,
    /// How many requests wait for a child.
    pub waiting: u32,
    /// The daemon's phase.
    pub phase: Phase,
    /// The operator's word.
    pub operator_pause: OperatorPause,
}

/// What becomes of a request that comes in.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Admission {
    /// A child is forked for it now.
    Fork,
    /// It waits until its turn comes.
    Enqueue,
    /// It goes back: as many wait as may.
    Full,
    /// It goes back: the daemon stops.
    Stopping,
}

impl AcceptState {
    /// Says how the door stands in this traffic, and what sessions are to be told if it moves.
    ///
    /// It is shut as the last child is taken, and opened when one is free and no request waits:
    /// those that wait come first. Pause and Accept alternate strictly. When the daemon stops the
    /// door falls shut without a word, since the shutdown is a stronger one; it never opens again.
    ///
    /// # Examples
    ///
    /// ```
    /// use daemon_core::{AcceptState, OperatorPause, Phase, AcceptChange, Traffic};
    ///
    /// let traffic =
    ///     Traffic { children: 3, max_children: 3, waiting: 0, phase: Phase::Running, hold: OperatorPause::Off };
    /// let (door, swing) = AcceptState::Accepting.update(&traffic);
    /// assert_eq!((door, swing), (AcceptState::Paused, Some(AcceptChange::Pause)));
    /// let (door, swing) = door.update(&Traffic { children: 2, ..load });
    /// assert_eq!((door, swing), (AcceptState::Accepting, Some(AcceptChange::Resume)));
    /// ```
    #[must_use]
    pub fn update(self, load: &PoolLoad) -> (AcceptState, Option<AcceptChange>) {
        match load.phase {
            Phase::Stopping | Phase::Stopped => (AcceptState::Paused, None),
            Phase::Starting | Phase::Running => match (self, load.wants()) {
                (AcceptState::Accepting, AcceptState::Accepting) => (AcceptState::Accepting, None),
                (AcceptState::Accepting, AcceptState::Paused) => {
                    (AcceptState::Paused, Some(AcceptChange::Pause))
                }
                (AcceptState::Paused, AcceptState::Paused) => (AcceptState::Paused, None),
                (AcceptState::Paused, AcceptState::Accepting) => {
                    (AcceptState::Accepting, Some(AcceptChange::Resume))
                }
            },
        }
    }
}

impl PoolLoad {
    fn wants(&self) -> AcceptState {
        match self.operator_pause {
            OperatorPause::On => AcceptState::Paused,
            OperatorPause::Off if self.waiting == 0 && self.has_room() => AcceptState::Accepting,
            OperatorPause::Off => AcceptState::Paused,
        }
    }

    fn has_room(&self) -> bool {
        self.children < self.max_children
    }
}

/// Says what becomes of a request that comes in, where `backlog` requests may wait.
///
/// The door does not matter here: a session may have taken the request just before it was told to
/// pause. Nor does the operator's hold, which is a word to sessions. A request that finds others
/// waiting waits behind them even if a child could be forked.
#[must_use]
pub fn admit(load: &PoolLoad, backlog: u32) -> Admission {
    match load.phase {
        Phase::Stopping | Phase::Stopped => Admission::Stopping,
        Phase::Starting | Phase::Running => {
            if load.waiting == 0 && load.has_room() {
                Admission::Fork
            } else if load.waiting < backlog {
                Admission::Enqueue
            } else {
                Admission::Full
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(children: u32, waiting: u32) -> PoolLoad {
        PoolLoad {
            children,
            max_children: 3,
            waiting,
            phase: Phase::Running,
            operator_pause: OperatorPause::Off,
        }
    }

    #[test]
    fn the_door_is_shut_as_the_last_child_is_taken_and_opened_when_nobody_waits() {
        let story = [
            (load(2, 0), AcceptState::Accepting, None),
            (load(3, 0), AcceptState::Paused, Some(AcceptChange::Pause)),
            (load(3, 1), AcceptState::Paused, None),
            (load(2, 1), AcceptState::Paused, None),
            (load(3, 0), AcceptState::Paused, None),
            (load(2, 0), AcceptState::Accepting, Some(AcceptChange::Resume)),
            (load(1, 1), AcceptState::Paused, Some(AcceptChange::Pause)),
            (
                PoolLoad { operator_pause: OperatorPause::On, ..load(0, 0) },
                AcceptState::Paused,
                None,
            ),
            (load(0, 0), AcceptState::Accepting, Some(AcceptChange::Resume)),
            (
                PoolLoad { operator_pause: OperatorPause::On, ..load(0, 0) },
                AcceptState::Paused,
                Some(AcceptChange::Pause),
            ),
        ];
        let mut state = AcceptState::Accepting;
        for (load, expected, expected_change) in story {
            let (next, change) = state.update(&load);
            assert_eq!((next, change), (expected, expected_change), "{load:?}");
            state = next;
        }
    }

    #[test]
    fn a_daemon_that_stops_shuts_its_door_without_a_word() {
        for phase in [Phase::Stopping, Phase::Stopped] {
            for state in [AcceptState::Accepting, AcceptState::Paused] {
                let load = PoolLoad { phase, ..load(0, 0) };
                assert_eq!(state.update(&load), (AcceptState::Paused, None));
                assert_eq!(admit(&load, 10), Admission::Stopping);
            }
        }
    }

    #[test]
    fn a_request_is_forked_for_waits_or_goes_back() {
        let table = [
            (load(2, 0), 1, Admission::Fork),
            (load(3, 0), 1, Admission::Enqueue),
            (load(3, 1), 1, Admission::Full),
            (load(2, 1), 2, Admission::Enqueue),
            (load(2, 1), 1, Admission::Full),
            (load(2, 0), 0, Admission::Fork),
            (load(3, 0), 0, Admission::Full),
            (PoolLoad { operator_pause: OperatorPause::On, ..load(2, 0) }, 1, Admission::Fork),
        ];
        for (load, backlog, expected) in table {
            assert_eq!(admit(&load, backlog), expected, "{load:?}");
        }
    }
}
