//! The columns of the table of children: what is in them, which fit, and the order that each makes.

use std::cmp::Ordering;

use daemon_core::{Exit, ExitCause, KillReason, RecycleReason, Status, Violation};

use super::rates::Rates;
use crate::picture::Child;
use crate::text;

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// The slot's number.
    Slot,
    /// The process.
    Pid,
    /// The letter of what it does.
    Status,
    /// Since when it does so.
    Since,
    /// Since its birth.
    Age,
    /// Requests begun.
    Requests,
    /// Processor time in percent.
    Cpu,
    /// Resident memory.
    Rss,
    /// Its share of memory.
    Pss,
    /// What it says that it does.
    Label,
    /// Why the slot's last owner is gone.
    Cause,
}

/// To which side the cells of a column go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Which end of a column comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The least first.
    Up,
    /// The greatest first.
    Down,
}

impl Direction {
    /// The other one.
    pub(crate) fn reversed(self) -> Direction {
        match self {
            Direction::Up => Direction::Down,
            Direction::Down => Direction::Up,
        }
    }
}

impl Column {
    /// All of them, from left to right.
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

    /// All of them, those first that a narrow screen shall have.
    const BY_WORTH: [Column; 11] = [
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

    /// Those that fit into a width, with a blank between two; at least the first.
    pub(crate) fn that_fit(width: u16) -> Vec<Column> {
        let mut taken = 0;
        let mut fitting = Vec::new();
        for column in Column::BY_WORTH {
            taken += column.width() + u16::from(!fitting.is_empty());
            if taken > width && !fitting.is_empty() {
                break;
            }
            fitting.push(column);
        }
        Column::ALL.into_iter().filter(|column| fitting.contains(column)).collect()
    }

    /// What each of these columns gets of a width: what is left over goes to the words, to the label
    /// first.
    pub(crate) fn widths(columns: &[Column], width: u16) -> Vec<u16> {
        let least: u16 = columns.iter().map(|column| column.width()).sum();
        let blanks = u16::try_from(columns.len().saturating_sub(1)).unwrap_or(u16::MAX);
        let spare = width.saturating_sub(least.saturating_add(blanks));
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

    /// Its least width.
    pub(crate) fn width(self) -> u16 {
        match self {
            Column::Status => 1,
            Column::Slot | Column::Since | Column::Age => 5,
            Column::Cpu | Column::Rss | Column::Pss => 5,
            Column::Pid | Column::Requests => 7,
            Column::Label => 9,
            Column::Cause => 12,
        }
    }

    /// Its heading.
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
            Column::Cause => "LAST CAUSE",
        }
    }

    /// To which side its cells go.
    pub(crate) fn side(self) -> Side {
        match self {
            Column::Status | Column::Label | Column::Cause => Side::Left,
            Column::Slot
            | Column::Pid
            | Column::Since
            | Column::Age
            | Column::Requests
            | Column::Cpu
            | Column::Rss
            | Column::Pss => Side::Right,
        }
    }

    /// The direction that one looks for: the largest numbers, the first words.
    pub(crate) fn direction(self) -> Direction {
        match self {
            Column::Slot | Column::Pid | Column::Status | Column::Label | Column::Cause => {
                Direction::Up
            }
            Column::Since
            | Column::Age
            | Column::Requests
            | Column::Cpu
            | Column::Rss
            | Column::Pss => Direction::Down,
        }
    }

    /// The next one to the right, around the end.
    pub(crate) fn next(self) -> Column {
        self.moved(1)
    }

    /// The next one to the left, around the end.
    pub(crate) fn previous(self) -> Column {
        self.moved(Column::ALL.len() - 1)
    }

    fn moved(self, by: usize) -> Column {
        let place = Column::ALL.iter().position(|column| *column == self).unwrap_or(0);
        Column::ALL.get((place + by) % Column::ALL.len()).copied().unwrap_or(self)
    }

