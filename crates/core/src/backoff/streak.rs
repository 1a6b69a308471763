//! A row of failures of one kind, and the delay that it has come to.

use std::time::Duration;

use super::{BackoffRules, BackoffState, FailureKind};
use crate::monotonic::MonotonicTime;

/// A row of failures.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Streak {
    count: u32,
    delay: Duration,
    until: MonotonicTime,
}

/// What failures do that come while a delay runs.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Burst {
    /// They change nothing.
    CountsOnce,
    /// They lengthen the delay, but not beyond [`BackoffRules::young`].
    UpToYoung,
}

impl Streak {
    pub(super) fn add(
        &mut self,
        rules: &BackoffRules,
        free: u32,
        burst: Burst,
        now: MonotonicTime,
    ) {
        if !self.is_remembered(rules, now) {
            *self = Streak::default();
        }
        if now < self.until && burst == Burst::CountsOnce {
            return;
        }
        let running = now < self.until;
        self.count = self.count.saturating_add(1);
        if self.count > free {
            let longer = self.delay.saturating_mul(2).max(rules.first).min(rules.most);
            if !running || longer <= rules.young {
                self.delay = longer;
            }
        }
        self.until = self.until.max(now + self.delay);
    }

    /// Whether the row goes on, or is so old that the next failure begins another.
    pub(super) fn is_remembered(&self, rules: &BackoffRules, now: MonotonicTime) -> bool {
        self.count > 0 && now.saturating_since(self.until) <= rules.most
    }

    /// Whether the row is past what is free.
    pub(super) fn costs(&self) -> bool {
        self.delay > Duration::ZERO
    }

    pub(super) fn until(&self) -> MonotonicTime {
        self.until
    }

    pub(super) fn tell(&self, kind: FailureKind) -> BackoffState {
        BackoffState { kind, in_a_row: self.count, delay: self.delay, until: self.until }
    }
}
