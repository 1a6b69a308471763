//! Evidence: the state of a child. It is recorded before the first step against a rogue, for a slow
//! request, and when an operator asks for it.

use std::fmt;
use std::time::{Duration, SystemTime};

use daemon_core::{Generation, SlotNumber, Status, format};
use serde::{Deserialize, Serialize};

use crate::report::ChildReport;
use crate::seconds;

/// The state of a child at one instant, from the scoreboard, the operating system and the child
/// itself.
///
/// `Display` writes several lines: the child and its status, its resource usage and kernel state,
/// then one line for each frame of its backtrace, innermost first. Unknown values are left out.
/// Durations are serialized as seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evidence {
    /// When the evidence was collected, serialized as seconds since 1970, UTC.
    #[serde(with = "crate::seconds::epoch")]
    pub taken: SystemTime,
    /// The child's slot.
    pub slot: SlotNumber,
    /// The generation of the slot, which identifies the child among all children of the slot.
    pub generation: Generation,
    /// The child's pid; `None` until the child is forked.
    pub pid: Option<u32>,
    /// The letter of the child's status; `?` if its slot on the scoreboard is damaged.
    pub letter: char,
    /// The label that the child has set.
    pub label: Option<String>,
    /// The time since the child was forked.
    #[serde(with = "seconds")]
    pub age: Duration,
    /// The time since the child's status last changed.
    #[serde(with = "seconds")]
    pub since: Duration,
    /// The number of requests that the child has started.
    pub requests: u64,
    /// The CPU time of all threads of the child since the fork, in user and kernel mode, with a
    /// resolution of 10 ms.
    #[serde(with = "seconds::optional", default)]
    pub cpu: Option<Duration>,
    /// The CPU time since the child's current request began.
    #[serde(with = "seconds::optional", default)]
    pub request_cpu: Option<Duration>,
    /// Resident memory in bytes, including shared pages. proc(5) notes that this number is not
    /// exact.
    pub rss: Option<u64>,
    /// Proportional set size in bytes: each shared page is divided by the number of processes that
    /// share it.
    pub pss: Option<u64>,
    /// The kernel's process state: `R` running, `S` sleeping, `D` in uninterruptible sleep, which
    /// no signal ends, `T` stopped, `t` traced, `Z` zombie. proc(5) lists the others.
    pub state: Option<char>,
    /// The kernel function in which the child's main thread waits; `None` if the thread runs, or if
    /// the daemon has no permission to read the function.
    pub wchan: Option<String>,
    /// The system call in which the child's main thread waits: the number of the call and six
    /// arguments, even if the call takes fewer. Only the child's own user and root can read the
    /// system call.
    pub syscall: Option<String>,
    /// The kernel stack of the child's main thread, innermost frame first; empty unless the daemon
    /// runs as root.
    pub kernel_stack: Vec<String>,
    /// The child's user-space backtrace.
    pub backtrace: Trace,
}

/// A child's user-space backtrace, which the child takes itself when the parent asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trace {
    /// The frames, innermost first.
    Frames(Vec<Frame>),
    /// The child did not answer in time, for example because it is stopped, is in uninterruptible
    /// sleep, or has no handler for SIGURG.
    NoAnswer,
    /// No backtrace was requested.
    NotAsked,
}

/// A frame of a backtrace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Frame {
    /// The instruction address: the current one in the first frame, a return address in the others.
    pub address: u64,
    /// The function's name; `None` if it is unknown.
    pub function: Option<String>,
    /// The source file; `None` without debug information.
    pub file: Option<String>,
    /// The line in the source file, counted from 1.
    pub line: Option<u32>,
}

impl Frame {
    /// Creates a frame of which only the address is known.
    #[must_use]
    pub const fn at(address: u64) -> Frame {
        Frame { address, function: None, file: None, line: None }
    }
}

