//! Records which requests were cancelled before they arrived at the dispatcher, and which requests
//! can still arrive.

use std::collections::{BTreeMap, HashSet};

use crate::request::RequestId;

/// The maximum number of recorded gaps between the ids of accepted requests. The gaps with the
/// lowest ids are dropped first, because their requests were most likely never sent.
const GAPS_MAX: usize = 16 * 1024;

/// What happens to the cancellation of a request that the scheduler does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CancelStatus {
    /// The cancellation is recorded. The request is answered as cancelled when it arrives.
    Recorded,
    /// The cancellation had been recorded before.
    AlreadyRecorded,
    /// The request has arrived already. It has been answered, or it runs in the parent, or it was
    /// passed to the recipient of requests for unknown methods.
    AlreadyTaken,
}

/// The ids of requests that were cancelled before they arrived.
///
/// Ids are assigned in the order in which requests are created. The requests can be sent, and
/// arrive, in a different order.
#[derive(Debug, Default)]
pub(super) struct CancelledIds {
    cancelled: HashSet<RequestId>,
    /// The lowest id that is higher than the ids of all accepted requests.
    next: u64,
    /// The ranges of ids below `next` that were not accepted. The key is the start of a range, and
    /// the value is its exclusive end.
    gaps: BTreeMap<u64, u64>,
}

impl CancelledIds {
    fn gap(&self, id: u64) -> Option<(u64, u64)> {
        let (from, end) = self.gaps.range(..=id).next_back()?;
        (id < *end).then_some((*from, *end))
    }

    /// Records the cancellation of a request that the scheduler does not have.
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

    /// Returns whether the cancellation of this request was recorded, and removes the record.
    pub(super) fn is_cancelled(&mut self, id: RequestId) -> bool {
        !self.cancelled.is_empty() && self.cancelled.remove(&id)
    }

    /// Records that the request has been accepted and will not arrive again.
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
    fn a_cancellation_is_recorded_once_and_only_if_its_request_has_not_arrived() {
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
    fn the_number_of_recorded_gaps_between_ids_is_limited() {
        let mut cancelled_ids = CancelledIds::default();
        (0..3 * GAPS_MAX as u64).for_each(|nth| cancelled_ids.note_taken(RequestId(2 * nth)));
        assert_eq!(cancelled_ids.gaps.len(), GAPS_MAX);
    }

    proptest! {
        #[test]
        fn accepted_ids_are_known_in_any_order_of_arrival(
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
