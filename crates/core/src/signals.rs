//! What a signal asks for, by the process that gets it. Catching it is not done here.

/// The signals that have a meaning for a daemon.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Signal {
    /// Terminate: what init systems send.
    Term,
    /// Interrupt: Ctrl-C.
    Int,
    /// Quit: Ctrl-\.
    Quit,
    /// Hangup: reopen or reload.
    Hup,
    /// User-defined 2.
    Usr2,
    /// Continue: go on after a pause; and what the parent sends to children that shall look whether
    /// the daemon is paused. By default it does nothing to a process that runs.
    Cont,
    /// Stop, from the terminal: pause.
    Tstp,
    /// Background read of the terminal; by custom of pre-forking servers "one more".
    Ttin,
    /// Background write to the terminal; by custom of pre-forking servers "one fewer".
    Ttou,
}

/// How a process goes.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum StopMode {
    /// What is in hand is finished first.
    Graceful,
    /// What is in hand is lost.
    Immediate,
}

/// What a signal asks of the parent.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum ParentAction {
    /// Stop the daemon.
    Stop(StopMode),
    /// Reopen the logs everywhere, or reload if so configured.
    Hangup,
    /// Write the inside of the process to the log.
    Peek,
    /// One child more.
    AddChild,
    /// One child fewer.
    RemoveChild,
    /// Take no more requests.
    Pause,
    /// Take requests again.
    Resume,
    /// Nothing: a daemon that stops is not paused any more.
    Ignore,
}

/// What a signal asks of a child.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum ChildAction {
    /// Leave.
    Leave(StopMode),
    /// Reopen the log.
    Hangup,
    /// Write the inside of the process to the log.
    Peek,
    /// Look on the scoreboard whether the operator has paused the daemon.
    CheckPause,
    /// Nothing: it is for the parent.
    Ignore,
}

impl Signal {
    /// All of them.
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

    /// Those that a child listens to. The others it leaves to the parent.
    pub const CHILD_SIGNALS: [Signal; 6] =
        [Signal::Term, Signal::Int, Signal::Quit, Signal::Hup, Signal::Usr2, Signal::Cont];

    /// Tells its name, without SIG.
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

/// Says what a signal asks of the parent; `stopping` is how it is stopping already, if it is.
///
/// A second TERM or INT hurries: who sends it twice does not want to wait.
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

/// Says what a signal asks of a child.
///
/// A second TERM does not hurry it: the parent decides when the grace is over.
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
    fn each_signal_asks_of_each_process_what_the_table_says() {
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
    fn a_child_listens_to_just_those_signals_that_it_does_not_ignore() {
        let heard = Signal::ALL
            .into_iter()
            .filter(|signal| child_action(*signal) != ChildAction::Ignore)
            .collect::<Vec<_>>();
        assert_eq!(heard, Signal::CHILD_SIGNALS);
    }
}
