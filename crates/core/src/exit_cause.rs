//! Why a child exited, derived from its exit status, its last status and the reason why it was
//! stopped.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::status::{Status, StatusKind};

/// How a process exited, as waitpid(2) reports it.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// The process exited with this code; 0 means success.
    Code(i32),
    /// The process was killed by a signal. The signal is a number, because
    /// [`Signal`](crate::Signal) does not contain all signals.
    Signal {
        /// The number of the signal.
        number: i32,
        /// Whether a core file was written.
        core: bool,
    },
    /// The exit status is unknown: another part of the program has reaped the process.
    Unknown,
}

/// Whether the children of a daemon serve many requests or one.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChildKind {
    /// A child of a pool. It serves requests until its quota is used up.
    Pool,
    /// A child that was forked for one request.
    OneRequest,
}

/// Why the parent has asked a child to stop.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// The pool has too many idle children, or the child is being replaced.
    Retired,
    /// The child has reached its quota, its lifetime or its soft memory limit.
    Recycled(RecycleReason),
    /// The daemon is stopping.
    Stopping,
    /// The daemon is stopping immediately.
    StoppedNow,
    /// The operator asked to kill the child.
    Killed,
    /// The child violates a limit.
    Rogue(Violation),
}

/// The limit that a recycled child has reached.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecycleReason {
    /// The number of requests.
    Requests,
    /// The lifetime.
    Lifetime,
    /// The soft memory limit. The child exits after its current request.
    Memory,
}

/// What makes a child a rogue.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Violation {
    /// The child has used more CPU time than allowed.
    Cpu,
    /// The child's request takes longer than allowed.
    Time,
    /// The child uses more memory than the hard limit.
    Memory,
    /// The child's heartbeats are missing: its process is stopped, or its event loop is blocked.
    Hung,
    /// The child sends invalid messages over its link, or has closed its link.
    Protocol,
    /// The child was not ready within the boot timeout after its fork.
    Boot,
}

/// Why the daemon has killed a child.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KillReason {
    /// The child did not stop within the grace period.
    GraceExpired,
    /// The operator asked to kill the child.
    Requested,
    /// The child was a rogue.
    Rogue(Violation),
}

/// Why a child exited.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ExitCause {
    /// The child was forked for one request, and has completed it.
    Done,
    /// The child has reached its quota, its lifetime or its soft memory limit.
    Recycled(RecycleReason),
    /// The pool had too many idle children, or the child was replaced.
    Retired,
    /// The daemon was stopping.
    Shutdown,
    /// The daemon has killed the child, because the child did not stop within the grace period,
    /// because it was a rogue, or because the operator asked for it. The kernel's OOM killer sends
    /// the same signal. If it kills a child while the daemon is stopping or is killing this child,
    /// this cause can be reported, too.
    KilledByDaemon(KillReason),
    /// The kernel has killed the child because memory ran out: the OOM kill counter of the child's
    /// cgroup has increased.
    OutOfMemory,
    /// The child has disappeared, and its exit status is unknown.
    Missing,
    /// The child ended before it was ready.
    FailedToBoot(Exit),
    /// The child exited without being asked to and without reporting [`Leaving`](Status::Leaving),
    /// or it exited with a code other than 0.
    Exited(i32),
    /// The child was killed by a signal that the daemon did not send.
    Killed {
        /// The number of the signal.
        signal: i32,
        /// Whether a core file was written.
        core: bool,
    },
}

/// Returns why a child exited, given its exit status, its last status on the scoreboard, and its
/// kind. `stop_reason` is the reason why the parent asked the child to stop, or `None` if the
/// parent did not ask.
///
/// - A child that has finished its work reports [`Leaving`](Status::Leaving) and then exits with
///   code 0. Any other exit that the daemon did not ask for is a failure, even with code 0: the
///   program has called exit(3) itself.
/// - A child that was asked to stop and was killed by TERM or QUIT counts as having stopped
///   normally, because it had not installed its signal handler yet.
///
/// # Examples
///
/// ```
/// use daemon_core::{ChildKind, ExitCause, Exit, RecycleReason, Status, classify_exit};
///
/// let cause = classify_exit(Exit::Code(0), Status::Leaving, None, ChildKind::Pool);
/// assert_eq!(cause, ExitCause::Recycled(RecycleReason::Requests));
/// let kill = Exit::Signal { number: 9, core: false };
/// let cause = classify_exit(kill, Status::Serving, None, ChildKind::Pool);
/// assert_eq!(cause.to_string(), "killed by signal KILL");
/// ```
#[must_use]
pub fn classify_exit(
    exit: Exit,
    last: Status,
    stop_reason: Option<StopReason>,
    kind: ChildKind,
) -> ExitCause {
    match (stop_reason, exit) {
        (_stopped_or_not, Exit::Unknown) => ExitCause::Missing,
        (None, exit) => by_itself(exit, last, kind),
        (Some(StopReason::Rogue(violation)), _whatever_it_has_led_to) => {
            ExitCause::KilledByDaemon(KillReason::Rogue(violation))
        }
        (Some(stop_reason), Exit::Code(0)) => stop_reason.cause(),
        (Some(stop_reason), Exit::Signal { number: TERM | QUIT, core: false }) => {
            stop_reason.cause()
        }
        (Some(StopReason::Killed), Exit::Signal { number: KILL, .. }) => {
            ExitCause::KilledByDaemon(KillReason::Requested)
        }
        (
            Some(StopReason::Stopping | StopReason::StoppedNow),
            Exit::Signal { number: KILL, .. },
        ) => ExitCause::KilledByDaemon(KillReason::GraceExpired),
        (Some(_reason), Exit::Code(code)) => ExitCause::Exited(code),
        (Some(_reason), Exit::Signal { number: signal, core }) => {
            ExitCause::Killed { signal, core }
        }
    }
}

