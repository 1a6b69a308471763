//! Tests the text of the default logger, the number of its writes, and what becomes of the records
//! that an output does not accept.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use proptest::prelude::*;
use slog::{debug, error, info};

use super::*;

/// An output that accepts this many bytes in each write, then fails with this error.
#[derive(Debug, Default)]
struct Output {
    written: Vec<Vec<u8>>,
    /// The results of the next writes. Without any, everything is accepted.
    script: VecDeque<Result<usize, io::ErrorKind>>,
    /// The result of each write after the script.
    then: Option<io::ErrorKind>,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let accepted = match (self.script.pop_front(), self.then) {
            (Some(next), _) => next?,
            (None, Some(error)) => return Err(error.into()),
            (None, None) => bytes.len(),
        };
        let accepted = accepted.min(bytes.len());
        self.written.push(bytes[..accepted].to_vec());
        Ok(accepted)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A sink whose output the tests control.
#[derive(Clone)]
struct TestSink(Arc<Sink<Output>>);

impl TestSink {
    fn new() -> TestSink {
        TestSink(Arc::new(Sink::new(Output::default())))
    }

    fn logger(&self, level: Level) -> Logger {
        logger(Arc::clone(&self.0), level)
    }

    /// Makes the next writes have these results, and all later ones this error.
    fn fail(&self, script: &[Result<usize, io::ErrorKind>], then: Option<io::ErrorKind>) {
        self.0.with_output(|output| {
            output.script = script.iter().copied().collect();
            output.then = then;
        });
    }

    /// Returns what each write has written since the last call.
    fn writes(&self) -> Vec<String> {
        let written = self.0.with_output(|output| std::mem::take(&mut output.written));
        written.into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    }

    fn text(&self) -> String {
        self.writes().concat()
    }
}

#[test]
fn a_record_is_one_line_in_one_write_with_level_role_pid_and_slot() {
    let sink = TestSink::new();
    let root = sink.logger(Level::Info);
    let log = root.new(o!("role" => "child", "pid" => 4711, "slot" => 3));
    info!(log, "a request of {} bytes", 17; "peer" => "127.0.0.1");
    error!(log, "gone");
    let lines = sink.writes();
    assert_eq!(lines.len(), 2, "one write for each record");
    for line in &lines {
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "{line:?}");
        for part in ["role: child", "pid: 4711", "slot: 3"] {
            assert!(line.contains(part), "{part} is not in {line:?}");
        }
    }
    assert!(lines[0].contains("INFO a request of 17 bytes"));
    assert!(lines[0].contains("peer: 127.0.0.1"));
    assert!(lines[1].contains("ERRO gone"));
}

#[test]
fn a_long_record_is_one_write() {
    let sink = TestSink::new();
    info!(sink.logger(Level::Info), "{}", "x".repeat(100_000));
    let lines = sink.writes();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].len() > 100_000);
}

#[test]
fn records_below_the_level_are_not_written() {
    let sink = TestSink::new();
    debug!(sink.logger(Level::Info), "detail");
    assert_eq!(sink.writes(), [""; 0]);
    debug!(sink.logger(Level::Debug), "detail");
    assert_eq!(sink.writes().len(), 1);
}

#[test]
fn control_characters_cannot_forge_records_or_control_a_terminal() {
    let sink = TestSink::new();
    let log = sink.logger(Level::Info);
    let printed = "a\x1b[2Jb\u{9b}c\rd\u{202e}e\tf\0\nJan 01 00:00:00.000 INFO forged";
    info!(log, "worker output"; "line" => printed);
    info!(log, "plain text with umlauts: ä\u{2026}");
    let lines = sink.writes();
    let escaped =
        "line: a\\u{1b}[2Jb\\u{9b}c\\rd\\u{202e}e\tf\\u{0}\n\tJan 01 00:00:00.000 INFO forged\n";
    assert!(lines[0].ends_with(escaped), "{:?}", lines[0]);
    assert!(lines[1].ends_with("umlauts: ä\u{2026}\n"), "{:?}", lines[1]);
}

#[test]
fn a_record_without_bound_is_cut() {
    let sink = TestSink::new();
    let log = sink.logger(Level::Info);
    info!(log, "x"; "text" => "y".repeat(3 * RECORD_MAX));
    info!(log, "next");
    let lines = sink.writes();
    assert!(lines[0].len() < RECORD_MAX + 40, "{}", lines[0].len());
    let rest = lines[0].rsplit_once("... (").map(|(_start, rest)| rest).unwrap();
    let cut: usize = rest.strip_suffix(" more bytes)\n").unwrap().parse().unwrap();
    let start = lines[0].find("yyy").unwrap();
    assert_eq!(RECORD_MAX - start + cut, 3 * RECORD_MAX);
    assert!(lines[1].ends_with("next\n"));
}

