//! The number of children of each status.

use crate::status::{Status, StatusKind};

/// The number of children by status, as last seen by the parent.
///
/// The counts are updated with each transition, so the cost of reading them does not depend on the
/// size of the scoreboard. They can also be collected from an iterator of statuses. Empty slots are
/// not counted.
///
/// # Examples
///
/// ```
/// use daemon_core::{Counts, Status};
///
/// let mut counts = Counts::default();
/// counts.record_fork();
/// counts.record_transition(Status::Forking, Status::Fresh);
/// assert_eq!((counts.children(), counts.idle()), (1, 1));
/// let again: Counts = [Status::Empty, Status::Fresh].into_iter().collect();
/// assert_eq!(counts, again);
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    counts: [u32; Status::ALL.len()],
}

impl Counts {
    /// Counts a child that is about to be forked.
    pub fn record_fork(&mut self) {
        self.record_transition(Status::Empty, Status::Forking);
    }

    /// Moves a child from the count of one status to the count of another. The child is added if
    /// `from` is [`Empty`](Status::Empty), and removed if `to` is `Empty`.
    ///
    /// Illegal transitions are counted, too, because a parent that processes changes late may see a
    /// child go from any status to any other.
    ///
    /// # Panics
    ///
    /// With debug assertions, panics if no child is counted under `from`. Without debug assertions,
    /// the child is nevertheless counted under `to`, and no count falls below zero.
    pub fn record_transition(&mut self, from: Status, to: Status) {
        if from != Status::Empty {
            debug_assert!(self.with_status(from) > 0, "no child is counted as {from}");
            let count = self.count(from);
            *count = count.saturating_sub(1);
        }
        if to != Status::Empty {
            let count = self.count(to);
            *count = count.saturating_add(1);
        }
    }

    /// Returns the number of children with this status; 0 for [`Empty`](Status::Empty), because
    /// empty slots are not counted.
    #[must_use]
    pub fn with_status(&self, status: Status) -> u32 {
        self.counts[status as usize]
    }

    /// Returns the number of children, including those that are starting and leaving.
    #[must_use]
    pub fn children(&self) -> u32 {
        self.counts.iter().sum()
    }

    /// Returns the number of children that are not ready yet.
    #[must_use]
    pub fn starting(&self) -> u32 {
        self.sum(StatusKind::Starting)
    }

    /// Returns the number of children that wait for a request.
    #[must_use]
    pub fn idle(&self) -> u32 {
        self.sum(StatusKind::Idle)
    }

    /// Returns the number of children that handle a request.
    #[must_use]
    pub fn busy(&self) -> u32 {
        self.sum(StatusKind::Busy)
    }

    /// Returns the number of children that are leaving.
    #[must_use]
    pub fn leaving(&self) -> u32 {
        self.sum(StatusKind::Leaving)
    }

    fn count(&mut self, status: Status) -> &mut u32 {
        &mut self.counts[status as usize]
    }

    fn sum(&self, kind: StatusKind) -> u32 {
        let counted = Status::ALL.into_iter().filter(|status| status.kind() == kind);
        counted.map(|status| self.with_status(status)).sum()
    }
}

impl FromIterator<Status> for Counts {
    fn from_iter<I: IntoIterator<Item = Status>>(statuses: I) -> Counts {
        let mut counts = Counts::default();
        for status in statuses {
            counts.record_transition(Status::Empty, status);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_counted_once_from_fork_to_exit() {
        let mut counts = Counts::default();
        counts.record_fork();
        let life = [
            Status::Forking,
            Status::Forked,
            Status::Fresh,
            Status::Serving,
            Status::Long,
            Status::Waiting,
            Status::Leaving,
        ];
        for step in life.windows(2) {
            counts.record_transition(step[0], step[1]);
            assert_eq!(counts, [step[1]].into_iter().collect());
            assert_eq!(counts.children(), 1);
        }
        counts.record_transition(Status::Leaving, Status::Empty);
        assert_eq!(counts, Counts::default());
    }

    #[test]
    fn each_status_is_counted_as_starting_idle_busy_or_leaving_except_empty() {
        let counts: Counts = Status::ALL.into_iter().chain(Status::ALL).collect();
        assert_eq!(counts.children(), 14);
        assert_eq!(counts.starting(), 4);
        assert_eq!(counts.idle(), 4);
        assert_eq!(counts.busy(), 4);
        assert_eq!(counts.leaving(), 2);
        assert_eq!(counts.with_status(Status::Empty), 0);
    }

    #[test]
    #[cfg_attr(debug_assertions, should_panic(expected = "no child is counted as long"))]
    fn a_transition_of_an_uncounted_child_panics_only_with_debug_assertions() {
        let mut counts = Counts::default();
        counts.record_transition(Status::Long, Status::Waiting);
        assert_eq!((counts.children(), counts.idle()), (1, 1));
    }
}
