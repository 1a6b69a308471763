//! The state of a daemon, from its control socket or from its scoreboard file, which needs no
//! connection to the daemon; and this state as text.

use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon_core::{
    AcceptState, ExitCause, MAX_SLOTS, MonotonicTime, OperatorPause, Phase, ScoreboardLine,
    ScoreboardReader, SlotNumber, Status, format, lines_for,
};
use daemon_protocol::{ChildReport, Counters, ModelKind, Report};
use daemon_sys::shared::FileCopy;
use serde::{Serialize, Serializer};

use crate::error::CtlError;

/// The state of a daemon at one moment. The fields that only the daemon knows are `None` in a
/// snapshot of its scoreboard file.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Snapshot {
    /// The alias of the daemon.
    pub(crate) alias: Option<String>,
    /// The model of the daemon.
    pub(crate) model: Option<ModelKind>,
    /// The pid of the parent.
    pub(crate) parent: Option<u32>,
    /// The phase of the daemon.
    pub(crate) phase: Phase,
    /// Whether the daemon accepts requests. Also `None` for a daemon without children.
    pub(crate) accepting: Option<AcceptState>,
    /// Whether the operator has paused the daemon.
    pub(crate) operator_pause: Option<OperatorPause>,
    /// The time since the start of the daemon.
    #[serde(serialize_with = "in_seconds")]
    pub(crate) up: Duration,
    /// The status letters of all slots.
    pub(crate) board: String,
    /// The maximum number of children.
    pub(crate) max_children: u32,
    /// The number of requests that wait for a child.
    pub(crate) waiting: Option<u32>,
    /// The children, in the order of their slots.
    pub(crate) children: Vec<Child>,
    /// The counters of the parent.
    pub(crate) counters: Option<Counters>,
}

/// The state of a child at one moment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Child {
    /// The slot of the child.
    pub(crate) slot: SlotNumber,
    /// The generation of the child in its slot.
    pub(crate) generation: u32,
    /// The pid; `None` until the child has been forked.
    pub(crate) pid: Option<u32>,
    /// The letter of the status; `?` if the slot in the scoreboard is damaged.
    pub(crate) letter: char,
    /// The time since the fork.
    #[serde(serialize_with = "in_seconds")]
    pub(crate) age: Duration,
    /// The time since the last change of the status.
    #[serde(serialize_with = "in_seconds")]
    pub(crate) since: Duration,
    /// The number of requests started.
    pub(crate) requests: u64,
    /// The processor time used.
    #[serde(skip)]
    pub(crate) cpu: Option<Duration>,
    /// The resident memory (RSS) in bytes.
    #[serde(skip)]
    pub(crate) rss: Option<u64>,
    /// The proportional share of memory (PSS) in bytes.
    #[serde(skip)]
    pub(crate) pss: Option<u64>,
    /// The exit causes of the former children of this slot, the latest first.
    pub(crate) causes: Vec<ExitCause>,
    /// The label; empty if the child has no label.
    pub(crate) label: String,
}

/// Identifies a child: its slot and generation.
pub(crate) type ChildKey = (SlotNumber, u32);

impl Child {
    /// Returns the key of the child.
    pub(crate) fn key(&self) -> ChildKey {
        (self.slot, self.generation)
    }
}

impl From<&Report> for Snapshot {
    fn from(report: &Report) -> Snapshot {
        Snapshot {
            alias: Some(format::clean(&report.alias)),
            model: Some(report.model),
            parent: Some(report.parent),
            phase: report.phase,
            accepting: report.accepting,
            operator_pause: report.operator_pause,
            up: report.up,
            board: format::clean(&report.board),
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
            letter: if format::is_control(child.letter) { '?' } else { child.letter },
            age: child.age,
            since: child.since,
            requests: child.requests,
            cpu: child.cpu,
            rss: child.rss,
            pss: child.pss,
            causes: child.causes.clone(),
            label: format::clean(child.label.as_deref().unwrap_or_default()),
        }
    }
}

