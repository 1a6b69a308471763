//! The status of a child, and its legal transitions.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Defines the statuses from one table with code, letter, word and kind.
macro_rules! statuses {
    (
        $(#[$about:meta])*
        pub enum Status {
            $($(#[$what:meta])* $status:ident =
                $code:literal, $letter:literal, $word:literal, $kind:ident;)+
        }
    ) => {
        $(#[$about])*
        #[derive(
            Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
        )]
        #[repr(u8)]
        #[serde(rename_all = "kebab-case")]
        pub enum Status {
            $($(#[$what])* $status = $code,)+
        }

        impl Status {
            /// All statuses, in the order of their codes.
            pub const ALL: [Status; [$($code),+].len()] = [$(Status::$status),+];

            /// Returns the letter that stands for this status.
            #[must_use]
            pub const fn letter(self) -> char {
                match self {
                    $(Status::$status => $letter,)+
                }
            }

            /// Returns the status as a word. The word is the same on all screens and in JSON,
            /// metrics and logs.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Status::$status => $word,)+
                }
            }

            /// Returns the kind of the status.
            #[must_use]
            pub const fn kind(self) -> StatusKind {
                match self {
                    $(Status::$status => StatusKind::$kind,)+
                }
            }
        }
    };
}

statuses! {
    /// The status of a slot: whether there is a child, and what the child does.
    ///
    /// The letters are those in the manual of `POE::Component::Daemon`.
    ///
    /// # Examples
    ///
    /// ```
    /// use daemon_core::{Status, Transition};
    ///
    /// assert_eq!(Status::Waiting.transition_to(Status::Serving), Ok(Transition::RequestStarted));
    /// let refused = Status::Waiting.transition_to(Status::Fresh).unwrap_err();
    /// let sentence = "cannot change the status of a child from waiting to fresh";
    /// assert_eq!(refused.to_string(), sentence);
    /// ```
    pub enum Status {
        /// The slot has no child.
        Empty = 0, ' ', "empty", Vacant;
        /// The parent has requested a fork.
        Forking = 1, 'F', "forking", Starting;
        /// The child exists, and is not ready yet.
        Forked = 2, 'f', "forked", Starting;
        /// The child is ready, and waits for its first request.
        Fresh = 3, '.', "fresh", Idle;
        /// The child waits for the next request.
        Waiting = 4, 'w', "waiting", Idle;
        /// The child handles a request.
        Serving = 5, 'r', "serving", Busy;
        /// The child handles a request that takes long.
        Long = 6, 'l', "long", Busy;
        /// The child is exiting.
        Leaving = 7, 'e', "leaving", Leaving;
    }
}

/// The kind of a status. Most rules for children depend only on the kind of their status.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum StatusKind {
    /// There is no child.
    Vacant,
    /// The child is not ready yet.
    Starting,
    /// The child waits for a request.
    Idle,
    /// The child handles a request.
    Busy,
    /// The child is exiting.
    Leaving,
}

/// The meaning of a legal transition.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Transition {
    /// The parent has opened an empty slot for a child.
    SlotOpened,
    /// The child has taken its seat.
    SeatTaken,
    /// The child is ready for its first request.
    BecameReady,
    /// A request has started: the only transition that counts a request.
    RequestStarted,
    /// The request has finished.
    RequestFinished,
    /// The request continues. The child changed its status from serving to long, or from long to
    /// serving.
    Reclassified,
    /// The child is exiting.
    Leaving,
    /// The child has exited.
    SlotClosed,
}

/// A transition that is not allowed.
///
/// The error is returned to the caller. Nothing is changed or logged.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("cannot change the status of a child from {from} to {to}")]
pub struct IllegalTransition {
    /// The current status.
    pub from: Status,
    /// The requested status.
    pub to: Status,
}

