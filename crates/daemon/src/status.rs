//! The state of a daemon, as data that prints as the original's status, as a table for people and as
//! OpenMetrics, and serialises as JSON.

mod metrics;
mod processes;
pub(crate) mod seconds;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use daemon_core::{
    AcceptState, ExitCause, Label, MonotonicTime, OperatorPause, Phase, ScoreboardReader,
    SlotEntry, SlotNumber, Status, StatusKind,
};
use serde::{Deserialize, Serialize};

use crate::model::ModelKind;

pub(crate) use processes::Usages;
pub use table::ReportTable;

/// The state of a daemon, as one of its processes sees it.
///
/// Parent and children share the scoreboard, so each can report on all. `Display` gives the
/// original's text, [`table`](Report::table) one for people, [`open_metrics`](Report::open_metrics)
/// one for Prometheus, and [`Serialize`] all of it as JSON, with times in seconds, told to the
/// microsecond.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// The daemon's name.
    pub alias: String,
    /// Which model it is.
    pub model: ModelKind,
    /// Which process reports.
    pub reporter: Reporter,
    /// The pid of the parent.
    pub parent: u32,
    /// The pid of the fork server; none in a daemon without children.
    #[serde(default)]
    pub fork_server: Option<u32>,
    /// Where in its life the daemon is.
    pub phase: Phase,
    /// Whether new requests are accepted. None in a daemon without children, and in a child's report.
    ///
    /// A post-forking daemon pauses when all its children are busy, and when the operator pauses it.
    /// A pool pauses only when the operator pauses it.
    pub accepting: Option<AcceptState>,
    /// Whether the operator has paused the daemon. `accepting` can be
    /// [`Paused`](AcceptState::Paused) without this: then the pool is full.
    #[serde(default)]
    pub operator_pause: Option<OperatorPause>,
    /// How long the daemon has been up.
    #[serde(with = "seconds")]
    pub up: Duration,
    /// The scoreboard, a letter a slot.
    pub board: String,
    /// Slots in the scoreboard.
    pub slots: u32,
    /// Slots without a child.
    pub free: u32,
    /// The most children there may be.
    pub max_children: u32,
    /// Requests that wait for a child; the parent's to tell.
    pub waiting: u32,
    /// The children, by slot.
    pub children: Vec<ChildReport>,
    /// Counted since the start, by the parent.
    pub counters: Option<Counters>,
    /// The processes that are not children, where the process table was asked.
    #[serde(default)]
    pub processes: Vec<ProcessReport>,
}

/// A process of the daemon that is not a child, as the process table shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProcessReport {
    /// Which one it is.
    pub role: ProcessRole,
    /// Its number.
    pub pid: u32,
    /// Processor time since its start.
    #[serde(with = "seconds::optional")]
    pub cpu: Option<Duration>,
    /// Resident memory in bytes.
    pub rss: Option<u64>,
    /// Its share of memory in bytes, where the system tells it.
    pub pss: Option<u64>,
}

/// What a process that is not a child is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessRole {
    /// It holds the sessions, and decides.
    Parent,
    /// It forks.
    ForkServer,
}

/// A process of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reporter {
    /// The parent.
    Parent,
    /// The child in this slot.
    Child {
        /// Its slot.
        slot: SlotNumber,
    },
}

/// One child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChildReport {
    /// Its slot.
    pub slot: SlotNumber,
    /// Its process, once it lives.
    pub pid: Option<u32>,
    /// The letter of its status; `?` when the line on the scoreboard is damaged.
    pub letter: char,
    /// Since its birth.
    #[serde(with = "seconds")]
    pub age: Duration,
    /// Since its status has changed.
    #[serde(with = "seconds")]
    pub since: Duration,
    /// Requests begun.
    pub requests: u64,
    /// What it says that it does.
    pub label: Option<String>,
    /// Which of the slot's owners it is.
    pub generation: u32,
    /// Processor time since its birth; where the process table was asked.
    #[serde(with = "seconds::optional")]
    pub cpu: Option<Duration>,
    /// Resident memory in bytes; where the process table was asked.
    pub rss: Option<u64>,
    /// Its share of memory in bytes, what is shared divided by those who share it; where the
    /// process table was asked, and the system tells it.
    pub pss: Option<u64>,
    /// Why the slot's former owners are gone, the last one first.
    pub causes: Vec<ExitCause>,
}

/// What the parent counts since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counters {
    /// Children born.
    pub forks: u64,
    /// Forks that failed.
    pub failed_forks: u64,
    /// Requests begun.
    pub requests: u64,
    /// Times that the operator paused the daemon.
    pub operator_pauses: u64,
    /// Times that a post-forking daemon paused because all its children were busy.
    pub pool_full: u64,
    /// Times that a pool needed more than `max_children` children.
    pub max_children_reached: u64,
    /// Children that exited in order: they were asked to, or had served their share of requests.
    pub clean_exits: u64,
    /// Children that ended in any other way.
    pub failed_exits: u64,
    /// Children that exited, by [kind of cause](ExitCause::kind).
    pub exits: BTreeMap<String, u64>,
    /// Requests that were returned to their senders.
    pub returned: u64,
}

