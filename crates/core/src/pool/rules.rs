//! The limits of a pool, their defaults, and their checks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Resize;
use crate::line::MAX_SLOTS;

/// The limits of a pool.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PoolRules {
    /// How many children are forked at the start. If children end, the pool forks others until it
    /// has this number again, or `max_spare` if that is less.
    pub start: u32,
    /// The minimum number of idle children.
    pub min_spare: u32,
    /// The maximum number of idle children.
    pub max_spare: u32,
    /// The maximum number of children at any time.
    pub max_children: u32,
    /// How long there must be more than `max_spare` idle children before some are retired. One
    /// second by default, the interval at which Apache's prefork module checks the number of idle
    /// children.
    pub retire_delay: Duration,
}

/// Why the limits of a pool are invalid or cannot change.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// A limit must not be 0.
    #[error("{field} must be greater than 0")]
    Zero {
        /// The name of the limit.
        field: &'static str,
    },
    /// `max_children` is greater than the maximum number of slots of a scoreboard.
    #[error(
        "max_children must be at most {MAX_SLOTS}, the maximum number of slots of a scoreboard, but is {max_children}"
    )]
    TooManySlots {
        /// The requested maximum number of children.
        max_children: u32,
    },
    /// A limit is greater than `max_children`.
    #[error("{field} must not be greater than max_children ({value} > {max_children})")]
    TooMany {
        /// The name of the limit.
        field: &'static str,
        /// The value of the limit.
        value: u32,
        /// The maximum number of children.
        max_children: u32,
    },
    /// `max_spare` is less than `min_spare`.
    #[error("max_spare must not be less than min_spare ({max_spare} < {min_spare})")]
    MaxBelowMin {
        /// The maximum number of idle children.
        max_spare: u32,
        /// The minimum number of idle children.
        min_spare: u32,
    },
    /// The pool cannot have more spare children.
    #[error("max_children limits the pool to {max_children} children")]
    AtMaximum {
        /// The maximum number of children.
        max_children: u32,
    },
    /// The scoreboard has fewer slots than the requested maximum number of children.
    #[error("the scoreboard has {slots} slots")]
    ScoreboardFull {
        /// The number of slots.
        slots: u32,
    },
    /// The pool cannot have fewer spare children.
    #[error("the pool must keep at least one spare child")]
    AtMinimum,
}

impl PoolRules {
    /// The default of [`retire_delay`](PoolRules::retire_delay).
    pub const DEFAULT_RETIRE_DELAY: Duration = Duration::from_secs(1);

    /// Creates rules from the limits that are given.
    ///
    /// The other limits get defaults, as in `POE::Component::Daemon` (manual, `spawn`):
    ///
    /// | | with `max_children` | without |
    /// | --- | --- | --- |
    /// | `min_spare` | half of `max_spare` if given, else 20 % of `max_children`; 1 to `start` | half of `max_spare` if given, else `start`; 1 to `start` |
    /// | `max_spare` | 80 % of `max_children`, at least `min_spare` and `start` | twice `min_spare`, at least `start` |
    /// | `max_children` | | `start` + `max_spare` |
    ///
    /// The defaults never forbid what is given: if only `start` and `max_children` are given, an
    /// idle pool stays at `start` children. If these two are equal, `min_spare` is 0 and the pool
    /// is [fixed](PoolRules::fixed).
    ///
    /// With a `min_spare` of 0, no child is forked when the last idle child becomes busy. Therefore
    /// the default of `min_spare` is at least 1, whereas `POE::Component::Daemon` rounds 20 % of 4
    /// children down to 0 and then never forks again.
    ///
    /// # Errors
    ///
    /// [`PoolError`], which names the wrong limit and its value.
    ///
    /// # Examples
    ///
    /// ```
    /// use daemon_core::PoolRules;
    ///
    /// let rules = PoolRules::from_parts(3, None, None, Some(10))?;
    /// assert_eq!((rules.min_spare, rules.max_spare), (2, 8));
    /// let error = PoolRules::from_parts(1, Some(5), Some(3), None).unwrap_err();
    /// assert_eq!(error.to_string(), "max_spare must not be less than min_spare (3 < 5)");
    /// # Ok::<(), daemon_core::PoolError>(())
    /// ```
    pub fn from_parts(
        start: u32,
        min_spare: Option<u32>,
        max_spare: Option<u32>,
        max_children: Option<u32>,
    ) -> Result<PoolRules, PoolError> {
        let is_fixed = max_children == Some(start) && max_spare.is_none_or(|max| max >= start);
        if is_fixed && min_spare.is_none() {
            let max_spare = max_spare.unwrap_or(start);
            return PoolRules { max_spare, ..PoolRules::fixed(start) }.check();
        }
        // The defaults of `min_spare` and `max_spare` are clamped to the given limits, so that an
        // error names only limits that were given, or the default of `max_children`.
        let min = min_spare.unwrap_or_else(|| {
            let min = match (max_spare, max_children) {
                (Some(max_spare), _) => max_spare / 2,
                (None, Some(max_children)) => percent(max_children, 20),
                (None, None) => start,
            };
            min.min(start).max(1)
        });
        let max = max_spare.unwrap_or_else(|| {
            let max = match max_children {
                Some(max_children) => percent(max_children, 80),
                None => min.saturating_mul(2),
            };
            max.max(min).max(start)
        });
        PoolRules {
            start,
            min_spare: min,
            max_spare: max,
            max_children: max_children.unwrap_or_else(|| start.saturating_add(max)),
            retire_delay: PoolRules::DEFAULT_RETIRE_DELAY,
        }
        .check()
    }

