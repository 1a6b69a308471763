//! How the manager forwards trapped signals.

use std::time::Duration;

use daemon_sys::Signal;

/// Which signal, if any, the manager sends to its workers when it receives a trapped signal. In the
/// original, `Parallel::Prefork`, this is a value in the hash `trap_signals`.
///
/// TERM, INT, QUIT, and the signal that TERM is forwarded as, ask a worker to stop. The program
/// defines the meaning of other signals.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use daemon_prefork::{SignalForward, Prefork, Signal};
///
/// let builder = Prefork::builder().trap_signals([
///     (Signal::Term, SignalForward::ToAll(Signal::Term)),
///     (Signal::Hup, SignalForward::OneByOne(Signal::Term, Duration::from_secs(2))),
///     (Signal::Usr1, SignalForward::Nothing),
/// ]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalForward {
    /// Sends no signal: [`start`](crate::Prefork::start) returns, and the workers continue. In the
    /// original, the value is `undef`.
    Nothing,
    /// Sends this signal to all workers at once.
    ToAll(Signal),
    /// Sends this signal to the first worker at once, and then to one more worker after each
    /// interval. This continues while the manager starts new workers or waits for workers to exit.
    ///
    /// If the manager receives the trapped signal again before it has sent this signal to all
    /// workers, it first continues with the workers that still wait for this signal, and then sends
    /// this signal to all other workers. If this signal asks workers to stop, these other workers
    /// do not include those that were already asked to stop.
    OneByOne(Signal, Duration),
}

impl SignalForward {
    /// Returns the signal that is sent to workers, if any.
    #[must_use]
    pub const fn signal(self) -> Option<Signal> {
        match self {
            SignalForward::Nothing => None,
            SignalForward::ToAll(signal) | SignalForward::OneByOne(signal, _) => Some(signal),
        }
    }
}

/// The signals that a manager traps, and how each is forwarded.
#[derive(Debug, Clone)]
pub(crate) struct Traps(Vec<(Signal, SignalForward)>);

impl Default for Traps {
    fn default() -> Traps {
        Traps(vec![(Signal::Term, SignalForward::ToAll(Signal::Term))])
    }
}

impl Traps {
    /// Creates the set of trapped signals. If a signal is given twice, the last entry counts.
    pub(crate) fn of(named: impl IntoIterator<Item = (Signal, SignalForward)>) -> Traps {
        let mut traps: Vec<(Signal, SignalForward)> = Vec::new();
        for (signal, forward) in named {
            traps.retain(|(earlier, _)| *earlier != signal);
            traps.push((signal, forward));
        }
        Traps(traps)
    }

    pub(crate) fn signals(&self) -> Vec<Signal> {
        self.0.iter().map(|(signal, _)| *signal).collect()
    }

    pub(crate) fn forward(&self, signal: Signal) -> SignalForward {
        let found = self.0.iter().find(|(trapped, _)| *trapped == signal);
        found.map_or(SignalForward::Nothing, |(_, forward)| *forward)
    }

    /// Returns the signal that the manager sends to stop a worker: the signal that TERM is
    /// forwarded as, or TERM if TERM is not forwarded.
    pub(crate) fn stop_signal(&self) -> Signal {
        self.forward(Signal::Term).signal().unwrap_or(Signal::Term)
    }

    /// Returns whether this signal asks a worker to stop.
    pub(crate) fn is_stop_signal(&self, signal: Signal) -> bool {
        matches!(signal, Signal::Term | Signal::Int | Signal::Quit | Signal::Kill)
            || signal == self.stop_signal()
    }

    /// Returns the signals that a worker handles as a request to stop, without KILL. They are the
    /// stop signals that the manager sends, and the trapped signals that it forwards as stop
    /// signals. The latter are included because workers can receive them directly: a terminal, for
    /// example, sends INT to the whole process group.
    pub(crate) fn stop_signals(&self) -> Vec<Signal> {
        let mut stop_signals = vec![self.stop_signal()];
        for (trapped, forward) in &self.0 {
            if let Some(sent) = forward.signal().filter(|signal| self.is_stop_signal(*signal)) {
                stop_signals
                    .extend([*trapped, sent].into_iter().filter(|signal| *signal != Signal::Kill));
            }
        }
        stop_signals
    }

    /// Returns the signals that the manager sends to workers.
    pub(crate) fn sent(&self) -> Vec<Signal> {
        let forwarded = self.0.iter().filter_map(|(_, forward)| forward.signal());
        forwarded.chain([self.stop_signal()]).collect()
    }
}