const BLOCKED: io::ErrorKind = io::ErrorKind::WouldBlock;
const FULL: io::ErrorKind = io::ErrorKind::StorageFull;

/// Returns the messages of the records in a text, with the value of their only key.
fn messages(text: &str) -> Vec<String> {
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    let message = |line: &str| {
        let (_time, message) = line.split_once("INFO ").or_else(|| line.split_once("WARN "))?;
        Some(message.to_owned())
    };
    text.lines().map(|line| message(line).unwrap_or_else(|| line.to_owned())).collect()
}

#[test]
fn records_that_are_not_accepted_wait_and_are_written_in_order() {
    let sink = TestSink::new();
    let log = sink.logger(Level::Info);
    sink.fail(&[Ok(30)], Some(BLOCKED));
    info!(log, "one");
    info!(log, "two");
    assert_eq!(sink.0.flush(), Flushed::Blocked);
    assert!(sink.0.has_waiting());
    sink.fail(&[Ok(3), Err(io::ErrorKind::Interrupted), Ok(2)], None);
    assert_eq!(sink.0.flush(), Flushed::All);
    assert!(!sink.0.has_waiting());
    info!(log, "three");
    assert_eq!(messages(&sink.text()), ["one", "two", "three"]);
    assert_eq!((sink.0.dropped(), sink.0.take_unreported()), (0, 0));
}

#[test]
fn records_that_wait_are_written_before_the_next_record() {
    let sink = TestSink::new();
    let log = sink.logger(Level::Info);
    sink.fail(&[], Some(BLOCKED));
    info!(log, "one");
    sink.fail(&[], None);
    info!(log, "two");
    assert_eq!(messages(&sink.text()), ["one", "two"]);
}

#[test]
fn waiting_records_have_a_bound_and_the_number_of_dropped_ones_is_logged_once() {
    let sink = TestSink::new();
    let log = sink.logger(Level::Info);
    sink.fail(&[], Some(BLOCKED));
    let count = 2 * WAITING_MAX / 1000;
    for _ in 0..count {
        info!(log, "{}", "x".repeat(1000));
    }
    let dropped = sink.0.dropped();
    assert!(dropped > 200 && dropped < count as u64, "{dropped}");
    sink.fail(&[], None);
    for text in ["after", "later"] {
        info!(log, "{text}");
    }
    let messages = messages(&sink.text());
    let kept = count - usize::try_from(dropped).unwrap();
    assert!(kept * 1000 < WAITING_MAX);
    assert_eq!(
        messages[kept..],
        [&*format!("log records dropped, count: {dropped}"), "after", "later"]
    );
}

#[test]
fn a_full_disk_costs_only_the_records_meanwhile_and_a_torn_line_is_ended() {
    for torn in [0, 1, 25, 1000] {
        let sink = TestSink::new();
        let log = sink.logger(Level::Info).new(o!());
        info!(log, "before");
        let before = sink.text();
        sink.fail(&[Ok(torn)], Some(FULL));
        for _ in 0..3 {
            info!(log, "lost");
        }
        // There is room for a few bytes again, and then for everything.
        sink.fail(if torn == 0 { &[Err(FULL)] } else { &[Ok(2), Err(FULL)] }, None);
        info!(log, "lost, too");
        info!(log, "after");
        let text = sink.text();
        let all = messages(&(before + &text));
        let report = all.iter().position(|message| message.starts_with("log records")).unwrap();
        let dropped = if torn == 1000 { 3 } else { 4 };
        assert_eq!(sink.0.dropped(), dropped);
        assert_eq!(all[report..], [&*format!("log records dropped, count: {dropped}"), "after"]);
        assert_eq!(all[0], "before");
        assert!(!text.starts_with('\n') && !text.contains("\n\n"), "{text:?}");
    }
}

#[test]
fn a_reader_that_is_gone_costs_the_waiting_records() {
    let sink = TestSink::new();
    let log = sink.logger(Level::Info);
    sink.fail(&[Ok(10)], Some(BLOCKED));
    info!(log, "one");
    info!(log, "two");
    sink.fail(&[], Some(io::ErrorKind::BrokenPipe));
    assert_eq!(sink.0.flush(), Flushed::All);
    info!(log, "three");
    assert_eq!(sink.0.dropped(), 3);
    sink.text();
    sink.fail(&[], None);
    info!(log, "four");
    assert_eq!(messages(&sink.text()), ["", "log records dropped, count: 3", "four"]);
}

