//! Quotas: the numbers of requests after which children are replaced.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// The maximum number of requests of a child.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestLimit {
    /// No limit.
    #[default]
    Unlimited,
    /// At most this many requests.
    AtMost(NonZeroU32),
}

impl RequestLimit {
    /// Creates a limit from a number as users write it, where 0 means no limit.
    #[must_use]
    pub fn new(requests: u32) -> RequestLimit {
        NonZeroU32::new(requests).map_or(RequestLimit::Unlimited, RequestLimit::AtMost)
    }
}

/// By how many percent a child's quota or lifetime may be less than configured. 10 by default.
///
/// Without jitter, children that are started together also exit together. `POE::Component::Daemon`
/// has no jitter: in a measurement, a pool with four of its children served no requests for a
/// second each time the four children had exited.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct Jitter(u8);

/// The jitter is too large.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("jitter must be at most {} %, but is {percent} %", Jitter::MAX.percent())]
pub struct JitterError {
    /// The requested percentage.
    pub percent: u8,
}

impl Jitter {
    /// No jitter: each child gets the configured quota or lifetime.
    pub const NONE: Jitter = Jitter(0);
    /// The maximum jitter.
    pub const MAX: Jitter = Jitter(50);

    /// Creates a jitter from a percentage, 0 to 50.
    ///
    /// # Errors
    ///
    /// [`JitterError`] if `percent` is greater than 50.
    pub const fn from_percent(percent: u8) -> Result<Jitter, JitterError> {
        if percent > Jitter::MAX.0 {
            return Err(JitterError { percent });
        }
        Ok(Jitter(percent))
    }

    /// Returns the jitter in percent.
    #[must_use]
    pub const fn percent(self) -> u8 {
        self.0
    }

    /// Returns `whole` less the jitter of one child. `start_index` is the number of children that
    /// were started before that child.
    ///
    /// The results for consecutive indices are spread as evenly as possible, whatever the number of
    /// indices. They are computed from the fractional parts of the multiples of the golden ratio
    /// (Knuth, The Art of Computer Programming, volume 3, section 6.4, "Fibonacci hashing"). Random
    /// numbers would sometimes give the same result for consecutive indices.
    #[must_use]
    pub fn shorten(self, whole: u64, start_index: u64) -> u64 {
        let spread = u128::from(self.spread(whole));
        let fraction = u128::from(start_index.wrapping_mul(GOLDEN) >> 32);
        let less = u64::try_from((fraction * (spread + 1)) >> 32).unwrap_or(0);
        whole.saturating_sub(less)
    }

    /// Returns the smallest result of [`shorten`](Jitter::shorten) for any child.
    #[must_use]
    pub fn shortest(self, whole: u64) -> u64 {
        whole - self.spread(whole)
    }

    /// Returns how much shorter a result can be, which is at most half of `whole`.
    fn spread(self, whole: u64) -> u64 {
        u64::try_from(u128::from(whole) * u128::from(self.0) / 100).unwrap_or(0)
    }
}

impl Default for Jitter {
    fn default() -> Jitter {
        Jitter(10)
    }
}

/// The number of requests that a child may still serve.
///
/// # Examples
///
/// ```
/// use daemon_core::{Jitter, QuotaState, Quota, RequestLimit};
///
/// let mut quota = Quota::new(RequestLimit::new(2), Jitter::NONE, 0);
/// assert_eq!(quota.consume(), QuotaState::Remaining);
/// assert_eq!(quota.consume(), QuotaState::Exhausted);
/// ```
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Quota {
    remaining: Option<u32>,
}

/// Whether a child may serve another request.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[must_use = "a child whose quota is exhausted must exit"]
pub enum QuotaState {
    /// The child may serve another request.
    Remaining,
    /// The child must not serve another request.
    Exhausted,
}

impl Quota {
    /// Creates the quota of one child. `start_index` is the number of children that were started
    /// before that child.
    ///
    /// The quota is between `requests` less the jitter and `requests`, see [`Jitter::shorten`].
    #[must_use]
    pub fn new(requests: RequestLimit, jitter: Jitter, start_index: u64) -> Quota {
        match requests {
            RequestLimit::Unlimited => Quota { remaining: None },
            RequestLimit::AtMost(requests) => {
                let quota = jitter.shorten(requests.get().into(), start_index);
                Quota { remaining: Some(u32::try_from(quota).unwrap_or(u32::MAX)) }
            }
        }
    }

