//! Where lines go: an output that may accept less than it is given.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The maximum length in bytes of the lines that wait for the output.
pub const WAITING_MAX: usize = 256 * 1024;

/// How long a process that exits waits for the output.
const EXIT_MAX: Duration = Duration::from_millis(100);

/// Writes whole lines to an output, and never waits for it.
///
/// If a write fails with [`WouldBlock`](io::ErrorKind::WouldBlock), the line waits in memory, in
/// front of at most [`WAITING_MAX`] bytes of later lines. Lines that do not fit, and lines that
/// cannot be written for another reason (for example because the disk is full), are dropped and
/// counted. After an error in the middle of a line, the next line that is written begins a new
/// line.
///
/// Lines that wait are written before the next line, or by [`flush`](Sink::flush). The output must
/// not wait either: if it does, so does the sink.
///
/// # Examples
///
/// ```
/// use daemon_log::Sink;
///
/// let sink = Sink::new(Vec::new());
/// sink.write_line(b"a line\n");
/// sink.with_output(|output| assert_eq!(output, b"a line\n"));
/// ```
pub struct Sink<W> {
    state: Mutex<State<W>>,
    /// The lines that were dropped and not reported.
    unreported: AtomicU64,
    is_waiting: AtomicBool,
    on_waiting: Option<fn()>,
}

struct State<W> {
    output: W,
    waiting: VecDeque<Line>,
    /// The length of all lines that wait, in bytes.
    length: usize,
    counters: SinkCounters,
}

/// What is known about an output.
enum SinkCounters {
    Own { dropped: u64, is_torn: bool },
    Shared(SharedCounters),
}

/// What the processes that write to the same output know about it together. The values are usually
/// in shared memory. They are 0 at first.
#[derive(Debug, Clone, Copy)]
pub struct SharedCounters {
    /// The number of lines that were dropped.
    pub dropped: &'static AtomicU64,
    /// Not 0 if the output ends in the middle of a line whose rest was dropped.
    pub torn: &'static AtomicU64,
}

impl SinkCounters {
    fn add_dropped(&mut self, lines: u64) {
        match self {
            SinkCounters::Own { dropped, .. } => *dropped += lines,
            SinkCounters::Shared(shared) => {
                shared.dropped.fetch_add(lines, Ordering::Relaxed);
            }
        }
    }

    fn dropped(&self) -> u64 {
        match self {
            SinkCounters::Own { dropped, .. } => *dropped,
            SinkCounters::Shared(shared) => shared.dropped.load(Ordering::Relaxed),
        }
    }

    fn is_torn(&self) -> bool {
        match self {
            SinkCounters::Own { is_torn, .. } => *is_torn,
            SinkCounters::Shared(shared) => shared.torn.load(Ordering::Relaxed) != 0,
        }
    }

    fn set_torn(&mut self, torn: bool) {
        match self {
            SinkCounters::Own { is_torn, .. } => *is_torn = torn,
            SinkCounters::Shared(shared) => shared.torn.store(torn.into(), Ordering::Relaxed),
        }
    }
}

/// A line that waits.
struct Line {
    bytes: Vec<u8>,
    /// How much of it is written.
    written: usize,
    /// How many dropped lines this line reports.
    reports: u64,
}

/// Lines that were dropped, and the number of earlier dropped lines that they would have reported.
#[derive(Debug, Clone, Copy, Default)]
struct Dropped {
    lines: u64,
    reports: u64,
}

impl Dropped {
    /// Adds a dropped line.
    fn and(self, reports: u64) -> Dropped {
        Dropped { lines: self.lines + 1, reports: self.reports + reports }
    }
}

/// What has become of a line that was given to the output.
enum Written {
    Whole,
    /// The output would have waited after this many bytes.
    Part(usize),
    Failed,
}

/// Whether lines still wait for the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// No line waits.
    All,
    /// The output accepts nothing more at present.
    Blocked,
}

impl<W> fmt::Debug for Sink<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("unreported", &self.unreported).finish_non_exhaustive()
    }
}

