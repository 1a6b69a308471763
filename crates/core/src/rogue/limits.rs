//! What a child may use, and what a look at one finds.

use std::time::Duration;

use crate::board::SlotEntry;
use crate::exit_cause::{RecycleReason, Violation};
use crate::monotonic::MonotonicTime;
use crate::quota::Jitter;
use crate::status::Status;

/// What a child may use and how long it may take. `None` is no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Processor time in one request. 10 minutes by default, as the original documents it.
    pub cpu: Option<Duration>,
    /// Processor time in one request that is [`Long`](Status::Long). 1 hour by default.
    pub long_cpu: Option<Duration>,
    /// Processor time in a child's whole life: the original's rule. None by default.
    pub total_cpu: Option<Duration>,
    /// How long a child may be [`Serving`](Status::Serving). None by default.
    pub request_timeout: Option<Duration>,
    /// How long a child may be [`Long`](Status::Long). None by default.
    pub long_timeout: Option<Duration>,
    /// Memory in bytes past which a child is recycled after the request in hand. None by default.
    pub soft_memory: Option<u64>,
    /// Memory in bytes past which a child is killed. None by default.
    pub hard_memory: Option<u64>,
    /// How long a child's heart may not beat. None by default, and then there are no heartbeats.
    pub heartbeat_timeout: Option<Duration>,
    /// How long a child may live before it is recycled. None by default.
    pub max_lifetime: Option<Duration>,
    /// By how much lifetimes are shortened, so that children who were born together do not leave
    /// together.
    pub lifetime_jitter: Jitter,
    /// After how long a request is slow: evidence of it is taken, nothing else. None by default.
    pub slowlog_after: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            cpu: Some(Duration::from_secs(600)),
            long_cpu: Some(Duration::from_secs(3600)),
            total_cpu: None,
            request_timeout: None,
            long_timeout: None,
            soft_memory: None,
            hard_memory: None,
            heartbeat_timeout: None,
            max_lifetime: None,
            lifetime_jitter: Jitter::default(),
            slowlog_after: None,
        }
    }
}

/// What the process table tells of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Processor time since its birth.
    pub cpu: Duration,
    /// Processor time in the request in hand, as far as it was seen: from the first sample in it.
    pub request_cpu: Duration,
    /// Memory in bytes; none where the system does not tell.
    pub memory: Option<u64>,
}

/// What a look at a child finds, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assessment {
    /// It does what no child may.
    Rogue(Violation),
    /// Its share is used up: it may finish what it does.
    Recycle(RecycleReason),
    /// Nothing.
    Normal,
}

impl Limits {
    /// Judges a child by its line on the scoreboard and, where it was sampled, its usage.
    ///
    /// Times are counted from `counted_from` at the earliest: the last moment at which the judge itself had
    /// been asleep, when nothing was its children's fault. `start_index` is how many children were born
    /// before it, see [`Quota::deal`](crate::Quota::deal).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use daemon_core::{Board, Entry, Finding, Limits, MonotonicTime, Violation};
    ///
    /// fn is_late(limits: &Limits, entry: &Entry, now: MonotonicTime) -> bool {
    ///     let finding = limits.assess(entry, None, 0, now, MonotonicTime::ZERO);
    ///     finding == Finding::Rogue(Violation::Time)
    /// }
    /// # let _ = is_late;
    /// ```
    #[must_use]
    pub fn assess(
        &self,
        entry: &SlotEntry,
        usage: Option<&Usage>,
        start_index: u64,
        now: MonotonicTime,
        counted_from: MonotonicTime,
    ) -> Assessment {
        let over = |due: Option<MonotonicTime>| due.is_some_and(|due| now >= due);
        if over(self.hung_at(entry, counted_from)) {
            return Assessment::Rogue(Violation::Hung);
        }
        if let Some(usage) = usage {
            let past = |used: Option<u64>, limit: Option<u64>| {
                used.zip(limit).is_some_and(|(used, limit)| used > limit)
            };
            let longer =
                |used: Duration, limit: Option<Duration>| limit.is_some_and(|limit| used > limit);
            if past(usage.memory, self.hard_memory) {
                return Assessment::Rogue(Violation::Memory);
            }
            let cpu = entry.status.and_then(|status| of_request(status, self.cpu, self.long_cpu));
            if longer(usage.request_cpu, cpu) || longer(usage.cpu, self.total_cpu) {
                return Assessment::Rogue(Violation::Cpu);
            }
        }
        if over(self.timed_out_at(entry, counted_from)) {
            return Assessment::Rogue(Violation::Time);
        }
        let memory = usage.and_then(|usage| usage.memory);
        if memory.zip(self.soft_memory).is_some_and(|(used, limit)| used > limit) {
            return Assessment::Recycle(RecycleReason::Memory);
        }
        if over(self.lifetime_ends_at(entry, start_index)) {
            return Assessment::Recycle(RecycleReason::Lifetime);
        }
        Assessment::Normal
    }