fn by_itself(exit: Exit, last: Status, kind: ChildKind) -> ExitCause {
    match (last.kind(), exit) {
        (_whatever_it_did, Exit::Unknown) => ExitCause::Missing,
        (StatusKind::Starting, exit) => ExitCause::FailedToBoot(exit),
        (StatusKind::Leaving, Exit::Code(0)) => match kind {
            ChildKind::Pool => ExitCause::Recycled(RecycleReason::Requests),
            ChildKind::OneRequest => ExitCause::Done,
        },
        (
            StatusKind::Vacant | StatusKind::Idle | StatusKind::Busy | StatusKind::Leaving,
            Exit::Code(code),
        ) => ExitCause::Exited(code),
        (
            StatusKind::Vacant | StatusKind::Idle | StatusKind::Busy | StatusKind::Leaving,
            Exit::Signal { number: signal, core },
        ) => ExitCause::Killed { signal, core },
    }
}

impl StopReason {
    fn cause(self) -> ExitCause {
        match self {
            StopReason::Retired => ExitCause::Retired,
            StopReason::Recycled(reason) => ExitCause::Recycled(reason),
            StopReason::Stopping | StopReason::StoppedNow => ExitCause::Shutdown,
            StopReason::Killed => ExitCause::KilledByDaemon(KillReason::Requested),
            StopReason::Rogue(violation) => ExitCause::KilledByDaemon(KillReason::Rogue(violation)),
        }
    }
}

impl ExitCause {
    /// Returns whether the exit is part of normal operation: the child has completed its only
    /// request, was recycled or retired, or the daemon was stopping.
    #[must_use]
    pub const fn is_expected(&self) -> bool {
        match self {
            ExitCause::Done | ExitCause::Recycled(_) | ExitCause::Retired | ExitCause::Shutdown => {
                true
            }
            ExitCause::KilledByDaemon(_)
            | ExitCause::OutOfMemory
            | ExitCause::Missing
            | ExitCause::FailedToBoot(_)
            | ExitCause::Exited(_)
            | ExitCause::Killed { .. } => false,
        }
    }