#[test]
fn lines_that_wait_are_written_whole_to_another_place_and_by_one_process() {
    let sink = TestSink::new();
    sink.fail(&[Ok(2)], Some(BLOCKED));
    sink.0.write_line(b"one\n");
    sink.0.redirect(|output| {
        *output = Output::default();
        true
    });
    assert_eq!(sink.0.flush(), Flushed::All);
    assert_eq!(sink.text(), "one\n");
    sink.fail(&[Ok(2)], Some(BLOCKED));
    sink.0.write_line(b"two\n");
    sink.0.forget_waiting();
    sink.fail(&[], None);
    sink.0.write_line(b"three\n");
    assert_eq!((sink.text().as_str(), sink.0.dropped()), ("twthree\n", 0));
}

#[test]
fn another_place_does_not_begin_with_the_end_of_a_torn_line() {
    static SHARED: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
    let [dropped, torn] = &SHARED;
    for is_shared in [false, true] {
        let sink = TestSink::new();
        if is_shared {
            sink.0.share(SharedCounters { dropped, torn });
        }
        sink.fail(&[Ok(2)], Some(FULL));
        sink.0.write_line(b"one\n");
        sink.0.redirect(|output| {
            *output = Output::default();
            true
        });
        sink.0.write_line(b"two\n");
        assert_eq!((sink.text().as_str(), sink.0.dropped()), ("two\n", 1));
    }
}

#[test]
fn a_torn_line_is_ended_although_the_same_place_is_opened_again() {
    let sink = TestSink::new();
    sink.fail(&[Ok(2)], Some(FULL));
    sink.0.write_line(b"one\n");
    sink.fail(&[], None);
    sink.0.redirect(|_same| false);
    sink.0.write_line(b"two\n");
    assert_eq!((sink.text().as_str(), sink.0.dropped()), ("on\ntwo\n", 1));
}

#[test]
fn processes_that_share_counters_end_each_others_torn_lines() {
    static SHARED: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
    let [dropped, torn] = &SHARED;
    let sinks = [TestSink::new(), TestSink::new()];
    sinks[0].fail(&[Ok(2)], Some(FULL));
    sinks[0].0.write_line(b"one\n");
    for sink in &sinks {
        sink.0.share(SharedCounters { dropped, torn });
        assert_eq!(sink.0.dropped(), 1);
    }
    sinks[1].0.write_line(b"two\n");
    assert_eq!(sinks[1].text(), "\ntwo\n");
    sinks[0].fail(&[], None);
    sinks[0].0.write_line(b"three\n");
    assert_eq!(sinks[0].text(), "onthree\n");
    assert_eq!((sinks[0].0.take_unreported(), sinks[1].0.take_unreported()), (1, 0));
}

#[test]
fn the_function_is_called_when_the_first_record_waits() {
    static CALLS: Mutex<u32> = Mutex::new(0);
    fn call() {
        *CALLS.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }
    let sink = TestSink(Arc::new(Sink::new(Output::default()).on_waiting(call)));
    let log = sink.logger(Level::Info);
    for round in 1..3 {
        info!(log, "accepted");
        sink.fail(&[], Some(BLOCKED));
        info!(log, "waits");
        info!(log, "waits, too");
        assert_eq!(*CALLS.lock().unwrap(), round);
        sink.fail(&[], None);
        sink.0.flush();
    }
}

proptest! {
    /// Whatever the output does, each line is written whole, or is dropped and counted, and the
    /// order stays the same. Only the lines that an error has torn are written in part.
    #[test]
    fn each_line_is_written_or_counted(
        steps in prop::collection::vec((0..6_usize, 0..40_usize), 1..60),
    ) {
        let sink = TestSink::new();
        let mut sent = Vec::new();
        for (step, length) in steps {
            match step {
                0 => sink.fail(&[Ok(length)], Some(BLOCKED)),
                1 => sink.fail(&[Ok(length)], Some(FULL)),
                2 => sink.fail(&[Ok(1), Err(io::ErrorKind::Interrupted), Ok(length)], None),
                3 => drop(sink.0.flush()),
                _ => {
                    let line = format!("<{} {}>\n", sent.len(), "x".repeat(length));
                    sink.0.write_line(line.as_bytes());
                    sent.push(line.trim_end().to_owned());
                }
            }
        }
        sink.fail(&[], None);
        sink.0.flush();
        let text = sink.text();
        let whole: Vec<&str> = text.lines().filter(|line| line.ends_with('>')).collect();
        prop_assert_eq!(whole.len() as u64 + sink.0.dropped(), sent.len() as u64);
        prop_assert_eq!(sink.0.take_unreported(), sink.0.dropped());
        let mut rest = sent.iter();
        for line in whole {
            prop_assert!(rest.any(|sent| sent == line), "{:?} is not in order", line);
        }
    }
}
