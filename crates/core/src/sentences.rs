//! The text of each error.

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
    a_pool: PoolError {
        PoolError::Zero { .. } => PoolError::Zero { field: "max_children" },
            "max_children is 0: it must be at least 1";
        PoolError::TooManySlots { .. } => PoolError::TooManySlots { max_children: 70_000 },
            "max_children is 70000: a scoreboard has at most 65536 slots";
        PoolError::TooMany { .. } =>
            PoolError::TooMany { field: "min_spare", value: 9, max_children: 8 },
            "min_spare is 9: it must not be more than max_children, which is 8";
        PoolError::MaxBelowMin { .. } => PoolError::MaxBelowMin { max_spare: 2, min_spare: 5 },
            "max_spare is 2: it must not be less than min_spare, which is 5";
        PoolError::AtMaximum { .. } => PoolError::AtMaximum { max_children: 8 },
            "there may be 8 children at most, by max_children";
        PoolError::ScoreboardFull { .. } => PoolError::ScoreboardFull { slots: 16 }, "the scoreboard has 16 slots";
        PoolError::AtMinimum => PoolError::AtMinimum, "a pool keeps at least one spare child";
    }
    jitter: JitterError {
        JitterError { .. } => Jitter::from_percent(51).unwrap_err(),
            "jitter is 51 %: it must not be more than 50 %";
    }
    a_ladder: LadderError {
        LadderError::Empty => LadderError::Empty, "a ladder has at least one step";
        LadderError::StepAfterGiveUp => LadderError::StepAfterGiveUp,
            "nothing is done after giving up: it must be the last step";
    }
    a_phase: IllegalPhaseChange {
        IllegalPhaseChange { .. } => Phase::Stopped.enter(Phase::Running).unwrap_err(),
            "a daemon that is stopped cannot become running";
    }
    a_status: IllegalTransition {
        IllegalTransition { .. } => Status::Waiting.transition_to(Status::Fresh).unwrap_err(),
            "cannot change the status of a child from waiting to fresh";
    }
    a_report: ReportError {
        ReportError::IllegalTransition(_) =>
            ReportError::IllegalTransition(Status::Waiting.transition_to(Status::Fresh).unwrap_err()),
            "cannot change the status of a child from waiting to fresh";
        ReportError::StaleGeneration { .. } => ReportError::StaleGeneration {
                slot: slot(), mine: Generation::new(1), theirs: Generation::new(2),
            },
            "cannot write to slot 3: it is generation 2's, not generation 1's";
        ReportError::Damaged { .. } => ReportError::Damaged { slot: slot(), code: 77 },
            "cannot write to slot 3: its status is damaged, with code 77";
        ReportError::NoSuchSlot { .. } => ReportError::NoSuchSlot { slot: slot() },
            "cannot write to slot 3: the scoreboard has no such slot";
    }
    a_scoreboard: ScoreboardError {
        ScoreboardError::Slots { .. } => ScoreboardError::Slots { slots: 70_000 },
            "cannot have a scoreboard of 70000 slots: it has 1 to 65536";
        ScoreboardError::TooShort { .. } => ScoreboardError::TooShort { lines: 4, needed: 9 },
            "cannot use 4 lines as a scoreboard: 9 are needed";
        ScoreboardError::Foreign { .. } => ScoreboardError::Foreign { found: 0 },
            "cannot read the scoreboard: it is none, or of another version, since it begins with 0x0000000000000000, not with 0x616374646d6e0001";
    }
    a_line: SlotFault {
        SlotFault::InvalidStatus(_) => SlotFault::InvalidStatus(77), "the status is damaged: its code is 77";
        SlotFault::TornLabel => SlotFault::TornLabel, "the child ended while it wrote its label";
        SlotFault::NoSuchSlot => SlotFault::NoSuchSlot, "the scoreboard has no such slot";
    }
}
