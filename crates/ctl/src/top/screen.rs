//! The state of the live screen, and its handlers of keys and events. This module uses no I/O and
//! no clock: each handler receives the current time as an argument.

mod keys;
mod rows;

use std::time::Duration;

use daemon_core::MonotonicTime;
use daemon_protocol::Report;

use super::columns::{Column, SortOrder};
use super::rates::Rates;
use crate::events::ColorMode;
use crate::snapshot::{ChildKey, Snapshot};

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
    pub(super) update_mode: UpdateMode,
    pub(super) rates: Rates,
    pub(super) column: Column,
    pub(super) sort_order: SortOrder,
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
        /// The data that the screen shows until an attempt succeeds.
        shown: FallbackView,
    },
}

/// The data on the screen while the daemon does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FallbackView {
    /// The last report of the daemon.
    LastReport,
    /// The scoreboard file.
    Board,
}

/// Whether the screen is updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpdateMode {
    /// The screen is updated with each snapshot.
    Live,
    /// The screen is not updated until the user unfreezes it.
    Frozen,
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
            update_mode: UpdateMode::Live,
            rates: Rates::default(),
            column: Column::Slot,
            sort_order: SortOrder::Ascending,
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
            (SourceKind::Daemon, ConnectionState::Lost { shown, .. }) => {
                *shown = FallbackView::Board;
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
                self.connection =
                    ConnectionState::Lost { since: now, reason, shown: FallbackView::LastReport };
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
        match self.update_mode {
            UpdateMode::Frozen => {}
            UpdateMode::Live => {
                self.rates.add_snapshot(&snapshot, now);
                self.snapshot = Some(snapshot);
                self.follow();
            }
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
}