impl Counters {
    pub(crate) fn exited(&mut self, cause: &ExitCause, requests: u64) {
        self.requests += requests;
        *self.exits.entry(cause.kind().to_owned()).or_default() += 1;
        if cause.is_expected() { self.clean_exits += 1 } else { self.failed_exits += 1 }
    }
}

/// What a report needs to be told, beside the scoreboard.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) alias: String,
    pub(crate) model: ModelKind,
    pub(crate) reporter: Reporter,
    pub(crate) parent: u32,
    pub(crate) fork_server: Option<u32>,
    pub(crate) phase: Phase,
}

impl ChildReport {
    /// What a line of the scoreboard says.
    pub(crate) fn of(entry: &SlotEntry, now: MonotonicTime) -> ChildReport {
        ChildReport {
            slot: entry.slot,
            pid: (entry.pid > 0).then_some(entry.pid),
            letter: entry.letter(),
            age: now.saturating_since(entry.started_at),
            since: now.saturating_since(entry.since),
            requests: entry.requests,
            label: match &entry.label {
                Label::Text(text) if !text.is_empty() => {
                    Some(String::from_utf8_lossy(text.as_bytes()).into_owned())
                }
                Label::Text(_) | Label::BeingWritten => None,
            },
            generation: entry.generation.get(),
            cpu: None,
            rss: None,
            pss: None,
            causes: Vec::new(),
        }
    }

    /// How it counts; none if its line on the scoreboard is damaged.
    pub(crate) fn standing(&self) -> Option<StatusKind> {
        Status::from_letter(self.letter).map(Status::kind)
    }
}

impl Report {
    /// Returns in words whether requests are accepted, and if not, why: see [`accepting_words`].
    #[must_use]
    pub fn accepting_words(&self) -> Option<&'static str> {
        accepting_words(self.accepting?, self.operator_pause, self.phase)
    }

    /// Takes in what the parent has counted, which knows the requests of those alone that are gone.
    pub(crate) fn take_counts(&mut self, counters: Counters) {
        let begun = self.children.iter().map(|child| child.requests);
        let requests = begun.fold(counters.requests, u64::saturating_add);
        self.counters = Some(Counters { requests, ..counters });
    }

    /// What the scoreboard shows now.
    pub(crate) fn of(view: View, board: Option<ScoreboardReader>, now: MonotonicTime) -> Self {
        let View { alias, model, reporter, parent, fork_server, phase } = view;
        let entries = board.map(|board| board.entries().collect::<Vec<_>>()).unwrap_or_default();
        let children = entries
            .iter()
            .filter(|entry| entry.status != Some(Status::Empty))
            .map(|entry| ChildReport {
                causes: board.map(|board| board.exit_causes(entry.slot)).unwrap_or_default(),
                ..ChildReport::of(entry, now)
            })
            .collect::<Vec<_>>();
        let slots = board.map_or(0, |board| board.slots());
        let max_children = board.map_or(0, |board| board.visible_slots());
        let shown = children.iter().map(|child| child.slot.get() + 1).max().unwrap_or(0);
        let shown = shown.max(max_children).min(slots) as usize;
        let board = board.map(|board| board.letters()).unwrap_or_default();
        let board: String = board.chars().chain(std::iter::repeat(' ')).take(shown).collect();
        let free = u32::try_from(shown.saturating_sub(children.len())).unwrap_or(0);
        Report {
            alias,
            model,
            reporter,
            parent,
            fork_server,
            phase,
            accepting: None,
            operator_pause: None,
            up: Duration::ZERO,
            board,
            slots: u32::try_from(shown).unwrap_or(slots),
            free,
            max_children,
            waiting: 0,
            children,
            counters: None,
            processes: Vec::new(),
        }
    }
}

/// Returns in words whether a daemon accepts requests: `accepting`, `paused by operator` or `paused:
/// pool full`. Returns nothing while the daemon stops.
#[must_use]
pub fn accepting_words(
    accepting: AcceptState,
    operator_pause: Option<OperatorPause>,
    phase: Phase,
) -> Option<&'static str> {
    match (accepting, operator_pause, phase) {
        (AcceptState::Accepting, _, _) => Some("accepting"),
        (AcceptState::Paused, Some(OperatorPause::On), _) => Some("paused by operator"),
        (AcceptState::Paused, _, Phase::Starting | Phase::Running) => Some("paused: pool full"),
        (AcceptState::Paused, _, Phase::Stopping | Phase::Stopped) => None,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.reporter {
            Reporter::Parent => "parent",
            Reporter::Child { .. } => "child",
        };
        writeln!(f, "{}", self.alias)?;
        match self.model {
            ModelKind::Solo => return writeln!(f, "    {} server", self.model.word()),
            ModelKind::PostFork | ModelKind::PreFork => {
                writeln!(f, "    {} server, we are a {who}", self.model.word())?;
            }
        }
        if self.reporter == Reporter::Parent {
            writeln!(f, "    {} children:", self.children.len())?;
            for child in &self.children {
                let pid = child.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
                writeln!(f, "        {pid}: {}", child.letter)?;
            }
        }
        writeln!(f, "Scoreboard")?;
        writeln!(f, "    {} slots in the scoreboard", self.slots)?;
        writeln!(f, "    Slots [{}]", self.board)?;
        writeln!(f, "    {} slots free", self.free)
    }
}

#[cfg(test)]
mod tests;
