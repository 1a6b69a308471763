//! The screen as it looks, and as it answers keys.

mod drawing;
mod keys;
mod looks;

use std::time::Duration;

use daemon_core::MonotonicTime;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::screen::{Means, Palette, Screen, Wish};
use super::staged;
use crate::picture::Picture;

/// When all this happens.
fn at(seconds: u64) -> MonotonicTime {
    MonotonicTime::from_since_boot(Duration::from_secs(1_000 + seconds))
}

/// The screen of a daemon that has answered three times, five seconds apart.
fn of_daemon(picture: &Picture) -> Screen {
    let mut screen = Screen::new(Means::Daemon, Palette::Plain, at(0));
    look_on(&mut screen, picture);
    screen
}

/// Has the daemon answer three times, five seconds apart.
fn look_on(screen: &mut Screen, picture: &Picture) {
    let mut picture = picture.clone();
    for (look, requests) in [(0, 0), (1, 13), (2, 40)] {
        let by = Duration::from_secs(if look == 0 { 0 } else { 5 });
        picture = staged::later(&picture, by, requests);
        screen.on_report(&staged::report(&picture), at(look * 5));
    }
}

fn press(screen: &mut Screen, keys: &str) -> Option<Wish> {
    keys.chars().fold(None, |wish, key| hit(screen, KeyCode::Char(key)).or(wish))
}

fn hit(screen: &mut Screen, key: KeyCode) -> Option<Wish> {
    screen.on_key(KeyEvent::new(key, KeyModifiers::NONE), at(11))
}

/// The screen as text, a line a row.
fn painted(screen: &mut Screen, width: u16, height: u16) -> String {
    drawn_on(screen, width, height).to_string()
}

fn drawn_on(screen: &mut Screen, width: u16, height: u16) -> TestBackend {
    let mut terminal =
        Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
    terminal.draw(|frame| screen.view(frame)).expect("it can be drawn on");
    terminal.backend().clone()
}
