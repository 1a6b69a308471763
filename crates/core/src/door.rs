//! Whether a post-forking daemon takes requests: the door that sessions are told of, and the
//! single request that comes in all the same.

use serde::{Deserialize, Serialize};

use crate::phase::Phase;

/// Whether sessions may take requests.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    /// They may.
    Open,
    /// They may not: all children are taken, or the daemon is held or stops.
    Shut,
}

/// What sessions are to be told as the door swings.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Swing {
    /// Take no more requests.
    Pause,
    /// Take requests again.
    Accept,
}

/// An operator's word that the door is to be kept shut.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// The door follows the traffic.
    #[default]
    No,
    /// The door is kept shut.
    Yes,
}

/// What decides about the door.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Traffic {
    /// How many children there are, those on their way in and out included.
    pub children: u32,
    /// How many there may be.
    pub max_children: u32,
    /// How many requests wait for a child.
    pub waiting: u32,
    /// The daemon's phase.
    pub phase: Phase,
    /// The operator's word.
    pub hold: Hold,
}

/// What becomes of a request that comes in.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Admission {
    /// A child is forked for it now.
    Fork,
    /// It waits until its turn comes.
    Wait,
    /// It goes back: as many wait as may.
    Full,
    /// It goes back: the daemon stops.
    Stopping,
}

impl Door {
    /// Says how the door stands in this traffic, and what sessions are to be told if it moves.
    ///
    /// It is shut as the last child is taken, and opened when one is free and no request waits:
    /// those that wait come first. Pause and Accept alternate strictly. When the daemon stops the
    /// door falls shut without a word, since the shutdown is a stronger one; it never opens again.
    ///
    /// # Examples
    ///
    /// ```
    /// use daemon_core::{Door, Hold, Phase, Swing, Traffic};
    ///
    /// let traffic =
    ///     Traffic { children: 3, max_children: 3, waiting: 0, phase: Phase::Running, hold: Hold::No };
    /// let (door, swing) = Door::Open.settle(&traffic);
    /// assert_eq!((door, swing), (Door::Shut, Some(Swing::Pause)));
    /// let (door, swing) = door.settle(&Traffic { children: 2, ..traffic });
    /// assert_eq!((door, swing), (Door::Open, Some(Swing::Accept)));
    /// ```
    #[must_use]
    pub fn settle(self, traffic: &Traffic) -> (Door, Option<Swing>) {
        match traffic.phase {
            Phase::Stopping | Phase::Stopped => (Door::Shut, None),
            Phase::Starting | Phase::Running => match (self, traffic.wants()) {
                (Door::Open, Door::Open) => (Door::Open, None),
                (Door::Open, Door::Shut) => (Door::Shut, Some(Swing::Pause)),
                (Door::Shut, Door::Shut) => (Door::Shut, None),
                (Door::Shut, Door::Open) => (Door::Open, Some(Swing::Accept)),
            },
        }
    }
}

impl Traffic {
    fn wants(&self) -> Door {
        match self.hold {
            Hold::Yes => Door::Shut,
            Hold::No if self.waiting == 0 && self.has_room() => Door::Open,
            Hold::No => Door::Shut,
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
pub fn admit(traffic: &Traffic, backlog: u32) -> Admission {
    match traffic.phase {
        Phase::Stopping | Phase::Stopped => Admission::Stopping,
        Phase::Starting | Phase::Running => {
            if traffic.waiting == 0 && traffic.has_room() {
                Admission::Fork
            } else if traffic.waiting < backlog {
                Admission::Wait
            } else {
                Admission::Full
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(children: u32, waiting: u32) -> Traffic {
        Traffic { children, max_children: 3, waiting, phase: Phase::Running, hold: Hold::No }
    }

    #[test]
    fn the_door_is_shut_as_the_last_child_is_taken_and_opened_when_nobody_waits() {
        let story = [
            (traffic(2, 0), Door::Open, None),
            (traffic(3, 0), Door::Shut, Some(Swing::Pause)),
            (traffic(3, 1), Door::Shut, None),
            (traffic(2, 1), Door::Shut, None),
            (traffic(3, 0), Door::Shut, None),
            (traffic(2, 0), Door::Open, Some(Swing::Accept)),
            (traffic(1, 1), Door::Shut, Some(Swing::Pause)),
            (Traffic { hold: Hold::Yes, ..traffic(0, 0) }, Door::Shut, None),
            (traffic(0, 0), Door::Open, Some(Swing::Accept)),
            (Traffic { hold: Hold::Yes, ..traffic(0, 0) }, Door::Shut, Some(Swing::Pause)),
        ];
        let mut door = Door::Open;
        for (traffic, stands, told) in story {
            let (next, swing) = door.settle(&traffic);
            assert_eq!((next, swing), (stands, told), "{traffic:?}");
            door = next;
        }
    }

    #[test]
    fn a_daemon_that_stops_shuts_its_door_without_a_word() {
        for phase in [Phase::Stopping, Phase::Stopped] {
            for door in [Door::Open, Door::Shut] {
                let quiet = Traffic { phase, ..traffic(0, 0) };
                assert_eq!(door.settle(&quiet), (Door::Shut, None));
                assert_eq!(admit(&quiet, 10), Admission::Stopping);
            }
        }
    }

    #[test]
    fn a_request_is_forked_for_waits_or_goes_back() {
        let table = [
            (traffic(2, 0), 1, Admission::Fork),
            (traffic(3, 0), 1, Admission::Wait),
            (traffic(3, 1), 1, Admission::Full),
            (traffic(2, 1), 2, Admission::Wait),
            (traffic(2, 1), 1, Admission::Full),
            (traffic(2, 0), 0, Admission::Fork),
            (traffic(3, 0), 0, Admission::Full),
            (Traffic { hold: Hold::Yes, ..traffic(2, 0) }, 1, Admission::Fork),
        ];
        for (traffic, backlog, expected) in table {
            assert_eq!(admit(&traffic, backlog), expected, "{traffic:?}");
        }
    }
}
