//! The state of the live screen, and what keys and news do to it. No I/O, and no clock: each comes
//! with its moment.

mod keys;
mod rows;

use std::time::Duration;

use actix_daemon::Report;
use daemon_core::MonotonicTime;

use super::columns::{Column, Direction};
use super::rates::Rates;
use crate::picture::{Picture, Who};

/// So long the answer to a command stays to be read, unless a key is pressed.
const NOTICE: Duration = Duration::from_secs(15);

/// The live screen.
#[derive(Debug)]
pub(crate) struct Screen {
    pub(super) means: Means,
    pub(super) palette: Palette,
    pub(super) now: MonotonicTime,
    pub(super) picture: Option<Picture>,
    pub(super) link: Link,
    pub(super) pace: Pace,
    pub(super) rates: Rates,
    pub(super) column: Column,
    pub(super) direction: Direction,
    pub(super) filter: String,
    pub(super) mode: Mode,
    pub(super) notice: Option<Notice>,
    /// Which child is selected, and on which row it was last.
    pub(super) selected: Option<Who>,
    pub(super) row: usize,
    /// The first row that is shown, and how many were, when it was painted last.
    pub(super) offset: usize,
    pub(super) page: usize,
}

/// By which means the daemon is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Means {
    /// It answers on its socket, and does as it is told.
    Daemon,
    /// Its scoreboard is read from a file.
    BoardAlone,
}

/// Whether colours may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Palette {
    /// They may.
    Colours,
    /// The user wants none: bold, dim and reversed letters only.
    Plain,
}

/// How the daemon answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    /// In time.
    Well,
    /// Not any more.
    Lost {
        /// Since when.
        since: MonotonicTime,
        /// What is wrong.
        why: String,
        /// What is shown meanwhile.
        shown: Shown,
    },
}

/// What is shown of a daemon that does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// What it has told last.
    LastAnswer,
    /// Its scoreboard.
    Board,
}

/// Whether news are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As they come.
    Running,
    /// The screen stands still.
    Paused,
}

/// What keys mean at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They move in the table.
    Table,
    /// They are letters of the filter.
    Filter,
    /// They answer a question.
    Confirm(Deed),
    /// They scroll a text.
    Text {
        /// What it is.
        title: String,
        /// Its lines.
        lines: Vec<String>,
        /// The first line that is shown.
        top: usize,
    },
    /// They close the help.
    Help,
}

/// What can be done to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// It leaves after the request in hand.
    Retire(u32),
    /// It is killed.
    Kill(u32),
    /// Evidence of what it does is taken.
    Trace(u32),
}

/// What a key asks of who holds the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Ask the daemon for this.
    Do(Deed),
    /// Leave.
    Quit,
}

/// How a deed has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is done, in a sentence.
    Done(String),
    /// A text of several lines, with its title.
    Text {
        /// What it is.
        title: String,
        /// Its lines.
        text: String,
    },
    /// It was not, and why.
    Failed(String),
}

/// A sentence at the foot of the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(super) told: Told,
    at: MonotonicTime,
}

impl Screen {
    /// An empty screen.
    pub(crate) fn new(means: Means, palette: Palette, now: MonotonicTime) -> Screen {
        Screen {
            means,
            palette,
            now,
            picture: None,
            link: Link::Well,
            pace: Pace::Running,
            rates: Rates::default(),
            column: Column::Slot,
            direction: Direction::Up,
            filter: String::new(),
            mode: Mode::Table,
            notice: None,
            selected: None,
            row: 0,
            offset: 0,
            page: 0,
        }
    }

    /// Time goes by.
    pub(crate) fn on_tick(&mut self, now: MonotonicTime) {
        self.now = now;
        self.notice.take_if(|notice| now.saturating_since(notice.at) > NOTICE);
    }

    /// The daemon has answered.
    pub(crate) fn on_report(&mut self, report: &Report, now: MonotonicTime) {
        self.on_tick(now);
        self.link = Link::Well;
        self.show(Picture::from(report), now);
    }

    /// The scoreboard was read. It is looked at only while the daemon does not answer.
    pub(crate) fn on_board(&mut self, picture: Picture, now: MonotonicTime) {
        self.on_tick(now);
        match (self.means, &mut self.link) {
            (Means::Daemon, Link::Well) => {}
            (Means::Daemon, Link::Lost { shown, .. }) => {
                *shown = Shown::Board;
                let picture = self.with_what_was_told(picture);
                self.show(picture, now);
            }
            (Means::BoardAlone, _) => {
                self.link = Link::Well;
                self.show(picture, now);
            }
        }
    }

    /// The daemon does not answer, or its scoreboard cannot be read.
    pub(crate) fn on_lost(&mut self, why: String, now: MonotonicTime) {
        self.on_tick(now);
        match &mut self.link {
            Link::Lost { why: last, .. } => *last = why,
            Link::Well => {
                self.link = Link::Lost { since: now, why, shown: Shown::LastAnswer };
            }
        }
    }

    /// A deed has ended.
    pub(crate) fn on_told(&mut self, told: Told, now: MonotonicTime) {
        self.on_tick(now);
        match told {
            Told::Text { title, text } => {
                let lines = text.lines().map(str::to_owned).collect();
                self.mode = Mode::Text { title, lines, top: 0 };
                self.notice = None;
            }
            told => self.notice = Some(Notice { told, at: now }),
        }
    }

    fn show(&mut self, picture: Picture, now: MonotonicTime) {
        match self.pace {
            Pace::Paused => {}
            Pace::Running => {
                self.rates.on_picture(&picture, now);
                self.picture = Some(picture);
                self.follow();
            }
        }
    }

    /// A scoreboard knows no names: those that the daemon has told still hold.
    fn with_what_was_told(&self, picture: Picture) -> Picture {
        match &self.picture {
            None => picture,
            Some(told) => Picture {
                alias: told.alias.clone(),
                model: told.model,
                parent: told.parent,
                ..picture
            },
        }
    }
}
