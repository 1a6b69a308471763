//! Tests the text of every error message of this crate.

#[path = "../../../tests/sentences.rs"]
#[macro_use]
mod table;

use crate::{
    Generation, IllegalPhaseChange, IllegalTransition, Jitter, JitterError, LadderError, Phase,
    PoolError, ReportError, ScoreboardError, SlotFault, SlotNumber, Status,
};

fn slot() -> SlotNumber {
    SlotNumber::new(3)
}

sentences! {
    pool_errors_have_the_listed_messages: PoolError {
        PoolError::Zero { .. } => PoolError::Zero { field: "max_children" },
            "max_children must be greater than 0";
        PoolError::TooManySlots { .. } => PoolError::TooManySlots { max_children: 70_000 },
            "max_children must be at most 65536, the maximum number of slots of a scoreboard, but is 70000";
        PoolError::TooMany { .. } =>
            PoolError::TooMany { field: "min_spare", value: 9, max_children: 8 },
            "min_spare must not be greater than max_children (9 > 8)";
        PoolError::MaxBelowMin { .. } => PoolError::MaxBelowMin { max_spare: 2, min_spare: 5 },
            "max_spare must not be less than min_spare (2 < 5)";
        PoolError::AtMaximum { .. } => PoolError::AtMaximum { max_children: 8 },
            "max_children limits the pool to 8 children";
        PoolError::ScoreboardFull { .. } => PoolError::ScoreboardFull { slots: 16 }, "the scoreboard has 16 slots";
        PoolError::AtMinimum => PoolError::AtMinimum, "the pool must keep at least one spare child";
    }
    jitter_errors_have_the_listed_messages: JitterError {
        JitterError { .. } => Jitter::from_percent(51).unwrap_err(),
            "jitter must be at most 50 %, but is 51 %";
    }
    ladder_errors_have_the_listed_messages: LadderError {
        LadderError::Empty => LadderError::Empty, "a ladder must have at least one step";
        LadderError::StepAfterGiveUp => LadderError::StepAfterGiveUp,
            "giving up must be the last step of a ladder";
    }
    illegal_phase_changes_have_the_listed_messages: IllegalPhaseChange {
        IllegalPhaseChange { .. } => Phase::Stopped.enter(Phase::Running).unwrap_err(),
            "cannot change the phase of the daemon from stopped to running";
    }
    illegal_transitions_have_the_listed_messages: IllegalTransition {
        IllegalTransition { .. } => Status::Waiting.transition_to(Status::Fresh).unwrap_err(),
            "cannot change the status of a child from waiting to fresh";
    }
    report_errors_have_the_listed_messages: ReportError {
        ReportError::IllegalTransition(_) =>
            ReportError::IllegalTransition(Status::Waiting.transition_to(Status::Fresh).unwrap_err()),
            "cannot change the status of a child from waiting to fresh";
        ReportError::StaleGeneration { .. } => ReportError::StaleGeneration {
                slot: slot(), own: Generation::new(1), current: Generation::new(2),
            },
            "cannot write to slot 3: it belongs to generation 2, not to generation 1";
        ReportError::Closed { .. } => ReportError::Closed { slot: slot() },
            "cannot write to slot 3: it is closed";
        ReportError::NoSuchSlot { .. } => ReportError::NoSuchSlot { slot: slot() },
            "cannot write to slot 3: the scoreboard has no such slot";
    }
    scoreboard_errors_have_the_listed_messages: ScoreboardError {
        ScoreboardError::Slots { .. } => ScoreboardError::Slots { slots: 70_000 },
            "invalid number of slots: 70000; a scoreboard has 1 to 65536";
        ScoreboardError::TooShort { .. } => ScoreboardError::TooShort { lines: 4, needed: 9 },
            "too small for a scoreboard: 4 lines of 128 bytes, but 9 are needed";
        ScoreboardError::Foreign { .. } => ScoreboardError::Foreign { found: 0 },
            "not a scoreboard, or one of another version or byte order: it begins with 0x0000000000000000, not with 0x616374646d6e0002";
    }
    slot_faults_have_the_listed_messages: SlotFault {
        SlotFault::InvalidStatus(_) => SlotFault::InvalidStatus(77), "the status is damaged: no status has code 77";
        SlotFault::ImpossibleStatus { .. } =>
            SlotFault::ImpossibleStatus { status: Status::Forked, last: Status::Serving },
            "the status is damaged: forked cannot follow serving";
        SlotFault::WrongGeneration { .. } =>
            SlotFault::WrongGeneration { own: Generation::new(1), found: Generation::new(2) },
            "the generation is damaged: 2 instead of 1";
        SlotFault::WrongPid { .. } => SlotFault::WrongPid { found: 5 }, "the pid is damaged: 5";
        SlotFault::ImpossibleRequests(_) => SlotFault::ImpossibleRequests(9), "the number of requests is damaged: 9";
        SlotFault::TornLabel => SlotFault::TornLabel, "the child ended while it was writing its label";
        SlotFault::NoSuchSlot => SlotFault::NoSuchSlot, "the scoreboard has no such slot";
    }
}