    /// Returns the kind of the cause as one word, for counters and filters: `done`,
    /// `recycled-requests`, `recycled-lifetime`, `recycled-memory`, `retired`, `shutdown`,
    /// `killed-grace-expired`, `killed-on-request`, `rogue-cpu`, `rogue-time`, `rogue-memory`,
    /// `rogue-hung`, `rogue-protocol`, `rogue-boot`, `out-of-memory`, `missing`, `failed-to-boot`,
    /// `exited`, `killed`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            ExitCause::Done => "done",
            ExitCause::Recycled(RecycleReason::Requests) => "recycled-requests",
            ExitCause::Recycled(RecycleReason::Lifetime) => "recycled-lifetime",
            ExitCause::Recycled(RecycleReason::Memory) => "recycled-memory",
            ExitCause::Retired => "retired",
            ExitCause::Shutdown => "shutdown",
            ExitCause::KilledByDaemon(KillReason::GraceExpired) => "killed-grace-expired",
            ExitCause::KilledByDaemon(KillReason::Requested) => "killed-on-request",
            ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Cpu)) => "rogue-cpu",
            ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Time)) => "rogue-time",
            ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Memory)) => "rogue-memory",
            ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Hung)) => "rogue-hung",
            ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Protocol)) => "rogue-protocol",
            ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Boot)) => "rogue-boot",
            ExitCause::OutOfMemory => "out-of-memory",
            ExitCause::Missing => "missing",
            ExitCause::FailedToBoot(_) => "failed-to-boot",
            ExitCause::Exited(_) => "exited",
            ExitCause::Killed { .. } => "killed",
        }
    }

    /// Returns the cause that `pack` stores as this number, or `None` if no cause has the number.
    /// The exit code or signal of the cause is taken from `exit`.
    const fn of_number(number: u8, exit: Exit) -> Option<ExitCause> {
        Some(match number {
            1 => ExitCause::Done,
            2 => ExitCause::Recycled(RecycleReason::Requests),
            3 => ExitCause::Recycled(RecycleReason::Lifetime),
            4 => ExitCause::Recycled(RecycleReason::Memory),
            5 => ExitCause::Retired,
            6 => ExitCause::Shutdown,
            7 => ExitCause::KilledByDaemon(KillReason::GraceExpired),
            8 => ExitCause::KilledByDaemon(KillReason::Requested),
            9 => ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Cpu)),
            10 => ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Time)),
            11 => ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Memory)),
            12 => ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Hung)),
            13 => ExitCause::OutOfMemory,
            14 => ExitCause::Missing,
            15 => ExitCause::FailedToBoot(exit),
            16 => match exit {
                Exit::Code(code) => ExitCause::Exited(code),
                Exit::Signal { number, core } => ExitCause::Killed { signal: number, core },
                Exit::Unknown => ExitCause::Missing,
            },
            17 => ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Protocol)),
            18 => ExitCause::KilledByDaemon(KillReason::Rogue(Violation::Boot)),
            _no_cause => return None,
        })
    }

    /// Packs the cause into 16 bits for the scoreboard. The result is never 0. Keeps only the lower
    /// 8 bits of a code or signal, as the kernel does for exit codes.
    pub(crate) fn pack(self) -> u16 {
        let exit = match self {
            ExitCause::FailedToBoot(exit) => exit,
            ExitCause::Exited(code) => Exit::Code(code),
            ExitCause::Killed { signal, core } => Exit::Signal { number: signal, core },
            ExitCause::Done
            | ExitCause::Recycled(_)
            | ExitCause::Retired
            | ExitCause::Shutdown
            | ExitCause::KilledByDaemon(_)
            | ExitCause::OutOfMemory
            | ExitCause::Missing => Exit::Code(0),
        };
        // 5 bits for the number, 1 for signal or code, 1 for core, 1 unused, 8 for the code or
        // signal.
        let number = (1..32).find(|number| ExitCause::of_number(*number, exit) == Some(self));
        let (is_signal, core, value) = match exit {
            Exit::Unknown => (0, 0, 0),
            Exit::Code(code) => (0, 0, code),
            Exit::Signal { number, core } => (1, u16::from(core), number),
        };
        u16::from(number.unwrap_or(0)) << 11 | is_signal << 10 | core << 9 | (value & 0xff) as u16
    }

    /// Unpacks a cause. Returns `None` if `bits` do not contain one.
    pub(crate) fn unpack(bits: u16) -> Option<ExitCause> {
        let value = i32::from(bits & 0xff);
        let exit = match bits >> 10 & 1 {
            0 => Exit::Code(value),
            _signal => Exit::Signal { number: value, core: bits >> 9 & 1 == 1 },
        };
        ExitCause::of_number(u8::try_from(bits >> 11).unwrap_or(0), exit)
    }
}

const QUIT: i32 = 3;
const KILL: i32 = 9;
const TERM: i32 = 15;

/// Returns the name of a signal that has the same number on all supported systems, for example
/// `SEGV` for 11, or `None` for any other signal.
#[must_use]
pub const fn signal_name(signal: i32) -> Option<&'static str> {
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
            Exit::Code(code) => write!(f, "exited with code {code}"),
            Exit::Signal { number, core } => {
                match signal_name(number) {
                    Some(name) => write!(f, "killed by signal {name}")?,
                    None => write!(f, "killed by signal {number}")?,
                }
                f.write_str(if core { ", core dumped" } else { "" })
            }
            Exit::Unknown => f.write_str("exit status unknown"),
        }
    }
}

impl fmt::Display for RecycleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            RecycleReason::Requests => "request limit reached",
            RecycleReason::Lifetime => "lifetime limit reached",
            RecycleReason::Memory => "soft memory limit exceeded",
        })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Violation::Cpu => "CPU time limit exceeded",
            Violation::Time => "request timeout exceeded",
            Violation::Memory => "hard memory limit exceeded",
            Violation::Hung => "no heartbeat",
            Violation::Protocol => "link protocol violated",
            Violation::Boot => "not ready within the boot timeout",
        })
    }
}

impl fmt::Display for ExitCause {
    /// Writes the cause as every screen and log shows it: `exited with code 7`,
    /// `killed by signal SEGV`, `recycled: request limit reached`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ExitCause::Done => f.write_str("request completed"),
            ExitCause::Recycled(reason) => write!(f, "recycled: {reason}"),
            ExitCause::Retired => f.write_str("retired"),
            ExitCause::Shutdown => f.write_str("shut down"),
            ExitCause::KilledByDaemon(KillReason::GraceExpired) => {
                f.write_str("killed: grace period expired")
            }
            ExitCause::KilledByDaemon(KillReason::Requested) => f.write_str("killed on request"),
            ExitCause::KilledByDaemon(KillReason::Rogue(violation)) => {
                write!(f, "killed as a rogue: {violation}")
            }
            ExitCause::OutOfMemory => f.write_str("killed by the kernel: out of memory"),
            ExitCause::Missing => f.write_str("missing: exit status unknown"),
            ExitCause::FailedToBoot(exit) => write!(f, "{exit} before it was ready"),
            ExitCause::Exited(code) => Exit::Code(code).fmt(f),
            ExitCause::Killed { signal, core } => Exit::Signal { number: signal, core }.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
