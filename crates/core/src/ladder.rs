//! The ladder: the steps against a rogue, and the wait after each step.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exit_cause::Violation;
use crate::monotonic::MonotonicTime;

/// A step against a rogue.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LadderStep {
    /// Ask the child with INT to exit after its current request.
    Int,
    /// Ask the child with TERM to exit after its current request.
    Term,
    /// Ask the child with QUIT to exit immediately.
    Quit,
    /// Kill the child.
    Kill,
    /// Give up: no step has ended the process, so the operator has to deal with it. The process no
    /// longer counts as a child, and is replaced if there is a free slot.
    #[serde(rename = "given-up")]
    GiveUp,
}

/// The steps against a rogue, each with the time until the next step.
///
/// By default, as in `POE::Component::Daemon`, the steps are INT, TERM, KILL and giving up. The
/// wait between two steps is twice the interval of the babysitter.
///
/// For a child that is [hung](Violation::Hung) or exceeds the [hard memory
/// limit](Violation::Memory), the ladder starts at KILL, if it has this step. A hung child cannot
/// react to INT or TERM, and a child above its hard memory limit must not continue.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ladder(Vec<(LadderStep, Duration)>);

/// Why steps are not a valid ladder.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LadderError {
    /// There are no steps.
    #[error("a ladder must have at least one step")]
    Empty,
    /// There is a step after [`GiveUp`](LadderStep::GiveUp).
    #[error("giving up must be the last step of a ladder")]
    StepAfterGiveUp,
}

impl Ladder {
    /// Creates a ladder from these steps, each with the time until the next step. `GiveUp` is added
    /// at the end if it is missing.
    ///
    /// # Errors
    ///
    /// [`LadderError`] if there are no steps, or if there is a step after `GiveUp`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use daemon_core::{Ladder, LadderError, LadderStep};
    ///
    /// let gentle = Ladder::new([
    ///     (LadderStep::Term, Duration::from_secs(60)),
    ///     (LadderStep::Kill, Duration::from_secs(10)),
    /// ]);
    /// assert!(gentle.is_ok());
    /// assert_eq!(Ladder::new([]), Err(LadderError::Empty));
    /// ```
    pub fn new(
        steps: impl IntoIterator<Item = (LadderStep, Duration)>,
    ) -> Result<Ladder, LadderError> {
        let mut steps: Vec<_> = steps.into_iter().collect();
        let given_up = steps.iter().position(|(step, _)| *step == LadderStep::GiveUp);
        match (given_up, steps.len()) {
            (_, 0) => return Err(LadderError::Empty),
            (Some(place), length) if place + 1 < length => {
                return Err(LadderError::StepAfterGiveUp);
            }
            (Some(_last), _) => {}
            (None, _) => steps.push((LadderStep::GiveUp, Duration::ZERO)),
        }
        Ok(Ladder(steps))
    }

    /// Creates the default ladder, in which the wait after each step is twice this interval.
    #[must_use]
    pub fn with_interval(interval: Duration) -> Ladder {
        let wait = interval.saturating_mul(2);
        let steps = [LadderStep::Int, LadderStep::Term, LadderStep::Kill];
        let last = (LadderStep::GiveUp, Duration::ZERO);
        Ladder(steps.into_iter().map(|step| (step, wait)).chain([last]).collect())
    }

    /// Returns the index of the first step against this violation.
    fn first_step(&self, violation: Violation) -> usize {
        match violation {
            Violation::Cpu | Violation::Time => 0,
            Violation::Memory | Violation::Hung | Violation::Protocol | Violation::Boot => {
                self.0.iter().position(|(step, _)| *step == LadderStep::Kill).unwrap_or(0)
            }
        }
    }
}

impl LadderStep {
    /// Returns the step as a word: `int`, `term`, `quit`, `kill`, `given-up`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            LadderStep::Int => "int",
            LadderStep::Term => "term",
            LadderStep::Quit => "quit",
            LadderStep::Kill => "kill",
            LadderStep::GiveUp => "given-up",
        }
    }
}

impl fmt::Display for LadderStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A rogue's position on the ladder.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Escalation {
    pub(crate) violation: Violation,
    next_step: usize,
    due: MonotonicTime,
}

