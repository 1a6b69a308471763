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
/// use daemon_prefork::{Forward, Prefork, Signal};
///
/// let builder = Prefork::builder().trap_signals([
///     (Signal::Term, Forward::To(Signal::Term)),
///     (Signal::Hup, Forward::OneByOne(Signal::Term, Duration::from_secs(2))),
///     (Signal::Usr1, Forward::Nothing),
/// ]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// Nothing: [`start`](crate::Prefork::start) returns, and the workers go on. The original's
    /// `undef`.
    Nothing,
    /// This signal, to all at once.
    To(Signal),
    /// This signal, to one worker after another with so much time between them, the first at once.
    /// It goes on while the manager starts new workers or waits for the old ones. One that comes
    /// again on its way goes to those after it that have come since.
    OneByOne(Signal, Duration),
}

impl Forward {
    /// Tells the signal that workers get, if any.
    #[must_use]
    pub const fn signal(self) -> Option<Signal> {
        match self {
            Forward::Nothing => None,
            Forward::To(signal) | Forward::OneByOne(signal, _) => Some(signal),
        }
    }
}

/// The signals that a manager traps, each with what it forwards.
#[derive(Debug, Clone)]
pub(crate) struct Traps(Vec<(Signal, Forward)>);

impl Default for Traps {
    fn default() -> Traps {
        Traps(vec![(Signal::Term, Forward::To(Signal::Term))])
    }
}

impl Traps {
    /// A signal that is named twice is forwarded as it was named last.
    pub(crate) fn of(named: impl IntoIterator<Item = (Signal, Forward)>) -> Traps {
        let mut traps: Vec<(Signal, Forward)> = Vec::new();
        for (signal, forward) in named {
            traps.retain(|(earlier, _)| *earlier != signal);
            traps.push((signal, forward));
        }
        Traps(traps)
    }

    pub(crate) fn signals(&self) -> Vec<Signal> {
        self.0.iter().map(|(signal, _)| *signal).collect()
    }

    pub(crate) fn forward(&self, signal: Signal) -> Forward {
        let found = self.0.iter().find(|(trapped, _)| *trapped == signal);
        found.map_or(Forward::Nothing, |(_, forward)| *forward)
    }

    /// The signal that tells one worker to leave: what TERM is forwarded as.
    pub(crate) fn farewell(&self) -> Signal {
        self.forward(Signal::Term).signal().unwrap_or(Signal::Term)
    }

    /// Whether this signal, sent to a worker, tells it to leave.
    pub(crate) fn dismisses(&self, signal: Signal) -> bool {
        matches!(signal, Signal::Term | Signal::Int | Signal::Quit | Signal::Kill)
            || signal == self.farewell()
    }

    /// The signals by which a worker hears that it shall leave: those that are sent for it, and those
    /// that are trapped for it, since a terminal sends them to the whole group.
    pub(crate) fn hints(&self) -> Vec<Signal> {
        let mut hints = vec![self.farewell()];
        for (trapped, forward) in &self.0 {
            if let Some(sent) = forward.signal().filter(|signal| self.dismisses(*signal)) {
                hints.extend([*trapped, sent].into_iter().filter(|signal| *signal != Signal::Kill));
            }
        }
        hints
    }

    /// The signals that workers are sent.
    pub(crate) fn sent(&self) -> Vec<Signal> {
        let forwarded = self.0.iter().filter_map(|(_, forward)| forward.signal());
        forwarded.chain([self.farewell()]).collect()
    }
}

/// Takes the signal that is to be heard first of those that have come: one that ends the service
/// before one that changes it, since what it would change ends.
pub(crate) fn take_gravest(come: &mut Vec<Signal>) -> Option<Signal> {
    let gravest = come.iter().copied().min_by_key(|signal| lightness(*signal))?;
    come.retain(|signal| *signal != gravest);
    Some(gravest)
}

/// Of two signals that have come, the one to go by: the one that ends the service, or else the later.
pub(crate) fn decisive(earlier: Option<Signal>, later: Signal) -> Signal {
    earlier.filter(|earlier| lightness(*earlier) < LIGHT.min(lightness(later))).unwrap_or(later)
}

/// The signals that end a service are graver than this.
const LIGHT: i32 = 100;

fn lightness(signal: Signal) -> i32 {
    match signal {
        Signal::Term => 0,
        Signal::Int => 1,
        Signal::Quit => 2,
        other => LIGHT + other.number(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn term_is_trapped_and_forwarded_unless_others_are_named() {
        let traps = Traps::default();
        assert_eq!(traps.signals(), [Signal::Term]);
        assert_eq!(traps.forward(Signal::Term), Forward::To(Signal::Term));
        assert_eq!(traps.forward(Signal::Hup), Forward::Nothing);
    }

    #[test]
    fn a_worker_is_told_to_leave_by_what_term_is_forwarded_as() {
        let traps = Traps::of([(Signal::Term, Forward::To(Signal::Quit))]);
        assert_eq!(traps.farewell(), Signal::Quit);
        let none = Traps::of([(Signal::Term, Forward::Nothing), (Signal::Hup, Forward::Nothing)]);
        assert_eq!(none.farewell(), Signal::Term);
    }

    #[test]
    fn a_worker_hears_by_what_is_sent_to_leave_and_by_what_is_trapped_for_it() {
        let traps = Traps::of([
            (Signal::Int, Forward::To(Signal::Term)),
            (Signal::Hup, Forward::OneByOne(Signal::Quit, Duration::ZERO)),
            (Signal::Usr1, Forward::To(Signal::Usr2)),
            (Signal::Alarm, Forward::Nothing),
            (Signal::Abort, Forward::To(Signal::Kill)),
        ]);
        let hints = traps.hints();
        let heard = Signal::ALL.into_iter().filter(|signal| hints.contains(signal));
        assert!(heard.eq([Signal::Hup, Signal::Int, Signal::Quit, Signal::Abort, Signal::Term]));
        assert!(traps.dismisses(Signal::Quit) && !traps.dismisses(Signal::Usr2));
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
            assert_eq!(decisive(earlier, later), decides, "{earlier:?}, then {later:?}");
        }
    }

    #[test]
    fn the_last_word_on_a_signal_counts() {
        let traps =
            Traps::of([(Signal::Hup, Forward::Nothing), (Signal::Hup, Forward::To(Signal::Usr1))]);
        assert_eq!(traps.signals(), [Signal::Hup]);
        assert_eq!(traps.forward(Signal::Hup), Forward::To(Signal::Usr1));
    }

    #[test]
    fn what_ends_the_service_is_heard_first_and_nothing_is_lost() {
        let mut come = vec![Signal::Usr1, Signal::Hup, Signal::Int, Signal::Term];
        let heard: Vec<_> = std::iter::from_fn(|| take_gravest(&mut come)).collect();
        assert_eq!(heard[..2], [Signal::Term, Signal::Int]);
        assert_eq!(heard.len(), 4);
    }
}
