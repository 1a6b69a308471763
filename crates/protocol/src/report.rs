//! The status report of a daemon. It can be printed as a table, as OpenMetrics, and in the format
//! of the original, `POE::Component::Daemon`. It can also be serialized as JSON.

mod metrics;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use daemon_core::{
    AcceptState, ExitCause, Label, MonotonicTime, OperatorPause, Phase, ScoreboardReader,
    SlotEntry, SlotNumber, Status, StatusKind, format,
};
use serde::{Deserialize, Serialize};

use crate::seconds;

pub use table::ReportTable;

/// The status of a daemon, as one of its processes sees it.
///
/// The parent and the children share the scoreboard, so each process can report on all children.
/// `Display` prints the same text as the status of `POE::Component::Daemon`,
/// [`table`](Report::table) returns a table for operators, and
/// [`open_metrics`](Report::open_metrics) returns metrics for Prometheus.
/// [`Serialize`] outputs all fields; durations are numbers of seconds with microsecond precision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// The daemon's name.
    pub alias: String,
    /// The model of the daemon.
    pub model: ModelKind,
    /// The process that reports.
    pub reporter: Reporter,
    /// The pid of the parent.
    pub parent: u32,
    /// The pid of the fork server; `None` in a daemon without children.
    #[serde(default)]
    pub fork_server: Option<u32>,
    /// The phase of the daemon.
    pub phase: Phase,
    /// Whether new requests are accepted; `None` in a daemon without children and in a child's
    /// report.
    ///
    /// A post-forking daemon pauses when all its children are busy, when the operator pauses it,
    /// and when it stops. A pool pauses only when the operator pauses it.
    pub accepting: Option<AcceptState>,
    /// Whether the operator has paused the daemon; `None` if `accepting` is `None`. If
    /// `accepting` is [`Paused`](AcceptState::Paused) and `operator_pause` is
    /// [`Off`](OperatorPause::Off), all children are busy or the daemon is stopping.
    #[serde(default)]
    pub operator_pause: Option<OperatorPause>,
    /// The time since the daemon started; zero in a child's report.
    #[serde(with = "seconds")]
    pub up: Duration,
    /// The scoreboard, with one letter for each visible slot: the first `max_children` slots, and
    /// the slots after them up to the last child.
    pub board: String,
    /// The number of visible slots.
    pub slots: u32,
    /// The number of visible slots without a child.
    pub free: u32,
    /// The current maximum number of children.
    pub max_children: u32,
    /// The number of requests that wait for a child; 0 in a child's report.
    pub waiting: u32,
    /// The children, ordered by slot.
    pub children: Vec<ChildReport>,
    /// The parent's counters since its start; `None` in a daemon without children and in a child's
    /// report.
    pub counters: Option<Counters>,
    /// The resource usage of the parent and the fork server; empty if the process table was not
    /// read.
    #[serde(default)]
    pub processes: Vec<ProcessReport>,
    /// The number of records of the default logger that all processes of the daemon have dropped,
    /// because the log accepted nothing: its reader does not read, or the disk is full. It is 0 in
    /// a child's report.
    #[serde(default)]
    pub log_dropped: u64,
}

/// The resource usage of the parent or the fork server, from the process table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProcessReport {
    /// The role of the process.
    pub role: ProcessRole,
    /// The pid of the process.
    pub pid: u32,
    /// The CPU time since the start of the process.
    #[serde(with = "seconds::optional")]
    pub cpu: Option<Duration>,
    /// Resident memory in bytes.
    pub rss: Option<u64>,
    /// Proportional set size in bytes, if the system provides it.
    pub pss: Option<u64>,
}

/// The resource usage of one process, from the process table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessUsage {
    /// The CPU time since the start of the process.
    pub cpu: Option<Duration>,
    /// Resident memory in bytes.
    pub rss: Option<u64>,
    /// Proportional set size in bytes, if the system provides it.
    pub pss: Option<u64>,
}

/// The role of a process that is not a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessRole {
    /// The parent, which runs the sessions and controls the children.
    Parent,
    /// The fork server, which forks the children.
    ForkServer,
}

/// The kind of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelKind {
    /// No children.
    #[serde(rename = "non-forking")]
    Solo,
    /// A child for each request.
    #[serde(rename = "post-forking")]
    PostFork,
    /// A pool of children.
    #[serde(rename = "pre-forking")]
    PreFork,
}

