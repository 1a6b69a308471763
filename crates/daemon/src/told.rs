//! Whether something was told already, where once is enough.

use std::time::Duration;

use daemon_core::MonotonicTime;

/// So long what comes and goes must have been away to be told again.
pub(crate) const CALM: Duration = Duration::from_secs(60);

/// Told, or not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    No,
    Yes,
}

/// What comes and goes many times in a busy minute: it is told once, and again when it comes back
/// after a time of [`CALM`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Recurring {
    last: Option<MonotonicTime>,
}

impl Recurring {
    /// It is so now: whether that is to be told.
    pub(crate) fn is_news(&mut self, now: MonotonicTime) -> bool {
        let last = self.last.replace(now);
        last.is_none_or(|last| now.saturating_since(last) >= CALM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_recurs_is_told_at_first_and_then_after_a_time_of_calm() {
        let second = Duration::from_secs(1);
        let mut full = Recurring::default();
        let start = MonotonicTime::from_since_boot(second);
        assert!(full.is_news(start));
        // As long as it keeps coming back it is the same story, however long.
        assert!(!full.is_news(start + (CALM - second)));
        assert!(!full.is_news(start + CALM));
        assert!(full.is_news(start + CALM + CALM));
    }
}
