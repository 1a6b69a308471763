//! Reports the events of the dispatcher and the output of its workers to the talkback recipient if
//! there is one, and otherwise to the logger.
//!
//! The lines for the recipient wait in a bounded queue. A recipient that is slower than the events
//! and the output of the workers costs lines, but no memory.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::pin::Pin;
use std::task::Context;

use actix::dev::RecipientRequest;
use actix::{Message, Recipient};
use daemon_core::MonotonicTime;
use daemon_forkserver::now;
use slog::{Logger, warn};

use crate::output_limit::{DropReport, DroppedOutput};

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
    /// Whether events of each request and of each worker are reported too.
    pub(crate) is_verbose: bool,
}

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLog").field("is_verbose", &self.is_verbose).finish_non_exhaustive()
    }
}

impl EventLog {
    /// Sends the line of an event to the talkback recipient. Returns `false` if there is no
    /// recipient, or if it has stopped.
    pub(crate) fn send_line(&mut self, line: fmt::Arguments<'_>) -> bool {
        let Some(recipient) = &mut self.recipient else { return false };
        if !recipient.recipient.connected() {
            return false;
        }
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
}

/// Reports an event: as a line to the talkback recipient if there is one, otherwise as a log record
/// of this level. `debug` events are reported only by a verbose dispatcher.
macro_rules! report {
    ($events:expr, debug, $($event:tt)+) => {
        if $events.is_verbose {
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

/// The maximum size of the queue while a worker's output is added, in bytes.
const OUTPUT_MAX: usize = 4 << 20;

/// The maximum size of the queue while an event is added. It is greater than [`OUTPUT_MAX`], so
/// that no output of workers displaces an event.
const EVENTS_MAX: usize = 8 << 20;

/// The memory that a line occupies in addition to its bytes.
const LINE_COST: usize = 64;

/// The maximum number of lines in the mailbox of the recipient.
const MAILBOX_MAX: usize = 64;

/// The maximum length of a line in bytes.
const LINE_MAX: usize = 16 * 1024;

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineKind {
    /// Something happened in the dispatcher.
    Event,
    /// A worker printed it.
    Output,
}

/// The lines that have not been sent, and the events that were dropped.
#[derive(Debug, Default)]
pub(crate) struct TalkbackQueue {
    lines: VecDeque<String>,
    size: usize,
    report: DropReport,
    dropped: u64,
}

impl TalkbackQueue {
    /// Adds a line. Returns `false` if the queue is full. Does not wait.
    pub(crate) fn push(&mut self, kind: LineKind, line: fmt::Arguments<'_>) -> bool {
        let max = match kind {
            LineKind::Event => EVENTS_MAX,
            LineKind::Output => OUTPUT_MAX,
        };
        if self.size >= max {
            // The workers' output is counted for each worker.
            if kind == LineKind::Event {
                self.dropped += 1;
                self.report.add(DroppedOutput { bytes: 0, lines: 1 }, now());
            }
            return false;
        }
        let mut text = LimitedText(String::new());
        // An error means that the line is too long. Its start is kept.
        let _ = text.write_fmt(line);
        self.size += text.0.len() + LINE_COST;
        self.lines.push_back(text.0);
        true
    }

    /// Returns the number of events that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn pop(&mut self) -> Option<String> {
        let line = self.lines.pop_front()?;
        self.size = self.size.saturating_sub(line.len() + LINE_COST);
        Some(line)
    }
}

/// Sends the lines of a queue to the talkback recipient.
pub(crate) struct TalkbackSender {
    pub(crate) queue: TalkbackQueue,
    recipient: Recipient<Talkback>,
    /// Completes when the recipient has handled the lines that were sent last.
    sending: Option<Pin<Box<RecipientRequest<Talkback>>>>,
}

impl TalkbackSender {
    pub(crate) fn new(recipient: Recipient<Talkback>) -> TalkbackSender {
        TalkbackSender { queue: TalkbackQueue::default(), recipient, sending: None }
    }

    /// Sends lines to the recipient, so many at a time that its mailbox is bounded. The task of
    /// `cx` is woken when the recipient has handled them.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        loop {
            if let Some(sending) = &mut self.sending
                && sending.as_mut().poll(cx).is_pending()
            {
                return;
            }
            self.sending = None;
            let Some(mut line) = self.queue.pop() else { return };
            for _ in 1..MAILBOX_MAX {
                let Some(next) = self.queue.pop() else { break };
                self.recipient.do_send(Talkback { line: std::mem::replace(&mut line, next) });
            }
            // The recipient handles messages in order, so it has handled the others when it has
            // handled this one. A recipient that has stopped receives nothing.
            self.sending = Some(Box::pin(self.recipient.send(Talkback { line })));
        }
    }

    /// Returns when dropped events are reported.
    pub(crate) fn report_due(&self) -> Option<MonotonicTime> {
        self.queue.report.due()
    }

    /// Logs how many events were dropped, if the report is due.
    pub(crate) fn report_dropped(&mut self, log: &Logger) {
        if let Some(DroppedOutput { lines, .. }) = self.queue.report.take_due(now()) {
            warn!(
                log, "events dropped, the talkback recipient is too slow";
                "events" => lines, "total" => self.queue.dropped
            );
        }
    }
}

/// Text of at most [`LINE_MAX`] bytes. Writing more fails, so that the rest is not formatted.
struct LimitedText(String);

impl fmt::Write for LimitedText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LINE_MAX.saturating_sub(self.0.len());
        let part = text.get(..text.floor_char_boundary(room)).unwrap_or(text);
        self.0.push_str(part);
        if part.len() == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(queue: &mut TalkbackQueue, kind: LineKind) -> usize {
        std::iter::from_fn(|| queue.push(kind, format_args!("x")).then_some(())).count()
    }

    #[test]
    fn the_queue_is_bounded_and_output_leaves_space_for_events() {
        let mut queue = TalkbackQueue::default();
        let cost = LINE_COST + 1;
        assert_eq!(fill(&mut queue, LineKind::Output), OUTPUT_MAX.div_ceil(cost));
        assert_eq!(queue.dropped(), 0);
        let events = EVENTS_MAX.div_ceil(cost) - OUTPUT_MAX.div_ceil(cost);
        assert_eq!(fill(&mut queue, LineKind::Event), events);
        assert_eq!(fill(&mut queue, LineKind::Event), 0);
        assert_eq!(queue.dropped(), 2);
        // Each line that is removed makes room for another.
        while queue.pop().is_some() {}
        assert_eq!(queue.size, 0);
        assert_eq!(fill(&mut queue, LineKind::Output), OUTPUT_MAX.div_ceil(cost));
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        let mut queue = TalkbackQueue::default();
        let long = "ä".repeat(LINE_MAX);
        queue.push(LineKind::Event, format_args!("x{long}, y: {}", 1));
        let line = queue.pop().unwrap();
        assert_eq!(line.len(), LINE_MAX - 1);
        assert!(line.starts_with("xä") && line.ends_with('ä'));
    }
}
