//! Delays forks while forks fail or children die too early.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exit_cause::ExitCause;
use crate::format;
use crate::monotonic::MonotonicTime;

/// The delays of a [`Backoff`].
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BackoffRules {
    /// The first delay. Each further delay is twice as long as the one before. 100 ms by default.
    pub initial_delay: Duration,
    /// The longest delay. 30 s by default.
    pub max_delay: Duration,
    /// How many consecutive deaths cause no delay. [`Death::BeforeReady`] and [`Death::Early`] are
    /// counted separately. 5 by default.
    pub free_deaths: u32,
    /// A child dies early if it was ready, has begun no request, and is younger than this age. 1 s
    /// by default.
    pub early_death_age: Duration,
}

/// The longest delay after a fork that was not attempted. Another attempt costs the system little,
/// and the reason, for example that no descriptor is free, can pass at any time.
const NOT_ATTEMPTED_DELAY_MAX: Duration = Duration::from_secs(1);

impl Default for BackoffRules {
    fn default() -> BackoffRules {
        BackoffRules {
            initial_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(30),
            free_deaths: 5,
            early_death_age: Duration::from_secs(1),
        }
    }
}

/// How early a child died.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Death {
    /// The child died before it was ready.
    BeforeReady,
    /// The child was ready, had begun no request, and was younger than
    /// [`BackoffRules::early_death_age`].
    Early,
    /// The child died later, or after it had begun a request. A replacement can be forked at once,
    /// whatever the cause of the death.
    Late,
}

/// The kind of failure that repeats.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The system refuses to fork.
    ForkFailed,
    /// Children die before they are ready.
    NeverReady,
    /// Children die shortly after they became ready.
    DiedEarly,
}

/// Why the last fork or the last child failed.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureReason {
    /// The system refused to fork, with this errno.
    Errno(i32),
    /// fork(2) was not called, because the request for the child could not be created, or because
    /// the fork server has other threads or is shutting down.
    NotAttempted,
    /// The child exited.
    Exit(ExitCause),
}

/// The current streak of failures, for logs and status reports.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BackoffState {
    /// The kind of failure that repeats.
    pub kind: FailureKind,
    /// The number of consecutive failures of this kind.
    pub consecutive_failures: u32,
    /// The delay after the last failure; zero if no failure has caused a delay.
    pub delay: Duration,
    /// When the next fork is allowed.
    pub until: MonotonicTime,
    /// The reason of the last failure.
    pub reason: FailureReason,
}

/// Delays forks after failures, so that children that always die do not cause endless forks, and a
/// full process table does not cause a busy loop.
///
/// Three streaks are counted separately, because different events end them:
///
/// - failed forks: each causes a delay. A successful fork ends the streak.
/// - children that die before they are ready: the first five deaths cause no delay, and each
///   further death causes one. A child that becomes ready ends the streak.
/// - children that die early: the first five deaths cause no delay, either. A child that becomes
///   ready does not end this streak, because each of the dead children was ready. This streak ends
///   only when enough time has passed.
///
/// Each streak also ends when its kind of failure has not occurred for the length of its delay plus
/// `max_delay`. Delays double, from 100 ms to 30 s, like the delays of systemd's restarts and of
/// uWSGI's emperor. After a fork that was not attempted, the delay is 1 s at most. Failures that
/// occur while a delay runs were caused before the delay began. Therefore, while a delay runs,
/// failed forks are not counted, and deaths double the delay only up to `early_death_age`. Each of
/// these deaths starts the delay again.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use daemon_core::{Backoff, BackoffRules, FailureReason, MonotonicTime};
///
/// const EAGAIN: i32 = 11;
/// let mut backoff = Backoff::new(BackoffRules::default());
/// let now = MonotonicTime::from_since_boot(Duration::from_secs(5));
/// backoff.fork_failed(FailureReason::Errno(EAGAIN), now);
/// assert_eq!(backoff.blocked_until(now), Some(now + Duration::from_millis(100)));
/// assert_eq!(backoff.blocked_until(now + Duration::from_millis(100)), None);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backoff {
    rules: BackoffRules,
    failed_forks: Streak,
    failed_boots: Streak,
    early_deaths: Streak,
}

impl Backoff {
    /// Creates a backoff without failures.
    #[must_use]
    pub fn new(rules: BackoffRules) -> Backoff {
        Backoff {
            rules,
            failed_forks: Streak::default(),
            failed_boots: Streak::default(),
            early_deaths: Streak::default(),
        }
    }

    /// Returns the time until which no child may be forked, or `None` if forks are allowed now.
    ///
    /// At that time, call [`allowed_forks`](Backoff::allowed_forks) to get the number of children
    /// that may be forked. Do not fork all missing children: if they were all forked while the
    /// failure persists, several children would fail after each delay instead of one.
    #[must_use]
    pub fn blocked_until(&self, now: MonotonicTime) -> Option<MonotonicTime> {
        self.streaks()
            .map(|(_kind, streak)| streak.until())
            .into_iter()
            .max()
            .filter(|until| now < *until)
    }

