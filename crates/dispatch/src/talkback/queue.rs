//! A bounded queue of lines for the talkback recipient. A recipient that is slower than the events
//! and the output of the workers costs lines, but no memory.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::rc::Rc;

use actix::Recipient;
use daemon_core::MonotonicTime;
use daemon_forkserver::now;
use slog::{Logger, warn};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::Talkback;
use crate::output_limit::{DropReport, DroppedOutput};

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

/// Whether a line was added to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueResult {
    Queued,
    /// The queue is full.
    Dropped,
}

/// A handle to the queue. The sender and the receiver of the lines run in the same System.
#[derive(Debug, Clone, Default)]
pub(crate) struct TalkbackQueue(Rc<SharedQueue>);

#[derive(Debug, Default)]
struct SharedQueue {
    lines: RefCell<VecDeque<String>>,
    size: Cell<usize>,
    report: RefCell<DropReport>,
    dropped: Cell<u64>,
    added: Notify,
    dropping: Notify,
}

impl TalkbackQueue {
    /// Adds a line, or counts it as dropped if the queue is full. Does not wait.
    pub(crate) fn push(&self, kind: LineKind, line: fmt::Arguments<'_>) -> QueueResult {
        let max = match kind {
            LineKind::Event => EVENTS_MAX,
            LineKind::Output => OUTPUT_MAX,
        };
        let queue = &self.0;
        if queue.size.get() >= max {
            // The workers' output is counted for each worker.
            if kind == LineKind::Event {
                self.count_dropped(now());
            }
            return QueueResult::Dropped;
        }
        let mut text = LimitedText(String::new());
        // An error means that the line is too long. Its start is kept.
        let _ = text.write_fmt(line);
        queue.size.set(queue.size.get() + text.0.len() + LINE_COST);
        queue.lines.borrow_mut().push_back(text.0);
        queue.added.notify_one();
        QueueResult::Queued
    }

    fn count_dropped(&self, time: MonotonicTime) {
        let queue = &self.0;
        queue.dropped.set(queue.dropped.get() + 1);
        queue.report.borrow_mut().add(DroppedOutput { bytes: 0, lines: 1 }, time);
        queue.dropping.notify_one();
    }

    /// Returns the number of events that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.dropped.get()
    }

    fn pop(&self) -> Option<String> {
        let line = self.0.lines.borrow_mut().pop_front()?;
        self.0.size.set(self.0.size.get().saturating_sub(line.len() + LINE_COST));
        Some(line)
    }

    /// Waits until the queue has a line, and returns it.
    async fn next(&self) -> String {
        loop {
            match self.pop() {
                Some(line) => return line,
                None => self.0.added.notified().await,
            }
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

/// Sends the lines of the queue to the recipient, so many at a time that its mailbox is bounded.
/// Logs how many events were dropped.
pub(crate) fn forward(queue: &TalkbackQueue, recipient: Recipient<Talkback>, log: Logger) {
    let lines = queue.clone();
    actix_rt::spawn(async move {
        loop {
            let mut line = lines.next().await;
            for next in std::iter::from_fn(|| lines.pop()).take(MAILBOX_MAX - 1) {
                recipient.do_send(Talkback { line: std::mem::replace(&mut line, next) });
            }
            // The recipient handles messages in order, so it has handled the others when it has
            // handled this one. A recipient that has stopped receives nothing.
            let _ = recipient.send(Talkback { line }).await;
        }
    });
    let queue = queue.clone();
    actix_rt::spawn(async move {
        loop {
            queue.0.dropping.notified().await;
            let due = queue.0.report.borrow().due();
            sleep(due.unwrap_or_default().saturating_since(now())).await;
            let dropped = queue.0.report.borrow_mut().take_due(now());
            if let Some(DroppedOutput { lines, .. }) = dropped {
                warn!(
                    log, "events dropped, the talkback recipient is too slow";
                    "events" => lines, "total" => queue.dropped()
                );
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(queue: &TalkbackQueue, kind: LineKind) -> usize {
        std::iter::from_fn(|| match queue.push(kind, format_args!("x")) {
            QueueResult::Queued => Some(()),
            QueueResult::Dropped => None,
        })
        .count()
    }

    #[test]
    fn the_queue_is_bounded_and_output_leaves_space_for_events() {
        let queue = TalkbackQueue::default();
        let cost = LINE_COST + 1;
        assert_eq!(fill(&queue, LineKind::Output), OUTPUT_MAX.div_ceil(cost));
        assert_eq!(queue.dropped(), 0);
        let events = EVENTS_MAX.div_ceil(cost) - OUTPUT_MAX.div_ceil(cost);
        assert_eq!(fill(&queue, LineKind::Event), events);
        assert_eq!(fill(&queue, LineKind::Event), 0);
        assert_eq!(queue.dropped(), 2);
        // Each line that is removed makes room for another.
        while queue.pop().is_some() {}
        assert_eq!(queue.0.size.get(), 0);
        assert_eq!(fill(&queue, LineKind::Output), OUTPUT_MAX.div_ceil(cost));
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        let queue = TalkbackQueue::default();
        let long = "ä".repeat(LINE_MAX);
        queue.push(LineKind::Event, format_args!("x{long}, y: {}", 1));
        let line = queue.pop().unwrap();
        assert_eq!(line.len(), LINE_MAX - 1);
        assert!(line.starts_with("xä") && line.ends_with('ä'));
    }
}
