//! What is known of a child at the moment that something is wrong with it: taken before the first
//! step against it, and for a request that takes too long.

use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime};

use daemon_core::{Generation, SlotNumber, Status};
use serde::{Deserialize, Serialize};

use crate::status::ChildReport;

#[cfg(not(target_os = "linux"))]
mod fallback;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
use fallback as platform;
#[cfg(target_os = "linux")]
use linux as platform;

/// What is known of a child at one moment: what the scoreboard, the system and it itself tell.
///
/// `Display` gives a record of several lines: who and since when, then what is known of it, then a
/// line for each frame of its backtrace, where it was first. What is not known is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evidence {
    /// When it was taken; serialised as seconds since 1970, UTC.
    #[serde(with = "epoch")]
    pub taken: SystemTime,
    /// The child's slot.
    pub slot: SlotNumber,
    /// Which of the slot's children it is.
    pub generation: Generation,
    /// Its process, once it lives.
    pub pid: Option<u32>,
    /// The letter of its status; `?` when the line on the scoreboard is damaged.
    pub letter: char,
    /// What it says that it does.
    pub label: Option<String>,
    /// Since its birth.
    pub age: Duration,
    /// Since its status has changed.
    pub since: Duration,
    /// Requests begun.
    pub requests: u64,
    /// Processor time of its life, in user and kernel mode and of all its threads, to 10 ms.
    pub cpu: Option<Duration>,
    /// The part of it that was used since the request in hand began.
    pub cpu_of_request: Option<Duration>,
    /// Bytes of memory that are in RAM, shared ones too, as proc(5) counts them: not quite exactly.
    pub rss: Option<u64>,
    /// Bytes of memory in RAM, shared ones by its share. Dear to find out, and so not always asked.
    pub pss: Option<u64>,
    /// What the kernel says of it: `R` runs, `S` sleeps, `D` waits for a device and hears no signal,
    /// `T` is stopped, `t` is traced, `Z` has ended. Other letters are in proc(5).
    pub state: Option<char>,
    /// The kernel's function in which its first thread waits; none if it runs, or for who may not
    /// know.
    pub wchan: Option<String>,
    /// The system call in which its first thread waits: its number, and six arguments whether it
    /// takes as many or not. For the child's own user or root.
    pub syscall: Option<String>,
    /// The kernel's stack of its first thread, innermost first; empty for all but root.
    pub kernel_stack: Vec<String>,
    /// Its own stack.
    pub backtrace: Trace,
}

/// A child's own stack, as it tells it when it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trace {
    /// Where it was, then who called that.
    Frames(Vec<Frame>),
    /// It did not answer in time: it is stopped, waits in the kernel, or has no handler.
    NoAnswer,
    /// It was not asked.
    NotAsked,
}

/// A frame of a backtrace: a function that was running, or had called the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Frame {
    /// Where it was, or where the one before it returns to.
    pub address: u64,
    /// The function's name; none if nothing tells it.
    pub function: Option<String>,
    /// The source file; none without debug information.
    pub file: Option<String>,
    /// The line in it, from 1 on.
    pub line: Option<u32>,
}

impl Frame {
    /// A frame of which nothing but its place is known.
    pub(crate) fn at(address: usize) -> Frame {
        Frame { address: address as u64, function: None, file: None, line: None }
    }
}

impl From<daemon_sys::trace::StackFrame> for Frame {
    fn from(frame: daemon_sys::trace::StackFrame) -> Self {
        let address = frame.address as u64;
        Frame { address, function: frame.function, file: frame.file, line: frame.line }
    }
}

/// What the system tells of a process; what cannot be read, or is not known to this system, is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProcessInfo {
    pub(crate) cpu: Option<Duration>,
    pub(crate) rss: Option<u64>,
    pub(crate) pss: Option<u64>,
    pub(crate) state: Option<char>,
    pub(crate) wchan: Option<String>,
    pub(crate) syscall: Option<String>,
    pub(crate) kernel_stack: Vec<String>,
}

/// Looks at a process from outside, on Linux by `/proc`. Of one that is gone nothing is told.
///
/// For the PSS the kernel walks all of the process' pages: milliseconds for a large one, and its
/// memory is locked meanwhile.
pub(crate) fn inspect(pid: u32) -> ProcessInfo {
    platform::inspect(pid)
}