impl Evidence {
    /// Creates evidence from the child's status. What only the operating system and the child
    /// itself know is missing.
    #[must_use]
    pub fn of(child: &ChildReport, taken: SystemTime) -> Self {
        Evidence {
            taken,
            slot: child.slot,
            generation: Generation::new(child.generation),
            pid: child.pid,
            letter: child.letter,
            label: child.label.clone(),
            age: child.age,
            since: child.since,
            requests: child.requests,
            cpu: None,
            request_cpu: None,
            rss: None,
            pss: None,
            state: None,
            wchan: None,
            syscall: None,
            kernel_stack: Vec::new(),
            backtrace: Trace::NotAsked,
        }
    }

    fn process_facts(&self) -> Vec<String> {
        let known = [
            self.cpu.map(|cpu| format!("cpu {}", format::duration(cpu))),
            self.request_cpu.map(|cpu| format!("{} of it in this request", format::duration(cpu))),
            self.rss.map(|bytes| format!("rss {}", format::size(bytes))),
            self.pss.map(|bytes| format!("pss {}", format::size(bytes))),
        ];
        known.into_iter().flatten().collect()
    }

    fn kernel_facts(&self) -> Vec<String> {
        let known = [
            self.state.map(|state| format!("state {}", state.escape_debug())),
            self.wchan.as_ref().map(|wchan| format!("waiting in {}", format::escaped(wchan))),
            self.syscall
                .as_ref()
                .map(|syscall| format!("system call {}", format::escaped(syscall))),
        ];
        known.into_iter().flatten().collect()
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: child in slot {} (", Utc(self.taken), self.slot.get())?;
        match self.pid {
            Some(pid) => write!(f, "process {pid}")?,
            None => f.write_str("no process yet")?,
        }
        write!(f, ", generation {}), status ", self.generation.get())?;
        match Status::from_letter(self.letter) {
            Some(status) => write!(f, "{status}")?,
            None => write!(f, "damaged ({})", self.letter.escape_debug())?,
        }
        write!(f, " for {}", format::duration(self.since))?;
        if let Some(label) = &self.label {
            write!(f, ": {}", format::escaped(label))?;
        }
        writeln!(f)?;
        writeln!(f, "    age {}, {} requests", format::duration(self.age), self.requests)?;
        for known in [self.process_facts(), self.kernel_facts()] {
            if !known.is_empty() {
                writeln!(f, "    {}", known.join(", "))?;
            }
        }
        if !self.kernel_stack.is_empty() {
            writeln!(f, "    kernel stack")?;
        }
        for (number, place) in self.kernel_stack.iter().enumerate() {
            writeln!(f, "        #{number} {}", format::escaped(place))?;
        }
        self.backtrace.fmt(f)
    }
}

impl fmt::Display for Trace {
    /// Writes a line for each frame, or a line that says that the child did not answer. Writes
    /// nothing if no backtrace was requested.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trace::Frames(frames) => {
                writeln!(f, "    backtrace")?;
                for (number, frame) in frames.iter().enumerate() {
                    writeln!(f, "        #{number} {frame}")?;
                }
                Ok(())
            }
            Trace::NoAnswer => writeln!(f, "    no backtrace: the child did not answer"),
            Trace::NotAsked => Ok(()),
        }
    }
}

impl fmt::Display for Frame {
    /// Writes `function at file:line`. Writes the address instead of an unknown function, and
    /// leaves out an unknown file or line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(function) => format::escaped(function).fmt(f)?,
            None => write!(f, "{:#x}", self.address)?,
        }
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, " at {}:{line}", format::escaped(file)),
            (Some(file), None) => write!(f, " at {}", format::escaped(file)),
            (None, _) => Ok(()),
        }
    }
}

/// Prints a time as a date in UTC. The log's own timestamps can be in another time zone.
struct Utc(SystemTime);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let date = i64::try_from(seconds).map(time::OffsetDateTime::from_unix_timestamp);
        match date {
            Ok(Ok(date)) => {
                let (year, month, day) = date.to_calendar_date();
                let (hour, minute, second) = date.to_hms();
                let month = u8::from(month);
                write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
            }
            Ok(Err(_)) | Err(_) => write!(f, "{seconds} s after 1970"),
        }
    }
}

#[cfg(test)]
mod tests;