    /// What it says of a child, in a cell of this width.
    pub(crate) fn cell(self, child: &Child, rates: &Rates, width: u16) -> String {
        let dash = || "-".to_owned();
        match self {
            Column::Slot => child.slot.to_string(),
            Column::Pid => child.pid.map_or_else(dash, |pid| pid.to_string()),
            Column::Status => child.letter.to_string(),
            Column::Since => text::span(child.since),
            Column::Age => text::span(child.age),
            Column::Requests => child.requests.to_string(),
            Column::Cpu => rates.cpu(child.who()).map_or_else(dash, text::rate),
            Column::Rss => child.rss.map_or_else(dash, text::bytes),
            Column::Pss => child.pss.map_or_else(dash, text::bytes),
            Column::Label => child.label.clone(),
            Column::Cause => match child.causes.first() {
                None => String::new(),
                Some(cause) => {
                    let words = cause.to_string();
                    if words.len() <= usize::from(width) { words } else { in_short(*cause) }
                }
            },
        }
    }

    /// How two children stand to each other, the least first.
    pub(crate) fn compare(self, one: &Child, other: &Child, rates: &Rates) -> Ordering {
        match self {
            Column::Slot => one.slot.cmp(&other.slot),
            Column::Pid => one.pid.cmp(&other.pid),
            Column::Status => code(one).cmp(&code(other)),
            Column::Since => one.since.cmp(&other.since),
            Column::Age => one.age.cmp(&other.age),
            Column::Requests => one.requests.cmp(&other.requests),
            Column::Cpu => {
                let of = |child: &Child| rates.cpu(child.who()).unwrap_or(-1.0);
                of(one).total_cmp(&of(other))
            }
            Column::Rss => one.rss.cmp(&other.rss),
            Column::Pss => one.pss.cmp(&other.pss),
            Column::Label => one.label.cmp(&other.label),
            Column::Cause => cause(one).cmp(&cause(other)),
        }
    }
}

/// The last cause as something to sort by: its kind, then its code or signal.
fn cause(child: &Child) -> Option<(&'static str, i32)> {
    let cause = child.causes.first()?;
    let number = match *cause {
        ExitCause::Exited(code) | ExitCause::FailedToBoot(Exit::Code(code)) => code,
        ExitCause::Killed { signal, .. } => signal,
        ExitCause::FailedToBoot(Exit::Signal { number, .. }) => number,
        // The others have none.
        _without_number => 0,
    };
    Some((cause.kind(), number))
}

/// In at most twelve characters.
fn in_short(cause: ExitCause) -> String {
    let of_exit = |exit: Exit| match exit {
        Exit::Code(code) => format!("exit {code}"),
        Exit::Signal { number, core: false } => format!("signal {number}"),
        Exit::Signal { number, core: true } => format!("signal {number}+c"),
        Exit::Unknown => "unknown".to_owned(),
    };
    let words = match cause {
        ExitCause::Done => "done",
        ExitCause::Recycled(RecycleReason::Requests) => "quota",
        ExitCause::Recycled(RecycleReason::Lifetime) => "lifetime",
        ExitCause::Recycled(RecycleReason::Memory) => "soft limit",
        ExitCause::Retired => "retired",
        ExitCause::Shutdown => "shutdown",
        ExitCause::KilledByDaemon(KillReason::GraceExpired) => "overdue",
        ExitCause::KilledByDaemon(KillReason::Requested) => "operator",
        ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Cpu)) => "rogue cpu",
        ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Time)) => "rogue time",
        ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Memory)) => "rogue memory",
        ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Hung)) => "rogue hung",
        ExitCause::OutOfMemory => "no memory",
        ExitCause::Missing => "missing",
        ExitCause::FailedToBoot(_) => "boot failed",
        ExitCause::Exited(code) => return of_exit(Exit::Code(code)),
        ExitCause::Killed { signal, core } => {
            return of_exit(Exit::Signal { number: signal, core });
        }
        // What a later daemon may know of.
        added_later => added_later.kind(),
    };
    words.to_owned()
}

fn code(child: &Child) -> u8 {
    Status::from_letter(child.letter).map_or(u8::MAX, Status::code)
}

/// Whether a filter lets a child through: a single letter that a status has is that status; digits
/// are the beginning of a pid, and any words are in the label, whatever their case.
pub(crate) fn passes(child: &Child, filter: &str) -> bool {
    let mut letters = filter.chars();
    if let (Some(only), None) = (letters.next(), letters.next())
        && (only == '?' || Status::from_letter(only).is_some())
    {
        return child.letter == only;
    }
    let pid = || child.pid.is_some_and(|pid| pid.to_string().starts_with(filter));
    child.label.to_lowercase().contains(&filter.to_lowercase()) || pid()
}
