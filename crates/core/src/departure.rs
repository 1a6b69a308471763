//! Why a child is gone, by how it ended, what it did last, and what it had been told.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::status::{Standing, Status};

/// How a process has ended, as waitpid(2) tells it.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It has left with this code.
    Code(i32),
    /// It was ended by a signal.
    Signal {
        /// Which one.
        number: i32,
        /// Whether its memory was written to a core file.
        core: bool,
    },
    /// Nobody knows: something else has collected it.
    Unknown,
}

/// What children of a daemon are for.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Calling {
    /// To stand in a pool and serve until their quota is spent.
    Pool,
    /// To serve the one request that they were forked for.
    OneRequest,
}

/// Why the parent has told a child to go.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dismissal {
    /// It was one too many, or is replaced.
    Retired,
    /// It has used up its share.
    Recycled(Spent),
    /// The daemon stops.
    Stopping,
    /// The daemon stops at once.
    AtOnce,
    /// The operator wants it killed.
    Killed,
    /// It does what no child may.
    Rogue(Offence),
}

/// What a recycled child has used up.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spent {
    /// Its number of requests.
    Requests,
    /// Its lifetime.
    Lifetime,
    /// The memory that it may hold between two requests: the soft limit.
    Memory,
}

/// What makes a child a rogue.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offence {
    /// More processor time than it may use.
    Cpu,
    /// A request that takes longer than it may.
    Time,
    /// More memory than the hard limit.
    Memory,
    /// No heartbeat: it is stopped, or its event loop is blocked.
    Hung,
}

/// Why the daemon has killed a child.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Killing {
    /// It was told to go, and did not in time.
    Overdue,
    /// The operator has asked for it.
    Asked,
    /// It was a rogue.
    Rogue(Offence),
}

/// Why a child is gone.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cause {
    /// It has done the request that it was forked for.
    Done,
    /// It has used up its share.
    Recycled(Spent),
    /// It was one too many, or is replaced.
    Retired,
    /// The daemon stops.
    Shutdown,
    /// The daemon has ended it: it did not go in time when the daemon stopped, it was a rogue, or
    /// the operator wanted so. The kernel, when memory runs out, kills by the same signal: there the
    /// two cannot be told apart.
    KilledByUs(Killing),
    /// The kernel has killed it, since memory ran out: the counter of such kills of its cgroup has
    /// gone up.
    OutOfMemory,
    /// It is gone, and nobody has reported its end.
    Missing,
    /// It has ended before it was ready.
    FailedToBoot(Exit),
    /// It has left by itself, or with a code that tells of a failure.
    Exited(i32),
    /// A signal has ended it that the daemon has not sent.
    Killed {
        /// Which one.
        signal: i32,
        /// Whether its memory was written to a core file.
        core: bool,
    },
}

/// Says why a child is gone, by how it ended, the last status on its line, why it had been told to
/// go, if it had, and what it was for.
///
/// - A child that leaves by itself in good order says so with [`Leaving`](Status::Leaving) and code
///   0. Without either it is a failure, code 0 or not: the program has left behind the daemon's
///   back.
/// - A child that was told to go and ends by the very signal that told it, because it had no
///   handler yet, has done as told.
///
/// # Examples
///
/// ```
/// use daemon_core::{Calling, Cause, Exit, Spent, Status, explain};
///
/// let cause = explain(Exit::Code(0), Status::Leaving, None, Calling::Pool);
/// assert_eq!(cause, Cause::Recycled(Spent::Requests));
/// let oom = Exit::Signal { number: 9, core: false };
/// let cause = explain(oom, Status::Serving, None, Calling::Pool);
/// assert_eq!(cause.to_string(), "signal 9 (KILL)");
/// ```
#[must_use]
pub fn explain(exit: Exit, last: Status, dismissed: Option<Dismissal>, calling: Calling) -> Cause {
    match (dismissed, exit) {
        (_told_or_not, Exit::Unknown) => Cause::Missing,
        (None, exit) => by_itself(exit, last, calling),
        (Some(Dismissal::Rogue(offence)), _whatever_it_has_led_to) => {
            Cause::KilledByUs(Killing::Rogue(offence))
        }
        (Some(dismissal), Exit::Code(0)) => dismissal.cause(),
        (Some(dismissal), Exit::Signal { number: TERM | QUIT, core: false }) => dismissal.cause(),
        (Some(Dismissal::Killed), Exit::Signal { number: KILL, .. }) => {
            Cause::KilledByUs(Killing::Asked)
        }
        (Some(Dismissal::Stopping | Dismissal::AtOnce), Exit::Signal { number: KILL, .. }) => {
            Cause::KilledByUs(Killing::Overdue)
        }
        (Some(_told), Exit::Code(code)) => Cause::Exited(code),
        (Some(_told), Exit::Signal { number: signal, core }) => Cause::Killed { signal, core },
    }
}