impl<W: Write> Sink<W> {
    /// Creates a sink for this output. Its `write` should fail with
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) instead of waiting.
    pub const fn new(output: W) -> Sink<W> {
        Sink {
            state: Mutex::new(State {
                output,
                waiting: VecDeque::new(),
                length: 0,
                counters: SinkCounters::Own { dropped: 0, is_torn: false },
            }),
            unreported: AtomicU64::new(0),
            is_waiting: AtomicBool::new(false),
            on_waiting: None,
        }
    }

    /// Sets a function that is called whenever a line begins to wait and no other line waits. It
    /// should arrange that [`flush`](Sink::flush) is called when the output accepts data again.
    #[must_use]
    pub const fn on_waiting(mut self, call: fn()) -> Sink<W> {
        self.on_waiting = Some(call);
        self
    }

    /// Writes a line, with its end. Normally this is one write.
    pub fn write_line(&self, line: &[u8]) {
        self.write_report(line, 0);
    }

    /// Writes a line that reports this number of dropped lines.
    pub(crate) fn write_report(&self, line: &[u8], reports: u64) {
        let mut state = self.lock();
        let had_waiting = !state.waiting.is_empty();
        let (flushed, mut dropped) = state.flush();
        let is_kept = match flushed {
            Flushed::All => state.write(line, reports),
            Flushed::Blocked => state.append(line, 0, reports),
        };
        if !is_kept {
            dropped = dropped.and(reports);
        }
        self.release(state, dropped, had_waiting);
    }

    /// Writes the lines that wait, as far as the output accepts them.
    pub fn flush(&self) -> Flushed {
        if !self.has_waiting() {
            return Flushed::All;
        }
        let mut state = self.lock();
        let (flushed, dropped) = state.flush();
        self.release(state, dropped, true);
        flushed
    }

    /// Writes the lines that wait, and tries for a tenth of a second at most. `wait` waits until
    /// the output accepts more, or until the given time has passed.
    pub fn flush_before_exit(&self, wait: impl Fn(&W, Duration)) {
        if self.flush() == Flushed::All {
            return;
        }
        let deadline = Instant::now() + EXIT_MAX;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            self.with_output(|output| wait(output, left));
            if self.flush() == Flushed::All || left.is_zero() {
                return;
            }
        }
    }

    fn release(&self, mut state: MutexGuard<'_, State<W>>, dropped: Dropped, had_waiting: bool) {
        if dropped.lines > 0 {
            state.counters.add_dropped(dropped.lines);
            self.unreported.fetch_add(dropped.lines + dropped.reports, Ordering::Relaxed);
        }
        let has_waiting = !state.waiting.is_empty();
        if has_waiting != had_waiting {
            self.is_waiting.store(has_waiting, Ordering::Relaxed);
        }
        drop(state);
        if let Some(call) = self.on_waiting
            && has_waiting
            && !had_waiting
        {
            call();
        }
    }

    /// Returns whether lines wait for the output.
    pub fn has_waiting(&self) -> bool {
        self.is_waiting.load(Ordering::Relaxed)
    }

    /// Returns the number of lines that were dropped since the start, by all processes that share
    /// the [counters](Sink::share).
    pub fn dropped(&self) -> u64 {
        self.lock().counters.dropped()
    }

    /// Shares the counters with the processes that this process forks from now on. A line that one
    /// of them could not write to its end is then ended by the next line of any of them.
    pub fn share(&self, shared: SharedCounters) {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.counters, SinkCounters::Shared(shared));
        state.counters.add_dropped(before.dropped());
        if before.is_torn() {
            state.counters.set_torn(true);
        }
    }

    /// Returns the number of lines that were dropped since the last call, if no line waits any
    /// more; otherwise 0. The default logger calls this before each record, and logs the number.
    pub fn take_unreported(&self) -> u64 {
        if self.unreported.load(Ordering::Relaxed) == 0 || self.flush() == Flushed::Blocked {
            return 0;
        }
        self.unreported.swap(0, Ordering::Relaxed)
    }

    /// Calls a function with the output, for example to wait for it or to watch it.
    pub fn with_output<T>(&self, call: impl FnOnce(&mut W) -> T) -> T {
        call(&mut self.lock().output)
    }

    /// Calls a function that may make the output write to another place, and returns whether it
    /// does. Lines that wait are then written whole to the new place, which does not end in the
    /// middle of a line.
    pub fn redirect(&self, call: impl FnOnce(&mut W) -> bool) {
        let mut state = self.lock();
        if !call(&mut state.output) {
            return;
        }
        state.counters.set_torn(false);
        if let Some(first) = state.waiting.front_mut() {
            first.written = 0;
        }
    }

    /// Forgets the lines that wait, without counting them. A process that was forked has a copy of
    /// the lines that the other process will write.
    #[inline]
    pub fn forget_waiting(&self) {
        if self.has_waiting() {
            let mut state = self.lock();
            state.waiting.clear();
            state.length = 0;
            self.is_waiting.store(false, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Write> State<W> {
    /// Writes the lines that wait. If the output fails, drops all of them.
    fn flush(&mut self) -> (Flushed, Dropped) {
        while let Some(mut line) = self.waiting.pop_front() {
            match self.put(&line.bytes, line.written) {
                Written::Whole => self.length -= line.bytes.len(),
                Written::Part(written) => {
                    line.written = written;
                    self.waiting.push_front(line);
                    return (Flushed::Blocked, Dropped::default());
                }
                Written::Failed => {
                    self.length = 0;
                    let first = Dropped::default().and(line.reports);
                    let rest = self.waiting.drain(..);
                    return (Flushed::All, rest.fold(first, |sum, line| sum.and(line.reports)));
                }
            }
        }
        (Flushed::All, Dropped::default())
    }

    /// Writes a line when no line waits. What the output does not accept at once waits. Returns
    /// `false` if the line was dropped.
    fn write(&mut self, line: &[u8], reports: u64) -> bool {
        match self.put(line, 0) {
            Written::Whole => true,
            Written::Part(written) => self.append(line, written, reports),
            Written::Failed => false,
        }
    }

    /// Makes a line wait, behind the others. Returns `false` if there is no room, and the line was
    /// dropped.
    fn append(&mut self, line: &[u8], written: usize, reports: u64) -> bool {
        if self.length > 0 && self.length + line.len() > WAITING_MAX {
            return false;
        }
        self.length += line.len();
        self.waiting.push_back(Line { bytes: line.to_vec(), written, reports });
        true
    }

    /// Gives the output a line from this position on.
    fn put(&mut self, line: &[u8], mut written: usize) -> Written {
        while let Some(rest) = line.get(written..).filter(|rest| !rest.is_empty()) {
            let is_torn = self.counters.is_torn();
            let result = match is_torn {
                true => self.output.write(&[b"\n", rest].concat()),
                false => self.output.write(rest),
            };
            match result {
                Ok(length) if length > 0 => {
                    written += length - usize::from(is_torn);
                    if is_torn {
                        self.counters.set_torn(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Written::Part(written);
                }
                Ok(_) | Err(_) => {
                    let last = written.checked_sub(1).and_then(|last| line.get(last));
                    if last.is_some_and(|last| *last != b'\n') {
                        self.counters.set_torn(true);
                    }
                    // The next line ends a line of which only the end is missing.
                    let is_whole = written > 0 && rest == b"\n";
                    return if is_whole { Written::Whole } else { Written::Failed };
                }
            }
        }
        Written::Whole
    }
}