impl ModelKind {
    /// Returns the word for the kind: `non-forking`, `post-forking` or `pre-forking`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            ModelKind::Solo => "non-forking",
            ModelKind::PostFork => "post-forking",
            ModelKind::PreFork => "pre-forking",
        }
    }

    /// Returns the word that the status of `POE::Component::Daemon` uses.
    const fn original_word(self) -> &'static str {
        match self {
            ModelKind::Solo => "Non-forking",
            ModelKind::PostFork => "Forking",
            ModelKind::PreFork => "Pre-forking",
        }
    }
}

/// The process that reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reporter {
    /// The parent.
    Parent,
    /// The child in this slot.
    Child {
        /// The child's slot.
        slot: SlotNumber,
    },
}

/// The status of one child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChildReport {
    /// The child's slot.
    pub slot: SlotNumber,
    /// The child's pid; `None` until the child has been forked.
    pub pid: Option<u32>,
    /// The letter of the child's status; `?` if its slot on the scoreboard is damaged.
    pub letter: char,
    /// The time since the child was forked.
    #[serde(with = "seconds")]
    pub age: Duration,
    /// The time since the child's status last changed.
    #[serde(with = "seconds")]
    pub since: Duration,
    /// The number of requests that the child has started.
    pub requests: u64,
    /// The label that the child has set.
    pub label: Option<String>,
    /// The generation of the slot: the number of children that have used it so far, including this
    /// child.
    pub generation: u32,
    /// The CPU time since the child was forked, if the process table was read.
    #[serde(with = "seconds::optional")]
    pub cpu: Option<Duration>,
    /// Resident memory in bytes, if the process table was read.
    pub rss: Option<u64>,
    /// Proportional set size in bytes: the size of each shared page is divided by the number of
    /// processes that share it. Present if the process table was read and the system provides this
    /// size.
    pub pss: Option<u64>,
    /// Why the previous children in this slot exited: at most four causes, the latest first.
    pub causes: Vec<ExitCause>,
}

/// Counters of the parent since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counters {
    /// The number of children that were forked.
    pub forks: u64,
    /// The number of forks that failed.
    pub failed_forks: u64,
    /// The number of requests that children have started.
    pub requests: u64,
    /// How many times the operator paused the daemon.
    pub operator_pauses: u64,
    /// How many times a post-forking daemon paused because all its children were busy.
    pub pool_full: u64,
    /// How many times a pool reached `max_children` while it needed more idle children.
    pub max_children_reached: u64,
    /// The number of children that exited as expected: because they were asked to, or because they
    /// had reached their quota or finished their one request.
    pub clean_exits: u64,
    /// The number of children that ended in any other way.
    pub failed_exits: u64,
    /// The number of children that exited, for each [kind of cause](ExitCause::kind).
    pub exits: BTreeMap<String, u64>,
    /// The number of requests that were returned to their senders.
    pub returned: u64,
    /// How many times a line of the scoreboard was damaged, and was repaired.
    #[serde(default)]
    pub scoreboard_repairs: u64,
}

impl Counters {
    /// Counts a child that has exited.
    pub fn exited(&mut self, cause: &ExitCause, requests: u64) {
        // A child can write any number to its slot.
        self.requests = self.requests.saturating_add(requests);
        *self.exits.entry(cause.kind().to_owned()).or_default() += 1;
        if cause.is_expected() { self.clean_exits += 1 } else { self.failed_exits += 1 }
    }
}

impl ChildReport {
    /// Creates the report of the child in this slot of the scoreboard.
    #[must_use]
    pub fn of(entry: &SlotEntry, now: MonotonicTime) -> ChildReport {
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

    /// Returns the kind of the child's status; `None` if its slot on the scoreboard is damaged.
    #[must_use]
    pub fn status_kind(&self) -> Option<StatusKind> {
        Status::from_letter(self.letter).map(Status::kind)
    }
}

impl Report {
    /// Creates the report of a daemon without children, which is starting.
    #[must_use]
    pub const fn new(alias: String, model: ModelKind, reporter: Reporter, parent: u32) -> Report {
        Report {
            alias,
            model,
            reporter,
            parent,
            fork_server: None,
            phase: Phase::Starting,
            accepting: None,
            operator_pause: None,
            up: Duration::ZERO,
            board: String::new(),
            slots: 0,
            free: 0,
            max_children: 0,
            waiting: 0,
            children: Vec::new(),
            counters: None,
            processes: Vec::new(),
            log_dropped: 0,
        }
    }

