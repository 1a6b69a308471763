//! The meaning of each signal for the parent and for a child. This module does not handle signals.

/// The signals that have a meaning for a daemon.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Signal {
    /// Terminate: sent by init systems.
    Term,
    /// Interrupt: Ctrl-C.
    Int,
    /// Quit: Ctrl-\.
    Quit,
    /// Hangup: reopen the logs or reload.
    Hup,
    /// User-defined signal 2: write the internal state of the process to the log ("peek").
    Usr2,
    /// Continue: resume after a pause. The parent also sends this signal to its children, which
    /// then check whether the daemon is paused. By default, the signal has no effect on a running
    /// process.
    Cont,
    /// Stop from the terminal (Ctrl-Z): pause the daemon.
    Tstp,
    /// Background read of the terminal. By convention of pre-forking servers: one more child.
    Ttin,
    /// Background write to the terminal. By convention of pre-forking servers: one child fewer.
    Ttou,
}

/// How a daemon or a child stops.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum StopMode {
    /// Complete the current requests first.
    Graceful,
    /// Abort the current requests.
    Immediate,
}

/// What the parent does on a signal.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum ParentAction {
    /// Stop the daemon.
    Stop(StopMode),
    /// Reopen the logs of all processes, or reload if so configured.
    Hangup,
    /// Write the internal state of the process to the log.
    Peek,
    /// Add a spare child.
    AddChild,
    /// Remove a spare child.
    RemoveChild,
    /// Stop accepting requests.
    Pause,
    /// Accept requests again.
    Resume,
    /// Do nothing: a daemon that is stopping can be neither paused nor resumed.
    Ignore,
}

/// What a child does on a signal.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum ChildAction {
    /// Exit.
    Leave(StopMode),
    /// Reopen the log.
    Hangup,
    /// Write the internal state of the process to the log.
    Peek,
    /// Check on the scoreboard whether the operator has paused the daemon.
    CheckPause,
    /// Do nothing: the signal is for the parent.
    Ignore,
}

impl Signal {
    /// All signals.
    pub const ALL: [Signal; 9] = [
        Signal::Term,
        Signal::Int,
        Signal::Quit,
        Signal::Hup,
        Signal::Usr2,
        Signal::Cont,
        Signal::Tstp,
        Signal::Ttin,
        Signal::Ttou,
    ];

    /// The signals that a child handles. It leaves the others to the parent.
    pub const CHILD_SIGNALS: [Signal; 6] =
        [Signal::Term, Signal::Int, Signal::Quit, Signal::Hup, Signal::Usr2, Signal::Cont];

    /// Returns the name of the signal, without `SIG`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Signal::Term => "TERM",
            Signal::Int => "INT",
            Signal::Quit => "QUIT",
            Signal::Hup => "HUP",
            Signal::Usr2 => "USR2",
            Signal::Cont => "CONT",
            Signal::Tstp => "TSTP",
            Signal::Ttin => "TTIN",
            Signal::Ttou => "TTOU",
        }
    }
}

/// Returns what the parent does on a signal. `stopping` is the mode in which the daemon is already
/// stopping, or `None` if it is not stopping.
///
/// A second TERM or INT stops the daemon immediately, because an operator who sends a second signal
/// does not want to wait.
///
/// # Examples
///
/// ```
/// use daemon_core::{StopMode, ParentAction, Signal, parent_action};
///
/// assert_eq!(parent_action(Signal::Int, None), ParentAction::Stop(StopMode::Graceful));
/// let again = parent_action(Signal::Int, Some(StopMode::Graceful));
/// assert_eq!(again, ParentAction::Stop(StopMode::Immediate));
/// ```
#[must_use]
pub const fn parent_action(signal: Signal, stopping: Option<StopMode>) -> ParentAction {
    match (signal, stopping) {
        (Signal::Term | Signal::Int, None) => ParentAction::Stop(StopMode::Graceful),
        (Signal::Term | Signal::Int, Some(StopMode::Graceful | StopMode::Immediate))
        | (Signal::Quit, None | Some(StopMode::Graceful | StopMode::Immediate)) => {
            ParentAction::Stop(StopMode::Immediate)
        }
        (Signal::Hup, None | Some(StopMode::Graceful | StopMode::Immediate)) => {
            ParentAction::Hangup
        }
        (Signal::Usr2, None | Some(StopMode::Graceful | StopMode::Immediate)) => ParentAction::Peek,
        (Signal::Cont, None) => ParentAction::Resume,
        (Signal::Tstp, None) => ParentAction::Pause,
        (Signal::Cont | Signal::Tstp, Some(StopMode::Graceful | StopMode::Immediate)) => {
            ParentAction::Ignore
        }
        (Signal::Ttin, None | Some(StopMode::Graceful | StopMode::Immediate)) => {
            ParentAction::AddChild
        }
        (Signal::Ttou, None | Some(StopMode::Graceful | StopMode::Immediate)) => {
            ParentAction::RemoveChild
        }
    }
}

/// Returns what a child does on a signal.
///
/// A second TERM does not stop the child immediately, because the parent decides when the grace
/// period ends.
#[must_use]
pub const fn child_action(signal: Signal) -> ChildAction {
    match signal {
        Signal::Term | Signal::Int => ChildAction::Leave(StopMode::Graceful),
        Signal::Quit => ChildAction::Leave(StopMode::Immediate),
        Signal::Hup => ChildAction::Hangup,
        Signal::Usr2 => ChildAction::Peek,
        Signal::Cont => ChildAction::CheckPause,
        Signal::Tstp | Signal::Ttin | Signal::Ttou => ChildAction::Ignore,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_and_a_child_take_the_expected_action_on_each_signal() {
        use ParentAction::{AddChild, Hangup, Ignore, Pause, Peek, RemoveChild, Resume, Stop};
        use StopMode::{Graceful, Immediate};
        let table = [
            (Signal::Term, Stop(Graceful), Stop(Immediate), ChildAction::Leave(Graceful)),
            (Signal::Int, Stop(Graceful), Stop(Immediate), ChildAction::Leave(Graceful)),
            (Signal::Quit, Stop(Immediate), Stop(Immediate), ChildAction::Leave(Immediate)),
            (Signal::Hup, Hangup, Hangup, ChildAction::Hangup),
            (Signal::Usr2, Peek, Peek, ChildAction::Peek),
            (Signal::Cont, Resume, Ignore, ChildAction::CheckPause),
            (Signal::Tstp, Pause, Ignore, ChildAction::Ignore),
            (Signal::Ttin, AddChild, AddChild, ChildAction::Ignore),
            (Signal::Ttou, RemoveChild, RemoveChild, ChildAction::Ignore),
        ];
        assert_eq!(table.map(|row| row.0), Signal::ALL);
        for (signal, first, again, child) in table {
            assert_eq!(parent_action(signal, None), first, "{}", signal.name());
            for mode in [Graceful, Immediate] {
                assert_eq!(parent_action(signal, Some(mode)), again, "{}", signal.name());
            }
            assert_eq!(child_action(signal), child, "{}", signal.name());
        }
    }

    #[test]
    fn child_signals_contains_exactly_the_signals_that_a_child_does_not_ignore() {
        let handled = Signal::ALL
            .into_iter()
            .filter(|signal| child_action(*signal) != ChildAction::Ignore)
            .collect::<Vec<_>>();
        assert_eq!(handled, Signal::CHILD_SIGNALS);
    }
}
