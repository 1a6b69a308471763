//! The meaning of each signal for the parent and for a child. This module does not handle signals.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A signal that a daemon sends or handles.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// `SIGHUP`, hangup: reopen the logs or reload.
    Hup,
    /// `SIGINT`, interrupt: Ctrl-C.
    Int,
    /// `SIGQUIT`, quit: Ctrl-\.
    Quit,
    /// `SIGABRT`: abort with a core dump.
    Abort,
    /// `SIGKILL`: kill; cannot be caught.
    Kill,
    /// `SIGUSR1`: not used by the daemon.
    Usr1,
    /// `SIGUSR2`: write the internal state of the process to the log ("peek").
    Usr2,
    /// `SIGPIPE`: a write to a closed pipe or socket.
    Pipe,
    /// `SIGALRM`: a timer of alarm(2).
    Alarm,
    /// `SIGTERM`, terminate: sent by init systems.
    Term,
    /// `SIGCHLD`: a child exited.
    Child,
    /// `SIGCONT`, continue: resume after a pause. The parent also sends this signal to its
    /// children, which then check whether the daemon is paused. By default, the signal has no
    /// effect on a running process.
    Cont,
    /// `SIGSTOP`: suspend; cannot be caught.
    Stop,
    /// `SIGTSTP`, stop from the terminal (Ctrl-Z): pause the daemon.
    Tstp,
    /// `SIGTTIN`, background read of the terminal. By convention of pre-forking servers: one more
    /// child.
    Ttin,
    /// `SIGTTOU`, background write to the terminal. By convention of pre-forking servers: one child
    /// fewer.
    Ttou,
    /// `SIGURG`: a request for a backtrace. Ignored by default.
    Urg,
    /// `SIGWINCH`: the size of the terminal has changed.
    Winch,
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
    /// Do nothing: the parent does not handle the signal, or the daemon is stopping and can be
    /// neither paused nor resumed.
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
    pub const ALL: [Signal; 18] = [
        Signal::Hup,
        Signal::Int,
        Signal::Quit,
        Signal::Abort,
        Signal::Kill,
        Signal::Usr1,
        Signal::Usr2,
        Signal::Pipe,
        Signal::Alarm,
        Signal::Term,
        Signal::Child,
        Signal::Cont,
        Signal::Stop,
        Signal::Tstp,
        Signal::Ttin,
        Signal::Ttou,
        Signal::Urg,
        Signal::Winch,
    ];

    /// The signals that the parent handles.
    pub const PARENT_SIGNALS: [Signal; 9] = [
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

    /// The signals that a child handles, in the order in which it carries them out if several
    /// arrive at once. It leaves the others to the parent.
    pub const CHILD_SIGNALS: [Signal; 6] =
        [Signal::Term, Signal::Int, Signal::Quit, Signal::Hup, Signal::Usr2, Signal::Cont];

    /// Returns the name of the signal, without `SIG`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Signal::Hup => "HUP",
            Signal::Int => "INT",
            Signal::Quit => "QUIT",
            Signal::Abort => "ABRT",
            Signal::Kill => "KILL",
            Signal::Usr1 => "USR1",
            Signal::Usr2 => "USR2",
            Signal::Pipe => "PIPE",
            Signal::Alarm => "ALRM",
            Signal::Term => "TERM",
            Signal::Child => "CHLD",
            Signal::Cont => "CONT",
            Signal::Stop => "STOP",
            Signal::Tstp => "TSTP",
            Signal::Ttin => "TTIN",
            Signal::Ttou => "TTOU",
            Signal::Urg => "URG",
            Signal::Winch => "WINCH",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
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
        (
            Signal::Abort
            | Signal::Kill
            | Signal::Usr1
            | Signal::Pipe
            | Signal::Alarm
            | Signal::Child
            | Signal::Stop
            | Signal::Urg
            | Signal::Winch,
            None | Some(StopMode::Graceful | StopMode::Immediate),
        ) => ParentAction::Ignore,
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
        Signal::Tstp
        | Signal::Ttin
        | Signal::Ttou
        | Signal::Abort
        | Signal::Kill
        | Signal::Usr1
        | Signal::Pipe
        | Signal::Alarm
        | Signal::Child
        | Signal::Stop
        | Signal::Urg
        | Signal::Winch => ChildAction::Ignore,
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
        assert_eq!(table.map(|row| row.0), Signal::PARENT_SIGNALS);
        for (signal, first, again, child) in table {
            assert_eq!(parent_action(signal, None), first, "{}", signal.name());
            for mode in [Graceful, Immediate] {
                assert_eq!(parent_action(signal, Some(mode)), again, "{}", signal.name());
            }
            assert_eq!(child_action(signal), child, "{}", signal.name());
        }
    }

    #[test]
    fn each_process_handles_exactly_the_signals_that_it_does_not_ignore() {
        let ignored = |signal: &Signal| {
            (
                parent_action(*signal, None) == ParentAction::Ignore,
                child_action(*signal) == ChildAction::Ignore,
            )
        };
        for signal in Signal::ALL {
            let listed =
                (Signal::PARENT_SIGNALS.contains(&signal), Signal::CHILD_SIGNALS.contains(&signal));
            let (by_parent, by_child) = ignored(&signal);
            assert_eq!((!by_parent, !by_child), listed, "{signal}");
        }
    }

    #[test]
    fn all_contains_each_signal_once() {
        assert!(Signal::ALL.is_sorted_by(|one, other| one < other));
        assert_eq!(Signal::ALL.last(), Some(&Signal::Winch));
        assert_eq!(Signal::ALL.len(), Signal::Winch as usize + 1);
    }
}