    /// Adds the scoreboard, with the entries of its slots, and the children on it.
    pub fn add_board(
        &mut self,
        board: ScoreboardReader,
        entries: &[SlotEntry],
        now: MonotonicTime,
    ) {
        let children = entries.iter().filter(|entry| entry.status != Some(Status::Empty));
        self.children = children
            .map(|entry| ChildReport {
                causes: board.exit_causes(entry.slot),
                ..ChildReport::of(entry, now)
            })
            .collect();
        self.max_children = board.visible_slots();
        let last = self.children.iter().map(|child| child.slot.get() + 1).max().unwrap_or(0);
        self.slots = last.max(self.max_children).min(board.slots());
        let letters = entries.iter().map(SlotEntry::letter);
        self.board = letters.chain(std::iter::repeat(' ')).take(self.slots as usize).collect();
        let children = u32::try_from(self.children.len()).unwrap_or(u32::MAX);
        self.free = self.slots.saturating_sub(children);
    }

    /// Adds the counters of the parent. They count only the requests of children that have exited,
    /// so the requests of the other children are added.
    pub fn add_counters(&mut self, counters: Counters) {
        let begun = self.children.iter().map(|child| child.requests);
        let requests = begun.fold(counters.requests, u64::saturating_add);
        self.counters = Some(Counters { requests, ..counters });
    }

    /// Adds the resource usage of the processes: CPU time, resident memory and proportional set
    /// size. `usage` returns `None` for a process that is unknown or has exited.
    pub fn add_usage(&mut self, usage: impl Fn(u32) -> Option<ProcessUsage>) {
        for child in &mut self.children {
            let used = child.pid.and_then(&usage).unwrap_or_default();
            (child.cpu, child.rss, child.pss) = (used.cpu, used.rss, used.pss);
        }
        let fork_server = self.fork_server.map(|pid| (ProcessRole::ForkServer, pid));
        let others = std::iter::once((ProcessRole::Parent, self.parent)).chain(fork_server);
        self.processes = others
            .map(|(role, pid)| {
                let ProcessUsage { cpu, rss, pss } = usage(pid).unwrap_or_default();
                ProcessReport { role, pid, cpu, rss, pss }
            })
            .collect();
    }

    /// Returns the pids of the processes that the report covers.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let children = self.children.iter().filter_map(|child| child.pid);
        std::iter::once(self.parent).chain(self.fork_server).chain(children).collect()
    }

    /// Returns in words whether requests are accepted and, if not, why not. See
    /// [`accepting_words`].
    #[must_use]
    pub fn accepting_words(&self) -> Option<&'static str> {
        accepting_words(self.accepting?, self.operator_pause, self.phase)
    }
}

/// Returns in words whether a daemon accepts requests: `accepting`, `paused by operator` or
/// `paused: pool full`. Returns `None` if the daemon is stopping or has stopped.
#[must_use]
pub fn accepting_words(
    accepting: AcceptState,
    operator_pause: Option<OperatorPause>,
    phase: Phase,
) -> Option<&'static str> {
    match (phase, accepting, operator_pause) {
        (Phase::Stopping | Phase::Stopped, _, _) => None,
        (Phase::Starting | Phase::Running, AcceptState::Accepting, _) => Some("accepting"),
        (Phase::Starting | Phase::Running, AcceptState::Paused, Some(OperatorPause::On)) => {
            Some("paused by operator")
        }
        (Phase::Starting | Phase::Running, AcceptState::Paused, _) => Some("paused: pool full"),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.reporter {
            Reporter::Parent => "parent",
            Reporter::Child { .. } => "child",
        };
        writeln!(f, "{}", format::clean(&self.alias))?;
        match self.model {
            ModelKind::Solo => return writeln!(f, "    {} server", self.model.original_word()),
            ModelKind::PostFork | ModelKind::PreFork => {
                writeln!(f, "    {} server, we are a {role}", self.model.original_word())?;
            }
        }
        if self.reporter == Reporter::Parent {
            writeln!(f, "    {} children:", self.children.len())?;
            for child in &self.children {
                let pid = child.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
                writeln!(f, "        {pid}: {}", format::clean(&child.letter.to_string()))?;
            }
        }
        writeln!(f, "Scoreboard")?;
        writeln!(f, "    {} slots in the scoreboard", self.slots)?;
        writeln!(f, "    Slots [{}]", format::clean(&self.board))?;
        writeln!(f, "    {} slots free", self.free)
    }
}

#[cfg(test)]
mod tests;
