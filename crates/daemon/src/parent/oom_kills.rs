//! The kernel's kills for want of memory, told from others by the counter of the cgroup.

use super::process_control::OomKills;

#[cfg(not(target_os = "linux"))]
mod fallback;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
use fallback as platform;
#[cfg(target_os = "linux")]
use linux as platform;

/// The counter, and where it stood at the last look.
#[derive(Debug)]
pub(crate) struct OomKillCounter {
    counter: Option<platform::Counter>,
    seen: u64,
    /// Where it stood when the process table was read last.
    sampled: u64,
}

impl OomKillCounter {
    /// Finds the counter of the cgroup that this process and its children are in.
    pub(crate) fn of_this_cgroup() -> OomKillCounter {
        let counter = platform::Counter::find();
        let seen = counter.as_ref().and_then(platform::Counter::read).unwrap_or(0);
        OomKillCounter { counter, seen, sampled: seen }
    }

    /// What the counter showed at the time before and nobody has claimed since was not one of ours:
    /// a process that a child has started, or a neighbour's.
    pub(crate) fn expire(&mut self) {
        self.seen = self.seen.max(self.sampled);
        if let Some(count) = self.counter.as_ref().and_then(platform::Counter::read) {
            self.sampled = count;
        }
    }

    /// Says whether it has gone up since the last look. One step is taken at a time: each kill is
    /// one child's.
    pub(crate) fn look(&mut self) -> OomKills {
        let count = self.counter.as_ref().and_then(platform::Counter::read);
        match count {
            Some(count) if count > self.seen => {
                self.seen += 1;
                OomKills::New
            }
            Some(_) | None => OomKills::Unchanged,
        }
    }
}
