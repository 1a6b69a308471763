//! Tests of the live screen.

mod keys;
mod screens;
mod svg;

use std::time::Duration;

use daemon_core::MonotonicTime;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::fixtures;
use super::screen::{Screen, ScreenRequest, SourceKind};
use crate::events::ColorMode;
use crate::snapshot::Snapshot;

/// Returns the time this many seconds after the start of the test.
fn at(seconds: u64) -> MonotonicTime {
    MonotonicTime::from_since_boot(Duration::from_secs(1_000 + seconds))
}

/// Returns the screen of a daemon that has answered three times, five seconds apart.
fn screen_of(snapshot: &Snapshot) -> Screen {
    let mut screen = Screen::new(SourceKind::Daemon, ColorMode::Plain, at(0));
    answer_three_times(&mut screen, snapshot);
    screen
}

/// Shows three answers of the daemon, five seconds apart.
fn answer_three_times(screen: &mut Screen, snapshot: &Snapshot) {
    let mut snapshot = snapshot.clone();
    for (sample, requests) in [(0, 0), (1, 13), (2, 40)] {
        let by = Duration::from_secs(if sample == 0 { 0 } else { 5 });
        snapshot = fixtures::later(&snapshot, by, requests);
        screen.on_report(&fixtures::report(&snapshot), at(sample * 5));
    }
}

fn press(screen: &mut Screen, keys: &str) -> Option<ScreenRequest> {
    keys.chars().fold(None, |command, key| hit(screen, KeyCode::Char(key)).or(command))
}

fn hit(screen: &mut Screen, key: KeyCode) -> Option<ScreenRequest> {
    screen.on_key(KeyEvent::new(key, KeyModifiers::NONE), at(11))
}

/// Returns the screen as text, one line per row.
fn screen_text(screen: &mut Screen, width: u16, height: u16) -> String {
    draw(screen, width, height).to_string()
}

fn draw(screen: &mut Screen, width: u16, height: u16) -> TestBackend {
    let mut terminal =
        Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
    terminal.draw(|frame| screen.view(frame)).expect("drawing succeeds");
    terminal.backend().clone()
}