/// Removes and returns the pending signal that is handled first. TERM comes first, then INT, QUIT
/// and all others.
pub(crate) fn take_most_severe(pending_signals: &mut Vec<Signal>) -> Option<Signal> {
    let most_severe =
        pending_signals.iter().copied().min_by_key(|signal| severity_rank(*signal))?;
    pending_signals.retain(|signal| *signal != most_severe);
    Some(most_severe)
}

/// Returns the more severe of two received signals; the later one if neither is TERM, INT or QUIT.
pub(crate) fn more_severe(earlier: Option<Signal>, later: Signal) -> Signal {
    let rank = |signal| severity_rank(signal).0;
    earlier.filter(|earlier| rank(*earlier) < rank(later)).unwrap_or(later)
}

/// Returns a smaller value for a more severe signal. The first number is the same for all signals
/// other than TERM, INT and QUIT.
fn severity_rank(signal: Signal) -> (u8, Signal) {
    let rank = match signal {
        Signal::Term => 0,
        Signal::Int => 1,
        Signal::Quit => 2,
        _other => 3,
    };
    (rank, signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_only_term_is_trapped_and_forwarded() {
        let traps = Traps::default();
        assert_eq!(traps.signals(), [Signal::Term]);
        assert_eq!(traps.forward(Signal::Term), SignalForward::ToAll(Signal::Term));
        assert_eq!(traps.forward(Signal::Hup), SignalForward::Nothing);
    }

    #[test]
    fn the_stop_signal_is_the_signal_that_term_is_forwarded_as() {
        let traps = Traps::of([(Signal::Term, SignalForward::ToAll(Signal::Quit))]);
        assert_eq!(traps.stop_signal(), Signal::Quit);
        let none = Traps::of([
            (Signal::Term, SignalForward::Nothing),
            (Signal::Hup, SignalForward::Nothing),
        ]);
        assert_eq!(none.stop_signal(), Signal::Term);
    }

    #[test]
    fn stop_signals_include_trapped_signals_that_are_forwarded_as_stop_signals() {
        let traps = Traps::of([
            (Signal::Int, SignalForward::ToAll(Signal::Term)),
            (Signal::Hup, SignalForward::OneByOne(Signal::Quit, Duration::ZERO)),
            (Signal::Usr1, SignalForward::ToAll(Signal::Usr2)),
            (Signal::Alarm, SignalForward::Nothing),
            (Signal::Abort, SignalForward::ToAll(Signal::Kill)),
        ]);
        let stop_signals = traps.stop_signals();
        let listed = Signal::ALL.into_iter().filter(|signal| stop_signals.contains(signal));
        assert!(listed.eq([Signal::Hup, Signal::Int, Signal::Quit, Signal::Abort, Signal::Term]));
        assert!(traps.is_stop_signal(Signal::Quit) && !traps.is_stop_signal(Signal::Usr2));
    }

    #[test]
    fn term_int_and_quit_are_more_severe_than_other_signals_whichever_is_received_first() {
        let table = [
            (None, Signal::Hup, Signal::Hup),
            (Some(Signal::Hup), Signal::Usr1, Signal::Usr1),
            (Some(Signal::Usr1), Signal::Hup, Signal::Hup),
            (Some(Signal::Term), Signal::Hup, Signal::Term),
            (Some(Signal::Hup), Signal::Term, Signal::Term),
            (Some(Signal::Int), Signal::Term, Signal::Term),
            (Some(Signal::Term), Signal::Quit, Signal::Term),
            (Some(Signal::Term), Signal::Term, Signal::Term),
        ];
        for (earlier, later, expected) in table {
            assert_eq!(more_severe(earlier, later), expected, "{earlier:?}, then {later:?}");
        }
    }

    #[test]
    fn if_a_signal_is_listed_twice_the_last_entry_counts() {
        let traps = Traps::of([
            (Signal::Hup, SignalForward::Nothing),
            (Signal::Hup, SignalForward::ToAll(Signal::Usr1)),
        ]);
        assert_eq!(traps.signals(), [Signal::Hup]);
        assert_eq!(traps.forward(Signal::Hup), SignalForward::ToAll(Signal::Usr1));
    }

    #[test]
    fn term_and_int_are_taken_first_and_no_signal_is_lost() {
        let mut pending_signals = vec![Signal::Usr1, Signal::Hup, Signal::Int, Signal::Term];
        let taken: Vec<_> = std::iter::from_fn(|| take_most_severe(&mut pending_signals)).collect();
        assert_eq!(taken[..2], [Signal::Term, Signal::Int]);
        assert_eq!(taken.len(), 4);
    }
}
