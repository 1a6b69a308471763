//! The handlers of keys.

use daemon_core::MonotonicTime;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    ChildCommand, CommandResult, InputMode, Screen, ScreenRequest, SourceKind, StatusMessage,
    UpdateMode,
};
use crate::top::columns::Column;

impl Screen {
    /// Handles a key. Returns what the caller has to do because of the key, if anything.
    pub(crate) fn on_key(&mut self, key: KeyEvent, now: MonotonicTime) -> Option<ScreenRequest> {
        self.on_tick(now);
        // Any key dismisses the status message.
        self.status_message = None;
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return (key.code == KeyCode::Char('c')).then_some(ScreenRequest::Quit);
        }
        match &mut self.mode {
            InputMode::Table => self.in_table(key.code),
            InputMode::Filter => {
                self.in_filter(key.code);
                None
            }
            InputMode::Confirm(command) => {
                let command = *command;
                match key.code {
                    KeyCode::Char('y' | 'Y') => {
                        self.mode = InputMode::Table;
                        let result = CommandResult::Done(pending(command));
                        self.status_message = Some(StatusMessage { result, at: now });
                        Some(ScreenRequest::Run(command))
                    }
                    KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc => {
                        self.mode = InputMode::Table;
                        None
                    }
                    _other => None,
                }
            }
            InputMode::Text { lines, top, .. } => {
                let (last, page) = (lines.len().saturating_sub(1), self.page.max(1));
                match key.code {
                    KeyCode::Up => *top = top.saturating_sub(1),
                    KeyCode::Down => *top = (*top + 1).min(last),
                    KeyCode::PageUp => *top = top.saturating_sub(page),
                    KeyCode::PageDown | KeyCode::Char(' ') => *top = (*top + page).min(last),
                    KeyCode::Home => *top = 0,
                    KeyCode::End => *top = last,
                    KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q') => {
                        self.mode = InputMode::Table;
                    }
                    _other => {}
                }
                None
            }
            InputMode::Help => {
                match key.code {
                    KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | '?') => {
                        self.mode = InputMode::Table;
                    }
                    _other => {}
                }
                None
            }
        }
    }

    fn in_table(&mut self, key: KeyCode) -> Option<ScreenRequest> {
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
                self.sort_order = self.sort_order.reversed();
                self.follow();
            }
            KeyCode::Char('/') => self.mode = InputMode::Filter,
            KeyCode::Char('R') => self.confirm(ChildCommand::Retire),
            KeyCode::Char('t') => self.confirm(ChildCommand::Trace),
            KeyCode::Char('K') => self.confirm(ChildCommand::Kill),
            KeyCode::Char('p') => {
                self.update_mode = match self.update_mode {
                    UpdateMode::Live => UpdateMode::Frozen,
                    UpdateMode::Frozen => UpdateMode::Live,
                }
            }
            KeyCode::Char('?') => self.mode = InputMode::Help,
            KeyCode::Esc if !self.filter.is_empty() => {
                self.filter.clear();
                self.follow();
            }
            KeyCode::Esc | KeyCode::Char('q') => return Some(ScreenRequest::Quit),
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
            KeyCode::Enter => self.mode = InputMode::Table,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = InputMode::Table;
            }
            _other => {}
        }
        self.follow();
    }

    /// Asks whether to run this command on the selected child.
    fn confirm(&mut self, command: impl FnOnce(u32) -> ChildCommand) {
        let error = match (self.source_kind, self.selected_child().map(|child| child.pid)) {
            (SourceKind::BoardOnly, _) => {
                "a scoreboard file accepts no commands: give --socket PATH"
            }
            (SourceKind::Daemon, None) => "no child is selected: use the arrow keys",
            (SourceKind::Daemon, Some(None)) => "the child has not been forked yet",
            (SourceKind::Daemon, Some(Some(pid))) => {
                self.mode = InputMode::Confirm(command(pid));
                return;
            }
        };
        self.status_message =
            Some(StatusMessage { result: CommandResult::Failed(error.to_owned()), at: self.now });
    }

    fn sort_by(&mut self, column: Column) {
        self.column = column;
        self.sort_order = column.sort_order();
        self.follow();
    }
}

/// Returns the status message that is shown until the daemon has answered.
fn pending(command: ChildCommand) -> String {
    match command {
        ChildCommand::Retire(pid) => format!("retiring process {pid} ..."),
        ChildCommand::Kill(pid) => format!("killing process {pid} ..."),
        ChildCommand::Trace(pid) => format!("tracing process {pid} ..."),
    }
}
