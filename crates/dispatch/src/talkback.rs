//! Reports the events of the dispatcher and the output of its workers to the talkback recipient if
//! there is one, and otherwise to the logger.

mod queue;

use std::fmt;
use std::task::Context;

use actix::Message;
use daemon_core::MonotonicTime;
use slog::Logger;

pub(crate) use queue::{LineKind, TalkbackSender};

/// Message: an event of the dispatcher, or a line that a worker printed. In the original,
/// `POE::Component::PreforkDispatch`, this is `talkback`.
///
/// Sent to the recipient set by
/// [`DispatcherBuilder::talkback`](crate::DispatcherBuilder::talkback).
#[derive(Message, Debug, Clone, PartialEq, Eq)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct Talkback {
    /// The line, without its end-of-line character.
    ///
    /// An event is its log message followed by its keys and values:
    /// `killing worker, worker: 4711, reason: its task was cancelled`. A line that a worker printed
    /// starts with `STDOUT` or `STDERR`, the worker's slot and the method:
    /// `STDOUT:0 resize: 3 files left`.
    ///
    /// A line has at most 16 KiB; a longer one is cut.
    pub line: String,
}

/// Where the dispatcher reports events; see [`report!`].
pub(crate) struct EventLog {
    pub(crate) log: Logger,
    pub(crate) recipient: Option<TalkbackSender>,
    pub(crate) verbosity: Verbosity,
}

/// Which events are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Verbosity {
    /// Only events that an operator needs in normal operation.
    #[default]
    Normal,
    /// Also events of each request and of each worker. In the original, this is `verbose`.
    Verbose,
}

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLog").field("verbosity", &self.verbosity).finish_non_exhaustive()
    }
}

impl EventLog {
    /// Sends the line of an event to the talkback recipient. Returns `false` if there is no
    /// recipient.
    pub(crate) fn send_line(&mut self, line: fmt::Arguments<'_>) -> bool {
        let Some(recipient) = &mut self.recipient else { return false };
        // The queue counts the lines that do not fit.
        recipient.queue.push(LineKind::Event, line);
        true
    }

    /// Sends lines to the talkback recipient. The task of `cx` is woken when further lines can be
    /// sent.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(recipient) = &mut self.recipient {
            recipient.poll(cx);
        }
    }

    /// Returns when [`report_dropped`](EventLog::report_dropped) must be called.
    pub(crate) fn report_due(&self) -> Option<MonotonicTime> {
        self.recipient.as_ref()?.report_due()
    }

    /// Logs how many lines were dropped, if the report is due.
    pub(crate) fn report_dropped(&mut self) {
        if let Some(recipient) = &mut self.recipient {
            recipient.report_dropped(&self.log);
        }
    }

    /// Returns the number of lines that were dropped because the talkback recipient was too slow.
    pub(crate) fn dropped_lines(&self) -> u64 {
        self.recipient.as_ref().map_or(0, |recipient| recipient.queue.dropped())
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.verbosity == Verbosity::Verbose
    }
}

/// Reports an event: as a line to the talkback recipient if there is one, otherwise as a log record
/// of this level. `debug` events are reported only by a verbose dispatcher.
macro_rules! report {
    ($events:expr, debug, $($event:tt)+) => {
        if $events.is_verbose() {
            report!(@ $events, debug, $($event)+);
        }
    };
    (@ $events:expr, $level:ident, $message:literal $(; $($key:literal => $value:expr),+)?) => {
        if !$events.send_line(format_args!(
            concat!($message $($(, ", ", $key, ": {}")+)?) $($(, $value)+)?
        )) {
            slog::$level!($events.log, $message $(; $($key => $value),+)?);
        }
    };
    ($events:expr, $level:ident, $($event:tt)+) => {
        report!(@ $events, $level, $($event)+)
    };
}

pub(crate) use report;