impl Escalation {
    pub(crate) fn start(ladder: &Ladder, violation: Violation, now: MonotonicTime) -> Escalation {
        Escalation { violation, next_step: ladder.first_step(violation), due: now }
    }

    /// Returns the step that is due, if any, and moves to the next step.
    pub(crate) fn step(&mut self, ladder: &Ladder, now: MonotonicTime) -> Option<LadderStep> {
        let (step, wait) = *ladder.0.get(self.next_step)?;
        if now < self.due {
            return None;
        }
        self.next_step += 1;
        self.due = now + wait;
        Some(step)
    }

    /// Returns when the next step is due; `None` if no step is left.
    pub(crate) fn due(&self, ladder: &Ladder) -> Option<MonotonicTime> {
        (self.next_step < ladder.0.len()).then_some(self.due)
    }

    /// Changes the violation. If the ladder for the new violation starts at a step that has not
    /// been reached, the steps before that step are skipped, and that step is due now. Otherwise
    /// the position does not change.
    pub(crate) fn worsen(&mut self, ladder: &Ladder, violation: Violation, now: MonotonicTime) {
        if violation == self.violation {
            return;
        }
        let first = ladder.first_step(violation);
        self.violation = violation;
        if first >= self.next_step {
            self.next_step = first;
            self.due = self.due.min(now);
        }
    }

    /// Postpones the next step by the time for which the babysitter itself was suspended.
    pub(crate) fn delay(&mut self, by: Duration) {
        self.due = self.due + by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(secs: u64) -> MonotonicTime {
        MonotonicTime::from_since_boot(Duration::from_secs(1000 + secs))
    }

    #[test]
    fn the_default_ladder_waits_two_intervals_after_each_step() {
        let ladder = Ladder::with_interval(10 * SECOND);
        let mut escalation = Escalation::start(&ladder, Violation::Cpu, at(0));
        let taken: Vec<_> =
            (0..100).filter_map(|secs| Some((secs, escalation.step(&ladder, at(secs))?))).collect();
        let expected = [
            (0, LadderStep::Int),
            (20, LadderStep::Term),
            (40, LadderStep::Kill),
            (60, LadderStep::GiveUp),
        ];
        assert_eq!(taken, expected);
        assert_eq!(escalation.due(&ladder), None);
    }

    #[test]
    fn kill_is_the_first_step_against_a_hung_child_or_a_child_above_its_hard_memory_limit() {
        let ladder = Ladder::with_interval(SECOND);
        for violation in [Violation::Hung, Violation::Memory] {
            let mut escalation = Escalation::start(&ladder, violation, at(0));
            assert_eq!(escalation.step(&ladder, at(0)), Some(LadderStep::Kill));
        }
        let mut escalation = Escalation::start(&ladder, Violation::Time, at(0));
        assert_eq!(escalation.step(&ladder, at(0)), Some(LadderStep::Int));
        escalation.worsen(&ladder, Violation::Hung, at(1));
        assert_eq!(escalation.step(&ladder, at(1)), Some(LadderStep::Kill));
        escalation.worsen(&ladder, Violation::Time, at(2));
        assert_eq!(
            escalation.step(&ladder, at(2)),
            None,
            "another violation does not go back to earlier steps"
        );
        let mut escalation = Escalation::start(&ladder, Violation::Time, at(0));
        assert_eq!(escalation.step(&ladder, at(0)), Some(LadderStep::Int));
        assert_eq!(escalation.step(&ladder, at(2)), Some(LadderStep::Term));
        escalation.worsen(&ladder, Violation::Hung, at(3));
        assert_eq!(
            escalation.step(&ladder, at(3)),
            Some(LadderStep::Kill),
            "the next step is due now"
        );
    }

    #[test]
    fn invalid_ladders_are_rejected() {
        use LadderStep::{GiveUp, Kill, Term};
        assert_eq!(Ladder::new([]), Err(LadderError::Empty));
        let after = [(Term, SECOND), (GiveUp, SECOND), (Kill, SECOND)];
        assert_eq!(Ladder::new(after), Err(LadderError::StepAfterGiveUp));
        let said = Ladder::new([(Kill, SECOND), (GiveUp, Duration::ZERO)]);
        assert_eq!(Ladder::new([(Kill, SECOND)]), said);
    }
}