    /// Says whether the request in hand is slow, whatever else is found.
    #[must_use]
    pub fn is_slow(&self, entry: &SlotEntry, now: MonotonicTime) -> bool {
        self.slow_at(entry).is_some_and(|due| now >= due)
    }

    /// Says when the next look at a child may find something new, if nothing changes by then; what
    /// only a sample can tell is left out.
    #[must_use]
    pub fn next_due(
        &self,
        entry: &SlotEntry,
        start_index: u64,
        now: MonotonicTime,
        counted_from: MonotonicTime,
    ) -> Option<MonotonicTime> {
        [
            self.hung_at(entry, counted_from),
            self.timed_out_at(entry, counted_from),
            self.lifetime_ends_at(entry, start_index),
            self.slow_at(entry),
        ]
        .into_iter()
        .flatten()
        .filter(|due| *due > now)
        .min()
    }

    /// The shortest time in which a child that does nothing wrong now could come to do so.
    #[must_use]
    pub fn shortest(&self) -> Option<Duration> {
        let lifetime = self
            .max_lifetime
            .map(|whole| whole * u32::from(100 - self.lifetime_jitter.percent()) / 100);
        let times = [
            self.request_timeout,
            self.long_timeout,
            self.heartbeat_timeout,
            self.slowlog_after,
            lifetime,
        ];
        times.into_iter().flatten().min()
    }

    fn timed_out_at(
        &self,
        entry: &SlotEntry,
        counted_from: MonotonicTime,
    ) -> Option<MonotonicTime> {
        let timeout = of_request(entry.status?, self.request_timeout, self.long_timeout)?;
        let due = entry.since.max(counted_from) + timeout;
        Some(entry.deadline.map_or(due, |deadline| due.max(deadline)))
    }

    /// A child that has not begun to beat counts from its birth: its start may hang as well.
    fn hung_at(&self, entry: &SlotEntry, counted_from: MonotonicTime) -> Option<MonotonicTime> {
        let timeout = self.heartbeat_timeout?;
        let last = entry.heartbeat.unwrap_or(entry.started_at).max(counted_from);
        entry.status?.is_seated().then(|| last + timeout)
    }

    fn lifetime_ends_at(&self, entry: &SlotEntry, start_index: u64) -> Option<MonotonicTime> {
        let whole = u64::try_from(self.max_lifetime?.as_nanos()).unwrap_or(u64::MAX);
        match entry.status? {
            Status::Empty | Status::Forking | Status::Leaving => None,
            Status::Forked | Status::Fresh | Status::Waiting | Status::Serving | Status::Long => {
                let share = self.lifetime_jitter.shorten(whole, start_index);
                Some(entry.started_at + Duration::from_nanos(share))
            }
        }
    }

    fn slow_at(&self, entry: &SlotEntry) -> Option<MonotonicTime> {
        let after = self.slowlog_after?;
        entry.status?.is_busy().then(|| entry.since + after)
    }
}

/// Which limit holds: that of a request, or that of a long one; none holds between requests.
fn of_request(status: Status, usual: Option<Duration>, long: Option<Duration>) -> Option<Duration> {
    match status {
        Status::Serving => usual,
        Status::Long => long,
        Status::Empty
        | Status::Forking
        | Status::Forked
        | Status::Fresh
        | Status::Waiting
        | Status::Leaving => None,
    }
}

#[cfg(test)]
mod tests;