    /// Returns how many of the `wanted` children may be forked now, while `starting` others are not
    /// ready yet.
    ///
    /// Returns 0 while a delay runs, and `wanted` if no recent failure has caused a delay. After a
    /// delay, children may be forked only one at a time: the next child shows whether the failure
    /// persists.
    #[must_use]
    pub fn allowed_forks(&self, wanted: u32, starting: u32, now: MonotonicTime) -> u32 {
        if self.blocked_until(now).is_some() {
            return 0;
        }
        let delays = |streak: &Streak| streak.is_remembered(&self.rules, now) && streak.has_delay();
        if self.streaks().iter().any(|(_kind, streak)| delays(streak)) {
            return wanted.min(1_u32.saturating_sub(starting));
        }
        wanted
    }

    /// Records that a fork failed.
    pub fn fork_failed(&mut self, reason: FailureReason, now: MonotonicTime) {
        let max_delay = match reason {
            FailureReason::NotAttempted => self.rules.max_delay.min(NOT_ATTEMPTED_DELAY_MAX),
            FailureReason::Errno(_) | FailureReason::Exit(_) => self.rules.max_delay,
        };
        let rules = BackoffRules { max_delay, ..self.rules };
        self.failed_forks.add(reason, &rules, 0, Burst::CountsOnce, now);
    }

    /// Records that a child was forked.
    pub fn fork_succeeded(&mut self) {
        self.failed_forks = Streak::default();
    }

    /// Records that a child exited without being asked to.
    pub fn child_died(&mut self, death: Death, cause: ExitCause, now: MonotonicTime) {
        let (reason, free) = (FailureReason::Exit(cause), self.rules.free_deaths);
        let streak = match death {
            Death::BeforeReady => &mut self.failed_boots,
            Death::Early => &mut self.early_deaths,
            Death::Late => return,
        };
        streak.add(reason, &self.rules, free, Burst::UpToEarlyDeathAge, now);
    }

    /// Records that a child became ready. This also records that the child was forked.
    pub fn child_ready(&mut self) {
        self.fork_succeeded();
        self.failed_boots = Streak::default();
    }

    /// Returns the streak whose delay ends last, or `None` if nothing has failed recently.
    #[must_use]
    pub fn state(&self, now: MonotonicTime) -> Option<BackoffState> {
        self.streaks()
            .into_iter()
            .filter(|(_kind, streak)| streak.is_remembered(&self.rules, now))
            .filter_map(|(kind, streak)| streak.state(kind))
            .max_by_key(|state| (state.until, state.consecutive_failures))
    }

    fn streaks(&self) -> [(FailureKind, &Streak); 3] {
        [
            (FailureKind::ForkFailed, &self.failed_forks),
            (FailureKind::NeverReady, &self.failed_boots),
            (FailureKind::DiedEarly, &self.early_deaths),
        ]
    }
}

/// Consecutive failures of one kind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Streak {
    count: u32,
    delay: Duration,
    until: MonotonicTime,
    /// The reason of the last failure; `None` if there was no failure.
    reason: Option<FailureReason>,
}

/// The effect of failures that occur while a delay runs.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Burst {
    /// Further failures are not counted.
    CountsOnce,
    /// Further failures are counted. Each starts the delay again, and doubles it up to
    /// [`BackoffRules::early_death_age`].
    UpToEarlyDeathAge,
}

impl Streak {
    fn add(
        &mut self,
        reason: FailureReason,
        rules: &BackoffRules,
        free: u32,
        burst: Burst,
        now: MonotonicTime,
    ) {
        if !self.is_remembered(rules, now) {
            *self = Streak::default();
        }
        self.reason = Some(reason);
        if now < self.until && burst == Burst::CountsOnce {
            return;
        }
        let is_running = now < self.until;
        self.count = self.count.saturating_add(1);
        if self.count > free {
            let longer = self.delay.saturating_mul(2).max(rules.initial_delay).min(rules.max_delay);
            if !is_running || longer <= rules.early_death_age {
                self.delay = longer;
            }
        }
        self.until = self.until.max(now + self.delay);
    }

    /// Returns whether a failure at this time continues the streak. If not, the failure starts a
    /// new streak.
    fn is_remembered(&self, rules: &BackoffRules, now: MonotonicTime) -> bool {
        self.count > 0 && now.saturating_since(self.until) <= rules.max_delay
    }

    /// Returns whether the streak has caused a delay.
    fn has_delay(&self) -> bool {
        self.delay > Duration::ZERO
    }

    fn until(&self) -> MonotonicTime {
        self.until
    }

    fn state(&self, kind: FailureKind) -> Option<BackoffState> {
        Some(BackoffState {
            kind,
            consecutive_failures: self.count,
            delay: self.delay,
            until: self.until,
            reason: self.reason?,
        })
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            FailureKind::ForkFailed => "fork failed",
            FailureKind::NeverReady => "child died before it was ready",
            FailureKind::DiedEarly => "child died shortly after it was ready",
        })
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FailureReason::Errno(errno) => {
                fmt::Display::fmt(&std::io::Error::from_raw_os_error(*errno), f)
            }
            FailureReason::NotAttempted => f.pad("fork was not attempted"),
            FailureReason::Exit(cause) => cause.fmt(f),
        }
    }
}

impl fmt::Display for BackoffState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BackoffState { kind: _, consecutive_failures: count, delay, until: _, reason } = self;
        let (delay, failures) = (format::duration(*delay), if *count == 1 { "" } else { "s" });
        write!(f, "waiting {delay} after {count} consecutive failure{failures}, reason: {reason}")
    }
}

#[cfg(test)]
mod tests;
