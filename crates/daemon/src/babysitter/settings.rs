//! The settings of the babysitter: limits, intervals and the steps against rogues.

use std::path::PathBuf;
use std::time::Duration;

use daemon_core::{Jitter, Ladder, Limits, format};

use crate::error::ConfigError;

/// How the memory of a child is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum MemoryMeasure {
    /// Resident set size: all resident pages, including those shared with other processes. Cheap to
    /// read.
    #[default]
    Rss,
    /// Proportional set size: the size of each shared page is divided by the number of processes
    /// that share it. More accurate for forked children, but expensive to read: the kernel walks
    /// all pages of the process.
    Pss,
}

/// The limits of children and how they are enforced, see
/// [`DaemonBuilder::babysit`](crate::DaemonBuilder::babysit).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use actix_daemon::{Babysit, Daemon, PreFork};
///
/// let _daemon = Daemon::builder().model(PreFork::new(4)).babysit(
///     Babysit::new(Duration::from_secs(10))
///         .request_timeout(Duration::from_secs(60))
///         .heartbeat_timeout(Duration::from_secs(30))
///         .soft_memory(256 << 20)
///         .hard_memory(512 << 20)
///         .slowlog("slow.log")
///         .slowlog_after(Duration::from_secs(5)),
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Babysit {
    pub(crate) interval: Option<Duration>,
    pub(crate) limits: Limits,
    pub(crate) measure: MemoryMeasure,
    pub(crate) ladder: Option<Ladder>,
    pub(crate) slowlog: Option<PathBuf>,
}

impl Default for Babysit {
    /// Returns settings with an interval of 30 seconds.
    fn default() -> Self {
        Babysit::new(Duration::from_secs(30))
    }
}

impl Babysit {
    /// Creates settings. `interval` is the time between two readings of the process table; the
    /// parameter `babysit` of `POE::Component::Daemon` has the same meaning. Limits that need only
    /// the scoreboard, for example the request timeout and the heartbeat timeout, are checked when
    /// they are due, independently of the interval.
    ///
    /// By default, a child may use 10 minutes of CPU time in a request and 1 hour in a
    /// [`Long`](crate::UpdateStatus::Long) request. Nothing else is limited.
    #[must_use]
    pub fn new(interval: Duration) -> Babysit {
        Babysit {
            interval: Some(interval),
            limits: Limits::default(),
            measure: MemoryMeasure::default(),
            ladder: None,
            slowlog: None,
        }
    }

    /// Returns settings that disable the babysitter.
    #[must_use]
    pub fn disabled() -> Babysit {
        Babysit { interval: None, ..Babysit::default() }
    }

    /// Sets how much CPU time a child may use in one request, or `None` for no limit. 10 minutes by
    /// default.
    ///
    /// CPU time is counted from the first reading of the process table during the request, so the
    /// CPU time before that reading, up to one interval, is not counted.
    #[must_use]
    pub fn cpu(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.limits.cpu = limit.into();
        self
    }

    /// Sets how much CPU time a child may use in one [`Long`](crate::UpdateStatus::Long) request,
    /// or `None` for no limit. 1 hour by default.
    #[must_use]
    pub fn long_cpu(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.limits.long_cpu = limit.into();
        self
    }

    /// Sets how much CPU time a child may use in its lifetime, as `POE::Component::Daemon` limits
    /// it. No limit by default.
    #[must_use]
    pub fn total_cpu(mut self, limit: Duration) -> Self {
        self.limits.total_cpu = Some(limit);
        self
    }

