//! The state of the live screen, and its handlers of keys and events. This module uses no I/O and
//! no clock: each handler receives the current time as an argument.

use std::time::Duration;

use daemon_core::MonotonicTime;
use daemon_protocol::Report;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::columns::{Column, matches_filter};
use super::rates::Rates;
use crate::events::ColorMode;
use crate::snapshot::{Child, ChildKey, Snapshot};

/// How long the status message is shown if no key is pressed.
const STATUS_MESSAGE_TIME: Duration = Duration::from_secs(15);

/// The state of the live screen.
#[derive(Debug)]
pub(crate) struct Screen {
    pub(super) source_kind: SourceKind,
    pub(super) color_mode: ColorMode,
    pub(super) now: MonotonicTime,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) connection: ConnectionState,
    /// Whether new snapshots are ignored until the user unfreezes the screen.
    pub(super) frozen: bool,
    pub(super) rates: Rates,
    pub(super) column: Column,
    /// Whether the rows are sorted in descending order.
    pub(super) descending: bool,
    pub(super) filter: String,
    pub(super) mode: InputMode,
    pub(super) status_message: Option<StatusMessage>,
    /// The selected child.
    pub(super) selected: Option<ChildKey>,
    /// The last known row of the selected child.
    pub(super) row: usize,
    /// The first visible row of the table when the screen was last drawn.
    pub(super) offset: usize,
    /// The number of visible rows of the table when the screen was last drawn.
    pub(super) page: usize,
}

/// The source of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceKind {
    /// The daemon, through its control socket. The daemon also accepts commands.
    Daemon,
    /// The scoreboard file only.
    BoardOnly,
}

/// The state of the connection to the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConnectionState {
    /// The last attempt to read the status succeeded.
    Connected,
    /// The last attempt to read the status failed.
    Lost {
        /// The time of the first failure after the last success.
        since: MonotonicTime,
        /// The error of the last failure.
        reason: String,
        /// Whether the screen has shown the scoreboard file since then. It shows the last report
        /// of the daemon before.
        shows_board: bool,
    },
}

/// What a key press does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InputMode {
    /// Keys act on the table.
    Table,
    /// Keys edit the filter.
    Filter,
    /// Keys answer the question whether to run this command.
    Confirm(ChildCommand),
    /// Keys scroll a text.
    Text {
        /// The title of the text.
        title: String,
        /// The lines of the text.
        lines: Vec<String>,
        /// The index of the first visible line.
        top: usize,
    },
    /// Keys close the help.
    Help,
}

/// A command for the child with this pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChildCommand {
    /// Retire the child: it exits after its current request.
    Retire(u32),
    /// Kill the child.
    Kill(u32),
    /// Show what the child is doing.
    Trace(u32),
}

/// A request that the screen returns for a key. The main loop of the live screen carries it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScreenRequest {
    /// Send this command to the daemon.
    Run(ChildCommand),
    /// Quit.
    Quit,
}

/// The result of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CommandResult {
    /// Success, with a message.
    Done(String),
    /// A text of several lines, with a title.
    Text {
        /// The title of the text.
        title: String,
        /// The lines of the text.
        text: String,
    },
    /// Failure, with the error.
    Failed(String),
}

/// The message in the last line of the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatusMessage {
    pub(super) result: CommandResult,
    at: MonotonicTime,
}

impl Screen {
    /// Creates an empty screen.
    pub(crate) fn new(
        source_kind: SourceKind,
        color_mode: ColorMode,
        now: MonotonicTime,
    ) -> Screen {
        Screen {
            source_kind,
            color_mode,
            now,
            snapshot: None,
            connection: ConnectionState::Connected,
            frozen: false,
            rates: Rates::default(),
            column: Column::Slot,
            descending: false,
            filter: String::new(),
            mode: InputMode::Table,
            status_message: None,
            selected: None,
            row: 0,
            offset: 0,
            page: 0,
        }
    }

    /// Sets the present time, and removes the status message if it has expired.
    pub(crate) fn on_tick(&mut self, now: MonotonicTime) {
        self.now = now;
        self.status_message.take_if(|status_message| {
            now.saturating_since(status_message.at) > STATUS_MESSAGE_TIME
        });
    }