    /// Creates the rules of a pool that always has this many children: it neither grows nor
    /// shrinks, and replaces children that end.
    #[must_use]
    pub const fn fixed(children: u32) -> PoolRules {
        PoolRules {
            start: children,
            min_spare: 0,
            max_spare: children,
            max_children: children,
            retire_delay: PoolRules::DEFAULT_RETIRE_DELAY,
        }
    }

    /// Returns whether the pool has one size, which it has from the start.
    #[must_use]
    pub const fn is_fixed(&self) -> bool {
        let PoolRules { start, min_spare, max_spare, max_children, retire_delay: _ } = *self;
        min_spare == 0 && start == max_children && max_spare >= max_children
    }

    /// Returns the number of children that the pool keeps, idle and busy ones together.
    pub(super) fn kept(&self) -> u32 {
        self.start.min(self.max_spare)
    }

    /// Checks whether the limits are consistent, and returns them.
    ///
    /// A `max_spare` above `max_children` is allowed. The pool then never retires idle children.
    ///
    /// # Errors
    ///
    /// [`PoolError`], which names the first wrong limit and its value.
    pub fn check(self) -> Result<PoolRules, PoolError> {
        let PoolRules { start, min_spare, max_spare, max_children, retire_delay: _any } = self;
        let zero = |field| Err(PoolError::Zero { field });
        let too_many = |field, value| Err(PoolError::TooMany { field, value, max_children });
        match self {
            _ if start == 0 => zero("start_children"),
            _ if max_children == 0 => zero("max_children"),
            _ if max_children > MAX_SLOTS => Err(PoolError::TooManySlots { max_children }),
            _ if max_spare == 0 => zero("max_spare"),
            _ if max_spare < min_spare => Err(PoolError::MaxBelowMin { max_spare, min_spare }),
            _ if start > max_children => too_many("start_children", start),
            _ if min_spare > max_children => too_many("min_spare", min_spare),
            rules => Ok(rules),
        }
    }

    pub(super) fn resized(self, resize: Resize, slots: u32) -> Result<PoolRules, PoolError> {
        if self.is_fixed() {
            let PoolRules { retire_delay, .. } = self;
            return match resize.apply(self.max_children) {
                0 => Err(PoolError::Zero { field: "max_children" }),
                children if children > slots => Err(PoolError::ScoreboardFull { slots }),
                children => Ok(PoolRules { retire_delay, ..PoolRules::fixed(children) }),
            };
        }
        let PoolRules { min_spare, max_spare, max_children, .. } = self;
        let least = min_spare.min(1);
        let at_most = PoolError::AtMaximum { max_children };
        let (min, max) = match resize {
            Resize::More => (min_spare.saturating_add(1), max_spare.saturating_add(1)),
            Resize::Fewer => (min_spare.saturating_sub(1), max_spare.saturating_sub(1)),
            Resize::To(0) => return Err(PoolError::AtMinimum),
            Resize::To(children) if children > max_children => return Err(at_most),
            Resize::To(children) => (children, children.saturating_add(max_spare - min_spare)),
        };
        let min = min.clamp(least, max_children);
        // A `max_spare` above `max_children` is allowed, but is not raised further.
        let max = max.clamp(min.max(1), max_children.max(max_spare));
        let start = match resize {
            Resize::More | Resize::Fewer => self.start,
            Resize::To(children) => children,
        };
        let resized = PoolRules { start, min_spare: min, max_spare: max, ..self };
        match resize {
            Resize::More if resized == self => Err(at_most),
            Resize::Fewer if resized == self => Err(PoolError::AtMinimum),
            Resize::More | Resize::Fewer | Resize::To(_) => Ok(resized),
        }
    }
}