impl Snapshot {
    /// Creates a snapshot of a scoreboard.
    pub(crate) fn of_board(board: &ScoreboardReader, now: MonotonicTime) -> Snapshot {
        let entries = board.entries().filter(|entry| entry.status != Some(Status::Empty));
        let child = |entry: daemon_core::SlotEntry| Child {
            causes: board.exit_causes(entry.slot),
            ..Child::from(&ChildReport::of(&entry, now))
        };
        Snapshot {
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

    /// Returns in words whether requests are accepted, and if not, why. Returns `None` if
    /// `accepting` is `None`, or if the daemon is stopping or has stopped.
    pub(crate) fn accepting_words(&self) -> Option<&'static str> {
        daemon_protocol::accepting_words(self.accepting?, self.operator_pause, self.phase)
    }

    /// Returns the number of requests started. Without counters, only the requests of the present
    /// children are counted.
    pub(crate) fn requests(&self) -> u64 {
        let requests = || self.children.iter().map(|child| child.requests);
        let of_these = || requests().fold(0, u64::saturating_add);
        self.counters.as_ref().map_or_else(of_these, |counters| counters.requests)
    }

    /// Returns the snapshot of a scoreboard as a table: a header, the letters of the slots, and a
    /// line for each child.
    pub(crate) fn table(&self) -> String {
        let (phase, up) = (self.phase.word(), format::duration(self.up));
        let mut table = format!("scoreboard  {phase}  up {up}\n");
        let requests = format!("{} requests", self.requests());
        let totals: Vec<String> = self.totals().into_iter().chain([requests]).collect();
        table += &format!("{}\n", totals.join("  "));
        if self.max_children > 0 {
            table += &format!("[{}]\n", self.board);
        }
        if !self.children.is_empty() {
            let headings = ["SLOT", "PID", "S", "STATUS", "FOR", "AGE", "REQS", "LABEL"];
            table += &format!("{}\n", aligned(headings));
        }
        for child in &self.children {
            table += &format!("{}\n", row(child).trim_end());
        }
        table
    }

    /// Returns a phrase for each count: children, forks, failed exits, how often `max_children` was
    /// reached, and how often the scoreboard was repaired, if it was.
    pub(crate) fn totals(&self) -> Vec<String> {
        let mut totals = Vec::new();
        if self.max_children > 0 {
            totals.push(format!("{} of {} children", self.children.len(), self.max_children));
            let reached = self.counters.as_ref().map(|counters| counters.max_children_reached);
            totals.extend(reached.map(|times| format!("max_children reached: {times}")));
        }
        if let Some(counters) = &self.counters {
            totals.push(format!("{} forks ({} failed)", counters.forks, counters.failed_forks));
            totals.push(format!("{} failed exits", counters.failed_exits));
            let repairs = counters.scoreboard_repairs;
            totals.extend((repairs > 0).then(|| format!("scoreboard repaired: {repairs}")));
        }
        totals
    }

    /// Returns the number of waiting requests in words, if it is not 0.
    pub(crate) fn waiting_words(&self) -> Option<String> {
        self.waiting.filter(|waiting| *waiting > 0).map(|waiting| format!("{waiting} waiting"))
    }
}

/// Returns the word for a status. Returns `damaged` if the slot in the scoreboard is damaged.
pub(crate) fn status_word(status: Option<Status>) -> &'static str {
    status.map_or("damaged", Status::word)
}

fn in_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

fn row(child: &Child) -> String {
    let pid = child.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    aligned([
        &child.slot.to_string(),
        &pid,
        &child.letter.to_string(),
        status_word(Status::from_letter(child.letter)),
        &format::duration(child.since).to_string(),
        &format::duration(child.age).to_string(),
        &child.requests.to_string(),
        &child.label,
    ])
}

fn aligned([slot, pid, letter, word, since, age, requests, label]: [&str; 8]) -> String {
    format!("{slot:>5} {pid:>7}  {letter} {word:<7} {since:>6}  {age:>6}  {requests:>7}  {label}")
}

/// A scoreboard file. Each read copies the whole file, because the processes of the daemon's user
/// can truncate it at any time, which would end a process that has mapped it.
#[derive(Debug)]
pub(crate) struct BoardFile {
    path: PathBuf,
    copy: FileCopy<ScoreboardLine>,
}

impl BoardFile {
    /// Returns the scoreboard file at this path, without opening it.
    pub(crate) fn new(path: &Path) -> BoardFile {
        BoardFile { path: path.to_owned(), copy: FileCopy::default() }
    }

    /// Reads the scoreboard.
    ///
    /// # Errors
    ///
    /// Returns an error if the file does not exist, cannot be read, or does not contain a
    /// scoreboard in the format version that this daemonctl reads.
    pub(crate) fn read(&mut self, now: MonotonicTime) -> Result<Snapshot, CtlError> {
        let most = lines_for(MAX_SLOTS).unwrap_or(usize::MAX);
        let lines = self.copy.read(&self.path, most)?;
        let board = ScoreboardReader::open(lines)
            .map_err(|source| CtlError::InvalidBoard { board: self.path.clone(), source })?;
        Ok(Snapshot::of_board(&board, now))
    }
}

#[cfg(test)]
mod tests {
    use crate::top::fixtures;

    #[test]
    fn a_scoreboard_table_omits_unknown_values() {
        insta::assert_snapshot!("board", fixtures::board_only().table());
    }
}
