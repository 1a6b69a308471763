//! What becomes of a signal that the manager has trapped.

use std::time::Duration;

use daemon_sys::Signal;

/// What the manager sends its workers when a trapped signal has come. A value of the original's
/// `trap_signals`.
///
/// TERM, INT, QUIT, and what TERM is forwarded as, tell a worker to leave; what other signals mean is
/// the program's to say.
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
    /// Nothing: [`start`](crate::Prefork::start) returns, and the workers go on. The original's
    /// `undef`.
    Nothing,
    /// This signal, to all at once.
    ToAll(Signal),
    /// This signal, to one worker after another with so much time between them, the first at once.
    /// It goes on while the manager starts new workers or waits for the old ones. One that comes
    /// again on its way goes to those after it that have come since.
    OneByOne(Signal, Duration),
}

impl SignalForward {
    /// Tells the signal that workers get, if any.
    #[must_use]
    pub const fn signal(self) -> Option<Signal> {
        match self {
            SignalForward::Nothing => None,
            SignalForward::ToAll(signal) | SignalForward::OneByOne(signal, _) => Some(signal),
        }
    }
}

/// The signals that a manager traps, each with what it forwards.
#[derive(Debug, Clone)]
pub(crate) struct Traps(Vec<(Signal, SignalForward)>);

impl Default for Traps {
    fn default() -> Traps {
        Traps(vec![(Signal::Term, SignalForward::ToAll(Signal::Term))])
    }
}

impl Traps {
    /// A signal that is named twice is forwarded as it was named last.
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

    /// The signal that tells one worker to leave: what TERM is forwarded as.
    pub(crate) fn stop_signal(&self) -> Signal {
        self.forward(Signal::Term).signal().unwrap_or(Signal::Term)
    }

    /// Whether this signal, sent to a worker, tells it to leave.
    pub(crate) fn is_stop_signal(&self, signal: Signal) -> bool {
        matches!(signal, Signal::Term | Signal::Int | Signal::Quit | Signal::Kill)
            || signal == self.stop_signal()
    }

    /// The signals by which a worker hears that it shall leave: those that are sent for it, and those
    /// that are trapped for it, since a terminal sends them to the whole group.
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

    /// The signals that workers are sent.
    pub(crate) fn sent(&self) -> Vec<Signal> {
        let forwarded = self.0.iter().filter_map(|(_, forward)| forward.signal());
        forwarded.chain([self.stop_signal()]).collect()
    }
}

/// Takes the signal that is to be heard first of those that have come: one that ends the service
/// before one that changes it, since what it would change ends.
pub(crate) fn take_most_severe(pending_signals: &mut Vec<Signal>) -> Option<Signal> {
    let most_severe =
        pending_signals.iter().copied().min_by_key(|signal| severity_rank(*signal))?;
    pending_signals.retain(|signal| *signal != most_severe);
    Some(most_severe)
}

/// Of two signals that have come, the one to go by: the one that ends the service, or else the later.
pub(crate) fn more_severe(earlier: Option<Signal>, later: Signal) -> Signal {
    earlier
        .filter(|earlier| severity_rank(*earlier) < NON_TERMINATING.min(severity_rank(later)))
        .unwrap_or(later)
}

/// The signals that end a service are graver than this.
const NON_TERMINATING: i32 = 100;

fn severity_rank(signal: Signal) -> i32 {
    match signal {
        Signal::Term => 0,
        Signal::Int => 1,
        Signal::Quit => 2,
        other => NON_TERMINATING + other.number(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn term_is_trapped_and_forwarded_unless_others_are_named() {
        let traps = Traps::default();
        assert_eq!(traps.signals(), [Signal::Term]);
        assert_eq!(traps.forward(Signal::Term), SignalForward::ToAll(Signal::Term));
        assert_eq!(traps.forward(Signal::Hup), SignalForward::Nothing);
    }

    #[test]
    fn a_worker_is_told_to_leave_by_what_term_is_forwarded_as() {
        let traps = Traps::of([(Signal::Term, SignalForward::ToAll(Signal::Quit))]);
        assert_eq!(traps.stop_signal(), Signal::Quit);
        let none = Traps::of([
            (Signal::Term, SignalForward::Nothing),
            (Signal::Hup, SignalForward::Nothing),
        ]);
        assert_eq!(none.stop_signal(), Signal::Term);
    }

    #[test]
    fn a_worker_hears_by_what_is_sent_to_leave_and_by_what_is_trapped_for_it() {
        let traps = Traps::of([
            (Signal::Int, SignalForward::ToAll(Signal::Term)),
            (Signal::Hup, SignalForward::OneByOne(Signal::Quit, Duration::ZERO)),
            (Signal::Usr1, SignalForward::ToAll(Signal::Usr2)),
            (Signal::Alarm, SignalForward::Nothing),
            (Signal::Abort, SignalForward::ToAll(Signal::Kill)),
        ]);
        let stop_signals = traps.stop_signals();
        let heard = Signal::ALL.into_iter().filter(|signal| stop_signals.contains(signal));
        assert!(heard.eq([Signal::Hup, Signal::Int, Signal::Quit, Signal::Abort, Signal::Term]));
        assert!(traps.is_stop_signal(Signal::Quit) && !traps.is_stop_signal(Signal::Usr2));
    }

    #[test]
    fn a_signal_that_ends_the_service_decides_whenever_it_comes() {
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
        for (earlier, later, decides) in table {
            assert_eq!(more_severe(earlier, later), decides, "{earlier:?}, then {later:?}");
        }
    }

    #[test]
    fn the_last_word_on_a_signal_counts() {
        let traps = Traps::of([
            (Signal::Hup, SignalForward::Nothing),
            (Signal::Hup, SignalForward::ToAll(Signal::Usr1)),
        ]);
        assert_eq!(traps.signals(), [Signal::Hup]);
        assert_eq!(traps.forward(Signal::Hup), SignalForward::ToAll(Signal::Usr1));
    }

    #[test]
    fn what_ends_the_service_is_heard_first_and_nothing_is_lost() {
        let mut pending_signals = vec![Signal::Usr1, Signal::Hup, Signal::Int, Signal::Term];
        let heard: Vec<_> = std::iter::from_fn(|| take_most_severe(&mut pending_signals)).collect();
        assert_eq!(heard[..2], [Signal::Term, Signal::Int]);
        assert_eq!(heard.len(), 4);
    }
}
