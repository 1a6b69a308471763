//! The columns of the table of children in `daemonctl top`: their cells, widths and sort orders.

use std::cmp::Ordering;

use daemon_core::{
    Exit, ExitCause, KillReason, RecycleReason, Status, Violation, format, signal_name,
};

use super::rates::{Rates, format_rate};
use crate::snapshot::Child;

/// A column of the table of children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// The number of the slot.
    Slot,
    /// The pid of the child.
    Pid,
    /// The letter of the status.
    Status,
    /// The time since the last change of the status.
    Since,
    /// The time since the fork.
    Age,
    /// The number of requests started.
    Requests,
    /// The processor time in percent.
    Cpu,
    /// The resident memory.
    Rss,
    /// The proportional share of memory.
    Pss,
    /// The label of the child.
    Label,
    /// The exit cause of the slot's previous child.
    Cause,
}

impl Column {
    /// All columns, from left to right.
    pub(crate) const ALL: [Column; 11] = [
        Column::Slot,
        Column::Pid,
        Column::Status,
        Column::Since,
        Column::Age,
        Column::Requests,
        Column::Cpu,
        Column::Rss,
        Column::Pss,
        Column::Label,
        Column::Cause,
    ];

    /// All columns, the most important first. A narrow screen omits columns from the end.
    const BY_PRIORITY: [Column; 11] = [
        Column::Slot,
        Column::Pid,
        Column::Status,
        Column::Since,
        Column::Requests,
        Column::Label,
        Column::Cpu,
        Column::Rss,
        Column::Age,
        Column::Pss,
        Column::Cause,
    ];

    /// Returns the columns that fit into this width, from left to right. There is a blank between
    /// adjacent columns. The most important column is always returned.
    pub(crate) fn fitting(width: u16) -> Vec<Column> {
        let mut taken = 0;
        let mut fitting = Vec::new();
        for column in Column::BY_PRIORITY {
            taken += column.width() + u16::from(!fitting.is_empty());
            if taken > width && !fitting.is_empty() {
                break;
            }
            fitting.push(column);
        }
        Column::ALL.into_iter().filter(|column| fitting.contains(column)).collect()
    }

    /// Returns the widths of these columns on a screen of this width. Each column gets its minimum
    /// width. Of the characters left over, the first 15 go to the label. The rest is divided
    /// equally between the label and the exit cause, but the exit cause gets at most 20 more
    /// characters.
    pub(crate) fn widths(columns: &[Column], width: u16) -> Vec<u16> {
        let minimum: u16 = columns.iter().map(|column| column.width()).sum();
        let blanks = u16::try_from(columns.len().saturating_sub(1)).unwrap_or(u16::MAX);
        let spare = width.saturating_sub(minimum.saturating_add(blanks));
        let for_cause = if columns.contains(&Column::Cause) {
            (spare.saturating_sub(15) / 2).min(20)
        } else {
            0
        };
        let widths = columns.iter().map(|column| match column {
            Column::Cause => column.width() + for_cause,
            Column::Label => column.width() + spare - for_cause,
            Column::Slot if columns.len() == 1 => width,
            Column::Slot
            | Column::Pid
            | Column::Status
            | Column::Since
            | Column::Age
            | Column::Requests
            | Column::Cpu
            | Column::Rss
            | Column::Pss => column.width(),
        });
        widths.collect()
    }

    /// Returns the minimum width of this column.
    pub(crate) fn width(self) -> u16 {
        match self {
            Column::Status => 1,
            Column::Slot | Column::Cpu | Column::Rss | Column::Pss => 5,
            Column::Since | Column::Age => 6,
            Column::Pid | Column::Requests => 7,
            Column::Label => 9,
            Column::Cause => 12,
        }
    }

