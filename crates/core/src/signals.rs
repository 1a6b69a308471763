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
pub enum Manner {
    /// What is in hand is finished first.
    Orderly,
    /// What is in hand is lost.
    AtOnce,
}

/// What a signal asks of the parent.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum ParentIntention {
    /// Stop the daemon.
    Stop(Manner),
    /// Reopen the logs everywhere, or reload if so configured.
    Hangup,
    /// Write the inside of the process to the log.
    Peek,
    /// One child more.
    More,
    /// One child fewer.
    Fewer,
    /// Take no more requests.
    Pause,
    /// Take requests again.
    Resume,
    /// Nothing: a daemon that stops is not paused any more.
    Ignore,
}

/// What a signal asks of a child.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum ChildIntention {
    /// Leave.
    Leave(Manner),
    /// Reopen the log.
    Hangup,
    /// Write the inside of the process to the log.
    Peek,
    /// Look on the scoreboard whether the operator has paused the daemon.
    Look,
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
    pub const OF_A_CHILD: [Signal; 6] =
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
/// use daemon_core::{Manner, ParentIntention, Signal, in_parent};
///
/// assert_eq!(in_parent(Signal::Int, None), ParentIntention::Stop(Manner::Orderly));
/// let again = in_parent(Signal::Int, Some(Manner::Orderly));
/// assert_eq!(again, ParentIntention::Stop(Manner::AtOnce));
/// ```
#[must_use]
pub const fn in_parent(signal: Signal, stopping: Option<Manner>) -> ParentIntention {
    match (signal, stopping) {
        (Signal::Term | Signal::Int, None) => ParentIntention::Stop(Manner::Orderly),
        (Signal::Term | Signal::Int, Some(Manner::Orderly | Manner::AtOnce))
        | (Signal::Quit, None | Some(Manner::Orderly | Manner::AtOnce)) => {
            ParentIntention::Stop(Manner::AtOnce)
        }
        (Signal::Hup, None | Some(Manner::Orderly | Manner::AtOnce)) => ParentIntention::Hangup,
        (Signal::Usr2, None | Some(Manner::Orderly | Manner::AtOnce)) => ParentIntention::Peek,
        (Signal::Cont, None) => ParentIntention::Resume,
        (Signal::Tstp, None) => ParentIntention::Pause,
        (Signal::Cont | Signal::Tstp, Some(Manner::Orderly | Manner::AtOnce)) => {
            ParentIntention::Ignore
        }
        (Signal::Ttin, None | Some(Manner::Orderly | Manner::AtOnce)) => ParentIntention::More,
        (Signal::Ttou, None | Some(Manner::Orderly | Manner::AtOnce)) => ParentIntention::Fewer,
    }
}

/// Says what a signal asks of a child.
///
/// A second TERM does not hurry it: the parent decides when the grace is over.
#[must_use]
pub const fn in_child(signal: Signal) -> ChildIntention {
    match signal {
        Signal::Term | Signal::Int => ChildIntention::Leave(Manner::Orderly),
        Signal::Quit => ChildIntention::Leave(Manner::AtOnce),
        Signal::Hup => ChildIntention::Hangup,
        Signal::Usr2 => ChildIntention::Peek,
        Signal::Cont => ChildIntention::Look,
        Signal::Tstp | Signal::Ttin | Signal::Ttou => ChildIntention::Ignore,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_asks_of_each_process_what_the_table_says() {
        use Manner::{AtOnce, Orderly};
        use ParentIntention::{Fewer, Hangup, Ignore, More, Pause, Peek, Resume, Stop};
        let table = [
            (Signal::Term, Stop(Orderly), Stop(AtOnce), ChildIntention::Leave(Orderly)),
            (Signal::Int, Stop(Orderly), Stop(AtOnce), ChildIntention::Leave(Orderly)),
            (Signal::Quit, Stop(AtOnce), Stop(AtOnce), ChildIntention::Leave(AtOnce)),
            (Signal::Hup, Hangup, Hangup, ChildIntention::Hangup),
            (Signal::Usr2, Peek, Peek, ChildIntention::Peek),
            (Signal::Cont, Resume, Ignore, ChildIntention::Look),
            (Signal::Tstp, Pause, Ignore, ChildIntention::Ignore),
            (Signal::Ttin, More, More, ChildIntention::Ignore),
            (Signal::Ttou, Fewer, Fewer, ChildIntention::Ignore),
        ];
        assert_eq!(table.map(|row| row.0), Signal::ALL);
        for (signal, first, again, child) in table {
            assert_eq!(in_parent(signal, None), first, "{}", signal.name());
            for manner in [Orderly, AtOnce] {
                assert_eq!(in_parent(signal, Some(manner)), again, "{}", signal.name());
            }
            assert_eq!(in_child(signal), child, "{}", signal.name());
        }
    }

    #[test]
    fn a_child_listens_to_just_those_signals_that_it_does_not_ignore() {
        let heard = Signal::ALL
            .into_iter()
            .filter(|signal| in_child(*signal) != ChildIntention::Ignore)
            .collect::<Vec<_>>();
        assert_eq!(heard, Signal::OF_A_CHILD);
    }
}