fn by_itself(exit: Exit, last: Status, calling: Calling) -> Cause {
    match (last.standing(), exit) {
        (_whatever_it_did, Exit::Unknown) => Cause::Missing,
        (Standing::Starting, exit) => Cause::FailedToBoot(exit),
        (Standing::Leaving, Exit::Code(0)) => match calling {
            Calling::Pool => Cause::Recycled(Spent::Requests),
            Calling::OneRequest => Cause::Done,
        },
        (
            Standing::Vacant | Standing::Idle | Standing::Busy | Standing::Leaving,
            Exit::Code(code),
        ) => Cause::Exited(code),
        (
            Standing::Vacant | Standing::Idle | Standing::Busy | Standing::Leaving,
            Exit::Signal { number: signal, core },
        ) => Cause::Killed { signal, core },
    }
}

impl Dismissal {
    fn cause(self) -> Cause {
        match self {
            Dismissal::Retired => Cause::Retired,
            Dismissal::Recycled(spent) => Cause::Recycled(spent),
            Dismissal::Stopping | Dismissal::AtOnce => Cause::Shutdown,
            Dismissal::Killed => Cause::KilledByUs(Killing::Asked),
            Dismissal::Rogue(offence) => Cause::KilledByUs(Killing::Rogue(offence)),
        }
    }
}

impl Cause {
    /// Tells whether the child left as it should: told to, or having done its share.
    #[must_use]
    pub const fn is_regular(&self) -> bool {
        match self {
            Cause::Done | Cause::Recycled(_) | Cause::Retired | Cause::Shutdown => true,
            Cause::KilledByUs(_)
            | Cause::OutOfMemory
            | Cause::Missing
            | Cause::FailedToBoot(_)
            | Cause::Exited(_)
            | Cause::Killed { .. } => false,
        }
    }

    /// Tells its kind in one word, for counters and filters: `done`, `recycled-requests`,
    /// `recycled-lifetime`, `recycled-memory`, `retired`, `shutdown`, `killed-overdue`,
    /// `killed-asked`, `rogue-cpu`, `rogue-time`, `rogue-memory`, `rogue-hung`, `out-of-memory`,
    /// `missing`, `failed-to-boot`, `exited`, `killed`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Cause::Done => "done",
            Cause::Recycled(Spent::Requests) => "recycled-requests",
            Cause::Recycled(Spent::Lifetime) => "recycled-lifetime",
            Cause::Recycled(Spent::Memory) => "recycled-memory",
            Cause::Retired => "retired",
            Cause::Shutdown => "shutdown",
            Cause::KilledByUs(Killing::Overdue) => "killed-overdue",
            Cause::KilledByUs(Killing::Asked) => "killed-asked",
            Cause::KilledByUs(Killing::Rogue(Offence::Cpu)) => "rogue-cpu",
            Cause::KilledByUs(Killing::Rogue(Offence::Time)) => "rogue-time",
            Cause::KilledByUs(Killing::Rogue(Offence::Memory)) => "rogue-memory",
            Cause::KilledByUs(Killing::Rogue(Offence::Hung)) => "rogue-hung",
            Cause::OutOfMemory => "out-of-memory",
            Cause::Missing => "missing",
            Cause::FailedToBoot(_) => "failed-to-boot",
            Cause::Exited(_) => "exited",
            Cause::Killed { .. } => "killed",
        }
    }

    /// All causes, with the numbers that `exit` gives; for tables.
    const fn of_number(number: u8, exit: Exit) -> Option<Cause> {
        Some(match number {
            1 => Cause::Done,
            2 => Cause::Recycled(Spent::Requests),
            3 => Cause::Recycled(Spent::Lifetime),
            4 => Cause::Recycled(Spent::Memory),
            5 => Cause::Retired,
            6 => Cause::Shutdown,
            7 => Cause::KilledByUs(Killing::Overdue),
            8 => Cause::KilledByUs(Killing::Asked),
            9 => Cause::KilledByUs(Killing::Rogue(Offence::Cpu)),
            10 => Cause::KilledByUs(Killing::Rogue(Offence::Time)),
            11 => Cause::KilledByUs(Killing::Rogue(Offence::Memory)),
            12 => Cause::KilledByUs(Killing::Rogue(Offence::Hung)),
            13 => Cause::OutOfMemory,
            14 => Cause::Missing,
            15 => Cause::FailedToBoot(exit),
            16 => match exit {
                Exit::Code(code) => Cause::Exited(code),
                Exit::Signal { number, core } => Cause::Killed { signal: number, core },
                Exit::Unknown => Cause::Missing,
            },
            _no_cause => return None,
        })
    }

    /// Packs it into the 16 bits that it has on the scoreboard; never 0. A code or signal past 127
    /// keeps its lower bits, as exit codes do.
    pub(crate) fn pack(self) -> u16 {
        let exit = match self {
            Cause::FailedToBoot(exit) => exit,
            Cause::Exited(code) => Exit::Code(code),
            Cause::Killed { signal, core } => Exit::Signal { number: signal, core },
            Cause::Done
            | Cause::Recycled(_)
            | Cause::Retired
            | Cause::Shutdown
            | Cause::KilledByUs(_)
            | Cause::OutOfMemory
            | Cause::Missing => Exit::Code(0),
        };
        // 5 bits of number, 1 of signal or code, 1 of core, 8 of value.
        let number = (1..32).find(|number| Cause::of_number(*number, exit) == Some(self));
        let (is_signal, core, value) = match exit {
            Exit::Unknown => (0, 0, 0),
            Exit::Code(code) => (0, 0, code),
            Exit::Signal { number, core } => (1, u16::from(core), number),
        };
        u16::from(number.unwrap_or(0)) << 11 | is_signal << 10 | core << 9 | (value & 0xff) as u16
    }

    /// Unpacks it; `None` if nothing was packed.
    pub(crate) fn unpack(bits: u16) -> Option<Cause> {
        let value = i32::from(bits & 0xff);
        let exit = match bits >> 10 & 1 {
            0 => Exit::Code(value),
            _signal => Exit::Signal { number: value, core: bits >> 9 & 1 == 1 },
        };
        Cause::of_number(u8::try_from(bits >> 11).unwrap_or(0), exit)
    }
}