    /// Returns the heading of this column.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Column::Slot => "SLOT",
            Column::Pid => "PID",
            Column::Status => "S",
            Column::Since => "FOR",
            Column::Age => "AGE",
            Column::Requests => "REQS",
            Column::Cpu => "CPU%",
            Column::Rss => "RSS",
            Column::Pss => "PSS",
            Column::Label => "LABEL",
            Column::Cause => "LAST EXIT",
        }
    }

    /// Returns whether the cells are texts, which are aligned to the left. Numbers are aligned to
    /// the right.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, Column::Status | Column::Label | Column::Cause)
    }

    /// Returns whether the default sort order is descending. It is for numbers other than slots and
    /// pids.
    pub(crate) fn is_descending(self) -> bool {
        !self.is_text() && !matches!(self, Column::Slot | Column::Pid)
    }

    /// Returns the next column to the right. The first column follows the last one.
    pub(crate) fn next(self) -> Column {
        self.offset(1)
    }

    /// Returns the next column to the left. The last column follows the first one.
    pub(crate) fn previous(self) -> Column {
        self.offset(Column::ALL.len() - 1)
    }

    fn offset(self, by: usize) -> Column {
        let index = Column::ALL.iter().position(|column| *column == self).unwrap_or(0);
        Column::ALL.get((index + by) % Column::ALL.len()).copied().unwrap_or(self)
    }

    /// Returns the text of a child's cell in this column. `width` is the width of the column.
    pub(crate) fn cell(self, child: &Child, rates: &Rates, width: u16) -> String {
        let dash = || "-".to_owned();
        match self {
            Column::Slot => child.slot.to_string(),
            Column::Pid => child.pid.map_or_else(dash, |pid| pid.to_string()),
            Column::Status => child.letter.to_string(),
            Column::Since => format::duration(child.since).to_string(),
            Column::Age => format::duration(child.age).to_string(),
            Column::Requests => child.requests.to_string(),
            Column::Cpu => rates.cpu(child.key()).map_or_else(dash, format_rate),
            Column::Rss => child.rss.map_or_else(dash, |bytes| format::size(bytes).to_string()),
            Column::Pss => child.pss.map_or_else(dash, |bytes| format::size(bytes).to_string()),
            Column::Label => child.label.clone(),
            Column::Cause => match child.causes.first() {
                None => String::new(),
                Some(cause) => {
                    let text = cause.to_string();
                    if text.len() <= usize::from(width) { text } else { short_cause(*cause) }
                }
            },
        }
    }

    /// Compares two children by this column.
    pub(crate) fn compare(self, one: &Child, other: &Child, rates: &Rates) -> Ordering {
        match self {
            Column::Slot => one.slot.cmp(&other.slot),
            Column::Pid => one.pid.cmp(&other.pid),
            Column::Status => code(one).cmp(&code(other)),
            Column::Since => one.since.cmp(&other.since),
            Column::Age => one.age.cmp(&other.age),
            Column::Requests => one.requests.cmp(&other.requests),
            Column::Cpu => {
                let cpu = |child: &Child| rates.cpu(child.key()).unwrap_or(-1.0);
                cpu(one).total_cmp(&cpu(other))
            }
            Column::Rss => one.rss.cmp(&other.rss),
            Column::Pss => one.pss.cmp(&other.pss),
            Column::Label => one.label.cmp(&other.label),
            Column::Cause => cause_key(one).cmp(&cause_key(other)),
        }
    }
}

/// Returns the sort key of the last exit cause: the kind, then the exit code or signal.
fn cause_key(child: &Child) -> Option<(&'static str, i32)> {
    let cause = child.causes.first()?;
    let number = match *cause {
        ExitCause::Exited(code) | ExitCause::FailedToBoot(Exit::Code(code)) => code,
        ExitCause::Killed { signal, .. } => signal,
        ExitCause::FailedToBoot(Exit::Signal { number, .. }) => number,
        // The other causes have no number.
        _without_number => 0,
    };
    Some((cause.kind(), number))
}

/// Returns a short text for an exit cause, at most twelve characters long.
fn short_cause(cause: ExitCause) -> String {
    let exit_text = |exit: Exit| match exit {
        Exit::Code(code) => format!("exit {code}"),
        Exit::Signal { number, core } => {
            let name = signal_name(number).map_or_else(|| number.to_string(), str::to_owned);
            if core { format!("{name}, core") } else { format!("signal {name}") }
        }
        Exit::Unknown => "unknown".to_owned(),
    };
    let text = match cause {
        ExitCause::Done => "done",
        ExitCause::Recycled(RecycleReason::Requests) => "max requests",
        ExitCause::Recycled(RecycleReason::Lifetime) => "max lifetime",
        ExitCause::Recycled(RecycleReason::Memory) => "soft memory",
        ExitCause::Retired => "retired",
        ExitCause::Shutdown => "shutdown",
        ExitCause::KilledByDaemon(KillReason::GraceExpired) => "killed:grace",
        ExitCause::KilledByDaemon(KillReason::Requested) => "killed",
        ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Cpu)) => "CPU limit",
        ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Time)) => "timeout",
        ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Memory)) => "memory limit",
        ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Hung)) => "no heartbeat",
        ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Protocol)) => "bad messages",
        ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Boot)) => "not ready",
        ExitCause::OutOfMemory => "OOM killed",
        ExitCause::Missing => "missing",
        ExitCause::FailedToBoot(_) => "boot failed",
        ExitCause::Exited(code) => return exit_text(Exit::Code(code)),
        ExitCause::Killed { signal, core } => {
            return exit_text(Exit::Signal { number: signal, core });
        }
        // Causes that a later version of the daemon adds.
        added_later => added_later.kind(),
    };
    text.to_owned()
}

fn code(child: &Child) -> u8 {
    Status::from_letter(child.letter).map_or(u8::MAX, Status::code)
}

/// Returns whether a child matches a filter. A filter that is a single status letter matches the
/// children with this status. Any other filter matches the start of the pid, or a part of the label
/// without regard to case.
pub(crate) fn matches_filter(child: &Child, filter: &str) -> bool {
    let mut letters = filter.chars();
    if let (Some(only), None) = (letters.next(), letters.next())
        && (only == '?' || Status::from_letter(only).is_some())
    {
        return child.letter == only;
    }
    let pid = || child.pid.is_some_and(|pid| pid.to_string().starts_with(filter));
    child.label.to_lowercase().contains(&filter.to_lowercase()) || pid()
}
