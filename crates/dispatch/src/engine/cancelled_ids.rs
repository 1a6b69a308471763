//! Requests that are cancelled before they have come, and which may still come at all.

use std::collections::{BTreeMap, HashSet};

use crate::request::RequestId;

/// So many gaps in the numbers that were taken are known; the oldest are given up, as most likely nobody
/// sends what is in them.
const GAPS_MAX: usize = 16 * 1024;

/// What becomes of a cancelled request that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CancelStatus {
    /// It is to be answered as cancelled when it comes.
    Recorded,
    /// It was so already.
    AlreadyRecorded,
    /// It has come before, and is answered.
    AlreadyTaken,
}

/// Numbers are counted in a process, but need not come in their order: who has made a request may send it
/// later than another.
#[derive(Debug, Default)]
pub(super) struct CancelledIds {
    cancelled: HashSet<RequestId>,
    /// The first number above all that were taken.
    next: u64,
    /// Those below it that were not: from, and up to without, each.
    gaps: BTreeMap<u64, u64>,
}

impl CancelledIds {
    fn gap(&self, id: u64) -> Option<(u64, u64)> {
        let (from, end) = self.gaps.range(..=id).next_back()?;
        (id < *end).then_some((*from, *end))
    }

    /// A request of this number, which is not here, is cancelled.
    pub(super) fn cancel(&mut self, id: RequestId) -> CancelStatus {
        if id.0 < self.next && self.gap(id.0).is_none() {
            return CancelStatus::AlreadyTaken;
        }
        if self.cancelled.insert(id) {
            CancelStatus::Recorded
        } else {
            CancelStatus::AlreadyRecorded
        }
    }

    /// Whether it was cancelled, which is forgotten then.
    pub(super) fn is_cancelled(&mut self, id: RequestId) -> bool {
        !self.cancelled.is_empty() && self.cancelled.remove(&id)
    }

    /// It is taken, and does not come again.
    pub(super) fn note_taken(&mut self, RequestId(id): RequestId) {
        if id >= self.next {
            if id > self.next {
                self.gaps.insert(self.next, id);
            }
            self.next = id + 1;
            if self.gaps.len() > GAPS_MAX {
                self.gaps.pop_first();
            }
        } else if let Some((from, end)) = self.gap(id) {
            self.gaps.remove(&from);
            let parts = [(from, id), (id + 1, end)];
            self.gaps.extend(parts.into_iter().filter(|(from, end)| from < end));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_taken_is_not_remembered_and_what_comes_later_is_once() {
        let mut cancelled_ids = CancelledIds::default();
        for id in [0, 1, 5, 3] {
            cancelled_ids.note_taken(RequestId(id));
        }
        for past in [0, 1, 3, 5] {
            assert_eq!(cancelled_ids.cancel(RequestId(past)), CancelStatus::AlreadyTaken);
        }
        for coming in [2, 4, 6, 900] {
            assert_eq!(cancelled_ids.cancel(RequestId(coming)), CancelStatus::Recorded);
            assert_eq!(cancelled_ids.cancel(RequestId(coming)), CancelStatus::AlreadyRecorded);
            assert!(cancelled_ids.is_cancelled(RequestId(coming)));
            assert!(!cancelled_ids.is_cancelled(RequestId(coming)));
        }
    }

    #[test]
    fn gaps_are_not_kept_without_end() {
        let mut cancelled_ids = CancelledIds::default();
        (0..3 * GAPS_MAX as u64).for_each(|nth| cancelled_ids.note_taken(RequestId(2 * nth)));
        assert_eq!(cancelled_ids.gaps.len(), GAPS_MAX);
    }

    proptest! {
        #[test]
        fn in_whatever_order_they_come_it_knows_which_have(
            ids in proptest::collection::vec(0_u64..60, 0..80),
        ) {
            let mut cancelled_ids = CancelledIds::default();
            ids.iter().for_each(|id| cancelled_ids.note_taken(RequestId(*id)));
            for id in 0..70 {
                let is_past = cancelled_ids.cancel(RequestId(id)) == CancelStatus::AlreadyTaken;
                prop_assert_eq!(is_past, ids.contains(&id), "{}", id);
            }
        }
    }
}