const QUIT: i32 = 3;
const KILL: i32 = 9;
const TERM: i32 = 15;

/// The name of a signal whose number is the same on all systems that we know.
fn name(signal: i32) -> Option<&'static str> {
    match signal {
        1 => Some("HUP"),
        2 => Some("INT"),
        QUIT => Some("QUIT"),
        4 => Some("ILL"),
        5 => Some("TRAP"),
        6 => Some("ABRT"),
        8 => Some("FPE"),
        KILL => Some("KILL"),
        11 => Some("SEGV"),
        13 => Some("PIPE"),
        14 => Some("ALRM"),
        TERM => Some("TERM"),
        24 => Some("XCPU"),
        25 => Some("XFSZ"),
        _other => None,
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal { number, core } => {
                write!(f, "signal {number}")?;
                if let Some(name) = name(number) {
                    write!(f, " ({name})")?;
                }
                f.write_str(if core { ", core dumped" } else { "" })
            }
            Exit::Unknown => f.write_str("an end that nobody knows"),
        }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Offence::Cpu => "too much processor time",
            Offence::Time => "a request that takes too long",
            Offence::Memory => "too much memory",
            Offence::Hung => "no heartbeat",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Cause::Done => f.write_str("request done"),
            Cause::Recycled(Spent::Requests) => f.write_str("share of requests served"),
            Cause::Recycled(Spent::Lifetime) => f.write_str("lifetime over"),
            Cause::Recycled(Spent::Memory) => f.write_str("soft limit of memory passed"),
            Cause::Retired => f.write_str("retired"),
            Cause::Shutdown => f.write_str("shutdown"),
            Cause::KilledByUs(Killing::Overdue) => f.write_str("told to go, then killed"),
            Cause::KilledByUs(Killing::Asked) => f.write_str("killed on request"),
            Cause::KilledByUs(Killing::Rogue(offence)) => write!(f, "rogue: {offence}"),
            Cause::OutOfMemory => f.write_str("killed by the kernel: out of memory"),
            Cause::Missing => f.write_str("gone, and nobody has reported its end"),
            Cause::FailedToBoot(exit) => write!(f, "{exit} before it was ready"),
            Cause::Exited(code) => Exit::Code(code).fmt(f),
            Cause::Killed { signal, core } => Exit::Signal { number: signal, core }.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
