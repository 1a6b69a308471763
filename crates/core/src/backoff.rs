//! When no child is forked for a while: forks that fail, and children that die too early.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::monotonic::MonotonicTime;

mod streak;

use streak::{Burst, Streak};

/// The delays of a [`Backoff`].
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BackoffRules {
    /// The first delay; each further one is twice as long. 100 ms by default.
    pub first: Duration,
    /// The longest delay. 30 s by default.
    pub most: Duration,
    /// How many early deaths in a row cost no delay. 5 by default.
    pub free: u32,
    /// Until which age a child that has served nothing dies early. 1 s by default.
    pub young: Duration,
}

impl Default for BackoffRules {
    fn default() -> BackoffRules {
        BackoffRules {
            first: Duration::from_millis(100),
            most: Duration::from_secs(30),
            free: 5,
            young: Duration::from_secs(1),
        }
    }
}

/// How early a child has died.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Death {
    /// It was never ready.
    BeforeReady,
    /// It was ready, had begun no request, and was younger than [`BackoffRules::young`].
    Early,
    /// It had lived: whatever it died of, a new one is worth a try at once.
    Late,
}

/// What goes wrong in a row.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The system refuses to fork.
    ForkFailed,
    /// Children die before they are ready.
    NeverReady,
    /// Children die when they have just become ready.
    DiedEarly,
}

/// What there is to tell an operator of what goes wrong.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BackoffState {
    /// What it is.
    pub kind: FailureKind,
    /// How often in a row.
    pub in_a_row: u32,
    /// The delay that the last time has cost; zero while it is free.
    pub delay: Duration,
    /// When the next try may be made.
    pub until: MonotonicTime,
}

/// Delays forks after failures, so that a broken child is no fork bomb and a full process table no
/// hot loop.
///
/// Three rows are counted apart, since different news ends them:
///
/// - forks that fail: each costs a delay; a fork that succeeds ends the row;
/// - children that die before they are ready: the first five are free, then each costs a delay; a
///   child that becomes ready ends the row;
/// - children that die young: the same, but no child that becomes ready ends it, since each of them
///   was ready. It ends by time.
///
/// Any row is forgotten when nothing has gone wrong for as long as its delay and the longest one.
/// Delays double, from a tenth of a second to half a minute, as systemd's restarts and uWSGI's
/// emperor. What goes wrong while a delay runs was begun before it, so it says little new: forks
/// that fail then count as one with the first, and deaths lengthen the delay only up to the length
/// of `young`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use daemon_core::{Backoff, BackoffRules, MonotonicTime};
///
/// let mut backoff = Backoff::new(BackoffRules::default());
/// let now = MonotonicTime::from_since_boot(Duration::from_secs(5));
/// backoff.fork_failed(now);
/// assert_eq!(backoff.blocked_until(now), Some(now + Duration::from_millis(100)));
/// assert_eq!(backoff.blocked_until(now + Duration::from_millis(100)), None);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backoff {
    rules: BackoffRules,
    forks: Streak,
    boots: Streak,
    youth: Streak,
}

impl Backoff {
    /// Makes one that has seen nothing go wrong.
    #[must_use]
    pub fn new(rules: BackoffRules) -> Backoff {
        let (forks, boots, youth) = (Streak::default(), Streak::default(), Streak::default());
        Backoff { rules, forks, boots, youth }
    }

    /// Shows the rules.
    #[must_use]
    pub fn rules(&self) -> &BackoffRules {
        &self.rules
    }

    /// Tells until when no child is to be forked; `None` if one may be now.
    ///
    /// It is when to ask again. How many may be forked then is for [`allowed`](Backoff::allowed) to
    /// say: a pool that refills all its places after each delay forks as many times as much.
    #[must_use]
    pub fn blocked_until(&self, now: MonotonicTime) -> Option<MonotonicTime> {
        self.streaks()
            .map(|(_kind, streak)| streak.until())
            .into_iter()
            .max()
            .filter(|until| now < *until)
    }

    /// Tells how many of the children that are wanted may be forked now, while `starting` others
    /// are not ready yet.
    ///
    /// None while a delay runs, all when nothing is wrong. In between, one at a time: it tries
    /// whether things have become better, and the others wait for how it fares.
    #[must_use]
    pub fn allowed(&self, wanted: u32, starting: u32, now: MonotonicTime) -> u32 {
        if self.blocked_until(now).is_some() {
            return 0;
        }
        let costs = |streak: &Streak| streak.is_remembered(&self.rules, now) && streak.costs();
        if self.streaks().iter().any(|(_kind, streak)| costs(streak)) {
            return wanted.min(1_u32.saturating_sub(starting));
        }
        wanted
    }

    /// Notes that the system has refused to fork.
    pub fn fork_failed(&mut self, now: MonotonicTime) {
        self.forks.add(&self.rules, 0, Burst::CountsOnce, now);
    }

    /// Notes that a child was forked.
    pub fn forked(&mut self) {
        self.forks = Streak::default();
    }

    /// Notes that a child is gone that was not told to go.
    pub fn died(&mut self, death: Death, now: MonotonicTime) {
        let free = self.rules.free;
        match death {
            Death::BeforeReady => self.boots.add(&self.rules, free, Burst::UpToYoung, now),
            Death::Early => self.youth.add(&self.rules, free, Burst::UpToYoung, now),
            Death::Late => {}
        }
    }

    /// Notes that a child has become ready, and so was forked too.
    pub fn thrived(&mut self) {
        self.forked();
        self.boots = Streak::default();
    }

    /// Tells what goes wrong in a row, the worst first; `None` if nothing does.
    #[must_use]
    pub fn tell(&self, now: MonotonicTime) -> Option<BackoffState> {
        self.streaks()
            .into_iter()
            .filter(|(_kind, streak)| streak.is_remembered(&self.rules, now))
            .map(|(kind, streak)| streak.tell(kind))
            .max_by_key(|trouble| (trouble.until, trouble.in_a_row))
    }

    fn streaks(&self) -> [(FailureKind, &Streak); 3] {
        [
            (FailureKind::ForkFailed, &self.forks),
            (FailureKind::NeverReady, &self.boots),
            (FailureKind::DiedEarly, &self.youth),
        ]
    }
}

#[cfg(test)]
mod tests;
