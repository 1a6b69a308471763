//! What keys do to the screen.

use daemon_core::MonotonicTime;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{Deed, Means, Mode, Notice, Pace, Screen, Told, Wish};
use crate::top::columns::Column;

impl Screen {
    /// A key was pressed.
    pub(crate) fn on_key(&mut self, key: KeyEvent, now: MonotonicTime) -> Option<Wish> {
        self.on_tick(now);
        // It was read, or is in the way.
        self.notice = None;
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return (key.code == KeyCode::Char('c')).then_some(Wish::Quit);
        }
        match &mut self.mode {
            Mode::Table => self.in_table(key.code),
            Mode::Filter => {
                self.in_filter(key.code);
                None
            }
            Mode::Confirm(deed) => {
                let deed = *deed;
                match key.code {
                    KeyCode::Char('y' | 'Y') => {
                        self.mode = Mode::Table;
                        let told = Told::Done(asked(deed));
                        self.notice = Some(Notice { told, at: now });
                        Some(Wish::Do(deed))
                    }
                    KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc => {
                        self.mode = Mode::Table;
                        None
                    }
                    _other => None,
                }
            }
            Mode::Text { lines, top, .. } => {
                let (last, page) = (lines.len().saturating_sub(1), self.page.max(1));
                match key.code {
                    KeyCode::Up => *top = top.saturating_sub(1),
                    KeyCode::Down => *top = (*top + 1).min(last),
                    KeyCode::PageUp => *top = top.saturating_sub(page),
                    KeyCode::PageDown | KeyCode::Char(' ') => *top = (*top + page).min(last),
                    KeyCode::Home => *top = 0,
                    KeyCode::End => *top = last,
                    KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q') => self.mode = Mode::Table,
                    _other => {}
                }
                None
            }
            Mode::Help => {
                match key.code {
                    KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | '?') => {
                        self.mode = Mode::Table;
                    }
                    _other => {}
                }
                None
            }
        }
    }

    fn in_table(&mut self, key: KeyCode) -> Option<Wish> {
        let page = self.page.max(1);
        match key {
            KeyCode::Up => self.select(self.row.saturating_sub(1)),
            KeyCode::Down => self.select(self.row.saturating_add(1)),
            KeyCode::PageUp => self.select(self.row.saturating_sub(page)),
            KeyCode::PageDown => self.select(self.row.saturating_add(page)),
            KeyCode::Home => self.select(0),
            KeyCode::End => self.select(usize::MAX),
            KeyCode::Char('s') => self.sort_by(self.column.next()),
            KeyCode::Char('S') => self.sort_by(self.column.previous()),
            KeyCode::Char('r') => {
                self.direction = self.direction.reversed();
                self.follow();
            }
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('R') => self.question(Deed::Retire),
            KeyCode::Char('t') => self.question(Deed::Trace),
            KeyCode::Char('K') => self.question(Deed::Kill),
            KeyCode::Char('p') => {
                self.pace = match self.pace {
                    Pace::Running => Pace::Paused,
                    Pace::Paused => Pace::Running,
                }
            }
            KeyCode::Char('?') => self.mode = Mode::Help,
            KeyCode::Esc if !self.filter.is_empty() => {
                self.filter.clear();
                self.follow();
            }
            KeyCode::Esc | KeyCode::Char('q') => return Some(Wish::Quit),
            _other => {}
        }
        None
    }

    fn in_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Char(letter) => self.filter.push(letter),
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Enter => self.mode = Mode::Table,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Table;
            }
            _other => {}
        }
        self.follow();
    }

    /// Asks whether to do this to the selected child.
    fn question(&mut self, deed: impl FnOnce(u32) -> Deed) {
        let why_not = match (self.means, self.selected_child().map(|child| child.pid)) {
            (Means::BoardAlone, _) => {
                "a scoreboard in a file takes no commands: give --socket PATH"
            }
            (Means::Daemon, None) => "no child is selected: choose one with the arrows",
            (Means::Daemon, Some(None)) => "the child is not born yet",
            (Means::Daemon, Some(Some(pid))) => {
                self.mode = Mode::Confirm(deed(pid));
                return;
            }
        };
        self.notice = Some(Notice { told: Told::Failed(why_not.to_owned()), at: self.now });
    }

    fn sort_by(&mut self, column: Column) {
        self.column = column;
        self.direction = column.direction();
        self.follow();
    }
}

/// What is shown until the daemon has answered.
fn asked(deed: Deed) -> String {
    match deed {
        Deed::Retire(pid) => format!("retiring process {pid} is asked for"),
        Deed::Kill(pid) => format!("killing process {pid} is asked for"),
        Deed::Trace(pid) => format!("a trace of process {pid} is asked for"),
    }
}