/// Tells a process' share of memory in bytes: what it has alone, and its part of what it shares.
pub(crate) fn pss(pid: u32) -> Option<u64> {
    platform::pss(pid)
}

impl Evidence {
    /// Puts together what the scoreboard and the system tell of a child that has not been asked.
    pub(crate) fn of(
        child: &ChildReport,
        inspect: ProcessInfo,
        cpu_of_request: Option<Duration>,
        taken: SystemTime,
    ) -> Self {
        let ProcessInfo { cpu, rss, pss, state, wchan, syscall, kernel_stack } = inspect;
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
            cpu,
            cpu_of_request: cpu.and(cpu_of_request),
            rss,
            pss,
            state,
            wchan,
            syscall,
            kernel_stack,
            backtrace: Trace::NotAsked,
        }
    }

    fn process_facts(&self) -> Vec<String> {
        let known = [
            self.cpu.map(|cpu| format!("cpu {}", Seconds(cpu))),
            self.cpu_of_request.map(|cpu| format!("{} of it for this request", Seconds(cpu))),
            self.rss.map(|bytes| format!("rss {}", Bytes(bytes))),
            self.pss.map(|bytes| format!("pss {}", Bytes(bytes))),
        ];
        known.into_iter().flatten().collect()
    }

    fn kernel_facts(&self) -> Vec<String> {
        let known = [
            self.state.map(|state| format!("state {}", state.escape_debug())),
            self.wchan.as_ref().map(|wchan| format!("waits in {}", OneLine(wchan))),
            self.syscall.as_ref().map(|syscall| format!("system call {}", OneLine(syscall))),
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
        write!(f, ", generation {}) is ", self.generation.get())?;
        match Status::from_letter(self.letter) {
            Some(status) => write!(f, "{status}")?,
            None => write!(f, "damaged ({})", self.letter.escape_debug())?,
        }
        write!(f, " for {}", Seconds(self.since))?;
        if let Some(label) = &self.label {
            write!(f, ": {}", OneLine(label))?;
        }
        writeln!(f)?;
        writeln!(f, "    age {}, {} requests", Seconds(self.age), self.requests)?;
        for known in [self.process_facts(), self.kernel_facts()] {
            if !known.is_empty() {
                writeln!(f, "    {}", known.join(", "))?;
            }
        }
        if !self.kernel_stack.is_empty() {
            writeln!(f, "    kernel stack")?;
        }
        for (number, place) in self.kernel_stack.iter().enumerate() {
            writeln!(f, "        #{number} {}", OneLine(place))?;
        }
        self.backtrace.fmt(f)
    }
}

impl fmt::Display for Trace {
    /// Writes a line for each frame, or one that tells why there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trace::Frames(frames) => {
                writeln!(f, "    backtrace")?;
                for (number, frame) in frames.iter().enumerate() {
                    writeln!(f, "        #{number} {frame}")?;
                }
                Ok(())
            }
            Trace::NoAnswer => writeln!(f, "    no backtrace: it does not answer"),
            Trace::NotAsked => Ok(()),
        }
    }
}

impl fmt::Display for Frame {
    /// Writes `function at file:line`, without what is not known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(function) => OneLine(function).fmt(f)?,
            None => write!(f, "{:#x}", self.address)?,
        }
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, " at {}:{line}", OneLine(file)),
            (Some(file), None) => write!(f, " at {}", OneLine(file)),
            (None, _) => Ok(()),
        }
    }
}

/// A text of which nothing ends the line: a label may be a client's words.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// A duration to the hundredth of a second.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} s", self.0.as_secs_f64())
    }
}

/// A size in the binary megabytes that operators count in.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MiB", self.0 as f64 / f64::from(1 << 20))
    }
}

/// A time as a date, by the clock of Greenwich: the log's own lines may be by another.
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

/// A time as seconds since 1970, with a fraction.
mod epoch {
    use std::time::{Duration, SystemTime};

    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        time: &SystemTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        // A clock that was set before 1970 is a clock that was never set.
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        serializer.serialize_f64(since.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SystemTime, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        let since = Duration::try_from_secs_f64(seconds).map_err(D::Error::custom)?;
        let time = SystemTime::UNIX_EPOCH.checked_add(since);
        time.ok_or_else(|| D::Error::custom(format!("{seconds} s after 1970 is out of reach")))
    }
}

#[cfg(test)]
mod tests;
