//! The limits of a child, and the check of a child against its limits.

use std::time::Duration;

use crate::entry::SlotEntry;
use crate::exit_cause::{RecycleReason, Violation};
use crate::monotonic::MonotonicTime;
use crate::quota::Jitter;
use crate::status::Status;

/// The limits of a child. `None` means that there is no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The maximum CPU time of one request. 10 minutes by default, as documented for
    /// `POE::Component::Daemon`.
    pub cpu: Option<Duration>,
    /// The maximum CPU time of one request that is [`Long`](Status::Long). 1 hour by default.
    pub long_cpu: Option<Duration>,
    /// The maximum CPU time since the child was forked, as in `POE::Component::Daemon`. None by
    /// default.
    pub total_cpu: Option<Duration>,
    /// How long a child may be [`Serving`](Status::Serving). None by default.
    pub request_timeout: Option<Duration>,
    /// How long a child may be [`Long`](Status::Long). None by default.
    pub long_timeout: Option<Duration>,
    /// The memory in bytes above which a child is recycled after its current request. None by
    /// default.
    pub soft_memory: Option<u64>,
    /// The memory in bytes above which a child is killed. None by default.
    pub hard_memory: Option<u64>,
    /// The maximum time between two heartbeats. None by default. Without this limit, children send
    /// no heartbeats.
    pub heartbeat_timeout: Option<Duration>,
    /// The lifetime after which a child is recycled. None by default.
    pub max_lifetime: Option<Duration>,
    /// The maximum percentage by which lifetimes are shortened, so that children that were started
    /// together do not exit together. 10 % by default.
    pub lifetime_jitter: Jitter,
    /// The time after which a request is slow. Evidence is collected for slow requests, but they
    /// are not stopped. None by default.
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

/// The resource usage of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// The CPU time since the child was forked.
    pub cpu: Duration,
    /// The CPU time of the current request, counted from the babysitter's first sample of this
    /// request.
    pub request_cpu: Duration,
    /// The memory in bytes; `None` if the system does not report it.
    pub memory: Option<u64>,
}

/// The result of assessing a child. The variants are ordered from the worst result to the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assessment {
    /// The child violates a limit.
    Rogue(Violation),
    /// The child has reached its lifetime or its soft memory limit, and must exit after its current
    /// request.
    Recycle(RecycleReason),
    /// The child is within its limits.
    Normal,
}

impl Limits {
    /// Assesses a child by its slot on the scoreboard and, if `usage` is given, by its resource
    /// usage.
    ///
    /// `counted_from` is the time when the babysitter was created, or when it last resumed after a
    /// suspension. The timeouts of requests and heartbeats start at this time at the earliest, so
    /// children do not exceed them merely because the babysitter was suspended. `start_index` is
    /// the number of children that were started before this child, see
    /// [`Quota::new`](crate::Quota::new).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use daemon_core::{
    ///     Assessment, Limits, MonotonicTime, ScoreboardReader, SlotEntry, Violation,
    /// };
    ///
    /// fn is_late(limits: &Limits, entry: &SlotEntry, now: MonotonicTime) -> bool {
    ///     let finding = limits.assess(entry, None, 0, now, MonotonicTime::ZERO);
    ///     finding == Assessment::Rogue(Violation::Time)
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

    /// Returns whether the current request is slow. Does not check the other limits.
    #[must_use]
    pub fn is_slow(&self, entry: &SlotEntry, now: MonotonicTime) -> bool {
        self.slow_at(entry).is_some_and(|due| now >= due)
    }

    /// Returns the earliest time after `now` at which a limit is reached if the child's status does
    /// not change. The limits of CPU time and memory, which need the resource usage, are not
    /// considered.
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

    /// Returns the shortest of the time limits, or `None` if there are none. A child or a request
    /// that starts now cannot reach a time limit earlier than this.
    #[must_use]
    pub fn shortest(&self) -> Option<Duration> {
        let lifetime = self
            .max_lifetime
            .map(|whole| whole / 100 * u32::from(100 - self.lifetime_jitter.percent()));
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

    /// Returns when the next heartbeat is overdue. The timeout of a child that has not sent a
    /// heartbeat yet counts from its start, because a child can hang while it starts, too.
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

/// Returns the limit that applies in this status: `usual` for a request, `long` for a long request,
/// and `None` between requests.
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
