//! Detects kills by the kernel's OOM killer, from the cgroup's counter.

use super::process_control::OomKills;

#[cfg(not(target_os = "linux"))]
mod fallback;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
use fallback as platform;
#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use platform::parse_files as parse_oom_kills;

/// The cgroup's counter of OOM kills, and the number of kills that were claimed or discarded.
#[derive(Debug)]
pub(crate) struct OomKillCounter {
    counter: Option<platform::Counter>,
    seen: u64,
    /// The value of the counter when the babysitter last read the process table.
    sampled: u64,
}

impl OomKillCounter {
    /// Finds the counter of the cgroup that this process and its children are in.
    pub(crate) fn of_this_cgroup() -> OomKillCounter {
        let counter = platform::Counter::find();
        let seen = counter.as_ref().and_then(platform::Counter::read).unwrap_or(0);
        OomKillCounter { counter, seen, sampled: seen }
    }

    /// Discards the kills that were counted before the previous call and that no child's exit has
    /// claimed. Such a kill ended a process that is not a child of the daemon: a process that a
    /// child started, or an unrelated process in the same cgroup.
    pub(crate) fn expire(&mut self) {
        self.seen = self.seen.max(self.sampled);
        if let Some(count) = self.counter.as_ref().and_then(platform::Counter::read) {
            self.sampled = count;
        }
    }

    /// Claims one OOM kill for the exit of one child. Returns whether there was an unclaimed kill.
    pub(crate) fn claim(&mut self) -> OomKills {
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
