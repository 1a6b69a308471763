//! Consecutive failures of one kind, and the delay that they have caused.

use std::time::Duration;

use super::{BackoffRules, BackoffState, FailureKind, FailureReason};
use crate::monotonic::MonotonicTime;

/// Consecutive failures of one kind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Streak {
    count: u32,
    delay: Duration,
    until: MonotonicTime,
    /// The reason of the last failure; `None` if there was no failure.
    reason: Option<FailureReason>,
}

/// The effect of failures that occur while a delay runs.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Burst {
    /// Further failures are not counted.
    CountsOnce,
    /// Further failures are counted. Each starts the delay again, and doubles it up to
    /// [`BackoffRules::early_death_age`].
    UpToEarlyDeathAge,
}

impl Streak {
    pub(super) fn add(
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
    pub(super) fn is_remembered(&self, rules: &BackoffRules, now: MonotonicTime) -> bool {
        self.count > 0 && now.saturating_since(self.until) <= rules.max_delay
    }

    /// Returns whether the streak has caused a delay.
    pub(super) fn has_delay(&self) -> bool {
        self.delay > Duration::ZERO
    }

    pub(super) fn until(&self) -> MonotonicTime {
        self.until
    }

    pub(super) fn state(&self, kind: FailureKind) -> Option<BackoffState> {
        Some(BackoffState {
            kind,
            consecutive_failures: self.count,
            delay: self.delay,
            until: self.until,
            reason: self.reason?,
        })
    }
}
