//! Decides whether a post-forking daemon accepts requests, and what happens to each request that
//! arrives.

use serde::{Deserialize, Serialize};

use crate::phase::Phase;

/// Whether sessions may accept requests.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AcceptState {
    /// Sessions may accept requests.
    Accepting,
    /// Sessions must not accept requests: no more children can be forked, requests wait for a
    /// child, the operator paused the daemon, or the daemon is stopping.
    Paused,
}

/// A change of the accept state, which is sent to the sessions.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum AcceptChange {
    /// Stop accepting requests.
    Pause,
    /// Accept requests again.
    Resume,
}

/// Whether the operator has paused the daemon.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorPause {
    /// Not paused by the operator: the accept state depends on the other fields of [`PoolLoad`].
    #[default]
    Off,
    /// Paused by the operator: sessions accept no requests.
    On,
}

/// The load of a pool: the input of the accept rules.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct PoolLoad {
    /// The number of children, including those that are starting and leaving.
    pub children: u32,
    /// The maximum number of children.
    pub max_children: u32,
    /// The number of requests that wait for a child.
    pub waiting: u32,
    /// The daemon's phase.
    pub phase: Phase,
    /// Whether the operator has paused the daemon.
    pub operator_pause: OperatorPause,
}

/// What happens to a request that arrives.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Admission {
    /// A child is forked for the request now.
    Fork,
    /// The request is put at the end of the backlog.
    Enqueue,
    /// The request is returned, because the backlog is full.
    Full,
    /// The request is returned, because the daemon is stopping.
    Stopping,
}

impl AcceptState {
    /// Returns the new accept state for this load, and the change to send to the sessions, if any.
    ///
    /// The state is paused while the pool has `max_children` children, while a request waits for a
    /// child, or while the operator has paused the daemon. Otherwise the state is accepting. Pause
    /// and resume strictly alternate.
    ///
    /// When the daemon stops, the state becomes paused without a change to send, because the
    /// sessions receive the shutdown instead. After that, the state never becomes accepting again.
    ///
    /// # Examples
    ///
    /// ```
    /// use daemon_core::{AcceptState, OperatorPause, Phase, AcceptChange, PoolLoad};
    ///
    /// let load = PoolLoad {
    ///     children: 3,
    ///     max_children: 3,
    ///     waiting: 0,
    ///     phase: Phase::Running,
    ///     operator_pause: OperatorPause::Off,
    /// };
    /// let (state, change) = AcceptState::Accepting.update(&load);
    /// assert_eq!((state, change), (AcceptState::Paused, Some(AcceptChange::Pause)));
    /// let (state, change) = state.update(&PoolLoad { children: 2, ..load });
    /// assert_eq!((state, change), (AcceptState::Accepting, Some(AcceptChange::Resume)));
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

/// Returns what happens to a request that arrives. `backlog` is the maximum number of waiting
/// requests.
///
/// The accept state does not matter here, because a session may have accepted the request just
/// before it received the pause. The operator's pause does not matter either, because it applies
/// only to sessions. If other requests wait, the new request waits behind them, even if a child
/// could be forked.
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
    fn sessions_are_paused_while_the_pool_is_full_or_requests_wait_or_the_operator_pauses() {
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
    fn a_stopping_daemon_becomes_paused_without_notifying_the_sessions() {
        for phase in [Phase::Stopping, Phase::Stopped] {
            for state in [AcceptState::Accepting, AcceptState::Paused] {
                let load = PoolLoad { phase, ..load(0, 0) };
                assert_eq!(state.update(&load), (AcceptState::Paused, None));
                assert_eq!(admit(&load, 10), Admission::Stopping);
            }
        }
    }

    #[test]
    fn each_request_gets_a_child_or_waits_or_is_returned() {
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
