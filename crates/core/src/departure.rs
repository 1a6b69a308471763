//! Why a child is gone, by how it ended, what it did last, and what it had been told.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::status::Status;

/// How a process has ended, as waitpid(2) tells it.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It has left with this code.
    Code(i32),
    /// It was ended by a signal.
    Signal {
        /// Which one.
        number: i32,
        /// Whether its memory was written to a core file.
        core: bool,
    },
}

/// What children of a daemon are for.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Calling {
    /// To stand in a pool and serve until their quota is spent.
    Pool,
    /// To serve the one request that they were forked for.
    OneRequest,
}

/// Why the parent has told a child to go.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dismissal {
    /// It was one too many, or is replaced.
    Retired,
    /// It has served its share.
    Recycled,
    /// The daemon stops.
    Stopping,
    /// The daemon stops at once.
    AtOnce,
}

/// Why a child is gone.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cause {
    /// It has done the request that it was forked for.
    Done,
    /// It has served its share of requests.
    Recycled,
    /// It was one too many, or is replaced.
    Retired,
    /// The daemon stops.
    Shutdown,
    /// It was told to go and was then killed: by the daemon, when it did not go in time. The
    /// kernel, when memory runs out, kills by the same signal and cannot be told from it.
    KilledByUs,
    /// It has ended before it was ready.
    FailedToBoot(Exit),
    /// It has left by itself, or with a code that tells of a failure.
    Exited(i32),
    /// A signal has ended it that the daemon has not sent.
    Killed {
        /// Which one.
        signal: i32,
        /// Whether its memory was written to a core file.
        core: bool,
    },
}

/// Says why a child is gone, by how it ended, the last status on its line, why it had been told to
/// go, if it had, and what it was for.
///
/// - A child that leaves by itself in good order says so with [`Leaving`](Status::Leaving) and code
///   0. Without either it is a failure, code 0 or not: the program has left behind the daemon's
///   back.
/// - A child that was told to go and ends by the very signal that told it, because it had no
///   handler yet, has done as told.
///
/// # Examples
///
/// ```
/// use daemon_core::{Calling, Cause, Exit, Status, explain};
///
/// let cause = explain(Exit::Code(0), Status::Leaving, None, Calling::Pool);
/// assert_eq!(cause, Cause::Recycled);
/// let oom = Exit::Signal { number: 9, core: false };
/// let cause = explain(oom, Status::Serving, None, Calling::Pool);
/// assert_eq!(cause.to_string(), "signal 9 (KILL)");
/// ```
#[must_use]
pub fn explain(exit: Exit, last: Status, dismissed: Option<Dismissal>, calling: Calling) -> Cause {
    match (dismissed, exit) {
        (Some(dismissal), Exit::Code(0)) => dismissal.cause(),
        (Some(dismissal), Exit::Signal { number: TERM | QUIT, core: false }) => dismissal.cause(),
        (Some(_told), Exit::Signal { number: KILL, .. }) => Cause::KilledByUs,
        (Some(_told), Exit::Code(code)) => Cause::Exited(code),
        (Some(_told), Exit::Signal { number: signal, core }) => Cause::Killed { signal, core },
        (None, exit) => by_itself(exit, last, calling),
    }
}

fn by_itself(exit: Exit, last: Status, calling: Calling) -> Cause {
    match (last, exit) {
        (Status::Forking | Status::Born, exit) => Cause::FailedToBoot(exit),
        (Status::Leaving, Exit::Code(0)) => match calling {
            Calling::Pool => Cause::Recycled,
            Calling::OneRequest => Cause::Done,
        },
        (
            Status::Empty
            | Status::Fresh
            | Status::Waiting
            | Status::Serving
            | Status::Long
            | Status::Leaving,
            Exit::Code(code),
        ) => Cause::Exited(code),
        (
            Status::Empty
            | Status::Fresh
            | Status::Waiting
            | Status::Serving
            | Status::Long
            | Status::Leaving,
            Exit::Signal { number: signal, core },
        ) => Cause::Killed { signal, core },
    }
}

impl Dismissal {
    fn cause(self) -> Cause {
        match self {
            Dismissal::Retired => Cause::Retired,
            Dismissal::Recycled => Cause::Recycled,
            Dismissal::Stopping | Dismissal::AtOnce => Cause::Shutdown,
        }
    }
}

impl Cause {
    /// Tells whether the child left as it should: told to, or having done its share.
    #[must_use]
    pub const fn is_regular(&self) -> bool {
        match self {
            Cause::Done | Cause::Recycled | Cause::Retired | Cause::Shutdown => true,
            Cause::KilledByUs
            | Cause::FailedToBoot(_)
            | Cause::Exited(_)
            | Cause::Killed { .. } => false,
        }
    }
}

