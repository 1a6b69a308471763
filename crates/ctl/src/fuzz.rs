//! Tests the decoders of daemonctl with many inputs: the lines of a daemon, and the status that
//! they contain, on every screen. The package is a program and not a library, so libFuzzer does not
//! run these targets.

#[path = "../../../tests/fuzzing.rs"]
mod fuzzing;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use daemon_core::fuzz::damaged_board;
use daemon_core::{MonotonicTime, format};
use daemon_protocol::Report;
use jiff::Zoned;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use crate::client::DaemonClient;
use crate::events::{self, ColorMode};
use crate::snapshot::Snapshot;
use crate::top::screen::{Screen, SourceKind};
use fuzzing::decodes_any_bytes;

const NOW: MonotonicTime = MonotonicTime::from_nanos(1 << 40);

/// Reads bytes as the lines of a daemon, and shows the events.
fn lines(bytes: &[u8]) {
    let (mut daemon, client) = UnixStream::pair().expect("a pair of sockets");
    daemon.write_all(bytes).expect("the socket takes a short input");
    drop(daemon);
    let mut client = DaemonClient::over(client);
    while let Ok(Some(event)) = client.event() {
        let line = events::line(&event, &Zoned::default(), ColorMode::Plain);
        assert!(!line.contains(format::is_control), "no control characters: {line:?}");
        let _json = events::json(&event).expect("an event can be encoded");
    }
}

/// Reads bytes as the status of a daemon, and shows it as a text and on the live screen.
fn status_report(bytes: &[u8]) {
    let Ok(report) = serde_json::from_slice::<Report>(bytes) else { return };
    let _metrics = report.open_metrics();
    let snapshot = Snapshot::from(&report);
    for text in [report.table().to_string(), snapshot.table()] {
        assert_printable(&text);
    }
    let mut screen = Screen::new(SourceKind::Daemon, ColorMode::Plain, NOW);
    screen.on_report(&report, NOW);
    screen.on_report(&report, NOW + Duration::from_secs(1));
    draw(&mut screen);
}

/// Shows a scoreboard file with arbitrary contents.
fn board_file(bytes: &[u8]) {
    let snapshot = Snapshot::of_board(&damaged_board(bytes), NOW);
    assert_printable(&snapshot.table());
    let mut screen = Screen::new(SourceKind::BoardOnly, ColorMode::Plain, NOW);
    screen.on_board(snapshot, NOW);
    draw(&mut screen);
}

fn assert_printable(text: &str) {
    let is_control = |character| format::is_control(character) && character != '\n';
    assert!(!text.contains(is_control), "no control characters: {text:?}");
}

fn draw(screen: &mut Screen) {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a terminal in memory");
    terminal.draw(|frame| screen.view(frame)).expect("drawing succeeds");
}

#[test]
fn lines_of_a_daemon_are_shown_or_refused() {
    decodes_any_bytes("control_message", lines);
}

#[test]
fn the_status_of_a_daemon_is_shown_or_refused() {
    decodes_any_bytes("status_report", status_report);
}

#[test]
fn a_scoreboard_file_with_arbitrary_contents_is_shown() {
    decodes_any_bytes("board_file", board_file);
}