    /// Counts a request, and returns whether the child may serve another one.
    pub fn consume(&mut self) -> QuotaState {
        match &mut self.remaining {
            None => QuotaState::Remaining,
            Some(remaining) => {
                *remaining = remaining.saturating_sub(1);
                if *remaining == 0 { QuotaState::Exhausted } else { QuotaState::Remaining }
            }
        }
    }

    /// Returns the number of remaining requests, or `None` if there is no limit.
    #[must_use]
    pub fn remaining(&self) -> Option<u32> {
        self.remaining
    }
}

/// The fractional part of the golden ratio, times 2 to the 64th.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn of(requests: u32) -> RequestLimit {
        RequestLimit::AtMost(NonZeroU32::new(requests).unwrap())
    }

    fn quota(requests: u32, jitter: Jitter, start_index: u64) -> u32 {
        Quota::new(of(requests), jitter, start_index).remaining().unwrap()
    }

    #[test]
    fn a_quota_is_less_than_the_limit_by_at_most_the_jitter() {
        for requests in (1..300).chain([1000, 65_537, u32::MAX]) {
            for percent in 0..=50 {
                let jitter = Jitter::from_percent(percent).unwrap();
                let minimum = u64::from(requests) * u64::from(100 - percent);
                for start_index in (0..40).chain([u64::MAX]) {
                    let quota = quota(requests, jitter, start_index);
                    assert!(quota <= requests && quota >= 1);
                    assert!(u64::from(quota) >= jitter.shortest(requests.into()));
                    assert!(
                        u64::from(quota) * 100 >= minimum,
                        "{requests} requests, {percent} %, index {start_index}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_quota_of_one_request_is_always_one() {
        assert!((0..1000).all(|start_index| quota(1, Jitter::MAX, start_index) == 1));
    }

    #[test]
    fn consecutive_children_have_different_quotas() {
        // The fractional parts of n multiples of the golden ratio are at least 0.38 / n apart.
        for (requests, count) in [(100, 4), (1000, 32), (10_000, 256)] {
            for first in (0..2000).chain([u64::MAX - 10]) {
                let quotas = (0..count)
                    .map(|nth| quota(requests, Jitter::default(), u64::wrapping_add(first, nth)))
                    .collect::<HashSet<_>>();
                assert_eq!(quotas.len() as u64, count, "{requests} requests, first index {first}");
            }
        }
    }

    #[test]
    fn no_quota_is_shared_by_more_than_a_tenth_of_a_large_pool() {
        // 1000 children share 11 quotas, and no more than 100 children have the same quota.
        for first in [0_u64, 17, 1 << 40] {
            let mut counts = [0; 101];
            for start_index in first..first + 1000 {
                counts[quota(100, Jitter::default(), start_index) as usize] += 1;
            }
            assert!(counts.iter().all(|count| *count <= 100), "{counts:?}");
        }
    }

    #[test]
    fn an_unlimited_quota_is_never_exhausted() {
        let mut quota = Quota::new(RequestLimit::Unlimited, Jitter::MAX, 3);
        assert!((0..1000).all(|_request| quota.consume() == QuotaState::Remaining));
        assert_eq!(quota.remaining(), None);
    }

    #[test]
    fn an_exhausted_quota_stays_exhausted() {
        let mut quota = Quota::new(of(1), Jitter::NONE, 0);
        assert_eq!(quota.consume(), QuotaState::Exhausted);
        assert_eq!(quota.consume(), QuotaState::Exhausted);
    }

    #[test]
    fn a_jitter_above_50_percent_is_rejected() {
        assert_eq!(Jitter::from_percent(50), Ok(Jitter::MAX));
        let error = Jitter::from_percent(51).unwrap_err();
        assert_eq!(error.to_string(), "jitter must be at most 50 %, but is 51 %");
    }
}