const QUIT: i32 = 3;
const KILL: i32 = 9;
const TERM: i32 = 15;

/// The name of a signal whose number is the same on all systems that we know.
fn name(signal: i32) -> Option<&'static str> {
    match signal {
        1 => Some("HUP"),
        2 => Some("INT"),
        QUIT => Some("QUIT"),
        4 => Some("ILL"),
        5 => Some("TRAP"),
        6 => Some("ABRT"),
        8 => Some("FPE"),
        KILL => Some("KILL"),
        11 => Some("SEGV"),
        13 => Some("PIPE"),
        14 => Some("ALRM"),
        TERM => Some("TERM"),
        24 => Some("XCPU"),
        25 => Some("XFSZ"),
        _other => None,
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal { number, core } => {
                write!(f, "signal {number}")?;
                if let Some(name) = name(number) {
                    write!(f, " ({name})")?;
                }
                f.write_str(if core { ", core dumped" } else { "" })
            }
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Cause::Done => f.write_str("request done"),
            Cause::Recycled => f.write_str("share of requests served"),
            Cause::Retired => f.write_str("retired"),
            Cause::Shutdown => f.write_str("shutdown"),
            Cause::KilledByUs => f.write_str("told to go, then killed"),
            Cause::FailedToBoot(exit) => write!(f, "{exit} before it was ready"),
            Cause::Exited(code) => Exit::Code(code).fmt(f),
            Cause::Killed { signal, core } => Exit::Signal { number: signal, core }.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Exit = Exit::Code(0);

    fn signal(number: i32) -> Exit {
        Exit::Signal { number, core: false }
    }

    #[test]
    fn who_was_not_told_to_go_is_explained_by_its_last_status_and_its_end() {
        use Status::{Born, Empty, Forking, Fresh, Leaving, Long, Serving, Waiting};
        let dumped = Exit::Signal { number: 11, core: true };
        for last in [Forking, Born] {
            for exit in [OK, Exit::Code(3), signal(9), dumped] {
                let cause = explain(exit, last, None, Calling::Pool);
                assert_eq!(cause, Cause::FailedToBoot(exit));
            }
        }
        for last in [Empty, Fresh, Waiting, Serving, Long, Leaving] {
            let explain = |exit| explain(exit, last, None, Calling::OneRequest);
            assert_eq!(explain(Exit::Code(3)), Cause::Exited(3));
            assert_eq!(explain(signal(15)), Cause::Killed { signal: 15, core: false });
            assert_eq!(explain(dumped), Cause::Killed { signal: 11, core: true });
            if last != Leaving {
                assert_eq!(explain(OK), Cause::Exited(0));
            }
        }
        assert_eq!(explain(OK, Leaving, None, Calling::Pool), Cause::Recycled);
        assert_eq!(explain(OK, Leaving, None, Calling::OneRequest), Cause::Done);
    }

    #[test]
    fn who_was_told_to_go_is_explained_by_that_unless_it_failed() {
        let table = [
            (Dismissal::Retired, Cause::Retired),
            (Dismissal::Recycled, Cause::Recycled),
            (Dismissal::Stopping, Cause::Shutdown),
            (Dismissal::AtOnce, Cause::Shutdown),
        ];
        for (dismissal, cause) in table {
            for last in Status::ALL {
                let explain = |exit| explain(exit, last, Some(dismissal), Calling::Pool);
                assert_eq!(explain(OK), cause);
                assert_eq!(explain(signal(15)), cause);
                assert_eq!(explain(signal(3)), cause);
                assert_eq!(explain(signal(9)), Cause::KilledByUs);
                assert_eq!(explain(Exit::Code(70)), Cause::Exited(70));
                assert_eq!(explain(signal(11)), Cause::Killed { signal: 11, core: false });
            }
        }
    }

    #[test]
    fn only_who_left_as_it_should_left_regularly() {
        let regular = [Cause::Done, Cause::Recycled, Cause::Retired, Cause::Shutdown];
        assert!(regular.iter().all(Cause::is_regular));
        let others = [
            Cause::KilledByUs,
            Cause::FailedToBoot(OK),
            Cause::Exited(0),
            Cause::Killed { signal: 9, core: false },
        ];
        assert!(!others.iter().any(Cause::is_regular));
    }

    #[test]
    fn an_end_is_told_in_the_words_of_an_operator() {
        assert_eq!(Exit::Code(3).to_string(), "exit code 3");
        assert_eq!(signal(9).to_string(), "signal 9 (KILL)");
        assert_eq!(
            Exit::Signal { number: 11, core: true }.to_string(),
            "signal 11 (SEGV), core dumped"
        );
        assert_eq!(signal(34).to_string(), "signal 34");
        assert_eq!(
            Cause::FailedToBoot(Exit::Code(70)).to_string(),
            "exit code 70 before it was ready"
        );
    }
}
