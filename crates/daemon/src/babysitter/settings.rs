//! How children are watched: what they may use, how often it is looked, and what is done.

use std::path::PathBuf;
use std::time::Duration;

use daemon_core::{Jitter, Ladder, Limits};

use crate::error::ConfigError;

/// By which measure a child's memory is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum MemoryMeasure {
    /// What of it is in memory, with everything that it shares with others: cheap to read.
    #[default]
    Rss,
    /// Its share: what it has alone, and its part of what it shares. The fairer measure of forked
    /// children, and dearer to read: the kernel walks all pages of the process.
    Pss,
}

/// How children are watched, and what they may use: see [`DaemonBuilder::babysit`](crate::DaemonBuilder::babysit).
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
    pub(crate) step: MemoryMeasure,
    pub(crate) ladder: Option<Ladder>,
    pub(crate) slowlog: Option<PathBuf>,
}

impl Default for Babysit {
    /// Every 30 seconds.
    fn default() -> Self {
        Babysit::new(Duration::from_secs(30))
    }
}

impl Babysit {
    /// Looks at the process table at this interval: the original's `babysit`. What the scoreboard
    /// tells, how long a request lasts and whether a heart beats, is looked at when it is due.
    ///
    /// A child may use 10 minutes of processor time in a request, 1 hour in a
    /// [`Long`](crate::UpdateStatus::Long) one, and all else without limit, unless it is said.
    #[must_use]
    pub fn new(interval: Duration) -> Babysit {
        Babysit {
            interval: Some(interval),
            limits: Limits::default(),
            step: MemoryMeasure::default(),
            ladder: None,
            slowlog: None,
        }
    }

    /// Never looks at anything.
    #[must_use]
    pub fn disabled() -> Babysit {
        Babysit { interval: None, ..Babysit::default() }
    }

    /// Sets how much processor time a child may use in one request; `None` for any. 10 minutes by
    /// default.
    ///
    /// It is counted from the first look at the process table in the request, so up to an interval
    /// of it is left out.
    #[must_use]
    pub fn cpu(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.limits.cpu = limit.into();
        self
    }

    /// The same for a [`Long`](crate::UpdateStatus::Long) request. 1 hour by default.
    #[must_use]
    pub fn long_cpu(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.limits.long_cpu = limit.into();
        self
    }

    /// Sets how much processor time a child may use in its life: the original's rule. None by
    /// default.
    #[must_use]
    pub fn total_cpu(mut self, limit: Duration) -> Self {
        self.limits.total_cpu = Some(limit);
        self
    }

    /// Sets how long a request may take. None by default.
    ///
    /// The request itself may ask for more: [`UpdateStatus::Extend`](crate::UpdateStatus::Extend).
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.limits.request_timeout = Some(timeout);
        self
    }

    /// Sets how long a [`Long`](crate::UpdateStatus::Long) request may take, from when it was said to
    /// be long. None by default.
    #[must_use]
    pub fn long_timeout(mut self, timeout: Duration) -> Self {
        self.limits.long_timeout = Some(timeout);
        self
    }

    /// Recycles a child that uses more memory, in bytes, after the request in hand. None by default.
    #[must_use]
    pub fn soft_memory(mut self, bytes: u64) -> Self {
        self.limits.soft_memory = Some(bytes);
        self
    }

    /// Kills a child that uses more memory, in bytes. None by default.
    #[must_use]
    pub fn hard_memory(mut self, bytes: u64) -> Self {
        self.limits.hard_memory = Some(bytes);
        self
    }

    /// Sets by which measure memory is judged. [`Rss`](MemoryMeasure::Rss) by default.
    #[must_use]
    pub fn memory_measure(mut self, step: MemoryMeasure) -> Self {
        self.step = step;
        self
    }

    /// Has each child note on the scoreboard, four times in this time, that its event loop turns, and
    /// kills one that has not for so long, idle or busy: stopped, or blocked. None by default, since
    /// a child may well block its loop with a request.
    #[must_use]
    pub fn heartbeat_timeout(mut self, timeout: Duration) -> Self {
        self.limits.heartbeat_timeout = Some(timeout);
        self
    }

    /// Recycles a child after so long a life, after the request in hand. None by default.
    #[must_use]
    pub fn max_lifetime(mut self, lifetime: Duration) -> Self {
        self.limits.max_lifetime = Some(lifetime);
        self
    }

    /// Sets by how much lifetimes are shortened at most, so that children who were born together do
    /// not leave together. 10 % by default.
    #[must_use]
    pub fn lifetime_jitter(mut self, jitter: Jitter) -> Self {
        self.limits.lifetime_jitter = jitter;
        self
    }

    /// Takes evidence of a request that takes longer, and does nothing to it. None by default.
    #[must_use]
    pub fn slowlog_after(mut self, time: Duration) -> Self {
        self.limits.slowlog_after = Some(time);
        self
    }

    /// Appends evidence to this file instead of the log. It is opened anew for each record, so it
    /// may be moved away at any time.
    #[must_use]
    pub fn slowlog(mut self, path: impl Into<PathBuf>) -> Self {
        self.slowlog = Some(path.into());
        self
    }

    /// Sets the steps against a rogue. INT, TERM, KILL and giving up by default, two intervals apart.
    #[must_use]
    pub fn ladder(mut self, ladder: Ladder) -> Self {
        self.ladder = Some(ladder);
        self
    }

    /// The pause between two beats of a child's heart; none if nobody listens to them.
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
                let value = format!("{:?}", time.unwrap_or_default());
                return Err(ConfigError::value(field, &value, "it must be at least 10 ms"));
            }
        }
        if let (Some(soft), Some(hard)) = (self.limits.soft_memory, self.limits.hard_memory)
            && soft > hard
        {
            let why = format!("it must not be above hard_memory, which is {hard}");
            return Err(ConfigError::value("soft_memory", soft, &why));
        }
        for (field, bytes) in
            [("soft_memory", self.limits.soft_memory), ("hard_memory", self.limits.hard_memory)]
        {
            if bytes == Some(0) {
                return Err(ConfigError::value(field, 0, "no child lives on no memory"));
            }
        }
        Ok(())
    }
}

/// Shorter times than this are mistakes, and would have the parent do nothing else.
const SHORTEST: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_cannot_be_meant_are_refused_by_name() {
        let second = Duration::from_secs(1);
        let refusal = |babysit: Babysit| babysit.check().unwrap_err().to_string();
        assert_eq!(
            refusal(Babysit::new(Duration::ZERO)),
            "babysit is 0ns: it must be at least 10 ms"
        );
        let every = Babysit::new(second);
        assert_eq!(
            refusal(every.clone().request_timeout(Duration::from_millis(9))),
            "request_timeout is 9ms: it must be at least 10 ms"
        );
        assert_eq!(
            refusal(every.clone().soft_memory(200).hard_memory(100)),
            "soft_memory is 200: it must not be above hard_memory, which is 100"
        );
        assert_eq!(
            refusal(every.clone().hard_memory(0)),
            "hard_memory is 0: no child lives on no memory"
        );
        assert!(every.soft_memory(100).hard_memory(100).check().is_ok());
        assert!(Babysit::default().check().is_ok() && Babysit::disabled().check().is_ok());
    }
}
