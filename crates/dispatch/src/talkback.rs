//! What the dispatcher has to say, and what its workers print: to the logger, or to whoever wants it.

use std::fmt;

use actix::{Message, Recipient};
use slog::{Logger, debug, info, warn};

/// A line of the dispatcher's, or one that a worker has printed. The original's `talkback`.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct Talkback {
    /// The line, without its end. What a worker prints begins with `STDOUT` or `STDERR`, the
    /// worker's slot and the method.
    pub line: String,
}

/// Who is talked to.
pub(crate) struct EventLog {
    pub(crate) log: Logger,
    pub(crate) recipient: Option<Recipient<Talkback>>,
    pub(crate) detail: Verbosity,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Verbosity {
    /// What an operator wants on an ordinary day.
    #[default]
    Normal,
    /// Each request too. The original's `verbose`.
    Verbose,
}

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Voice").field("detail", &self.detail).finish_non_exhaustive()
    }
}

impl EventLog {
    /// Says it to whoever wants what would be logged; answers with whether there is somebody.
    pub(crate) fn talk(&self, line: &fmt::Arguments<'_>) -> bool {
        match &self.recipient {
            None => false,
            Some(recipient) => {
                // Who has gone wants no lines.
                recipient.do_send(Talkback { line: line.to_string() });
                true
            }
        }
    }

    /// Something that happens.
    pub(crate) fn say(&self, line: fmt::Arguments<'_>) {
        if !self.talk(&line) {
            info!(self.log, "{}", line);
        }
    }

    /// Something that should not happen.
    pub(crate) fn warn(&self, line: fmt::Arguments<'_>) {
        if !self.talk(&line) {
            warn!(self.log, "{}", line);
        }
    }

    /// Something that is only said to who wants to hear it all.
    pub(crate) fn detail(&self, line: fmt::Arguments<'_>) {
        match self.detail {
            Verbosity::Normal => {}
            Verbosity::Verbose if self.talk(&line) => {}
            Verbosity::Verbose => debug!(self.log, "{}", line),
        }
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.detail == Verbosity::Verbose
    }
}