/// Returns this percentage of a number, rounded down.
fn percent(of: u32, percent: u32) -> u32 {
    // The result is at most `of`, so the conversion does not fail.
    u32::try_from(u64::from(of) * u64::from(percent) / 100).unwrap_or(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(parts: (u32, Option<u32>, Option<u32>, Option<u32>)) -> (u32, u32, u32) {
        let rules = PoolRules::from_parts(parts.0, parts.1, parts.2, parts.3).unwrap();
        assert_eq!(rules.retire_delay, Duration::from_secs(1));
        (rules.min_spare, rules.max_spare, rules.max_children)
    }

    #[test]
    fn missing_limits_have_defaults() {
        let table = [
            ((10, None, None, None), (10, 20, 30)),
            ((3, None, None, Some(10)), (2, 8, 10)),
            ((1, None, None, Some(4)), (1, 3, 4)),
            ((1, None, None, Some(1)), (0, 1, 1)),
            ((4, None, None, Some(4)), (0, 4, 4)),
            ((4, None, Some(9), Some(4)), (0, 9, 4)),
            ((4, None, None, Some(5)), (1, 4, 5)),
            ((9, None, None, Some(10)), (2, 9, 10)),
            ((4, None, None, Some(32)), (4, 25, 32)),
            ((4, None, Some(2), Some(4)), (1, 2, 4)),
            ((10, Some(2), None, None), (2, 10, 20)),
            ((5, None, Some(8), Some(20)), (4, 8, 20)),
            ((2, None, Some(8), None), (2, 8, 10)),
            ((1, None, Some(1), None), (1, 1, 2)),
            ((2, None, Some(9), Some(3)), (2, 9, 3)),
            ((2, Some(9), None, Some(10)), (9, 9, 10)),
            ((2, Some(3), None, None), (3, 6, 8)),
            ((2, Some(0), None, None), (0, 2, 4)),
            ((1, Some(0), Some(1), Some(2)), (0, 1, 2)),
        ];
        for (parts, expected) in table {
            assert_eq!(numbers(parts), expected, "{parts:?}");
        }
    }

    #[test]
    fn the_error_for_an_invalid_limit_names_the_limit() {
        let table = [
            ((0, None, None, None), "start_children must be greater than 0"),
            ((1, None, None, Some(0)), "max_children must be greater than 0"),
            ((1, None, Some(0), None), "max_spare must be greater than 0"),
            (
                (9, None, None, Some(8)),
                "start_children must not be greater than max_children (9 > 8)",
            ),
            (
                (1, Some(9), None, Some(8)),
                "min_spare must not be greater than max_children (9 > 8)",
            ),
            (
                (1, None, None, Some(65_537)),
                "max_children must be at most 65536, the maximum number of slots of a scoreboard, but is 65537",
            ),
            (
                (u32::MAX, None, None, None),
                "max_children must be at most 65536, the maximum number of slots of a scoreboard, but is 4294967295",
            ),
        ];
        for ((start, min, max, children), sentence) in table {
            let error = PoolRules::from_parts(start, min, max, children).unwrap_err();
            assert_eq!(error.to_string(), sentence);
        }
    }

    #[test]
    fn resizing_changes_both_spare_limits_within_bounds() {
        let rules = PoolRules::from_parts(1, Some(2), Some(4), Some(6)).unwrap();
        let spares = |rules: PoolRules| (rules.min_spare, rules.max_spare);
        let resized = |rules: PoolRules, resize| rules.resized(resize, 12);
        let more = resized(rules, Resize::More).unwrap();
        assert_eq!(spares(more), (3, 5));
        assert_eq!(resized(more, Resize::Fewer), Ok(rules));
        assert_eq!(resized(rules, Resize::To(5)).map(spares), Ok((5, 6)));
        assert_eq!(resized(rules, Resize::To(7)), Err(PoolError::AtMaximum { max_children: 6 }));
        assert_eq!(resized(rules, Resize::To(0)), Err(PoolError::AtMinimum));

        let top = PoolRules { min_spare: 6, max_spare: 6, ..rules };
        assert_eq!(resized(top, Resize::More), Err(PoolError::AtMaximum { max_children: 6 }));
        let one = PoolRules { min_spare: 1, max_spare: 2, ..rules };
        assert_eq!(resized(one, Resize::Fewer).map(spares), Ok((1, 1)));
        let bottom = PoolRules { min_spare: 1, max_spare: 1, ..rules };
        assert_eq!(resized(bottom, Resize::Fewer), Err(PoolError::AtMinimum));
        let lax = PoolRules { min_spare: 0, max_spare: 9, ..rules };
        assert_eq!(resized(lax, Resize::Fewer).map(spares), Ok((0, 8)));
        assert_eq!(resized(lax, Resize::More).map(spares), Ok((1, 9)));
    }

    #[test]
    fn resizing_a_fixed_pool_changes_its_number_of_children_up_to_the_slots() {
        let fixed = PoolRules::from_parts(4, None, None, Some(4)).unwrap();
        assert_eq!(fixed, PoolRules::fixed(4));
        let table = [
            (Resize::More, Ok(5)),
            (Resize::Fewer, Ok(3)),
            (Resize::To(1), Ok(1)),
            (Resize::To(8), Ok(8)),
            (Resize::To(9), Err(PoolError::ScoreboardFull { slots: 8 })),
            (Resize::To(0), Err(PoolError::Zero { field: "max_children" })),
        ];
        for (resize, expected) in table {
            assert_eq!(fixed.resized(resize, 8), expected.map(PoolRules::fixed), "{resize:?}");
        }
        assert!(PoolRules::fixed(0).check().is_err());
        let limited = PoolRules { max_spare: 3, ..fixed };
        assert!(!limited.is_fixed(), "this pool shrinks");
    }
}