    /// Sets how long a request may take. No limit by default.
    ///
    /// The session can extend the time of its request with
    /// [`UpdateStatus::Extend`](crate::UpdateStatus::Extend).
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.limits.request_timeout = Some(timeout);
        self
    }

    /// Sets how long a [`Long`](crate::UpdateStatus::Long) request may take, counted from the
    /// update that marked it as long. No limit by default.
    #[must_use]
    pub fn long_timeout(mut self, timeout: Duration) -> Self {
        self.limits.long_timeout = Some(timeout);
        self
    }

    /// Sets the memory in bytes above which a child is recycled after its current request. No limit
    /// by default.
    #[must_use]
    pub fn soft_memory(mut self, bytes: u64) -> Self {
        self.limits.soft_memory = Some(bytes);
        self
    }

    /// Sets the memory in bytes above which a child is killed. No limit by default.
    #[must_use]
    pub fn hard_memory(mut self, bytes: u64) -> Self {
        self.limits.hard_memory = Some(bytes);
        self
    }

    /// Sets how memory is measured. [`Rss`](MemoryMeasure::Rss) by default.
    #[must_use]
    pub fn memory_measure(mut self, measure: MemoryMeasure) -> Self {
        self.measure = measure;
        self
    }

    /// Sets the heartbeat timeout. Each child writes a heartbeat to the scoreboard from its event
    /// loop, four times in this period. A child that writes no heartbeat for this long is killed,
    /// whether it is idle or busy, because its process is stopped or its event loop is blocked. Off
    /// by default, because a request may block the event loop.
    #[must_use]
    pub fn heartbeat_timeout(mut self, timeout: Duration) -> Self {
        self.limits.heartbeat_timeout = Some(timeout);
        self
    }

    /// Sets the age above which a child is recycled after its current request. No limit by default.
    #[must_use]
    pub fn max_lifetime(mut self, lifetime: Duration) -> Self {
        self.limits.max_lifetime = Some(lifetime);
        self
    }

    /// Sets the maximum percentage by which [`max_lifetime`](Babysit::max_lifetime) is shortened
    /// for a child, so that children that were forked together are not recycled together. 10 by
    /// default, at most 50.
    #[must_use]
    pub fn lifetime_jitter(mut self, jitter: Jitter) -> Self {
        self.limits.lifetime_jitter = jitter;
        self
    }

    /// Sets the time after which a request is slow. Evidence of a slow request is collected, and
    /// the request continues. Off by default.
    #[must_use]
    pub fn slowlog_after(mut self, time: Duration) -> Self {
        self.limits.slowlog_after = Some(time);
        self
    }

    /// Appends evidence to this file instead of writing it to the log. The file is opened for each
    /// record, so it can be rotated at any time.
    #[must_use]
    pub fn slowlog(mut self, path: impl Into<PathBuf>) -> Self {
        self.slowlog = Some(path.into());
        self
    }

    /// Sets the steps against a rogue. By default the steps are INT, TERM, KILL and giving up, two
    /// intervals apart.
    #[must_use]
    pub fn ladder(mut self, ladder: Ladder) -> Self {
        self.ladder = Some(ladder);
        self
    }

    /// Returns the interval of the heartbeats, or `None` if heartbeats are not checked.
    pub(crate) fn heartbeat(&self) -> Option<Duration> {
        self.interval.and(self.limits.heartbeat_timeout).map(|timeout| timeout / 4)
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let times = [
            ("babysit", self.interval),
            ("cpu", self.limits.cpu),
            ("long_cpu", self.limits.long_cpu),
            ("total_cpu", self.limits.total_cpu),
            ("request_timeout", self.limits.request_timeout),
            ("long_timeout", self.limits.long_timeout),
            ("heartbeat_timeout", self.limits.heartbeat_timeout),
            ("max_lifetime", self.limits.max_lifetime),
            ("slowlog_after", self.limits.slowlog_after),
        ];
        for (field, time) in times {
            if time.is_some_and(|time| time < SHORTEST) {
                let value = format::duration(time.unwrap_or_default());
                return Err(ConfigError::value(field, value, "it must be at least 10ms"));
            }
        }
        if let (Some(soft), Some(hard)) = (self.limits.soft_memory, self.limits.hard_memory)
            && soft > hard
        {
            let reason = format!("it must not be greater than hard_memory, which is {hard}");
            return Err(ConfigError::value("soft_memory", soft, &reason));
        }
        for (field, bytes) in
            [("soft_memory", self.limits.soft_memory), ("hard_memory", self.limits.hard_memory)]
        {
            if bytes == Some(0) {
                return Err(ConfigError::value(field, 0, "it must be greater than 0"));
            }
        }
        Ok(())
    }
}

/// The minimum value of every time setting. Shorter times are mistakes and would keep the parent
/// busy.
const SHORTEST: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_an_invalid_limit_contains_its_name_and_value() {
        let second = Duration::from_secs(1);
        let error = |babysit: Babysit| babysit.check().unwrap_err().to_string();
        assert_eq!(error(Babysit::new(Duration::ZERO)), "babysit is 0s: it must be at least 10ms");
        let every = Babysit::new(second);
        assert_eq!(
            error(every.clone().request_timeout(Duration::from_millis(9))),
            "request_timeout is 9ms: it must be at least 10ms"
        );
        assert_eq!(
            error(every.clone().soft_memory(200).hard_memory(100)),
            "soft_memory is 200: it must not be greater than hard_memory, which is 100"
        );
        assert_eq!(
            error(every.clone().hard_memory(0)),
            "hard_memory is 0: it must be greater than 0"
        );
        assert!(every.soft_memory(100).hard_memory(100).check().is_ok());
        assert!(Babysit::default().check().is_ok() && Babysit::disabled().check().is_ok());
    }
}