impl Status {
    /// Returns the status with this letter, or `None` if no status has the letter.
    #[must_use]
    pub fn from_letter(letter: char) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.letter() == letter)
    }

    /// Returns the code of the status in shared memory.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the status with this code, or `None` if no status has it, which means that the
    /// memory was damaged.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Status> {
        Status::ALL.get(usize::from(code)).copied()
    }

    /// Returns whether the child waits for a request.
    #[must_use]
    pub const fn is_idle(self) -> bool {
        matches!(self.kind(), StatusKind::Idle)
    }

    /// Returns whether the child handles a request.
    #[must_use]
    pub const fn is_busy(self) -> bool {
        matches!(self.kind(), StatusKind::Busy)
    }

    /// Returns whether a process has taken the seat of the slot.
    #[must_use]
    pub const fn is_seated(self) -> bool {
        match self {
            Status::Empty | Status::Forking => false,
            Status::Forked
            | Status::Fresh
            | Status::Waiting
            | Status::Serving
            | Status::Long
            | Status::Leaving => true,
        }
    }

    /// Returns the meaning of the transition to `to`.
    ///
    /// A status cannot follow itself. `POE::Component::Daemon` only logs a warning when a child
    /// sets its status `wait` (here: waiting) twice in a row.
    ///
    /// # Errors
    ///
    /// [`IllegalTransition`] if the transition is not allowed.
    pub const fn transition_to(self, to: Status) -> Result<Transition, IllegalTransition> {
        use Status::{Empty, Forked, Forking, Fresh, Leaving, Long, Serving, Waiting};

        match (self, to) {
            (Empty, Forking) => Ok(Transition::SlotOpened),
            (Forking, Forked) => Ok(Transition::SeatTaken),
            (Forked, Fresh) => Ok(Transition::BecameReady),
            (Forked | Fresh | Waiting, Serving | Long) => Ok(Transition::RequestStarted),
            (Serving | Long, Waiting) => Ok(Transition::RequestFinished),
            (Serving, Long) | (Long, Serving) => Ok(Transition::Reclassified),
            (Forked | Fresh | Waiting | Serving | Long, Leaving) => Ok(Transition::Leaving),
            (Forking | Forked | Fresh | Waiting | Serving | Long | Leaving, Empty) => {
                Ok(Transition::SlotClosed)
            }
            (Empty, Empty | Forked | Fresh | Waiting | Serving | Long | Leaving)
            | (Forking, Forking | Fresh | Waiting | Serving | Long | Leaving)
            | (Forked, Forking | Forked | Waiting)
            | (Fresh, Forking | Forked | Fresh | Waiting)
            | (Waiting, Forking | Forked | Fresh | Waiting)
            | (Serving, Forking | Forked | Fresh | Serving)
            | (Long, Forking | Forked | Fresh | Long)
            | (Leaving, Forking | Forked | Fresh | Waiting | Serving | Long | Leaving) => {
                Err(IllegalTransition { from: self, to })
            }
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Transition::{
        BecameReady, Reclassified, RequestFinished, RequestStarted, SeatTaken, SlotClosed,
        SlotOpened,
    };

    #[test]
    fn each_pair_of_statuses_is_allowed_or_refused_as_in_the_table() {
        const NO: Option<Transition> = None;
        const O: Option<Transition> = Some(SlotOpened);
        const S: Option<Transition> = Some(SeatTaken);
        const R: Option<Transition> = Some(BecameReady);
        const B: Option<Transition> = Some(RequestStarted);
        const E: Option<Transition> = Some(RequestFinished);
        const C: Option<Transition> = Some(Reclassified);
        const L: Option<Transition> = Some(Transition::Leaving);
        const X: Option<Transition> = Some(SlotClosed);
        #[rustfmt::skip]
        let table: [[_; Status::ALL.len()]; Status::ALL.len()] = [
            // to:  ' '  F   f   .   w   r   l   e
            /* ' ' */ [NO, O,  NO, NO, NO, NO, NO, NO],
            /*  F  */ [X,  NO, S,  NO, NO, NO, NO, NO],
            /*  f  */ [X,  NO, NO, R,  NO, B,  B,  L ],
            /*  .  */ [X,  NO, NO, NO, NO, B,  B,  L ],
            /*  w  */ [X,  NO, NO, NO, NO, B,  B,  L ],
            /*  r  */ [X,  NO, NO, NO, E,  NO, C,  L ],
            /*  l  */ [X,  NO, NO, NO, E,  C,  NO, L ],
            /*  e  */ [X,  NO, NO, NO, NO, NO, NO, NO],
        ];
        for (from, row) in Status::ALL.into_iter().zip(table) {
            for (to, cell) in Status::ALL.into_iter().zip(row) {
                assert_eq!(from.transition_to(to), cell.ok_or(IllegalTransition { from, to }));
            }
        }
    }

    #[test]
    fn letters_and_codes_convert_back_to_statuses() {
        for (code, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(status.code()), code);
            assert_eq!(Status::from_code(status.code()), Some(status));
            assert_eq!(Status::from_letter(status.letter()), Some(status));
        }
        assert_eq!(Status::ALL.map(Status::letter).iter().collect::<String>(), " Ff.wrle");
        assert_eq!(Status::from_code(8), None);
        assert_eq!(Status::from_letter('x'), None);
    }
}