    /// Shows a report of the daemon.
    pub(crate) fn on_report(&mut self, report: &Report, now: MonotonicTime) {
        self.on_tick(now);
        self.connection = ConnectionState::Connected;
        self.show(Snapshot::from(report), now);
    }

    /// Shows a snapshot of the scoreboard. Does nothing while the daemon answers.
    pub(crate) fn on_board(&mut self, snapshot: Snapshot, now: MonotonicTime) {
        self.on_tick(now);
        match (self.source_kind, &mut self.connection) {
            (SourceKind::Daemon, ConnectionState::Connected) => {}
            (SourceKind::Daemon, ConnectionState::Lost { shows_board, .. }) => {
                *shows_board = true;
                let snapshot = self.with_known_names(snapshot);
                self.show(snapshot, now);
            }
            (SourceKind::BoardOnly, _) => {
                self.connection = ConnectionState::Connected;
                self.show(snapshot, now);
            }
        }
    }

    /// Shows that the daemon does not answer, or that the scoreboard cannot be read.
    pub(crate) fn on_disconnected(&mut self, reason: String, now: MonotonicTime) {
        self.on_tick(now);
        match &mut self.connection {
            ConnectionState::Lost { reason: last, .. } => *last = reason,
            ConnectionState::Connected => {
                self.connection = ConnectionState::Lost { since: now, reason, shows_board: false };
            }
        }
    }

    /// Shows the result of a command.
    pub(crate) fn on_command_finished(&mut self, result: CommandResult, now: MonotonicTime) {
        self.on_tick(now);
        match result {
            CommandResult::Text { title, text } => {
                let lines = text.lines().map(str::to_owned).collect();
                self.mode = InputMode::Text { title, lines, top: 0 };
                self.status_message = None;
            }
            result => self.status_message = Some(StatusMessage { result, at: now }),
        }
    }

    fn show(&mut self, snapshot: Snapshot, now: MonotonicTime) {
        if !self.frozen {
            self.rates.add_snapshot(&snapshot, now);
            self.snapshot = Some(snapshot);
            self.follow();
        }
    }

    /// Adds the alias, model and parent from the last snapshot, because a scoreboard does not
    /// contain them.
    fn with_known_names(&self, snapshot: Snapshot) -> Snapshot {
        match &self.snapshot {
            None => snapshot,
            Some(last) => Snapshot {
                alias: last.alias.clone(),
                model: last.model,
                parent: last.parent,
                ..snapshot
            },
        }
    }

    /// Returns the children that match the filter, in the order of the sort column.
    pub(super) fn rows(&self) -> Vec<&Child> {
        let children = self.snapshot.iter().flat_map(|snapshot| &snapshot.children);
        let mut rows: Vec<&Child> =
            children.filter(|child| matches_filter(child, &self.filter)).collect();
        rows.sort_by(|one, other| {
            let order = self.column.compare(one, other, &self.rates);
            let order = if self.descending { order.reverse() } else { order };
            order.then_with(|| one.slot.cmp(&other.slot))
        });
        rows
    }

    pub(super) fn selected_child(&self) -> Option<&Child> {
        let selected = self.selected?;
        self.rows().into_iter().find(|child| child.key() == selected)
    }

    /// Selects the child in this row, or the child in the last row if there are fewer rows.
    fn select(&mut self, row: usize) {
        let rows = self.rows();
        let row = row.min(rows.len().saturating_sub(1));
        let selected = rows.get(row).map(|child| child.key());
        (self.row, self.selected) = (row, selected);
    }

    /// Finds the row of the selected child again. If the table no longer contains the child,
    /// selects the child that is now in the same row, so that the selection does not jump.
    fn follow(&mut self) {
        let Some(selected) = self.selected else {
            return self.select(0);
        };
        match self.rows().iter().position(|child| child.key() == selected) {
            Some(row) => self.row = row,
            None => self.select(self.row),
        }
    }

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
                self.descending = !self.descending;
                self.follow();
            }
            KeyCode::Char('/') => self.mode = InputMode::Filter,
            KeyCode::Char('R') => self.confirm(ChildCommand::Retire),
            KeyCode::Char('t') => self.confirm(ChildCommand::Trace),
            KeyCode::Char('K') => self.confirm(ChildCommand::Kill),
            KeyCode::Char('p') => self.frozen = !self.frozen,
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
        self.descending = column.is_descending();
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
