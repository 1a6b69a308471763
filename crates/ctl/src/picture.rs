//! What is known of a daemon, whether it was told by the daemon itself or read off its scoreboard.

use std::time::Duration;

use actix_daemon::{AcceptState, ChildReport, Counters, ModelKind, OperatorPause, Report};
use daemon_core::{ExitCause, Label, MonotonicTime, Phase, ScoreboardReader, SlotNumber, Status};
use serde::{Serialize, Serializer};

use crate::text;

/// A daemon at one moment. What only the daemon itself can tell is `None` on a picture of its
/// scoreboard alone.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Picture {
    /// The daemon's name.
    pub(crate) alias: Option<String>,
    /// Which model it is.
    pub(crate) model: Option<ModelKind>,
    /// The pid of the parent.
    pub(crate) parent: Option<u32>,
    /// Where in its life it is.
    pub(crate) phase: Phase,
    /// Whether it accepts requests; `None` also for a daemon without children.
    pub(crate) accepting: Option<AcceptState>,
    /// Whether the operator has paused it.
    pub(crate) operator_pause: Option<OperatorPause>,
    /// How long it has been up.
    #[serde(serialize_with = "in_seconds")]
    pub(crate) up: Duration,
    /// A letter a slot.
    pub(crate) board: String,
    /// The most children there may be.
    pub(crate) max_children: u32,
    /// Requests that wait for a child.
    pub(crate) waiting: Option<u32>,
    /// The children, by slot.
    pub(crate) children: Vec<Child>,
    /// What the parent counts.
    pub(crate) counters: Option<Counters>,
}

/// A child at one moment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Child {
    /// Its slot.
    pub(crate) slot: SlotNumber,
    /// Which of the slot's owners it is.
    pub(crate) generation: u32,
    /// Its process, once it lives.
    pub(crate) pid: Option<u32>,
    /// The letter of its status, `?` if its line is damaged.
    pub(crate) letter: char,
    /// Since its birth.
    #[serde(serialize_with = "in_seconds")]
    pub(crate) age: Duration,
    /// Since its status has changed.
    #[serde(serialize_with = "in_seconds")]
    pub(crate) since: Duration,
    /// Requests begun.
    pub(crate) requests: u64,
    /// Processor time since its birth.
    #[serde(skip)]
    pub(crate) cpu: Option<Duration>,
    /// Resident memory in bytes.
    #[serde(skip)]
    pub(crate) rss: Option<u64>,
    /// Its share of memory in bytes.
    #[serde(skip)]
    pub(crate) pss: Option<u64>,
    /// Why the slot's former owners are gone, the last one first.
    pub(crate) causes: Vec<ExitCause>,
    /// What it says that it does.
    pub(crate) label: String,
}

/// Which child it is: a slot's next owner is another.
pub(crate) type Who = (SlotNumber, u32);

impl Child {
    /// Which child it is.
    pub(crate) fn who(&self) -> Who {
        (self.slot, self.generation)
    }
}

impl From<&Report> for Picture {
    fn from(report: &Report) -> Picture {
        Picture {
            alias: Some(text::clean(&report.alias)),
            model: Some(report.model),
            parent: Some(report.parent),
            phase: report.phase,
            accepting: report.accepting,
            operator_pause: report.operator_pause,
            up: report.up,
            board: text::clean(&report.board),
            max_children: report.max_children,
            waiting: Some(report.waiting),
            children: report.children.iter().map(Child::from).collect(),
            counters: report.counters.clone(),
        }
    }
}

impl From<&ChildReport> for Child {
    fn from(child: &ChildReport) -> Child {
        Child {
            slot: child.slot,
            generation: child.generation,
            pid: child.pid,
            letter: child.letter,
            age: child.age,
            since: child.since,
            requests: child.requests,
            cpu: child.cpu,
            rss: child.rss,
            pss: child.pss,
            causes: child.causes.clone(),
            label: text::clean(child.label.as_deref().unwrap_or_default()),
        }
    }
}

impl Picture {
    /// What a scoreboard shows by itself.
    pub(crate) fn of_board(board: &ScoreboardReader, now: MonotonicTime) -> Picture {
        let entries = board.entries().filter(|entry| entry.status != Some(Status::Empty));
        let child = |entry: daemon_core::SlotEntry| Child {
            slot: entry.slot,
            generation: entry.generation.get(),
            pid: (entry.pid > 0).then_some(entry.pid),
            letter: entry.letter(),
            age: now.saturating_since(entry.started_at),
            since: now.saturating_since(entry.since),
            requests: entry.requests,
            cpu: None,
            rss: None,
            pss: None,
            causes: board.exit_causes(entry.slot),
            label: match entry.label {
                Label::Text(words) => text::clean(&words.to_string()),
                Label::BeingWritten => String::new(),
            },
        };
        Picture {
            alias: None,
            model: None,
            parent: None,
            phase: board.phase(),
            accepting: None,
            operator_pause: None,
            up: now.saturating_since(board.started_at()),
            board: board.letters(),
            max_children: board.visible_slots(),
            waiting: None,
            children: entries.map(child).collect(),
            counters: None,
        }
    }

    /// Returns in words whether requests are accepted, and why not.
    pub(crate) fn accepting_words(&self) -> Option<&'static str> {
        actix_daemon::accepting_words(self.accepting?, self.operator_pause, self.phase)
    }

    /// Requests begun, by all children that are known of.
    pub(crate) fn requests(&self) -> u64 {
        let of_these = || self.children.iter().map(|child| child.requests).sum();
        self.counters.as_ref().map_or_else(of_these, |counters| counters.requests)
    }
}

/// The word for a model.
pub(crate) fn model(kind: ModelKind) -> &'static str {
    match kind {
        ModelKind::Solo => "non-forking",
        ModelKind::PostFork => "post-forking",
        ModelKind::PreFork => "pre-forking",
    }
}

/// The word for a status; that of none is a damaged line's.
pub(crate) fn status(status: Option<Status>) -> &'static str {
    match status {
        None => "damaged",
        Some(Status::Empty) => "empty",
        Some(Status::Forking) => "ordered",
        Some(Status::Forked) => "forked",
        Some(Status::Fresh) => "fresh",
        Some(Status::Waiting) => "waits",
        Some(Status::Serving) => "serves",
        Some(Status::Long) => "long",
        Some(Status::Leaving) => "leaves",
    }
}

fn in_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}
